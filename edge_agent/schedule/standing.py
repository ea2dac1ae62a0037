"""The board document: notices that stand on the board between two dates, in place of the list before.

The board's room shows them like any notice of an order, keeps them over restarts, and lets an order of a higher class
take their place. Each has one as-run entry, once it was shown.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal, Protocol

import msgspec
from msgspec import Meta

from edge_agent import kept
from edge_agent.clocktrust import ClockTrust, Sight
from edge_agent.desired import Signed, Understood
from edge_agent.errors import DocumentRefused, Fault
from edge_agent.model import (
    NS,
    BoardShow,
    Finished,
    Intent,
    Issuer,
    OrderId,
    OrderState,
    Precedence,
    ReasonCode,
    Step,
)
from edge_agent.patterns import decoded
from edge_agent.report import asrun as asrun_log
from edge_agent.report.asrun import Timebase
from edge_agent.report.outbox import Outbox
from edge_agent.schedule.forms import FORMS, RULE_PATTERN
from edge_agent.schedule.scheduler import SLICE_S
from hal.errors import DatabaseError, DiskError
from hal.ports import Clock, Database

logger = logging.getLogger(__name__)

NOTICES_MAX: Final = 100
VERB: Final = "board"
KEPT_UP: Final = "board.standing"
_LONGEST: Final = timedelta(days=366)
_RETRY_S: Final = 60.0


class NoticeForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One notice. Without `from` it stands at once, without `to` until the document changes."""

    id: Annotated[str, Meta(pattern=RULE_PATTERN)]
    text: Annotated[str, Meta(min_length=1, max_length=4000)]
    klass: Literal["routine", "priority", "emergency"] = msgspec.field(name="class", default="routine")
    begins: Annotated[datetime, Meta(tz=True)] | None = msgspec.field(name="from", default=None)
    ends: Annotated[datetime, Meta(tz=True)] | None = msgspec.field(name="to", default=None)


class BoardForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a board document."""

    notices: Annotated[tuple[NoticeForm, ...], Meta(max_length=NOTICES_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What stands, and when."""

    key: OrderId
    issuer: Issuer
    text: str
    precedence: Precedence
    begins: datetime | None
    ends: datetime | None

    def stands(self, sight: Sight) -> bool:
        """Whether it is to be seen now. A date is only gone by where the time is believed."""
        if self.begins is None and self.ends is None:
            return True
        if not sight.quality.trusted:
            return False
        return (self.begins is None or self.begins <= sight.now) and (
            self.ends is None or sight.now < self.ends
        )


def read(body: bytes, signed: Signed) -> tuple[Notice, ...]:
    """The notices of a document. Raises DocumentRefused."""
    form = decoded(body, BoardForm, what="board", forms=FORMS)
    faults = [
        Fault(f"$.notices[{place}].class", f"The document is signed for {signed.highest.wire} at most.")
        for place, one in enumerate(form.notices)
        if Precedence.from_wire(one.klass) > signed.highest
    ]
    dates = [
        {key: _utc(date) for key, date in (("from", one.begins), ("to", one.ends)) if date is not None}
        for one in form.notices
    ]
    faults += [
        Fault(f"$.notices[{place}].{key}", "The date is out of the calendar.")
        for place, found in enumerate(dates)
        for key, date in found.items()
        if date is None
    ]
    names = [one.id for one in form.notices]
    faults += [
        Fault(f"$.notices[{place}].id", f"Notice {name!r} stands in the list twice.")
        for place, name in enumerate(names)
        if name in names[:place]
    ]
    if faults:
        raise DocumentRefused(ReasonCode.BAD_ARGS, faults[0].message, faults)
    return tuple(
        Notice(
            key=OrderId(f"{one.id}@v{signed.version}"),
            issuer=signed.issuer,
            text=one.text,
            precedence=Precedence.from_wire(one.klass),
            begins=found.get("from"),
            ends=found.get("to"),
        )
        for one, found in zip(form.notices, dates, strict=True)
    )


def _utc(date: datetime) -> datetime | None:
    try:
        return date.astimezone(UTC)
    except OverflowError:
        return None


class Junction(Protocol):
    """What this file asks of `edge_agent.router`."""

    def carry_out(self, intent: Intent) -> AsyncGenerator[Step, None]:
        """Do it, step by step; exactly one Finished, last."""

    async def withdraw(self, orders: Collection[OrderId]) -> None:
        """Take down what these have left on the board."""


