"""Orders to show and to clear: which notice is wanted, which is on its way, and how each order ends.

One notice a class is wanted (`_wanted`); one more a class may be on its way (`_asked`) and takes its
place when the board has all its pages. An order that fails, expires or is replaced before that leaves
nothing behind: the earlier notice of its class is still wanted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from edge_agent.board.notices import Notice, NoticeBook, learn_wall_time
from edge_agent.errors import Refused
from edge_agent.model import (
    AsRun,
    BoardClear,
    BoardShow,
    Finished,
    OrderId,
    OrderState,
    Outcome,
    Precedence,
    Reason,
    ReasonCode,
)
from edge_agent.ticket import Ticket
from hal.ports import Clock

logger = logging.getLogger(__name__)

CLEARS_MAX = 8
BEGIN_S = 10.0
"""How long the asker may take to store that its order begins."""
DOWNWARD = tuple(sorted(Precedence, reverse=True))


@dataclass(slots=True, kw_only=True, eq=False)
class _Clear:
    """An order to take notices down."""

    intent: BoardClear
    ticket: Ticket
    started_ns: int | None = None
    taken: tuple[OrderId, ...] = ()


class Desk:
    """The orders of one board. `proof` tells the grade that what is shown now has reached."""

    def __init__(self, *, clock: Clock, book: NoticeBook, proof: Callable[[], int]) -> None:
        self._clock = clock
        self._book = book
        self._proof = proof
        self._wanted: dict[Precedence, Notice] = {}
        self._asked: dict[Precedence, Notice] = {}
        self._clears: list[_Clear] = []

    # ------------------------------------------------------------ asked from outside

    def show(self, intent: BoardShow) -> Ticket:
        """Queue a notice. A later one of the same class takes the place of an earlier one."""
        ticket = Ticket(intent)
        notice = Notice(
            key=intent.id,
            issuer=intent.issuer,
            precedence=intent.precedence,
            text=intent.text,
            shorter=intent.shorter,
            until_ns=intent.until_ns,
            deadline_ns=intent.deadline_ns,
            ticket=ticket,
        )
        earlier = self._asked.get(intent.precedence)
        if earlier is not None:
            text = f"A later notice of the same class took its place before it was shown: {intent.id}."
            self.end(earlier, OrderState.SUPERSEDED, Reason(ReasonCode.SUPERSEDED, text))
        self._asked[intent.precedence] = notice
        return ticket

    def clear(self, intent: BoardClear) -> Ticket:
        """Queue an order to take notices down. Raises Refused(BUSY) when too many such orders wait."""
        if len(self._clears) >= CLEARS_MAX:
            raise Refused(
                ReasonCode.BUSY,
                f"{CLEARS_MAX} orders to clear the board are waiting already; wait for them to end.",
            )
        ticket = Ticket(intent)
        self._clears.append(_Clear(intent=intent, ticket=ticket))
        return ticket

    @property
    def wanted(self) -> tuple[OrderId, ...]:
        """The orders whose notices the board shows, or is to show again."""
        return tuple(OrderId(notice.key) for notice in self._wanted.values())

    def wind_up(self) -> None:
        """The agent stops: orders under way end `interrupted`; what the board shows stays, and is wanted again at the
        next start."""
        text = "The node stopped before the board had all of it."
        for notice in list(self._asked.values()):
            self.end(notice, OrderState.INTERRUPTED, Reason(ReasonCode.INTERRUPTED, text))
        for clear in self._clears:
            if clear.ticket.finished is None:
                reason = Reason(ReasonCode.INTERRUPTED, "The node stopped before the board was clear.")
                asrun = AsRun(outcome=Outcome.PARTIAL if clear.started_ns else Outcome.MISSED, reason=reason)
                clear.ticket.end(Finished(state=OrderState.INTERRUPTED, asrun=asrun))
        self._clears.clear()

    # ------------------------------------------------------------ what is to be seen

    @property
    def highest(self) -> Notice | None:
        """The drawn notice of the highest class."""
        for precedence in DOWNWARD:
            notice = self._asked.get(precedence) or self._wanted.get(precedence)
            if notice is not None and notice.pages:
                return notice
        return None

    @property
    def undrawn(self) -> list[Notice]:
        """What was asked for and has no pages yet."""
        return [notice for notice in self._asked.values() if not notice.pages]

    def interrupted(self, notice: Notice) -> None:
        """Another is shown in its place, although its order has not ended."""
        if self._asked.get(notice.precedence) is notice:
            notice.interrupted += 1

    def moments(self) -> list[int]:
        """When it must be looked at again, CLOCK_BOOTTIME ns."""
        open_notices = [*self._wanted.values(), *self._asked.values()]
        ends = [notice.until_ns for notice in open_notices]
        return ends + [notice.deadline_ns + 1 for notice in self._asked.values() if notice.started_ns is None]

    # ------------------------------------------------------------ notices come and go

    async def restore(self) -> bool:
        """What was wanted before the restart is wanted again. False: it cannot be read now."""
        kept = await self._book.read()
        if kept is None:
            return False
        for notice in kept:
            self._wanted.setdefault(notice.precedence, notice)
        return True

    @property
    def standing(self) -> list[Notice]:
        """The wanted notices."""
        return list(self._wanted.values())

    def unwanted(self, notice: Notice) -> None:
        """A kept notice that cannot be drawn any more."""
        logger.warning("A kept notice can no longer be drawn. id=%s", notice.key)
        if self._wanted.get(notice.precedence) is notice:
            del self._wanted[notice.precedence]

    async def begin(self, notice: Notice, ticket: Ticket) -> None:
        """Tell the asker that its turn has come, and wait until that is stored."""
        if await self._granted(ticket):
            notice.started_ns = self._clock.monotonic_ns()

    async def aired(self, notice: Notice) -> None:
        """The board has all pages: from now on the notice is wanted, over restarts too; its order has succeeded."""
        ticket = notice.ticket
        assert ticket is not None
        notice.ticket = None
        if self._asked.get(notice.precedence) is notice:
            del self._asked[notice.precedence]
        self._wanted[notice.precedence] = notice
        await self._book.keep(notice)
        if ticket.finished is None:
            asrun = self._asrun(notice, Outcome.AIRED, None, proof=self._proof())
            ticket.end(
                Finished(state=OrderState.SUCCESSFUL, asrun=asrun, result={"pages": len(notice.pages)})
            )

    def end(self, notice: Notice, state: OrderState, reason: Reason) -> None:
        """An order ends before its notice was wholly shown."""
        if self._asked.get(notice.precedence) is notice:
            del self._asked[notice.precedence]
        if notice.ticket is None or notice.ticket.finished is not None:
            return
        if state is OrderState.REJECTED:
            outcome = Outcome.REFUSED
        elif state is OrderState.FAILED:
            outcome = Outcome.FAILED
        else:
            outcome = Outcome.PARTIAL if notice.seen else Outcome.MISSED
        notice.ticket.end(Finished(state=state, asrun=self._asrun(notice, outcome, reason)))

    async def drop_ended(self) -> None:
        """Let go of what has had its time, shown or not."""
        now_ns = self._clock.monotonic_ns()
        for notice in self._wanted.values():
            learn_wall_time(notice, self._clock)
        await self._withdraw([notice for notice in self._wanted.values() if notice.until_ns <= now_ns])
        for notice in list(self._asked.values()):
            late = notice.started_ns is None and notice.deadline_ns < now_ns
            if notice.until_ns <= now_ns or late:
                text = "Its time was over before the board had shown all of it."
                self.end(notice, OrderState.EXPIRED, Reason(ReasonCode.EXPIRED, text))

    async def keep_all(self) -> None:
        """Note how much time is left of each wanted notice."""
        if self._wanted:
            await self._book.keep(*self._wanted.values())

    async def _withdraw(self, notices: Sequence[Notice]) -> None:
        """These are wanted no longer, not after a restart either."""
        for notice in notices:
            del self._wanted[notice.precedence]
        await self._book.forget(notices)

    async def _granted(self, ticket: Ticket) -> bool:
        """Grant and wait for `begin`. False: it ended instead."""
        ticket.grant()
        try:
            async with asyncio.timeout(BEGIN_S):
                await ticket.begun()
        except TimeoutError:
            text = f"Whoever gave the order did not begin it within {BEGIN_S:.0f} s; nothing was shown."
            if ticket.finished is None:
                reason = Reason(ReasonCode.INTERNAL, text)
                ticket.end(
                    Finished(state=OrderState.FAILED, asrun=AsRun(outcome=Outcome.FAILED, reason=reason))
                )
            for precedence, notice in list(self._asked.items()):
                if notice.ticket is ticket:
                    del self._asked[precedence]
        return ticket.finished is None

    def _asrun(self, notice: Notice, outcome: Outcome, reason: Reason | None, *, proof: int = 0) -> AsRun:
        pages = len(notice.pages) if outcome is Outcome.AIRED else len(notice.seen)
        return AsRun(
            outcome=outcome,
            reason=reason,
            started_ns=notice.started_ns,
            ended_ns=None if notice.started_ns is None else self._clock.monotonic_ns(),
            digest=notice.digest if notice.seen else None,
            pages=pages,
            preempted_count=notice.interrupted,
            proof=proof or min(1, len(notice.seen)),
        )

    # ------------------------------------------------------------ clears

    async def begin_clears(self) -> None:
        """Carry out what was asked for since the last step: on the board it is done by the next ones."""
        for clear in self._clears[:]:
            if clear.started_ns is not None:
                continue
            if clear.intent.deadline_ns < self._clock.monotonic_ns():
                reason = Reason(ReasonCode.EXPIRED, "Its time was over before it could begin.")
                asrun = AsRun(outcome=Outcome.MISSED, reason=reason)
                clear.ticket.end(Finished(state=OrderState.EXPIRED, asrun=asrun))
            if clear.ticket.finished is not None or not await self._granted(clear.ticket):
                self._clears.remove(clear)
                continue
            clear.started_ns = self._clock.monotonic_ns()
            text = f"It was taken down by the order {clear.intent.id}."
            asked = [notice for notice in self._asked.values() if notice.taken_down_by(clear.intent)]
            wanted = [notice for notice in self._wanted.values() if notice.taken_down_by(clear.intent)]
            clear.taken = tuple(notice.key for notice in [*asked, *wanted])
            for notice in asked:
                self.end(notice, OrderState.CANCELLED, Reason(ReasonCode.CANCELLED, text))
            await self._withdraw(wanted)

    def end_clears(
        self,
        state: Literal[OrderState.SUCCESSFUL, OrderState.FAILED] = OrderState.SUCCESSFUL,
        reason: Reason | None = None,
    ) -> None:
        """The board shows what is wanted now, or has not answered for too long: orders to clear end."""
        well = state is OrderState.SUCCESSFUL
        for clear in self._clears[:]:
            if clear.started_ns is None:
                continue
            self._clears.remove(clear)
            asrun = AsRun(
                outcome=Outcome.AIRED if well else Outcome.FAILED,
                reason=reason,
                started_ns=clear.started_ns,
                ended_ns=self._clock.monotonic_ns(),
                proof=self._proof() if well else 0,
            )
            result: dict[str, object] = {"cleared": list(clear.taken)}
            clear.ticket.end(Finished(state=state, asrun=asrun, result=result))

    def stand_aside(self) -> None:
        """The board is not ours any more: nothing of ours is on it, and nothing will be."""
        text = "The board is somebody else's, and not lent any more."
        for notice in list(self._asked.values()):
            self.end(notice, OrderState.FAILED, Reason(ReasonCode.UNSUPPORTED, text))

    def give_up(self, top: Notice | None, text: str, *, good_ns: int, after_ns: int) -> list[int]:
        """The board has failed with `text`, and was last well at `good_ns`: end what has waited for `after_ns`.

        Returns when the others will have, CLOCK_BOOTTIME ns.
        """
        now_ns = self._clock.monotonic_ns()
        ends: list[int] = []
        if top is not None and top.ticket is not None and top.started_ns is not None:
            ends.append(max(top.started_ns, good_ns) + after_ns)
            if now_ns >= ends[0]:
                self.end(top, OrderState.FAILED, Reason(ReasonCode.HARDWARE_FAULT, text))
        begun = [clear.started_ns for clear in self._clears if clear.started_ns is not None]
        clears_end = [max(started_ns, good_ns) + after_ns for started_ns in begun]
        if any(now_ns >= end_ns for end_ns in clears_end):
            gone = f"{text} The notices are withdrawn, and will vanish when the board answers again."
            self.end_clears(OrderState.FAILED, Reason(ReasonCode.HARDWARE_FAULT, gone))
        return [end_ns for end_ns in [*ends, *clears_end] if end_ns > now_ns]
