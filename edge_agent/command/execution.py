"""Orders under way: each its own task; every step is stored before the next one is taken."""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
from collections.abc import AsyncGenerator, Collection, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from edge_agent.clocktrust import ClockTrust
from edge_agent.command import ledger
from edge_agent.command.acceptance import Circumstances, believed, reopened, stands
from edge_agent.command.keyring import Keyring
from edge_agent.command.messages import intent_of
from edge_agent.command.scribe import Scribe
from edge_agent.command.topics import Topics
from edge_agent.errors import OrderRefused
from edge_agent.model import (
    AsRun,
    Audible,
    BoardShow,
    Executing,
    Finished,
    Intent,
    OrderId,
    OrderState,
    Outcome,
    Precedence,
    Reason,
    ReasonCode,
    Step,
    Stop,
    Waiting,
)
from edge_agent.persistence import until_stored
from edge_agent.report.asrun import Timebase
from edge_agent.report.outbox import Outbox
from hal.errors import DatabaseError, DiskError, DiskFull
from hal.ports import Clock, Database

logger = logging.getLogger(__name__)

WIND_UP_S = 2.0
PATIENCE_S = 5.0
_STORE_AGAIN_S = (1.0, 30.0)


class Junction(Protocol):
    """What this room asks of `edge_agent.router`."""

    def carry_out(self, intent: Intent) -> AsyncGenerator[Step, None]:
        """Do it, step by step; exactly one Finished, last."""

    async def cancel(self, order: OrderId) -> None:
        """End this order's part in any outlet, if it has one."""

    async def withdraw(self, orders: Collection[OrderId]) -> None:
        """Take down what these orders, which have ended, left on the board."""

    async def wind_up(self) -> None:
        """End everything with INTERRUPTED: the agent is about to leave."""


@dataclass(slots=True, kw_only=True)
class _Job:
    """One order under way."""

    entry: ledger.Entry
    intent: Intent
    executing: bool = False
    successor: OrderId | None = None
    """The order that takes its place, once there is one."""
    stopped: bool = False
    """A stop, or a revocation, covered it before it began."""
    revoked: Reason | None = None
    """Its keys are believed no more."""
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def called_off(self) -> bool:
        """Whether it must not begin any more."""
        return self.stopped or self.successor is not None


