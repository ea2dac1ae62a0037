"""What comes in at the node's input as a `Source`: read late, levelled, watched, and gone on with as it then is.

The input has a crystal of its own, and the card another: what waits in between is kept as long as it was when it
began, by a slow change of rate. While somebody else has the turn nobody listens: the device is closed, so that
nothing waits, nothing is overheard, and a card that was pulled out can be found again.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.errors import MediaRefused
from edge_agent.model import NS, RATE_HZ, ReasonCode
from edge_agent.playout.gain import fallen, risen
from edge_agent.playout.noise import NoiseWatch
from edge_agent.playout.rate import Rate
from edge_agent.playout.source import Timely
from edge_agent.playout.steering import Steering
from hal.errors import HalError

if TYPE_CHECKING:
    from edge_agent.playout.leveller import Leveller
    from hal.ports import Clock, Frames, LineInput

log = logging.getLogger(__name__)

DELAY_FRAMES: Final = RATE_HZ * 3 // 20
"""So much waits when it begins to sound: the input comes in pieces, and the card asks for 50 ms at once."""
_BEYOND_FRAMES: Final = RATE_HZ // 5
"""So much more than that may wait; then it is cut."""
LOST_S: Final = 30
"""An input that gives nothing for so long ends its part."""
AWAY_S: Final = 2
"""A part whose input was away for so long in all did not sound whole."""
_AGAIN_S: Final = 1.0
_LET_GO_S: Final = 0.05
_WINDOW_FRAMES: Final = 5 * RATE_HZ
_AUDIBLE: Final = 0.001
"""-60 dBFS; what never exceeds it is silence."""


class LineInSource(Timely):
    """The input, for so long from its first frame on, interruptions included."""

    gain_db = 0.0

    def __init__(self, line_in: LineInput, *, for_s: int, leveller: Leveller, clock: Clock) -> None:
        self._line_in = line_in
        self._for_s = for_s
        self._leveller = leveller
        self._clock = clock
        self._noise = NoiseWatch()
        self._life: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._held = np.zeros(0, np.float32)
        self._filling = self._edge = True
        self._rate = Rate()
        self._steering = Steering()
        self._least: int | None = None
        self._looked = 0
        self._usual: int | None = None
        self._late_ns = 0
        self._began_ns: int | None = None
        self._there_ns: int | None = None
        """When something of it last sounded in this run."""
        self._end: str | None = None
        self._why: str | None = None
        """Why the input cannot be had, for people."""
        self._sounded = 0
        self._audible = 0
        self._away = 0
        self._waited = 0
        self._opened = 0
        self._skipped = 0

    # ------------------------------------------------------------ as a source

    @property
    def waited_frames(self) -> int:
        return self._waited

    async def read(self, frames: int, playout_ns: int | None = None) -> Frames:
        """The next block, silence where the input gives nothing. Never waits. Raises MediaRefused when it is lost,
        was away for too long in all, or is noise."""
        if self._end is not None:
            return np.zeros(0, np.float32)
        at_ns = self._clock.monotonic_ns() if playout_ns is None else playout_ns
        if self._began_ns is None:
            self._began_ns = at_ns
        if self._there_ns is None:
            self._there_ns = at_ns
            self._life = asyncio.create_task(self._listen(), name="listen to the input")
        left = self._for_s * RATE_HZ - (at_ns - self._began_ns) * RATE_HZ // NS
        if left <= 0:
            return self._over()
        block = self._block(min(frames, left), at_ns)
        if self._noise.take(block) is not None:
            self._end = "noise"
            log.error("What comes in at the input is no programme; it was stopped.")
            raise MediaRefused(
                ReasonCode.NO_MEDIA,
                "The sound input gives noise at full scale: it was stopped. See its cable and what feeds it.",
            )
        return fallen(block) if left <= frames else block

    async def close(self) -> None:
        self._end = self._end or "interrupted"
        self._hang_up()
        if self._leaving:  # a device that hangs is let go of later: the next part must not wait for it
            await asyncio.wait(self._leaving, timeout=_LET_GO_S)

    def bad_packets(self) -> int:
        return 0

    def paused(self, *, yes: bool) -> None:
        """Nobody listens while another sounds; afterwards with what is being said then."""
        if yes:
            self._hang_up()

    def report(self) -> dict[str, object]:
        found: dict[str, object] = {
            "sounded_ms": _ms(self._sounded),
            "audible_ms": _ms(self._audible),
            "away_ms": _ms(self._away),
            "opened": self._opened,
            "ended": self._end or "interrupted",
            "drift_ppm": round(self._steering.ppm, 1),
            "gain_db": round(self._leveller.gain_db, 1),
        }
        if self._skipped:
            found["skipped_ms"] = _ms(self._skipped)
        if self._why is not None:
            found["fault"] = self._why
        return found

    # ------------------------------------------------------------ ends

    def _over(self) -> Frames:
        self._end = "for_s"
        if self._away >= AWAY_S * RATE_HZ:
            raise MediaRefused(
                ReasonCode.HARDWARE_FAULT,
                f"The sound input was away for {self._away // RATE_HZ} of {self._for_s} s ({self._reason()}).",
            )
        return np.zeros(0, np.float32)

    def _check_lost(self, at_ns: int) -> None:
        assert self._there_ns is not None
        if at_ns - self._there_ns >= LOST_S * NS:
            self._end = "lost"
            raise MediaRefused(
                ReasonCode.HARDWARE_FAULT,
                f"Nothing came from the sound input for {LOST_S} s ({self._reason()}).",
            )

    def _reason(self) -> str:
        return self._why or "it was open, and gave nothing; see its cable and sound.input"

    # ------------------------------------------------------------ what sounds

    def _block(self, frames: int, at_ns: int) -> Frames:
        found = self._taken(frames)
        if found.size:
            self._there_ns = at_ns
            self._sounded += found.size
            if max(float(found.max()), -float(found.min())) > _AUDIBLE:
                self._audible += found.size
            if self._edge:
                self._edge = False
                found = risen(found)
            found = self._leveller.process(found)
        else:
            self._check_lost(at_ns)
        if found.size < frames:
            if not self._sounded:
                self._waited += frames
            self._away += frames - found.size
            found = np.pad(fallen(found), (0, frames - found.size))
        return found

    def _taken(self, frames: int) -> Frames:
        """What is there of the next frames; nothing until enough waits."""
        if self._filling:
            if self._held.size < DELAY_FRAMES:
                return self._held[:0]
            self._filling = False
        if self._held.size > DELAY_FRAMES + (0 if self._edge else _BEYOND_FRAMES):
            self._skip()
        self._steer(frames)
        found, self._held = self._held[:frames], self._held[frames:]
        if found.size < frames:
            self._refill()
        return found

    def _skip(self) -> None:
        """Too much waits: go on with what is newest."""
        over = self._held.size - DELAY_FRAMES
        self._held = self._held[over:]
        if not self._edge:
            self._skipped += over
        self._edge = True
        self._relearn()

    def _refill(self) -> None:
        self._held = self._held[:0]
        self._filling = self._edge = True
        self._relearn()

    def _relearn(self) -> None:
        self._least = self._usual = None
        self._looked = self._late_ns = 0

    def _steer(self, frames: int) -> None:
        """By the least that waited in each window, against what that was in the first one."""
        self._least = min(self._held.size, self._held.size if self._least is None else self._least)
        self._looked += frames
        if self._looked >= _WINDOW_FRAMES:
            self._usual = self._least if self._usual is None else self._usual
            self._late_ns = (self._least - self._usual) * NS // RATE_HZ
            self._least, self._looked = None, 0
        self._steering.step(self._late_ns, frames / RATE_HZ, frozen=self._usual is None)

    # ------------------------------------------------------------ the input

    def _hang_up(self) -> None:
        life, self._life = self._life, None
        self._there_ns = None
        if life is not None:
            life.cancel()
            self._leaving = {task for task in self._leaving if not task.done()} | {life}
        self._refill()

    async def _listen(self) -> None:
        """Open it and read, again and again."""
        if self._leaving:
            await asyncio.wait(self._leaving)  # one capture at a time
        while True:
            try:
                await self._session()
            except HalError as error:
                if str(error) != self._why:
                    self._why = str(error)
                    log.warning("The sound input is lost; it is tried again and again. error=%s", error)
            await asyncio.sleep(_AGAIN_S)

    async def _session(self) -> None:
        capture = await self._line_in.open()
        self._opened += 1
        try:
            while True:
                came = self._rate.process(await capture.read(), self._steering.ratio)
                # while nobody reads, only the newest is kept
                self._held = np.concatenate((self._held, came))[-2 * (DELAY_FRAMES + _BEYOND_FRAMES) :]
        finally:
            await capture.close()


def _ms(frames: int) -> int:
    return frames * 1_000 // RATE_HZ
