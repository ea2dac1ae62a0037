"""Who has the loudspeaker: three classes, pre-emption and resumption (PROTOCOL.md, "Who wins"). Pure.

EMERGENCY cuts PRIORITY and ROUTINE; PRIORITY cuts ROUTINE; nobody cuts an equal. Among waiting
PRIORITY requests the list of authorities decides, then arrival; the rest go by arrival. What
was cut goes on before anything of its class begins, if that is soon enough.

Tell it what happens (`request`, `ended`, `stop`), then ask what to do (`decide`) and when to
ask again (`due_ns`). Decisions are to be carried out in the order given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_agent.model import NS, Intent, OrderId, Precedence, Reason, ReasonCode


@dataclass(frozen=True, slots=True)
class Grant:
    """The request has the loudspeaker now, for the first time."""

    id: OrderId


@dataclass(frozen=True, slots=True)
class Resume:
    """The pre-empted request has the loudspeaker again."""

    id: OrderId


@dataclass(frozen=True, slots=True)
class Preempt:
    """The one that has the loudspeaker must yield it at once; it is remembered."""

    id: OrderId


@dataclass(frozen=True, slots=True)
class Expire:
    """The request did not begin in time; it is over."""

    id: OrderId


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The pre-empted request will not go on; it is over."""

    id: OrderId
    reason: Reason


@dataclass(frozen=True, slots=True)
class Refuse:
    """The request is not taken, or was displaced or forbidden before it began; it is over."""

    id: OrderId
    reason: Reason


Decision = Grant | Resume | Preempt | Expire | GiveUp | Refuse
Allow = Callable[[Intent, int], Reason | None]
"""The governor: given a request and the time, why it may not sound now, or None."""


def allow_all(_intent: Intent, _now_ns: int) -> Reason | None:
    """A governor without rules."""
    return None


@dataclass(frozen=True, slots=True)
class _Waiting:
    intent: Intent
    arrival: int


@dataclass(frozen=True, slots=True)
class _Suspended:
    intent: Intent
    until_ns: int


_TOO_LATE = Reason(
    ReasonCode.PREEMPTED,
    "A higher class took the loudspeaker for longer than resume_within_s; the rest was not played.",
)
_FULL = "The queue is full ({limit} requests); send the order again later, or stop what waits."