class Standing:
    """Takes the board document and keeps its notices up. The board's room keeps over restarts what is shown."""

    def __init__(
        self,
        *,
        clock: Clock,
        trust: ClockTrust,
        database: Database,
        router: Junction,
        outbox: Outbox,
        report_topic: str,
    ) -> None:
        self._clock = clock
        self._trust = trust
        self._database = database
        self._router = router
        self._outbox = outbox
        self._topic = report_topic
        self._notices: dict[OrderId, Notice] = {}
        self._up: set[OrderId] | None = None
        """What was put up, in this run or an earlier one; None: not read yet."""
        self._rests_ns = 0
        """Until then (CLOCK_BOOTTIME) a board that did not take a notice is left alone."""
        self._wake = asyncio.Event()

    def understand(self, body: bytes, signed: Signed) -> Understood:
        """See `desired.Taker`."""
        return Understood(content=read(body, signed))

    async def take(self, understood: Understood | None) -> str | None:
        """See `desired.Taker`. The notices of the list before go."""
        content: tuple[Notice, ...] = () if understood is None else understood.content
        self._notices = {notice.key: notice for notice in content}
        self._rests_ns = 0
        self._wake.set()
        return None

    async def life(self) -> None:
        """Look every half minute until cancelled; what is shown then stays on the board for the next start."""
        while True:
            self._wake.clear()
            try:
                await self._look()
            except (DatabaseError, DiskError) as error:
                logger.warning("The board's notices cannot be kept up. error=%s", error)
            except Exception:
                logger.exception("The board's notices failed; they are looked at again.")
            with suppress(TimeoutError):
                async with asyncio.timeout(SLICE_S if self._notices or self._up else None):
                    await self._wake.wait()

    async def _look(self) -> None:
        """Take down what has had its time, put up what is due. Raises DatabaseError, DiskError."""
        if self._up is None:
            text = await self._database.run(lambda connection: kept.get(connection, KEPT_UP))
            self._up = {OrderId(key) for key in json.loads(text or "[]")}
        sight = self._trust.look()
        due = {key for key, notice in self._notices.items() if notice.stands(sight)}
        if not sight.quality.trusted:  # what is up stays: a date is only gone by where the time is believed
            due |= self._up & self._notices.keys()
        gone = self._up - due
        if gone:
            await self._router.withdraw(gone)
            await self._keep(self._up - gone)
        if self._clock.monotonic_ns() < self._rests_ns:
            return
        for key in sorted(due - self._up):
            if await self._show(self._notices[key], sight):
                await self._keep(self._up | {key})
            else:
                self._rests_ns = self._clock.monotonic_ns() + round(_RETRY_S * NS)

    async def _show(self, notice: Notice, sight: Sight) -> bool:
        """Put one up; whether it stands. Raises DatabaseError, DiskError."""
        now_ns = self._clock.monotonic_ns()
        left = _LONGEST if notice.ends is None else min(_LONGEST, notice.ends - sight.now)
        intent = BoardShow(
            id=notice.key,
            issuer=notice.issuer,
            precedence=notice.precedence,
            deadline_ns=now_ns + 300 * NS,
            text=notice.text,
            until_ns=now_ns + round(left.total_seconds() * NS),
        )
        finished: Finished | None = None
        async with aclosing(self._router.carry_out(intent)) as steps:
            async for step in steps:
                finished = step if isinstance(step, Finished) else finished
        assert finished is not None, "the junction ends with Finished"
        if finished.state is not OrderState.SUCCESSFUL:
            reason = finished.asrun.reason
            logger.warning("A notice is not shown. key=%s why=%s", notice.key, reason and reason.text)
            return False
        await self._record(notice, finished)
        return True

    async def _record(self, notice: Notice, finished: Finished) -> None:
        """Its as-run entry, as of a notice that was ordered."""
        base = Timebase.read(self._clock, self._trust.look())

        def work(connection: sqlite3.Connection) -> None:
            asrun_log.record(
                connection,
                order_id=OrderId(f"{notice.key}-{base.monotonic_ns // NS}-{base.boot[:8]}"),
                issuer=notice.issuer,
                verb=VERB,
                precedence=notice.precedence,
                asrun=finished.asrun,
                timebase=base,
                topic=self._topic,
            )

        await self._database.run(work)
        self._outbox.wake()

    async def _keep(self, up: set[OrderId]) -> None:
        text = json.dumps(sorted(up))
        await self._database.run(lambda connection: kept.put(connection, KEPT_UP, text))
        self._up = up
