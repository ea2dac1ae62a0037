"""Keeps what virtual hardware did in real time: `heard.wav`, `heard.json` and `lines.jsonl` in one directory.

`heard.wav` is 48 kHz mono 16-bit PCM, continuous from the recorder's start to its close. Frame i
sounded at `start_monotonic_ns` + i / 48000 s (CLOCK_BOOTTIME), to within a period; frames of one
stream are placed by the card's own count, so none is ever cut or doubled by rounding. Silence is
made by seeking (the file is sparse), so an idle hour costs nothing, and it is made when the next
sound, or the close, comes. Blocks are written and the header is made true at least once a second
while something sounds, so the file is readable after a kill -9.
"""

from __future__ import annotations

import json
import struct
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from hal.ports import Clock, Frames
    from hal.sim.gpio import LineChange

NS = 1_000_000_000
RATE_HZ = 48_000
_HEADER_BYTES = 44
_REFRESH_NS = NS // 2
_MOST_FRAMES = (2**32 - 1 - _HEADER_BYTES) // 2
"""RIFF counts bytes in 32 bits: 12 h 25 min. What sounds later is counted, not kept."""
_TOLERANCE_FRAMES = 960
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Recorder:
    """A `hal.sim.heard.HeardSink` and a `hal.sim.gpio.LineWatch` that write to disk. Makes `sim_dir`."""

    def __init__(self, sim_dir: Path, clock: Clock) -> None:
        sim_dir.mkdir(parents=True, exist_ok=True)
        self._clock = clock
        self._start_ns = clock.monotonic_ns()
        self._start_wall_ns = self._wall_ns()
        self._json = sim_dir / "heard.json"
        self._wav = (sim_dir / "heard.wav").open("wb")
        self._lines = (sim_dir / "lines.jsonl").open("w", encoding="utf-8", buffering=1)
        self._pending: list[bytes] = []
        self._at = 0  # index of the first pending frame
        self._end = 0  # index after the last frame placed
        self._anchor = 0  # index of position 0 of the open stream
        self._next_position = 0
        self._refreshed_ns = self._start_ns
        self._underruns = 0
        self._inserted = 0
        self._lost = 0
        self._count = 0
        self._sessions: deque[dict[str, Any]] = deque(maxlen=1000)
        self._closed = False
        self._refresh()

    # ------------------------------------------------------------ what the card tells

    def opened(self, at_ns: int, rate_hz: int) -> None:
        assert rate_hz == RATE_HZ
        self._anchor = max(self._index(at_ns), self._end)
        self._next_position = 0
        self._count += 1
        self._sessions.append(
            {"opened_ns": at_ns, "closed_ns": None, "frames": 0, "underruns": 0, "first_frame": self._anchor}
        )
        self._refresh()

    def heard(self, position: int, at_ns: int, frames: Frames) -> None:
        if position != self._next_position:
            self._anchor += self._correction(position, at_ns)
        index = max(self._anchor + position, self._end)
        self._next_position = position + len(frames)
        self._sessions[-1]["frames"] += len(frames)
        if index + len(frames) > _MOST_FRAMES:
            self._lost += len(frames)
            return
        if index != self._end:
            self._write()
            self._at = index
        self._pending.append(_pcm(frames))
        self._end = index + len(frames)
        if self._clock.monotonic_ns() - self._refreshed_ns >= _REFRESH_NS:
            self._refresh()

    def inserted(self, position: int, at_ns: int, frames: int) -> None:
        self._underruns += 1
        self._inserted += frames
        self._sessions[-1]["underruns"] += 1

    def closed(self, at_ns: int) -> None:
        self._sessions[-1]["closed_ns"] = at_ns
        self._refresh()

    # ------------------------------------------------------------ what the lines tell

    def line_changed(self, change: LineChange) -> None:
        if not self._closed:
            record = {
                "mono_ns": change.at_ns,
                "wall_ns": self._wall_ns(),
                "line": change.line,
                "active": change.active,
                "level": int(change.level),
            }
            self._lines.write(json.dumps(record, ensure_ascii=False) + "\n")

    # ------------------------------------------------------------ the end

    def close(self) -> None:
        """Fill up with silence until now and close the files. Idempotent."""
        if self._closed:
            return
        now = min(max(self._index(self._clock.monotonic_ns()), self._end), _MOST_FRAMES)
        self._write()
        self._end = self._at = now
        self._wav.truncate(_HEADER_BYTES + 2 * now)
        self._refresh()
        self._closed = True
        self._wav.close()
        self._lines.close()

    # ------------------------------------------------------------ inside

    def _index(self, at_ns: int) -> int:
        return round((at_ns - self._start_ns) * RATE_HZ / NS)

    def _correction(self, position: int, at_ns: int) -> int:
        """Frames to shift what follows a pause by, when the card's count has left the clock (drift)."""
        off = self._index(at_ns) - (self._anchor + position)
        return off if abs(off) > _TOLERANCE_FRAMES else 0

    def _write(self) -> None:
        if self._pending:
            self._wav.seek(_HEADER_BYTES + 2 * self._at)
            self._wav.write(b"".join(self._pending))
            self._pending.clear()
        self._at = self._end

    def _refresh(self) -> None:
        """Bring the files on disk up to what is known."""
        self._refreshed_ns = self._clock.monotonic_ns()
        self._write()
        self._wav.flush()
        self._wav.seek(0)
        self._wav.write(_header(self._end))
        self._wav.flush()
        facts = {
            "rate_hz": RATE_HZ,
            "channels": 1,
            "start_wall_ns": self._start_wall_ns,
            "start_monotonic_ns": self._start_ns,
            "frames": self._end,
            "underruns": self._underruns,
            "inserted_silence_frames": self._inserted,
            "frames_not_kept": self._lost,
            "session_count": self._count,
            "sessions": list(self._sessions),
        }
        fresh = self._json.with_suffix(".json.new")
        fresh.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        fresh.replace(self._json)

    def _wall_ns(self) -> int:
        return (self._clock.utc_now() - _EPOCH) // timedelta(microseconds=1) * 1000


def _pcm(frames: Frames) -> bytes:
    """Float frames as 16-bit PCM, rounded to nearest, clipped at full scale."""
    return bytes(np.rint(np.clip(frames, -1.0, 1.0) * 32767.0).astype("<i2").data)


def _header(frames: int) -> bytes:
    size = 2 * frames
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16, b"data", size),
    )
