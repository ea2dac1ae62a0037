"""One request's time at the loudspeaker: made ready, played (perhaps in several runs), accounted for.

A turn decides nothing about its place in the queue. Pre-emption and stop reach it as a
cancellation; it fades, remembers its place and lets go. How it ended is its return value.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.errors import Refused
from edge_agent.model import (
    RATE_HZ,
    AsRun,
    Audible,
    Finished,
    OrderState,
    Outcome,
    Reason,
    ReasonCode,
)
from edge_agent.ticket import Ticket
from hal.errors import HalError, LineError, SoundLost, SoundMissing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edge_agent.playout.amplifier import Amplifier
    from edge_agent.playout.deck import Deck
    from edge_agent.playout.pump import Pump
    from edge_agent.playout.rules import Rules
    from edge_agent.playout.source import Source
    from hal.ports import Clock, SoundStream

log = logging.getLogger(__name__)

_STATE = {
    ReasonCode.CANCELLED: OrderState.CANCELLED,
    ReasonCode.EXPIRED: OrderState.EXPIRED,
    ReasonCode.INTERRUPTED: OrderState.INTERRUPTED,
    ReasonCode.PREEMPTED: OrderState.INTERRUPTED,
}
"""The order's state for a reason; every other reason is a failure."""
_REFUSALS = {
    ReasonCode.BUSY,
    ReasonCode.CLOCK_UNTRUSTED,
    ReasonCode.GOVERNOR,
    ReasonCode.MUTED,
    ReasonCode.QUIET_HOURS,
}
_NEVER_STORED = "The order was granted its turn but was not stored as executing; see the log."


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What a turn plays on."""

    deck: Deck
    amplifier: Amplifier
    clock: Clock
    ceiling_dbtp: float
    begin_within_s: float
    resume_rewind_s: float
    rules: Rules


class Turn:
    """One request. `perform` may be cancelled and called again; `finish` closes the ticket."""

    def __init__(
        self, *, intent: Audible, open_source: Callable[[], Awaitable[Source]], volume: int, stage: Stage
    ) -> None:
        self.intent = intent
        self.ticket = Ticket(intent)
        self.preempted_count = 0
        self._open_source = open_source
        self._volume = volume
        self._stage = stage
        self._pump: Pump | None = None
        self._source: Source | None = None
        self._reopened = 0
        self._cut: Reason | None = None
        self._ended_ns: int | None = None
        self._live_since_ns: int | None = None
        self._airtime_ns = 0
        self._charged_ns = 0

    @property
    def airtime_ns(self) -> int:
        """For how long it has had the live amplifier, over all its runs."""
        if self._live_since_ns is None:
            return self._airtime_ns
        return self._airtime_ns + self._stage.clock.monotonic_ns() - self._live_since_ns

    @property
    def cut_off(self) -> bool:
        """A stop has reached it."""
        return self._cut is not None

    @property
    def whole(self) -> bool:
        """Every frame of the programme has sounded."""
        return self._pump is not None and self._pump.whole

    def cut(self, reason: Reason) -> None:
        """It will not go on; the first reason counts. (Whoever runs it cancels it.)"""
        self._cut = self._cut or reason

    def set_volume(self, volume: int) -> None:
        """The node's volume has changed; a volume of the order's own stays."""
        self._volume = volume
        if self._pump is not None:
            self._pump.set_volume(volume)

    def charge(self) -> None:
        """Put the airtime since the last charge on the house's account."""
        airtime_ns = self.airtime_ns
        if airtime_ns > self._charged_ns:
            self._stage.rules.charge(self.intent.precedence, airtime_ns - self._charged_ns)
            self._charged_ns = airtime_ns

    async def perform(self) -> Reason | None:
        """Play from its place to the end. Returns why that was not possible, or None.

        Cancelled, it has faded out and knows its place when the cancellation leaves it.
        """
        try:
            return await self._perform()
        finally:
            self._ended_ns = self._stage.clock.monotonic_ns()
            self._airtime_ns, self._live_since_ns = self.airtime_ns, None

    async def close(self) -> None:
        """Let the source go. Idempotent."""
        if self._source is not None:
            await self._source.close()

    def finish(self, failure: Reason | None = None) -> None:
        """Close the ticket. Without `failure` the cut, if any, says why it is not whole."""
        reason = None if self.whole else self._cut or failure
        heard = 0 if self._pump is None else self._pump.heard
        started_ns = None if self._pump is None else self._pump.started_ns
        underruns = 0 if self._pump is None else self._pump.underruns
        assert self.whole or reason is not None, "what is not whole has a reason"
        asrun = AsRun(
            outcome=_outcome(reason, heard=heard),
            reason=reason,
            started_ns=started_ns,
            ended_ns=self._ended_ns if heard else None,
            digest=self.intent.media,
            volume=self._volume,
            frames=heard,
            underruns=underruns,
            preempted_count=self.preempted_count,
            proof=1 if heard else 0,
            zones=self.intent.zones,
            title=self.intent.title,
            live=None if self._source is None else self._source.report(),
        )
        result: dict[str, object] = {"frames": heard, "gaps": underruns + self._reopened}
        if self._reopened:
            result["reopened"] = self._reopened
        if self._source is not None and (bad := self._source.bad_packets()):
            result["bad_packets"] = bad
        state = OrderState.SUCCESSFUL if reason is None else _STATE.get(reason.code, OrderState.FAILED)
        self.ticket.end(Finished(state=state, asrun=asrun, result=result))

    async def _perform(self) -> Reason | None:
        self.ticket.grant()
        failure: Reason | None = None
        try:
            async with asyncio.TaskGroup() as group:
                opened = group.create_task(self._make_pump(), name=f"open {self.intent.id}")
                ready = group.create_task(self._make_ready(), name=f"ready {self.intent.id}")
            pump, (stream, lead_in_s) = opened.result(), ready.result()
        except* (Refused, HalError) as several:
            failure = _reason(_first(several))
        if failure is not None:
            return failure
        try:
            await self._play(pump, stream, round(lead_in_s * RATE_HZ))
        except (Refused, HalError) as error:
            return _reason(error)
        return None

    async def _make_pump(self) -> Pump:
        """Open the source, the first time also the libraries; while the asker stores and the amplifier settles."""
        if self._pump is None:
            library = await asyncio.to_thread(importlib.import_module, "edge_agent.playout.pump")
            self._source = await self._open_source()
            self._pump = library.Pump(
                source=self._source,
                volume=self._volume,
                ceiling_dbtp=self._stage.ceiling_dbtp,
                clock=self._stage.clock,
            )
        elif self._pump.heard:
            self._pump.rewind(round(self._stage.resume_rewind_s * RATE_HZ))
        assert self._pump is not None
        return self._pump

    async def _make_ready(self) -> tuple[SoundStream, float]:
        """Once the asker has stored that it executes: device and amplifier, together."""
        try:
            async with asyncio.timeout(self._stage.begin_within_s):
                await self.ticket.begun()
        except TimeoutError as error:
            raise Refused(ReasonCode.INTERNAL, _NEVER_STORED) from error
        async with asyncio.TaskGroup() as group:
            opened = group.create_task(self._stage.deck.obtain(), name="open the sound device")
            live = group.create_task(
                self._stage.amplifier.acquire(self.intent.zones), name="wait for the amplifier"
            )
            group.create_task(self._stage.rules.begin(self.intent), name="note the beginning")
        return opened.result(), live.result()

    async def _play(self, pump: Pump, stream: SoundStream, lead_in_frames: int) -> None:
        self._live_since_ns = self._stage.clock.monotonic_ns()
        while True:
            try:
                await pump.run(stream, lead_in_frames=lead_in_frames)
            except SoundLost as error:
                log.warning(
                    "The sound device is gone in mid-turn; waiting for it. order=%s error=%s",
                    self.intent.id,
                    error,
                )
            else:
                return
            stream = await self._stage.deck.regain()
            self._reopened += 1
            log.info(
                "The sound device is back; the turn goes on. order=%s place=%d", self.intent.id, pump.place
            )


def _first(several: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first leaf of a group."""
    error: BaseException = several
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _reason(error: BaseException) -> Reason:
    """What an error means to whoever sent the order."""
    if isinstance(error, Refused):
        return Reason(error.code, error.text)
    if isinstance(error, SoundMissing | SoundLost):
        return Reason(
            ReasonCode.HARDWARE_FAULT,
            f"The sound device cannot be used ({error}); check its plug and the name in sound.device.",
        )
    if isinstance(error, LineError):
        return Reason(
            ReasonCode.HARDWARE_FAULT,
            f"The amplifier's lines cannot be driven ({error}); check chip and offset in [amplifier].",
        )
    return Reason(ReasonCode.NO_MEDIA, f"The programme cannot be read ({error}); send the order again.")


def _outcome(reason: Reason | None, *, heard: int) -> Outcome:
    if reason is None:
        return Outcome.AIRED
    if reason.code is ReasonCode.PREEMPTED:
        return Outcome.PREEMPTED
    if heard:
        return Outcome.PARTIAL
    if reason.code in _REFUSALS:
        return Outcome.REFUSED
    if reason.code in _STATE:
        return Outcome.MISSED
    return Outcome.FAILED
