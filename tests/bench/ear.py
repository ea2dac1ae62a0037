"""Listens to the null sink of a private PulseAudio and knows when each frame was heard."""

from __future__ import annotations

import subprocess
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np

from edge_agent.model import NS, RATE_HZ
from hal.linux.clock import SystemClock
from tests.hal.pulse import PulseDaemon

if TYPE_CHECKING:
    from hal.ports import Frames

CLOCK = SystemClock(always_synced=True)
_CHUNK = RATE_HZ // 100 * 4


class Ear:
    """A recording of the sink's monitor; every chunk that comes out of it is stamped.

    Frame i was heard no later than the earliest stamp says, less what lies between: so the time of a
    frame is a little late (by the recorder's own delay, some ms), never early.
    """

    def __init__(self, pulse: PulseDaemon) -> None:
        self._process = subprocess.Popen(
            [
                *("parec", "--raw", "--format=float32le", f"--rate={RATE_HZ}", "--channels=1"),
                *("--latency-msec=10", f"--device={pulse.sink}.monitor"),
            ],
            env=pulse.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        self._chunks: list[bytes] = []
        self._start_ns = CLOCK.monotonic_ns()
        self._thread = threading.Thread(target=self._listen, name="ear", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._thread.join(10)

    def heard(self) -> tuple[Frames, int]:
        """Everything so far, and the CLOCK_BOOTTIME ns of its first frame."""
        raw = b"".join(self._chunks)
        return np.frombuffer(raw[: len(raw) // 4 * 4], np.float32), self._start_ns

    def _listen(self) -> None:
        assert self._process.stdout is not None
        frames = 0
        earliest: int | None = None
        while chunk := self._process.stdout.read(_CHUNK):
            self._chunks.append(chunk)
            frames += len(chunk) // 4
            start_ns = CLOCK.monotonic_ns() - frames * NS // RATE_HZ
            earliest = start_ns if earliest is None else min(earliest, start_ns)
            self._start_ns = earliest
