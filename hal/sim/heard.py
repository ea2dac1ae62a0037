"""What a virtual sound card's loudspeaker gave off: the sink's shape, a memory of it for tests, and several ears."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from hal.ports import Frames

NS = 1_000_000_000


class HeardSink(Protocol):
    """Who listens to a virtual card. Called in order of time, a little after the fact; never raises.

    `position` counts the card's frames since the stream was opened, silence included, so frames of
    one stream are contiguous exactly when their positions are; `at_ns` is when the first one sounded.
    """

    def opened(self, at_ns: int, rate_hz: int) -> None:
        """A stream begins: position 0 is now."""

    def heard(self, position: int, at_ns: int, frames: Frames) -> None:
        """Written frames have sounded. The array is the sink's to keep."""

    def inserted(self, position: int, at_ns: int, frames: int) -> None:
        """The card wanted frames in mid-programme and had none: so much silence was put in."""

    def closed(self, at_ns: int) -> None:
        """The stream ended; nothing sounds until the next one."""


class Ears:
    """Several sinks at one card."""

    def __init__(self, *sinks: HeardSink) -> None:
        self._sinks = sinks

    def opened(self, at_ns: int, rate_hz: int) -> None:
        for sink in self._sinks:
            sink.opened(at_ns, rate_hz)

    def heard(self, position: int, at_ns: int, frames: Frames) -> None:
        for sink in self._sinks:
            sink.heard(position, at_ns, frames)

    def inserted(self, position: int, at_ns: int, frames: int) -> None:
        for sink in self._sinks:
            sink.inserted(position, at_ns, frames)

    def closed(self, at_ns: int) -> None:
        for sink in self._sinks:
            sink.closed(at_ns)


@dataclass(slots=True, kw_only=True)
class Segment:
    """Frames that sounded one after another without a gap, as the blocks they were written in."""

    start_ns: int
    stream: int
    position: int
    blocks: list[Frames]
    length: int

    @property
    def frames(self) -> Frames:
        """All of them in one array."""
        if len(self.blocks) > 1:
            self.blocks = [np.concatenate(self.blocks)]
        return self.blocks[0]


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of time in which nothing was heard."""

    start_ns: int
    end_ns: int

    @property
    def ms(self) -> float:
        """Its length."""
        return (self.end_ns - self.start_ns) / 1e6


class Heard:
    """Keeps the last `keep_s` of what sounded, in memory, and the counts of everything."""

    def __init__(self, *, keep_s: float = 600.0) -> None:
        self._keep_frames = int(keep_s * 48_000)
        self.rate_hz = 48_000
        self.segments: deque[Segment] = deque()
        """Oldest first."""
        self.sessions: deque[tuple[int, int | None]] = deque(maxlen=1000)
        """(opened, closed or None) of each stream."""
        self.frames_heard = 0
        self.frames_inserted = 0
        self.underruns = 0
        self.forgotten = 0
        """Frames that were thrown away because of `keep_s`."""
        self._kept = 0
        self._streams = 0

    # ------------------------------------------------------------ the card's side

    def opened(self, at_ns: int, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self._streams += 1
        self.sessions.append((at_ns, None))

    def heard(self, position: int, at_ns: int, frames: Frames) -> None:
        count = len(frames)
        self.frames_heard += count
        self._kept += count
        last = self.segments[-1] if self.segments else None
        if (
            last is not None
            and last.stream == self._streams
            and last.position + last.length == position
            and last.length < 10 * self.rate_hz
        ):
            last.blocks.append(frames)
            last.length += count
        else:
            self.segments.append(
                Segment(
                    start_ns=at_ns, stream=self._streams, position=position, blocks=[frames], length=count
                )
            )
        while self._kept > self._keep_frames and len(self.segments) > 1:
            old = self.segments.popleft()
            self._kept -= old.length
            self.forgotten += old.length

    def inserted(self, position: int, at_ns: int, frames: int) -> None:
        self.underruns += 1
        self.frames_inserted += frames

    def closed(self, at_ns: int) -> None:
        self.sessions[-1] = (self.sessions[-1][0], at_ns)

    # ------------------------------------------------------------ the test's side

    def between(self, start_ns: int, end_ns: int) -> Frames:
        """What was heard from one instant to another, as one array; silence where nothing was written."""
        length = round((end_ns - start_ns) * self.rate_hz / NS)
        out = np.zeros(max(length, 0), dtype=np.float32)
        for segment in self.segments:
            at = round((segment.start_ns - start_ns) * self.rate_hz / NS)
            low, high = max(at, 0), min(at + segment.length, length)
            if low < high:
                out[low:high] = segment.frames[low - at : high - at]
        return out

    def everything(self) -> Frames:
        """All kept frames as they were written, without the silence between them."""
        blocks = [segment.frames for segment in self.segments]
        return np.concatenate(blocks) if blocks else np.zeros(0, dtype=np.float32)

    def rms(self, start_ns: int, end_ns: int) -> float:
        """Root mean square between two instants, full scale = 1.0."""
        frames = self.between(start_ns, end_ns)
        return float(np.sqrt(np.mean(np.square(frames, dtype=np.float64)))) if len(frames) else 0.0

    def gaps(self, start_ns: int, end_ns: int, *, least_ms: float = 5.0, below: float = 1e-4) -> list[Gap]:
        """Stretches of at least `least_ms` whose frames all stay below a level (or were never written)."""
        quiet = np.abs(self.between(start_ns, end_ns)) < below
        edges = np.flatnonzero(np.diff(np.concatenate(([False], quiet, [False])).astype(np.int8)))
        gaps = [
            Gap(start_ns + round(low * NS / self.rate_hz), start_ns + round(high * NS / self.rate_hz))
            for low, high in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
        ]
        return [gap for gap in gaps if gap.ms >= least_ms]

    @property
    def first_ns(self) -> int | None:
        """When the first kept frame sounded."""
        return self.segments[0].start_ns if self.segments else None

    @property
    def end_ns(self) -> int | None:
        """When the last kept frame had sounded."""
        if not self.segments:
            return None
        last = self.segments[-1]
        return last.start_ns + round(last.length * NS / self.rate_hz)
