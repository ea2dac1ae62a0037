"""A virtual sound input: what is said into it at each instant of any clock, and what may be wrong with it.

Nothing ticks. What has come is computed from the clock whenever somebody reads, so an input that nobody listens to
costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hal.errors import SoundLost, SoundMissing
from hal.nap import Nap

if TYPE_CHECKING:
    from hal.ports import Clock, Frames

NS = 1_000_000_000
RATE_HZ = 48_000
WAITING_MAX = 24_000
_PERIOD_FRAMES = 960
_STALL_S = 3.0

Wave = Callable[[int, int], "Frames"]
"""So many frames from a position on; positions are those of the clock's zero."""


def hum(position: int, frames: int) -> Frames:
    """A mains hum and its second harmonic, at -26 dBFS: what an input without a programme gives."""
    turns = (np.arange(position, position + frames) % RATE_HZ) / RATE_HZ * 50 * 2 * np.pi
    return (0.05 * np.sin(turns) + 0.02 * np.sin(2 * turns)).astype(np.float32)


@dataclass(slots=True, kw_only=True)
class InputFaults:
    """What is wrong with an input; a test changes it at any time."""

    missing: bool = False
    """Not there: `open` raises SoundMissing."""
    held: bool = False
    """Another program has it."""
    silent: bool = False
    """The device is there, and nothing but zeros comes: the cable is out of its socket."""


class VirtualLineIn:
    """One input device. Rate is `RATE_HZ * (1 + drift_ppm / 1e6)` of the clock's seconds."""

    def __init__(
        self,
        clock: Clock,
        drift_ppm: float = 0.0,
        faults: InputFaults | None = None,
        *,
        name: str = "virtual line",
    ) -> None:
        self.name = name
        self.faults = faults if faults is not None else InputFaults()
        self.drift_ppm = drift_ppm
        """Read when it is opened."""
        self.wave: Wave = hum
        """What is said into it; `plays` changes it."""
        self.opened = 0
        """How often somebody began to listen."""
        self._clock = clock
        self._capture: VirtualCapture | None = None

    async def open(self) -> VirtualCapture:
        if self.faults.missing:
            raise SoundMissing(f"no input device is called {self.name!r}; there is none at all: plug it in")
        if self.faults.held:
            raise SoundMissing(f"input device {self.name!r} is held by another program; end that program")
        if self.capture is not None:
            raise SoundMissing(f"the sound input {self.name!r} is open already; close its capture first")
        self.opened += 1
        self._capture = VirtualCapture(
            self._clock, self, frames_per_ns=RATE_HZ * (1 + self.drift_ppm / 1e6) / NS
        )
        return self._capture

    # ------------------------------------------------------------ the world's side

    @property
    def capture(self) -> VirtualCapture | None:
        """The capture that is open, if one is."""
        return None if self._capture is None or self._capture.is_closed else self._capture

    def plays(self, frames: Frames) -> None:
        """From now on these frames are said into it, once; silence before and after."""
        begin = round(self._clock.monotonic_ns() * RATE_HZ / NS)

        def wave(position: int, count: int) -> Frames:
            out = np.zeros(count, np.float32)
            low, high = max(position, begin), min(position + count, begin + frames.size)
            if low < high:
                out[low - position : high - position] = frames[low - begin : high - begin]
            return out

        self.wave = wave

    def unplug(self) -> None:
        """Pull the device out, in the middle of whatever it hears."""
        self.faults.missing = True
        if (capture := self.capture) is not None:
            capture.lose("the input was unplugged")

    def replug(self) -> None:
        """Put it in again; an open capture stays lost."""
        self.faults.missing = False

    def stall(self) -> None:
        """It gives nothing any more, without a word; after 3 s its driver gives it up."""
        if (capture := self.capture) is not None:
            capture.freeze()

    def resume(self) -> None:
        """A stalled input goes on with what is said now."""
        if (capture := self.capture) is not None:
            capture.thaw()


class VirtualCapture:
    """An open virtual input. What has come lies between the next frame to be read and the clock."""

    def __init__(self, clock: Clock, line: VirtualLineIn, *, frames_per_ns: float) -> None:
        self.discarded = 0
        self.is_closed = False
        self._clock = clock
        self._line = line
        self._frames_per_ns = frames_per_ns
        self._opened_ns = clock.monotonic_ns()
        self._origin = round(self._opened_ns * RATE_HZ / NS)
        self._next = 0
        """The first frame that was not read; frames are counted from the opening."""
        self._frozen_ns: int | None = None
        self._lost: str | None = None
        self._nap = Nap()

    async def read(self) -> Frames:
        while True:
            assert not self.is_closed, "a closed capture hears nothing"
            if (found := self._taken()).size:
                return found
            if self._frozen_ns is not None and self._now_ns() - self._frozen_ns >= _STALL_S * NS:
                self._lost = f"nothing has come from it for {_STALL_S:g} s"
            if self._lost is not None:
                raise SoundLost(f"the sound input failed while it was open: {self._lost}")
            await self._pause()

    async def close(self) -> None:
        self.is_closed = True

    # ------------------------------------------------------------ the world's side

    def lose(self, why: str) -> None:
        """The device is gone."""
        self.freeze()
        self._lost = self._lost or why
        self._nap.wake()

    def freeze(self) -> None:
        """Give nothing from now on."""
        if self._frozen_ns is None:
            self._frozen_ns = self._now_ns()
            self._nap.wake()

    def thaw(self) -> None:
        """Give what is said from now on."""
        if self._frozen_ns is not None and self._lost is None:
            self._frozen_ns = None
            self._next = self._come()
            self._nap.wake()

    # ------------------------------------------------------------ the input

    def _now_ns(self) -> int:
        return self._clock.monotonic_ns()

    def _come(self) -> int:
        """Frames that have come since it was opened: whole periods."""
        until_ns = self._now_ns() if self._frozen_ns is None else self._frozen_ns
        frames = int((until_ns - self._opened_ns) * self._frames_per_ns)
        return frames // _PERIOD_FRAMES * _PERIOD_FRAMES

    def _taken(self) -> Frames:
        come = self._come()
        count = min(come - self._next, WAITING_MAX)
        if count <= 0:
            return np.zeros(0, np.float32)
        position = self._origin + self._next
        self.discarded += come - self._next - count
        self._next = come
        return np.zeros(count, np.float32) if self._line.faults.silent else self._line.wave(position, count)

    async def _pause(self) -> None:
        """Until the next period has come, or something happens to the device."""
        if self._frozen_ns is None:
            until_ns = self._opened_ns + (self._next + _PERIOD_FRAMES) / self._frames_per_ns
        else:
            until_ns = self._frozen_ns + _STALL_S * NS
        await self._nap.rest((max(until_ns - self._now_ns(), 0) + 1000) / NS)
