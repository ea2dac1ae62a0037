"""The loudspeaker's channel (TANK): takes requests, gives one at a time the turn, stamps their tickets.

`life` is the only one that runs turns; requests, stops and volume changes leave their mark and
wake it. Who goes first is decided in `arbiter`, how it sounds in `turn`.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.errors import Refused
from edge_agent.model import NS, Audible, OrderId, Precedence, Reason, ReasonCode
from edge_agent.playout.arbiter import (
    Arbiter,
    Decision,
    Expire,
    GiveUp,
    Grant,
    Preempt,
    Refuse,
    Resume,
)
from edge_agent.playout.awaken import news_or
from edge_agent.playout.deck import Deck
from edge_agent.playout.rules import NoRules, Rules
from edge_agent.playout.settings import LevelSettings
from edge_agent.playout.turn import Stage, Turn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edge_agent.playout.amplifier import Amplifier, State
    from edge_agent.playout.settings import PlayoutSettings
    from edge_agent.playout.source import Source
    from edge_agent.ticket import Ticket
    from hal.ports import Clock, SoundCard

log = logging.getLogger(__name__)

_BACK_OFF_S = 1.0
_EXPIRED = Reason(
    ReasonCode.EXPIRED, "Its turn did not come before its expiry; send it again if it still matters."
)
_STOPPED = Reason(ReasonCode.CANCELLED, "A stop covered this order.")
_SHUTDOWN = Reason(
    ReasonCode.INTERRUPTED, "The node was shut down; send the order again if it still matters."
)
_BROKEN = Reason(ReasonCode.INTERNAL, "The node failed while it had this order; its log says why.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What the channel is doing, for status reports."""

    current: OrderId | None
    waiting: int
    suspended: int
    volume: int
    amplifier: State


class _Running:
    """The turn that runs, and its task."""

    def __init__(self, turn: Turn, task: asyncio.Task[Reason | None]) -> None:
        self.turn = turn
        self.task = task
        self._cancelled = False

    def cancel(self) -> None:
        """Once: a second cancellation would interrupt the fade."""
        if not self._cancelled:
            self._cancelled = True
            self.task.cancel()