class Execution:
    """Starts, resumes and ends orders. Lives as long as the task group it is given."""

    def __init__(
        self,
        *,
        clock: Clock,
        trust: ClockTrust,
        database: Database,
        router: Junction,
        outbox: Outbox,
        topics: Topics,
        keyring: Keyring,
        group_jitter_s: float,
        rng: random.Random,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._clock = clock
        self._trust = trust
        self._database = database
        self._router = router
        self._outbox = outbox
        self._topics = topics
        self._keyring = keyring
        self._group_jitter_s = group_jitter_s
        self._rng = rng
        self._tasks = tasks
        self._jobs: dict[OrderId, _Job] = {}
        self._ending: set[OrderId] = set()
        """Open orders that ended without a task of their own; their end is being stored."""
        self.leaving = False
        """The agent is on its way out."""
        self.broken = False
        """A task here ended with an error that nobody foresaw: the group ends, but not the agent."""
        self._late_wake: asyncio.Task[None] | None = None

    def scribe(self) -> Scribe:
        """A scribe with the time of now."""
        return Scribe(topics=self._topics, timebase=Timebase.read(self._clock, self._trust.look()))

    def start(self, entry: ledger.Entry, intent: Intent) -> None:
        """Carry out a journalled order, in a task of its own."""
        assert entry.id not in self._jobs, "an order is carried out once"
        job = self._jobs[entry.id] = _Job(entry=entry, intent=intent)
        self.spawn(self._live(job), name=f"order {entry.verb} {entry.id}")

    def spawn(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """A task of this room, beside the orders'."""
        return self._tasks.create_task(self._watched(work), name=name)

    def told(self, *, in_group: bool) -> None:
        """Something was put into the outbox. A group's answers wait a little, so that a thousand nodes
        do not speak at once; what else leaves meanwhile takes them along."""
        if not in_group or self._group_jitter_s <= 0 or self.leaving:
            self._outbox.wake()
        elif self._late_wake is None or self._late_wake.done():
            delay_s = self._rng.uniform(0, self._group_jitter_s)
            self._late_wake = self.spawn(self._wake_after(delay_s), name="group answers")

    async def resume(self, now: Circumstances, *, verbs: Collection[str]) -> None:
        """Take up what lies open in the journal and has no task, in the order of arrival.

        What has not begun is carried out if there is still time. What had begun depends on the verb:
        an emergency and a notice begin again, an ordinary play was interrupted, the rest is repeated.
        Raises DatabaseError, DiskError.
        """
        for entry, replaced in await self._database.run(_open_orders):
            if entry.id in self._jobs or entry.id in self._ending:
                continue
            revoked = stands(entry, self._keyring.trust)
            if revoked is None:
                verdict = _taken_up(entry, now, verbs, replaced=replaced)
            else:
                verdict = _revoked(entry, revoked)
            logger.info("Taking up an open order. id=%s verb=%s state=%s", entry.id, entry.verb, entry.state)
            if isinstance(verdict, Finished):
                self._ending.add(entry.id)
                self.spawn(self._end(entry, verdict), name=f"end of order {entry.id}")
                continue
            self.start(entry, verdict)
            if isinstance(verdict, Stop):  # it must not reach those that came after it
                await self._patiently(self._jobs[entry.id].over)

    async def revoke(self) -> None:
        """Other keys are in force: end every order, queued, sounding or shown, whose own are believed no more."""
        trust = self._keyring.trust
        for job in list(self._jobs.values()):
            job.revoked = stands(job.entry, trust)
            if job.revoked is not None:
                logger.warning(
                    "An order's keys were revoked; it ends. id=%s issuer=%s", job.entry.id, job.entry.issuer
                )
                job.stopped = True
                await self._router.cancel(job.entry.id)
        await self.take_down()

    async def take_down(self) -> None:
        """Take down the notices of orders that have ended, and whose keys are believed no more; also of
        unsigned ones, from a time when this node was a bench. Raises DatabaseError, DiskError."""
        trust = self._keyring.trust
        shown = await self._database.run(ledger.left_showing)
        gone = [one.id for one in shown if not believed(one, trust)]
        if gone:
            await self._router.withdraw(gone)

    async def wind_up(self) -> None:
        """End what is under way and store how it ended, within WIND_UP_S. What has not begun, and
        emergencies, stay open: the next start takes them up."""
        self.leaving = True
        try:
            async with asyncio.timeout(WIND_UP_S):
                await self._router.wind_up()
                for job in list(self._jobs.values()):
                    await job.over.wait()
        except TimeoutError:
            logger.warning("Orders did not end in time. open=%d", len(self._jobs))

    @property
    def under_way(self) -> int:
        """How many orders have a task."""
        return len(self._jobs)

    # ------------------------------------------------------------ one order

    async def _live(self, job: _Job) -> None:
        """An order's thread of life: whatever happens in it, it ends with one stored result."""
        try:
            await self._make_way(job)
            if isinstance(job.intent, Stop):
                self._stop_before_the_router(job.intent)
            try:
                finished = await self._carry_out(job)
            except Exception:
                logger.exception(
                    "An order failed in a way nobody foresaw. id=%s verb=%s", job.entry.id, job.entry.verb
                )
                finished = Finished(
                    state=OrderState.FAILED,
                    asrun=_failed(Reason(ReasonCode.INTERNAL, "The node failed inside; look into its log.")),
                )
            if isinstance(job.intent, Stop):
                await self._settled(finished)
            if not self._stays_open(job, finished):
                await self._settle(job.entry, _ended_by(finished, job))
        finally:
            self._jobs.pop(job.entry.id, None)
            job.over.set()

    async def _make_way(self, job: _Job) -> None:
        """The order that this one takes the place of, ends first."""
        older = None if job.entry.supersedes is None else self._jobs.get(job.entry.supersedes)
        if older is None or older is job or older.entry.issuer != job.entry.issuer:
            return
        older.successor = job.entry.id
        await self._router.cancel(older.entry.id)
        await self._patiently(older.over)

    def _stop_before_the_router(self, stop: Stop) -> None:
        """A stop also covers what was accepted before it and has not begun: it may wait for another to make way."""
        for job in self._jobs.values():
            by_class = isinstance(job.intent, Audible) and job.intent.precedence <= stop.highest
            if not job.executing and (job.entry.id == stop.target if stop.target is not None else by_class):
                job.stopped = True

    async def _carry_out(self, job: _Job) -> Finished:
        if job.called_off():
            return _STOPPED
        async with aclosing(self._router.carry_out(job.intent)) as steps:
            async for step in steps:
                match step:
                    case Finished():
                        return step
                    case Executing() if job.called_off():
                        return _STOPPED  # while it was judged at the alert desk, where nothing can be cancelled yet
                    case Executing():
                        refusal = await self._begin(job)
                    case Waiting():
                        refusal = await self._advance(job, OrderState.WAITING, step.why)
                if refusal is not None:
                    return Finished(state=OrderState.FAILED, asrun=_failed(refusal))
        raise AssertionError("the router ends with Finished")

    async def _begin(self, job: _Job) -> Reason | None:
        """It may begin, by the hours of its issuer, and that it does is stored."""
        ring = self._keyring.ring
        too_early = None
        if ring is not None:
            too_early = ring.may_begin(job.entry.issuer, job.entry.verb, self._trust.look())
        if too_early is not None:
            return too_early
        job.executing = True
        return await self._advance(job, OrderState.EXECUTING, None)

    async def _advance(self, job: _Job, state: OrderState, progress: str | None) -> Reason | None:
        """Store a step; why it could not be, or None. What is not stored must not go on."""
        scribe, entry = self.scribe(), job.entry

        def work(connection: sqlite3.Connection) -> bool:
            return scribe.advance(connection, entry, state, progress)

        try:
            await self._database.run(work)
        except (DatabaseError, DiskError) as error:
            logger.warning(
                "An order's step cannot be stored; it is not carried out. id=%s error=%s", entry.id, error
            )
            code = ReasonCode.NO_SPACE if isinstance(error, DiskFull) else ReasonCode.INTERNAL
            return Reason(code, f"The step could not be stored, so nothing was done: {error}")
        self.told(in_group=entry.in_group)
        return None

    def _stays_open(self, job: _Job, finished: Finished) -> bool:
        """On the way out: an interrupted order that the next start is to take up."""
        if not self.leaving or finished.state is not OrderState.INTERRUPTED or job.successor is not None:
            return False
        return not job.executing or _begins_again(job.intent)

    async def _end(self, entry: ledger.Entry, finished: Finished) -> None:
        try:
            await self._settle(entry, finished)
        finally:
            self._ending.discard(entry.id)

    async def _settle(self, entry: ledger.Entry, finished: Finished) -> None:
        """Store the end, again and again until it is stored: it has happened and cannot be refused."""
        await until_stored(
            lambda: self._close(entry, finished.state, finished.asrun, finished.result),
            what=f"The end of order {entry.id}", log=logger, wait_s=_STORE_AGAIN_S[0], most_s=_STORE_AGAIN_S[1],
        )  # fmt: skip

    async def _close(
        self, entry: ledger.Entry, state: OrderState, asrun: AsRun, result: dict[str, Any] | None = None
    ) -> None:
        scribe = self.scribe()

        def work(connection: sqlite3.Connection) -> bool:
            return scribe.close(connection, entry, state, asrun, result or None)

        if not await self._database.run(work):
            logger.error("An order ended that had ended before; the first end stands. id=%s", entry.id)
        self.told(in_group=entry.in_group)

    async def _settled(self, finished: Finished) -> None:
        """A stop is done when the orders it ended are stored as ended: else a power cut could raise them."""
        stopped = finished.result.get("orders", ())
        for order in stopped if isinstance(stopped, list) else ():
            job = self._jobs.get(order)
            if job is not None:
                await self._patiently(job.over)

    async def _patiently(self, over: asyncio.Event) -> None:
        """Wait for another order's end, but not for ever: the journal knows who took whose place."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await over.wait()
        except TimeoutError:
            logger.warning("An order takes long to end; going on without.")

    async def _watched(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            self.broken = True
            raise

    async def _wake_after(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        self._outbox.wake()


def _taken_up(
    entry: ledger.Entry, now: Circumstances, verbs: Collection[str], *, replaced: bool
) -> Finished | Intent:
    try:
        order, timing = reopened(entry, now, verbs=verbs)
        intent = intent_of(order, timing)
    except OrderRefused as refusal:  # an older release accepted what this one does not know
        return Finished(state=OrderState.FAILED, asrun=_failed(Reason(refusal.code, refusal.text)))
    return after_restart(entry, intent, now.now_ns, replaced=replaced)


def after_restart(entry: ledger.Entry, intent: Intent, now_ns: int, *, replaced: bool) -> Finished | Intent:
    """What a restart does to an open order: how it ended, or what is to be carried out (again). Pure."""
    begun = entry.state is OrderState.EXECUTING
    late = now_ns > intent.deadline_ns
    if replaced:
        text = "Another order took its place before the node started again."
        return _ended(OrderState.SUPERSEDED, ReasonCode.SUPERSEDED, text, begun=begun)
    if late and not begun:
        text = "The node was off, or busy, until the order had expired; send a new one if it is still meant."
        return _ended(OrderState.EXPIRED, ReasonCode.EXPIRED, text, begun=False)
    match intent:
        case Audible() if begun and (late or not _begins_again(intent)):
            text = "The node stopped in the middle of it; order it again if it is still meant."
            return _ended(OrderState.INTERRUPTED, ReasonCode.INTERRUPTED, text, begun=True)
        case BoardShow() if begun and now_ns >= intent.until_ns:
            text = "The node was off when the notice's time ended."
            return _ended(OrderState.INTERRUPTED, ReasonCode.INTERRUPTED, text, begun=True)
        case BoardShow() if begun:
            return replace(intent, deadline_ns=max(intent.deadline_ns, intent.until_ns))
        case _:
            return intent


def _begins_again(intent: Intent) -> bool:
    """Whether a restart takes it up although it had begun."""
    return not isinstance(intent, Audible) or intent.precedence is Precedence.EMERGENCY


def _ended(state: OrderState, code: ReasonCode, text: str, *, begun: bool) -> Finished:
    outcome = Outcome.PARTIAL if begun else Outcome.MISSED
    return Finished(state=state, asrun=AsRun(outcome=outcome, reason=Reason(code, text)))


_STOPPED = _ended(OrderState.CANCELLED, ReasonCode.CANCELLED, "A stop covered this order.", begun=False)


def _failed(reason: Reason) -> AsRun:
    return AsRun(outcome=Outcome.FAILED, reason=reason)


def _revoked(entry: ledger.Entry, why: Reason) -> Finished:
    """An open order whose keys were revoked while the node was off."""
    begun = entry.state is OrderState.EXECUTING
    return _ended(OrderState.CANCELLED, why.code, why.text, begun=begun)


def _ended_by(finished: Finished, job: _Job) -> Finished:
    """An order that was cancelled because another takes its place, or its keys were revoked, says so."""
    if finished.state is not OrderState.CANCELLED:
        return finished
    if job.revoked is not None:
        return replace(finished, asrun=replace(finished.asrun, reason=job.revoked))
    if job.successor is None:
        return finished
    reason = Reason(ReasonCode.SUPERSEDED, f"Order {job.successor} has taken its place.")
    return replace(finished, state=OrderState.SUPERSEDED, asrun=replace(finished.asrun, reason=reason))


def _open_orders(connection: sqlite3.Connection) -> list[tuple[ledger.Entry, bool]]:
    """Every open order, and whether another has taken its place."""
    return [
        (entry, ledger.superseded(connection, entry.id, entry.issuer))
        for entry in ledger.unfinished(connection)
    ]
