"""A stored programme that begins at an instant, and keeps to it: every pole that is told so says the same thing at the same time.

Until then it is silence. Who is late joins in where the others are. After that the card's rate is steered as for a
live group; what is further off than steering mends is left out, or waited for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.model import NS, RATE_HZ
from edge_agent.playout.gain import risen
from edge_agent.playout.rate import Rate
from edge_agent.playout.source import Timely
from edge_agent.playout.steering import FIRM_KI, FIRM_KP, Punctuality, Steering

if TYPE_CHECKING:
    from edge_agent.playout.source import Source
    from hal.ports import Frames

_REACH_FRAMES = RATE_HZ // 50
_AT_ONCE = 2 * RATE_HZ
_BLOCKS = 256
"""Of the punctuality: some ten seconds."""


class Appointed(Timely):
    """A `Source` around another one, whose first frame sounds at `starts_ns()` (CLOCK_BOOTTIME)."""

    def __init__(self, source: Source, starts_ns: Callable[[], int | None]) -> None:
        """`starts_ns` is asked again and again, because wall time is set right while we play; None: not known now."""
        self.gain_db = source.gain_db
        self._source = source
        self._starts = starts_ns
        self._starts_ns: int | None = None
        self._rate = Rate()
        self._steering = Steering(kp_per_s=FIRM_KP, ki_per_s2=FIRM_KI)
        self._taken = 0
        self._waited = 0
        self._skipped = 0
        self._begun = False
        self._edge = True
        self._punctuality = Punctuality(_BLOCKS)

    @property
    def waited_frames(self) -> int:
        return self._waited

    async def read(self, frames: int, playout_ns: int | None = None) -> Frames:
        """Silence before its time; then what is due."""
        self._starts_ns = self._starts() or self._starts_ns
        if self._starts_ns is None or playout_ns is None:
            return self._silence(frames)
        wanted = (playout_ns - self._starts_ns) * RATE_HZ / NS
        late = round(wanted - (self._taken - self._rate.delay_frames))
        if late < -_REACH_FRAMES or (not self._begun and late < 0):
            return self._silence(min(frames, -late))
        if late > _REACH_FRAMES and not await self._skip(late):
            return np.zeros(0, np.float32)
        return await self._next(frames, playout_ns)

    async def close(self) -> None:
        await self._source.close()

    def bad_packets(self) -> int:
        return self._source.bad_packets()

    def paused(self, *, yes: bool) -> None:
        self._source.paused(yes=yes)
        self._edge = True

    def report(self) -> dict[str, object] | None:
        """How well the appointment was kept."""
        found: dict[str, object] = {"drift_ppm": round(self._steering.ppm, 1)}
        if self._skipped:
            found["joined_late_ms"] = self._skipped * 1_000 // RATE_HZ
        return found | self._punctuality.report()

    def _silence(self, frames: int) -> Frames:
        if not self._begun:
            self._waited += frames
        self._edge = True
        return np.zeros(frames, np.float32)

    async def _skip(self, frames: int) -> bool:
        """Pass over so many; whether there was anything after them."""
        while frames:
            gone = await self._source.read(min(frames, _AT_ONCE))
            if not gone.size:
                return False
            self._taken += gone.size
            self._skipped += gone.size
            frames -= gone.size
        self._edge = True
        return True

    async def _next(self, frames: int, playout_ns: int) -> Frames:
        while True:
            assert self._starts_ns is not None
            piece = await self._source.read(frames)
            if not piece.size:
                return np.zeros(0, np.float32)
            at = self._taken - self._rate.delay_frames
            late_ns = round(playout_ns - self._starts_ns - at * NS / RATE_HZ)
            ratio = self._steering.step(late_ns, piece.size / RATE_HZ, frozen=not self._begun)
            self._taken += piece.size
            out = self._rate.process(piece, ratio)
            if out.size:
                break
        if self._begun:
            self._punctuality.put(late_ns)
        self._begun = True
        if self._edge:
            self._edge = False
            out = risen(out)
        return out
