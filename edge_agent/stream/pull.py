"""The link that fetches a stream: keeps it connected, keeps its delay, and gives it up when it is silent.

What is decoded waits in one line. It begins to sound when `delay` of it is there, and again so after each
interruption, so that reconnecting never adds to the delay: what came beyond it (a server's burst at the start,
the catching-up after a stall) is left out.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.model import MS, NS, RATE_HZ
from edge_agent.playout.gain import fallen, risen
from edge_agent.playout.rate import Rate
from edge_agent.playout.steering import Steering
from edge_agent.stream.delay import WindowedExtreme
from edge_agent.stream.line import Line
from hal.errors import WebcastError, WebcastRefused

if TYPE_CHECKING:
    from edge_agent.model import WebOrigin
    from edge_agent.playout.leveller import Leveller
    from hal.ports import Clock, Frames, Webcasts

log = logging.getLogger(__name__)

DELAY_MS = 1_000
"""A stream that is fetched comes in gulps; most of them are shorter."""
_BEYOND = RATE_HZ * 3 // 2
"""So much more than the delay may wait; then it is cut to the delay."""
_AGAIN_S = (0.5, 30.0)
_POLL_S = 10.0
"""A stream that is not there yet (404, 410) is looked for so often."""
_FORBIDDEN_S = 60.0
_PROVEN_S = 10.0
"""After so much sound a connection counts as good, and the next wait is short again."""
_AUDIBLE = 0.001
"""-60 dBFS; what never exceeds it is silence."""
_LEVEL_WINDOW_NS = 10 * NS
_GONE, _NOT_ALLOWED = (404, 410), (401, 403)


class PullStage:
    """One fetched stream as a `Stage`."""

    def __init__(
        self,
        name: str,
        origin: WebOrigin,
        *,
        webcasts: Webcasts,
        leveller: Leveller,
        clock: Clock,
        rng: random.Random,
        silent_s: float,
        delay_ms: int | None = None,
        received: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`received` is told how many bytes came."""
        self.name = name
        self._origin = origin
        self._webcasts = webcasts
        self._leveller = leveller
        self._clock = clock
        self._rng = rng
        self._received = received
        self._silent_frames = round(silent_s * RATE_HZ)
        self._delay = (DELAY_MS if delay_ms is None else delay_ms) * RATE_HZ // 1_000
        self._line = Line()
        self._out = Line()
        self._rate = Rate()
        self._steering = Steering()
        self._levels = WindowedExtreme(_LEVEL_WINDOW_NS, step_ns=50 * MS)
        self._usual: float | None = None
        self._settles_ns = 0
        self._filling = True
        self._silent = 0
        """Frames since something was to be heard."""
        self._mute = 0
        """Of those, since the connection."""
        self._present = False
        self._edge = True
        self._life: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self.fault: str | None = None
        """Why it cannot be had, for people."""
        self._said: str | None = None
        self._connects = 0
        self._losses = 0
        self._skipped = 0
        self._given = 0

    # ------------------------------------------------------------ as a stage

    @property
    def ready(self) -> bool:
        return not self._filling and not self._is_silent

    @property
    def hopeless(self) -> bool:
        return self.fault is not None or self._is_silent

    @property
    def present(self) -> bool:
        return self._present

    @property
    def over(self) -> bool:
        return False

    def start(self) -> None:
        if self._life is None:
            self._life = asyncio.create_task(self._connected(), name=f"fetch {self.name}")

    def stop(self) -> None:
        life, self._life = self._life, None
        if life is not None:
            life.cancel()
            self._leaving = {task for task in self._leaving if not task.done()} | {life}
        self._line.clear()
        self._refill()

    async def read(self, frames: int, playout_ns: int) -> Frames:
        self._keep_delay()
        while self._out.held < frames and not self._filling:
            piece = self._line.take(min(frames, RATE_HZ // 50))
            if not piece.size:
                self._refill()
                break
            self._out.put(self._rate.process(piece, self._ratio(piece.size)))
        found = self._out.take(frames)
        self._note(found)
        if found.size and self._edge:
            self._edge = False
            found = risen(found)
        self._present = found.size > 0 and not self._is_silent
        if found.size:
            found = self._leveller.process(found)
        if found.size < frames:
            found = np.pad(fallen(found), (0, frames - found.size))
        return found

    async def close(self) -> None:
        self.stop()
        if self._leaving:
            await asyncio.wait(self._leaving)

    def report(self) -> dict[str, object]:
        return {
            "connects": self._connects,
            "losses": self._losses,
            "skipped_ms": self._skipped * 1_000 // RATE_HZ,
            "held_ms": self._line.held * 1_000 // RATE_HZ,
            "drift_ppm": round(self._steering.ppm, 1),
            "gain_db": round(self._leveller.gain_db, 1),
            **({} if self.fault is None else {"fault": self.fault}),
        }

    # ------------------------------------------------------------ the line

    @property
    def _is_silent(self) -> bool:
        return self._silent >= self._silent_frames

    def _note(self, found: Frames) -> None:
        if found.size:
            loud = max(float(found.max()), -float(found.min())) > _AUDIBLE
            self._silent = 0 if loud else self._silent + found.size
            self._mute = 0 if loud else self._mute + found.size

    def _take_in(self, frames: Frames) -> None:
        """What was decoded. While nobody reads, no more than the delay and some is kept."""
        self._line.put(frames)
        self._given += frames.size
        if self._filling and self._line.held >= self._delay:
            self._filling = False
        if self._line.held > self._delay + _BEYOND:
            self._skip()

    def _keep_delay(self) -> None:
        if self._edge and self._line.held > self._delay:  # it begins: with what is newest
            self._skip()

    def _skip(self) -> None:
        over = self._line.held - self._delay
        self._line.take(over)
        self._skipped += over
        self._edge = True
        self._relearn()

    def _refill(self) -> None:
        self._filling = self._edge = True
        self._present = False
        self._relearn()

    def _relearn(self) -> None:
        self._levels.clear()
        self._usual = None
        self._settles_ns = self._clock.monotonic_ns() + _LEVEL_WINDOW_NS

    def _ratio(self, frames: int) -> float:
        """Kept by the least that waited lately, against what that was when the stream began: gulps do not count."""
        now_ns = self._clock.monotonic_ns()
        least = self._levels.put(now_ns, self._line.held)
        if now_ns < self._settles_ns:
            return self._steering.ratio
        if self._usual is None:
            self._usual = float(least)
        late_ns = round((least - self._usual) * NS / RATE_HZ)
        return self._steering.step(late_ns, frames / RATE_HZ)

    # ------------------------------------------------------------ the connection

    async def _connected(self) -> None:
        """Connect and read, again and again."""
        wait_s = _AGAIN_S[0]
        while True:
            before = self._given
            try:
                pause_s = await self._session()
            except WebcastRefused as refusal:
                pause_s = self._refused(refusal)
            except WebcastError as error:
                pause_s = None
                self._say(str(error))
            self._losses += self._given > before
            if self._given - before >= _PROVEN_S * RATE_HZ:
                wait_s = _AGAIN_S[0]
            if pause_s is None:
                pause_s, wait_s = wait_s, min(wait_s * 2, _AGAIN_S[1])
            await asyncio.sleep(pause_s * self._rng.uniform(0.5, 1.0))

    def _say(self, error: str) -> None:
        """In the log, once for each reason in a row: an hour of attempts is one line."""
        if error != self._said:
            self._said = error
            log.info("A stream is lost; it is tried again and again. stage=%s error=%s", self.name, error)

    async def _session(self) -> float | None:
        webcast = await self._webcasts.open(self._origin.url, pin=self._origin.pin)
        self._connects += 1
        self._said = None
        self._mute = 0
        self.fault = None
        counted = 0
        try:
            while True:
                self._take_in(await webcast.read())
                self._received(webcast.received() - counted)
                counted = webcast.received()
                if self._mute >= self._silent_frames:
                    log.info("A stream is connected but silent; it is connected again. stage=%s", self.name)
                    self._line.clear()
                    self._refill()
                    self.fault = "It is connected, but silent."
                    return _POLL_S
        finally:
            await webcast.close()

    def _refused(self, refusal: WebcastRefused) -> float | None:
        if refusal.status in _NOT_ALLOWED:
            self.fault = f"The server does not let us listen (HTTP {refusal.status}); see its access rules."
            return _FORBIDDEN_S
        if refusal.status in _GONE:
            self.fault = f"The stream is not there (HTTP {refusal.status}); is its sender connected?"
            return _POLL_S
        return None
