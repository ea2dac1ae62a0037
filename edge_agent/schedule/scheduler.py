"""The room's thread of life: looks at the clock, begins what is due, and accounts for what was missed.

It never sleeps until a date: dates jump. It looks at least every thirty seconds, decides anew what is due (pure,
`occurrences`), and whatever it does leaves a row before it sounds (`fired`), so that no cut and no step of
the clock plays a turn twice. While the time is in doubt nothing begins: the turns wait, and are missed with that
reason when the time is known again.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Protocol

from edge_agent.clocktrust import ClockTrust, Quality, Sight
from edge_agent.desired import Signed, Understood
from edge_agent.model import (
    NS,
    AsRun,
    Digest,
    Executing,
    Finished,
    Intent,
    Issuer,
    OrderId,
    Outcome,
    Programme,
    Reason,
    Recording,
    Step,
)
from edge_agent.persistence import until_stored
from edge_agent.report import asrun as asrun_log
from edge_agent.report.asrun import Timebase
from edge_agent.report.outbox import Outbox
from edge_agent.report.status import Agenda, Turn
from edge_agent.schedule import fired
from edge_agent.schedule import plan as plans
from edge_agent.schedule.fired import Begun
from edge_agent.schedule.occurrences import Occurrence, between, collisions, upcoming
from edge_agent.schedule.plan import Plan
from edge_agent.schedule.settings import ScheduleSettings
from edge_agent.schedule.turns import (
    BROKEN,
    DOUBTFUL,
    INTERNAL,
    OFF,
    WITHDRAWN,
    Run,
    failed,
    only_recording,
    put_off,
    row,
    told,
)
from hal.errors import DatabaseError, DiskError
from hal.ports import Clock, Database

logger = logging.getLogger(__name__)

SLICE_S: Final = 30.0
_IDLE_S: Final = 600.0
"""Without any rule."""
AHEAD_S: Final = 10.0
"""So long before its instant a turn that begins together is asked for."""
MISSED_MAX: Final = 1_000
"""So many missed turns are told one by one after an outage; older ones are only counted in the log."""
_RETRY_S: Final = 5.0
_TIDY_EVERY: Final = timedelta(days=1)
_LONG: Final = timedelta(hours=12)
_INSTANT: Final = timedelta(microseconds=1)
_PROVIDE_EVERY: Final = timedelta(hours=1)
_SOON: Final = timedelta(hours=26)
VERB: Final = "schedule"


class Junction(Protocol):
    """What this room asks of `edge_agent.router`."""

    def carry_out(self, intent: Intent) -> AsyncGenerator[Step, None]:
        """Do it, step by step; exactly one Finished, last."""

    async def cancel(self, order: OrderId) -> None:
        """End this one's part in any outlet."""


class Authorities(Protocol):
    """What this room asks of whoever keeps the keys."""

    def may_sound(self, issuer: Issuer, sight: Sight) -> Reason | None:
        """Why what an issuer has scheduled may not begin now, or None."""