class Channel:
    """One loudspeaker channel. Belongs to one event loop."""

    def __init__(
        self,
        *,
        settings: PlayoutSettings,
        clock: Clock,
        sound: SoundCard,
        amplifier: Amplifier,
        level: LevelSettings | None = None,
        rules: Rules | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._rules = rules = rules or NoRules()
        self._amplifier = amplifier
        self._deck = Deck(settings=settings, sound=sound, clock=clock)
        self._stage = Stage(
            deck=self._deck,
            amplifier=amplifier,
            clock=clock,
            ceiling_dbtp=(level or LevelSettings()).ceiling_dbtp,
            begin_within_s=settings.begin_within_s,
            resume_rewind_s=settings.resume_rewind_s,
            rules=rules,
        )
        self._arbiter = self._new_arbiter()
        self._volume = min(settings.volume, settings.volume_max)
        self._turns: dict[OrderId, Turn] = {}
        self._running: _Running | None = None
        self._left: list[Turn] = []
        """Ended turns whose source is still to be closed."""
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._closing = False
        self._alive = False

    # ------------------------------------------------------------ asked from above

    def request(self, intent: Audible, open_source: Callable[[], Awaitable[Source]]) -> Ticket:
        """Ask for a turn. Never blocks. `open_source` is called once, when the turn is granted.

        Raises Refused: BUSY when the queue is full (a higher class displaces the newest of the lowest),
        BAD_ARGS for a zone that is not configured, INTERRUPTED during shutdown.
        """
        if self._closing:
            raise Refused(_SHUTDOWN.code, _SHUTDOWN.text)
        if unknown := sorted(set(intent.zones) - set(self._amplifier.zone_names)):
            known = ", ".join(self._amplifier.zone_names) or "none"
            raise Refused(
                ReasonCode.BAD_ARGS, f"There is no zone {', '.join(unknown)} here; configured zones: {known}."
            )
        for refusal in self._arbiter.request(intent):
            if refusal.id == intent.id:
                raise Refused(refusal.reason.code, refusal.reason.text)
            self._end(refusal.id, refusal.reason)
        turn = Turn(
            intent=intent, open_source=open_source, volume=self._volume_for(intent), stage=self._stage
        )
        self._turns[intent.id] = turn
        self._empty.clear()
        self._wake.set()
        return turn.ticket

    def stop(self, *, target: OrderId | None = None, highest: Precedence = Precedence.EMERGENCY) -> int:
        """Stop one order, or all up to a class; returns how many were covered. Never blocks.

        Waiting ones have ended when this returns; the one that sounds is fading out.
        """
        return self._stop(target, highest, _STOPPED)

    def set_volume(self, volume: int) -> None:
        """The node's volume, 0-100, from now on; ramped in the turn that sounds unless that has its own."""
        self._volume = max(0, min(volume, self._settings.volume_max))
        for turn in self._turns.values():
            if turn.intent.volume is None:
                turn.set_volume(self._volume_for(turn.intent))

    @property
    def volume(self) -> int:
        """The node's volume."""
        return self._volume

    @property
    def sound_fault(self) -> str | None:
        """Why the latest turn that wanted the sound device did not get it; None when it did."""
        return self._deck.fault

    @property
    def sounding(self) -> bool:
        """Whether somebody has the turn."""
        return self._arbiter.current is not None

    def snapshot(self) -> Snapshot:
        """What it is doing now."""
        return Snapshot(
            current=self._arbiter.current,
            waiting=len(self._arbiter.waiting),
            suspended=len(self._arbiter.suspended),
            volume=self._volume,
            amplifier=self._amplifier.state,
        )

    async def wind_up(self) -> None:
        """Shutdown: take nothing more, end everything INTERRUPTED, return when it is quiet."""
        self._closing = True
        self._stop(None, Precedence.EMERGENCY, _SHUTDOWN)
        if self._alive:
            await self._empty.wait()

    # ------------------------------------------------------------ its life

    async def life(self) -> None:
        """Give turns until cancelled; what is left then ends INTERRUPTED."""
        self._alive = True
        try:
            while True:
                try:
                    await self._give_turns()
                except Exception:
                    log.exception("The channel failed; everything it had ends, and it starts again.")
                    await self._end_all(_BROKEN)
                    await asyncio.sleep(_BACK_OFF_S)
        finally:
            self._alive = False
            await self._end_all(_SHUTDOWN)

    async def _give_turns(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                self._wake.clear()
                self._collect()
                now_ns = self._clock.monotonic_ns()
                for decision in self._arbiter.decide(now_ns):
                    await self._carry_out(decision, group)
                await self._rest()
                due_ns = self._govern()
                await self._wait_until(self._arbiter.due_ns(self._clock.monotonic_ns()), due_ns)

    def _govern(self) -> int | None:
        """Cut the turn that sounds when the house rules say so; when to look again at the latest."""
        if self._running is None:
            return None
        turn = self._running.turn
        turn.charge()
        reason = self._rules.cuts(turn.intent, turn.airtime_ns)
        if reason is not None:
            if not turn.cut_off:
                log.info("The house rules cut a turn. order=%s code=%s", turn.intent.id, reason.code)
            turn.cut(reason)
            self._running.cancel()
            return None
        good_for_s = self._rules.good_for_s(turn.intent, turn.airtime_ns)
        return None if good_for_s is None else self._clock.monotonic_ns() + round(good_for_s * NS)

    async def _carry_out(self, decision: Decision, group: asyncio.TaskGroup) -> None:
        match decision:
            case Grant(id=order) | Resume(id=order):
                self._start(self._turns[order], group)
            case Preempt(id=order):
                await self._yield_turn(order)
            case Expire(id=order):
                self._end(order, _EXPIRED)
            case GiveUp(id=order, reason=reason) | Refuse(id=order, reason=reason):
                self._end(order, reason)

    def _start(self, turn: Turn, group: asyncio.TaskGroup) -> None:
        if turn.cut_off:  # a stop came while the one before it was fading out
            self._over(turn, None)
            return
        task = group.create_task(self._perform(turn), name=f"turn {turn.intent.id}")
        self._running = _Running(turn, task)

    async def _perform(self, turn: Turn) -> Reason | None:
        """The turn's task: wakes `life` when it is over, however that was."""
        try:
            return await turn.perform()
        finally:
            self._wake.set()

    async def _yield_turn(self, order: OrderId) -> None:
        """Cancel the turn that sounds and wait until it has faded out."""
        running = self._running
        assert running is not None
        assert running.turn.intent.id == order
        running.cancel()
        await asyncio.wait([running.task])
        if not running.task.cancelled() or running.turn.cut_off or running.turn.whole:
            self._collect()  # it was over anyhow
        else:
            running.turn.charge()
            running.turn.preempted_count += 1
            self._running = None

    def _collect(self) -> None:
        """If the turn's task is over, so is the turn."""
        running = self._running
        if running is not None and running.task.done():
            self._running = None
            self._over(running.turn, None if running.task.cancelled() else running.task.result())

    def _over(self, turn: Turn, failure: Reason | None) -> None:
        self._arbiter.ended(turn.intent.id, self._clock.monotonic_ns())
        self._end(turn.intent.id, failure)
        self._wake.set()

    async def _rest(self) -> None:
        """Nobody has the turn: device closed, amplifier released. And close what ended turns left open."""
        if self._arbiter.current is None:
            await self._deck.close()
            self._amplifier.release()
        while self._left:
            await self._left.pop().close()
        if not self._turns:
            self._empty.set()

    async def _wait_until(self, *dues_ns: int | None) -> None:
        due_ns = min((due for due in dues_ns if due is not None), default=None)
        await news_or(due_ns, wake=self._wake, clock=self._clock)

    # ------------------------------------------------------------ ends

    def _stop(self, target: OrderId | None, highest: Precedence, reason: Reason) -> int:
        covered = self._arbiter.stop(target=target, highest=highest)
        for order in covered:
            turn = self._turns[order]
            turn.cut(reason)
            if self._running is not None and self._running.turn is turn:
                self._running.cancel()
            elif order != self._arbiter.current:
                self._end(order, None)
        self._wake.set()
        return len(covered)

    def _end(self, order: OrderId, reason: Reason | None) -> None:
        turn = self._turns.pop(order)
        turn.charge()
        self._rules.ended(order)
        turn.finish(reason)
        self._left.append(turn)

    async def _end_all(self, reason: Reason) -> None:
        """The group of turns is gone (no task runs); end whatever is not over."""
        self._running = None
        for order in tuple(self._turns):
            self._end(order, reason)
        self._arbiter = self._new_arbiter()
        await self._rest()

    def _volume_for(self, intent: Audible) -> int:
        """The order's own volume, or the node's, within what the house allows its class. A node that was turned
        down is not turned down for emergencies."""
        if intent.volume is not None:
            asked = min(intent.volume, self._settings.volume_max)
        elif intent.precedence is Precedence.EMERGENCY:
            asked = max(self._volume, self._settings.emergency_volume_least)
        else:
            asked = self._volume
        return min(asked, self._rules.volume_max(intent.precedence))

    def _new_arbiter(self) -> Arbiter:
        return Arbiter(
            queue_requests=self._settings.queue_requests,
            authorities=self._settings.authorities,
            resume_within_s=self._settings.resume_within_s,
            gap_s=max(self._settings.gap_s, self._rules.gap_s),
            allow=self._rules.allow,
        )