class Arbiter:
    """The state of one loudspeaker's queue. No await, no clock: the time is handed in."""

    def __init__(
        self,
        *,
        queue_requests: int,
        authorities: Sequence[str] = (),
        resume_within_s: float = 3600.0,
        gap_s: float = 0.0,
        allow: Allow = allow_all,
    ) -> None:
        self._limit = queue_requests
        self._rank = {name: place for place, name in enumerate(authorities)}
        self._resume_within_ns = round(resume_within_s * NS)
        self._gap_ns = round(gap_s * NS)
        self._allow = allow
        self._queue: list[_Waiting] = []
        self._suspended: list[_Suspended] = []
        self._current: Intent | None = None
        self._free_from_ns = 0
        self._arrivals = 0

    # ------------------------------------------------------------ what happens

    def request(self, intent: Intent) -> tuple[Refuse, ...]:
        """A request arrives. Returned are the refusals that this costs: none, itself, or the one it displaces."""
        assert intent.id not in self.known(), "an order reaches the loudspeaker once"
        self._arrivals += 1
        refused: tuple[Refuse, ...] = ()
        if len(self._queue) >= self._limit:
            newest_lowest = min(self._queue, key=lambda w: (w.intent.precedence, -w.arrival))
            victim = newest_lowest.intent if newest_lowest.intent.precedence < intent.precedence else intent
            refused = (Refuse(victim.id, Reason(ReasonCode.BUSY, _FULL.format(limit=self._limit))),)
            if victim is intent:
                return refused
            self._queue.remove(newest_lowest)
        self._queue.append(_Waiting(intent, self._arrivals))
        self._queue.sort(key=self._order)
        return refused

    def ended(self, order: OrderId, now_ns: int) -> None:
        """The turn of `order`, which had the loudspeaker, is over (also if it was just pre-empted)."""
        if self._current is not None and self._current.id == order:
            self._current = None
            self._free_from_ns = now_ns + self._gap_ns
        else:
            self._suspended = [s for s in self._suspended if s.intent.id != order]

    def stop(self, *, target: OrderId | None, highest: Precedence) -> tuple[OrderId, ...]:
        """A stop for one order, or for all up to a class. Returns those covered, the current one last.

        The waiting and suspended are over at once; the current one is over when `ended` says so.
        """

        def covered(intent: Intent) -> bool:
            return intent.id == target if target is not None else intent.precedence <= highest

        gone = [w.intent.id for w in self._queue if covered(w.intent)]
        gone += [s.intent.id for s in self._suspended if covered(s.intent)]
        self._queue = [w for w in self._queue if not covered(w.intent)]
        self._suspended = [s for s in self._suspended if not covered(s.intent)]
        if self._current is not None and covered(self._current):
            gone.append(self._current.id)
        return tuple(gone)

    # ------------------------------------------------------------ what to do

    def decide(self, now_ns: int) -> tuple[Decision, ...]:
        """Everything that is to be done now, in this order."""
        decisions: list[Decision] = [
            Expire(w.intent.id) for w in self._queue if now_ns > w.intent.deadline_ns
        ]
        decisions += [GiveUp(s.intent.id, _TOO_LATE) for s in self._suspended if now_ns > s.until_ns]
        self._queue = [w for w in self._queue if now_ns <= w.intent.deadline_ns]
        self._suspended = [s for s in self._suspended if now_ns <= s.until_ns]
        while (best := self._best()) is not None and self._may_take(best, now_ns):
            resumes = any(s.intent is best for s in self._suspended)
            reason = self._allow(best, now_ns)
            self._remove(best)
            if reason is not None:
                decisions.append(GiveUp(best.id, reason) if resumes else Refuse(best.id, reason))
                continue
            if self._current is not None:
                decisions.append(Preempt(self._current.id))
                self._suspended.append(_Suspended(self._current, now_ns + self._resume_within_ns))
            self._current = best
            decisions.append(Resume(best.id) if resumes else Grant(best.id))
        return tuple(decisions)

    def due_ns(self, now_ns: int) -> int | None:
        """When `decide` may have something to say although nothing happened, or None."""
        times = [w.intent.deadline_ns + 1 for w in self._queue]
        times += [s.until_ns + 1 for s in self._suspended]
        if self._current is None and times and self._free_from_ns > now_ns:
            times.append(self._free_from_ns)
        return min(times, default=None)

    # ------------------------------------------------------------ what is

    @property
    def current(self) -> OrderId | None:
        """Who has the loudspeaker."""
        return None if self._current is None else self._current.id

    @property
    def waiting(self) -> tuple[OrderId, ...]:
        """Who waits for a first turn, next one first."""
        return tuple(w.intent.id for w in self._queue)

    @property
    def suspended(self) -> tuple[OrderId, ...]:
        """Who was pre-empted and may go on, lowest class first. At most one of each class."""
        return tuple(s.intent.id for s in self._suspended)

    def known(self) -> set[OrderId]:
        """Everyone who is not over."""
        return {*self.waiting, *self.suspended, *(() if self._current is None else (self._current.id,))}

    def _order(self, waiting: _Waiting) -> tuple[int, int, int]:
        intent = waiting.intent
        rank = 0
        if intent.precedence is Precedence.PRIORITY:
            rank = self._rank.get(intent.issuer, len(self._rank))
        return (-intent.precedence, rank, waiting.arrival)

    def _best(self) -> Intent | None:
        """The first of the suspended and the waiting; within a class the suspended one goes on first."""
        suspended = max((s.intent for s in self._suspended), key=lambda i: i.precedence, default=None)
        waiting = self._queue[0].intent if self._queue else None
        if suspended is None or waiting is None:
            return suspended or waiting
        return waiting if waiting.precedence > suspended.precedence else suspended

    def _may_take(self, intent: Intent, now_ns: int) -> bool:
        if self._current is not None:
            return intent.precedence > self._current.precedence
        return now_ns >= self._free_from_ns or intent.precedence is Precedence.EMERGENCY

    def _remove(self, intent: Intent) -> None:
        self._queue = [w for w in self._queue if w.intent is not intent]
        self._suspended = [s for s in self._suspended if s.intent is not intent]