class Cellar(Protocol):
    """What this room asks of `cache.steward`."""

    def want(self, whose: str, recordings: Sequence[Recording], soon: Collection[Digest] = ()) -> None:
        """From now on these are kept, and fetched ahead; those needed `soon` by day, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Due:
    """What one look found."""

    begin: tuple[Occurrence, ...]
    missed: tuple[Occurrence, ...]
    dropped: int


class Scheduler:
    """Takes the schedule document and lives by it. `open` comes first."""

    def __init__(
        self,
        *,
        settings: ScheduleSettings,
        clock: Clock,
        trust: ClockTrust,
        database: Database,
        router: Junction,
        outbox: Outbox,
        authorities: Authorities,
        cellar: Cellar,
        agenda: Agenda,
        report_topic: str,
        line_in: bool = False,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._trust = trust
        self._database = database
        self._router = router
        self._outbox = outbox
        self._authorities = authorities
        self._cellar = cellar
        self._agenda = agenda
        self._topic = report_topic
        self._line_in = line_in
        self._plan = Plan()
        self._seen: datetime | None = None
        """In memory: up to when turns were looked at in this run."""
        self._began_ns = clock.monotonic_ns()
        self._running: dict[str, Run] = {}
        self._over: set[str] = set()
        """Turns that have a row, of those that could still begin by their time."""
        self._next: tuple[Occurrence, ...] = ()
        self._reckoned: datetime | None = None
        """When `_next` was; None: it has to be."""
        self._wake = asyncio.Event()
        self._tidied: datetime | None = None
        self._provided: datetime | None = None
        self._fresh = False
        """The document is new here."""

    # ------------------------------------------------------------ the document

    def understand(self, body: bytes, signed: Signed) -> Understood:
        """See `desired.Taker`."""
        plan = plans.read(body, signed, line_in=self._line_in)
        return Understood(content=plan, warnings=collisions(plan))

    async def take(self, understood: Understood | None) -> str | None:
        """See `desired.Taker`. What sounds goes on, unless nobody is believed any more; what no rule names does not begin."""
        plan: Plan = Plan() if understood is None else understood.content
        self._plan = plan
        self._cellar.want(VERB, tuple(plan.media()))  # kept from now on, whether or not the date is known
        self._reckoned, self._fresh = None, True
        await self._recall(all_=understood is None)
        self._wake.set()
        return None

    async def _recall(self, *, all_: bool) -> None:
        """What waits and stands otherwise in the new schedule, or not at all, waits no longer; with `all_`, because
        nobody is believed any more, what sounds ends, too."""
        for run in list(self._running.values()):
            if (all_ or not run.begun) and not self._planned(run.occurrence):
                run.recalled = not run.begun
                await self._router.cancel(OrderId(run.occurrence.key))

    def _planned(self, occurrence: Occurrence) -> bool:
        """Whether the schedule has this very turn."""
        return occurrence in self._at(occurrence.at)

    async def open(self) -> None:
        """Account for turns that a power cut broke off. Raises DatabaseError, DiskError."""
        base = self._timebase()

        def work(connection: sqlite3.Connection) -> datetime | None:
            for turn in fired.broken(connection):
                self._record(connection, turn, BROKEN, base)
            return fired.seen(connection)

        self._seen = await self._database.run(work)

    # ------------------------------------------------------------ what is next

    def _following(self, now: datetime) -> tuple[Occurrence, ...]:
        """The next three turns; reckoned anew when one has come, the clock was set back, or a day has passed."""
        reckoned = self._reckoned
        if (
            reckoned is None
            or not timedelta() <= now - reckoned < _TIDY_EVERY
            or any(one.at <= now for one in self._next)
        ):
            self._next, self._reckoned = tuple(upcoming(self._plan, now, 3)), now
        return self._next

    def ahead(self, span: timedelta, limit: int) -> tuple[Turn, ...]:
        """The turns of the next `span`, at most so many; () while the date is unknown."""
        sight = self._trust.look()
        if sight.quality is Quality.UNKNOWN:
            return ()
        return tuple(told(one) for one in between(self._plan, sight.now, sight.now + span)[:limit])

    @property
    def believes(self) -> bool:
        """Whether the time is believed well enough for a turn to begin."""
        return self._believes(self._trust.look())

    # ------------------------------------------------------------ its life

    async def life(self) -> None:
        """Look, and look again, until cancelled; then wait until what was begun has ended in order."""
        failing = False
        try:
            while True:
                self._wake.clear()
                pause_s = SLICE_S
                try:
                    pause_s = await self._look()
                    failing = False
                except (DatabaseError, DiskError) as error:
                    if not failing:
                        logger.warning("The schedule cannot be kept up. error=%s", error)
                    failing, pause_s = True, _RETRY_S
                except Exception:
                    logger.exception("The schedule failed; it looks again.")
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._wake.wait()
        finally:
            await self._leave()

    async def _look(self) -> float:
        """Begin what is due; returns how long nothing will be. Raises DatabaseError, DiskError."""
        sight, now_ns = self._trust.look(), self._clock.monotonic_ns()
        if not self._believes(sight):
            return SLICE_S
        if self._plan.rules:
            due = await self._found_due(sight.now)
            if due.missed or due.dropped:
                await self._miss(due, sight, now_ns)
            self._over.intersection_update({one.key for one in due.begin})
            for occurrence in due.begin:
                self._begin(occurrence, sight.now)
        self._seen = sight.now
        self._provide(sight.now)
        await self._tidy(sight.now)
        self._agenda.turns = tuple(told(one) for one in self._following(sight.now))
        return self._pause_s(sight.now)

    def _believes(self, sight: Sight) -> bool:
        return sight.quality.trusted or (
            self._settings.estimated_plays and sight.quality is Quality.ESTIMATED
        )

    async def _found_due(self, now: datetime) -> _Due:
        """What is due; after a long absence it takes a while to find, and the loop goes on meanwhile."""
        if self._seen is not None and now - self._seen > _LONG:
            return await asyncio.to_thread(self._due, now)
        return self._due(now)

    def _due(self, now: datetime) -> _Due:
        """What may begin now, and what has become too late since the last look."""
        oldest = now - timedelta(days=self._settings.missed_days)
        looked = now if self._seen is None else max(min(self._seen, now), oldest)
        grace = timedelta(seconds=max(rule.grace_s for rule in self._plan.rules))
        begin, late = [], []
        for one in between(self._plan, looked - grace, now + timedelta(seconds=AHEAD_S)):
            ends = one.at + timedelta(seconds=one.rule.grace_s)
            if ends < self._plan.since:
                continue  # the schedule was not yet written
            if now <= ends and (one.at <= now or one.rule.together):
                begin.append(one)
            elif looked < ends < now:
                late.append(one)
        return _Due(
            begin=tuple(begin), missed=tuple(late[-MISSED_MAX:]), dropped=max(0, len(late) - MISSED_MAX)
        )

    def _pause_s(self, now: datetime) -> float:
        following = self._following(now)
        if not following:
            return SLICE_S if self._plan.rules else _IDLE_S
        left_s = (following[0].at - now).total_seconds()
        ahead_s = AHEAD_S if any(rule.together for rule in self._plan.rules) else 0.0
        return min(SLICE_S, max(0.01, left_s - ahead_s if left_s > ahead_s else left_s))

    # ------------------------------------------------------------ one turn

    def _begin(self, occurrence: Occurrence, now: datetime) -> None:
        if occurrence.key not in self._running and occurrence.key not in self._over:
            late_s = (now - occurrence.at).total_seconds()
            run = self._running[occurrence.key] = Run(occurrence=occurrence)
            run.task = asyncio.create_task(self._turn(run, late_s), name=f"turn of {occurrence.key}")

    async def _turn(self, run: Run, late_s: float) -> None:
        """From its time to its as-run entry; whatever happens in it, it has one."""
        occurrence, key = run.occurrence, OrderId(run.occurrence.key)
        try:
            if await self._database.run(lambda connection: fired.known(connection, [key])):
                self._over.add(key)
                return
            logger.info("A turn is due. key=%s late_s=%.0f", key, max(0.0, late_s))
            finished = await self._performed(run, late_s)
            if finished is not None:
                await self._ended(run, finished)
        except (DatabaseError, DiskError) as error:
            logger.warning("A turn cannot be looked up; it is tried again. key=%s error=%s", key, error)
        except Exception:
            logger.exception("A turn failed in a way nobody foresaw. key=%s", key)
            await self._settle(occurrence, failed(INTERNAL))
        finally:
            self._running.pop(occurrence.key, None)
            if run.recalled:
                self._wake.set()

    async def _ended(self, run: Run, finished: Finished) -> None:
        """Settle it, unless it may begin again: after the node's next start, or as the newer schedule has it."""
        occurrence = run.occurrence
        if put_off(finished):
            self._over.add(occurrence.key)  # in this process it does not begin any more
            await self._database.run(lambda connection: fired.take_back(connection, occurrence.key))
        elif not run.recalled:
            await self._settle(occurrence, finished)
        elif not any(one.key == occurrence.key for one in self._at(occurrence.at)):
            await self._settle(occurrence, failed(WITHDRAWN, outcome=Outcome.REFUSED))

    def _at(self, moment: datetime) -> list[Occurrence]:
        """The turns of the schedule at one time."""
        return between(self._plan, moment - _INSTANT, moment)

    async def _performed(self, run: Run, late_s: float) -> Finished | None:
        """Ask for the loudspeaker, and note that it begins before it does. None: it had begun before."""
        occurrence = run.occurrence
        async with aclosing(self._router.carry_out(self._intent(occurrence, late_s))) as steps:
            async for step in steps:
                match step:
                    case Finished():
                        return step
                    case Executing():
                        refusal = self._may_begin(occurrence)
                        if refusal is not None:
                            return failed(refusal, outcome=Outcome.REFUSED)
                        run.begun = True
                        if not await self._note_begin(occurrence):
                            return None
        raise AssertionError("the router ends with Finished")

    def _intent(self, occurrence: Occurrence, late_s: float) -> Programme:
        rule = occurrence.rule
        left_s = rule.grace_s - late_s
        return Programme(
            id=OrderId(occurrence.key),
            issuer=rule.issuer,
            precedence=rule.precedence,
            deadline_ns=self._clock.monotonic_ns() + round(max(0.0, left_s) * NS),
            volume=rule.volume,
            zones=rule.zones,
            title=rule.title,
            media=only_recording(rule),
            parts=rule.parts,
            starts_at=occurrence.at if rule.together and late_s < 1 else None,
            max_s=rule.max_s,
        )

    def _may_begin(self, occurrence: Occurrence) -> Reason | None:
        """Looked at once more when its turn has come: the clock, the issuer's hours, the document itself."""
        sight = self._trust.look()
        if not self._believes(sight):
            return DOUBTFUL
        if not self._planned(occurrence):
            return WITHDRAWN
        return self._authorities.may_sound(occurrence.rule.issuer, sight)

    async def _note_begin(self, occurrence: Occurrence) -> bool:
        return await self._database.run(lambda connection: fired.begin(connection, row(occurrence)))

    async def _settle(self, occurrence: Occurrence, finished: Finished) -> None:
        """Store how it ended, again and again until it is stored: it has happened."""
        await until_stored(
            lambda: self._store([(occurrence, finished.asrun)]),
            what=f"The end of turn {occurrence.key}", log=logger, wait_s=_RETRY_S,
        )  # fmt: skip

    async def _miss(self, due: _Due, sight: Sight, now_ns: int) -> None:
        """Turns whose time has passed unheard. Raises DatabaseError, DiskError."""
        if due.dropped:
            logger.warning("Too many turns were missed to tell each. untold=%d", due.dropped)
        began = sight.now - timedelta(microseconds=(now_ns - self._began_ns) // 1000)
        reasons = [OFF if one.at < began else DOUBTFUL for one in due.missed]
        missed = [
            (one, AsRun(outcome=Outcome.MISSED, reason=reason))
            for one, reason in zip(due.missed, reasons, strict=True)
            if one.key not in self._running
        ]
        await self._store(missed, missed=True, seen=sight.now)
        if missed:
            logger.warning("Turns were missed. count=%d first=%s", len(missed), missed[0][0].key)

    async def _store(
        self, ended: Sequence[tuple[Occurrence, AsRun]], *, missed: bool = False, seen: datetime | None = None
    ) -> None:
        """Their rows and entries. `missed`: what has a row has its own story."""
        base = self._timebase()

        def work(connection: sqlite3.Connection) -> None:
            known = fired.known(connection, (one.key for one, _ in ended) if missed else ())
            for one, asrun in ended:
                if one.key not in known:
                    turn = row(one)
                    fired.begin(connection, turn)
                    whole = replace(asrun, title=one.rule.title, zones=one.rule.zones)
                    self._record(connection, turn, whole, base)
            if seen is not None:
                fired.see(connection, seen)

        await self._database.run(work)
        self._outbox.wake()

    def _record(self, connection: sqlite3.Connection, turn: Begun, asrun: AsRun, base: Timebase) -> None:
        """The as-run entry and the row's end, in one transaction."""
        apart_ns = round((turn.at - base.utc).total_seconds() * NS)
        asrun_log.record(
            connection,
            order_id=turn.key,
            issuer=turn.issuer,
            verb=VERB,
            precedence=turn.precedence,
            asrun=asrun,
            timebase=base,
            topic=self._topic,
            planned_ns=base.monotonic_ns + apart_ns,
        )
        fired.end(connection, turn.key)

    def _timebase(self) -> Timebase:
        return Timebase.read(self._clock, self._trust.look())

    def _provide(self, now: datetime) -> None:
        """Say what is wanted, and what of it within a day: with a new document, and every hour."""
        if not self._fresh and self._provided is not None and abs(now - self._provided) < _PROVIDE_EVERY:
            return
        self._provided = now
        due = {one.rule.id: one.rule for one in between(self._plan, now, now + _SOON)}
        soon = {one.media for one in Plan(rules=tuple(due.values())).media()}
        self._cellar.want(VERB, tuple(self._plan.media()), soon)

    async def _tidy(self, now: datetime) -> None:
        """Once a day the rows of long ago go; and with a new document its past begins now."""
        if not self._fresh and self._tidied is not None and abs(now - self._tidied) < _TIDY_EVERY:
            return
        before = now - timedelta(days=fired.KEPT_DAYS)

        def work(connection: sqlite3.Connection) -> None:
            fired.forget(connection, before)
            fired.see(connection, now)

        await self._database.run(work)
        self._fresh, self._tidied = False, now

    async def _leave(self) -> None:
        """The junction ends what sounds; here it only remains to store that."""
        tasks = tuple(run.task for run in self._running.values() if run.task is not None)
        if tasks:
            await asyncio.wait(tasks, timeout=_RETRY_S)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
