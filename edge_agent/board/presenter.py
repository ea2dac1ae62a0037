"""The board's thread of life: which notice is shown, which of its pages, since when, until when.

One notice a class is wanted (`_wanted`); one more a class may be on its way (`_asked`) and takes its
place when the board has all its pages. The highest class is shown. An order that fails, expires
or is replaced before that leaves nothing behind: the earlier notice of its class is still wanted.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Literal

from edge_agent.board import spelling
from edge_agent.board.drawing import DrawingTable
from edge_agent.board.link import BoardFault, Link
from edge_agent.board.notices import Notice, NoticeBook, Page, learn_wall_time
from edge_agent.board.panel import Panel
from edge_agent.board.picture import Picture
from edge_agent.board.protocols.alpha import PICTURE_LABELS, AlphaCodec
from edge_agent.board.settings import BoardSettings
from edge_agent.errors import Refused, TextRefused
from edge_agent.model import (
    NS,
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
from hal.errors import SerialError
from hal.ports import Clock, Database, SerialPort

logger = logging.getLogger(__name__)

CLEARS_MAX = 8
ALERT_LOOK_S = 60
"""How long an alert may be gone from a board that has lost its memory."""
BEGIN_S = 10.0
"""How long the asker may take to store that its order begins."""
LEAST_WAIT_S = 0.001
"""A timer may fire a moment early; never spin on it."""
BACKOFF_MIN_S, BACKOFF_MAX_S = 1.0, 30.0
DOWNWARD = tuple(sorted(Precedence, reverse=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardState:
    """The board at a glance."""

    order: OrderId | None
    precedence: Precedence | None
    page: int
    pages: int
    text: str
    picture: Picture | None
    fault: str | None


@dataclass(slots=True, kw_only=True, eq=False)
class _Clear:
    """An order to take notices down."""

    intent: BoardClear
    ticket: Ticket
    started_ns: int | None = None
    taken: tuple[OrderId, ...] = ()


class Presenter:
    """One board. `show` and `clear` queue an order and return its ticket; `life` does the work."""

    def __init__(
        self, *, settings: BoardSettings, clock: Clock, serial: SerialPort, database: Database
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._book = NoticeBook(database=database, clock=clock)
        codec = AlphaCodec(
            columns=settings.columns,
            rows=settings.rows,
            slots=min(len(PICTURE_LABELS), 2 * settings.pages_max + 2),
            colours=settings.colours,
            address=(settings.sign_type + settings.sign_address).encode("ascii"),
            answers=settings.answers,
        )
        link = Link(serial=serial, codec=codec, reply_timeout_s=settings.reply_timeout_s)
        self._panel = Panel(link=link, caps=codec.caps)
        self._proof = 2 if settings.answers else 1
        self._table = DrawingTable(settings)
        self._wanted: dict[Precedence, Notice] = {}
        self._asked: dict[Precedence, Notice] = {}
        self._clears: list[_Clear] = []
        self._top: Notice | None = None
        self._changed = asyncio.Event()
        self._restored = False
        self._reassert_ns = self._look_ns = 0
        self._backoff_s = BACKOFF_MIN_S
        self._good_ns = clock.monotonic_ns()
        """When the board was last known to be well."""
        self.fault: str | None = None
        """What is wrong with the board, a sentence with a remedy; None when it is well."""

    # ------------------------------------------------------------ asked from outside

    async def vet(self, text: str, precedence: Precedence) -> tuple[Page, ...]:
        """The pages that a text would make, drawn off the loop.

        Raises:
            TextRefused: it cannot be shown whole and unchanged.
        """
        return await self._table.pages_of(text, precedence)

    def show(self, intent: BoardShow) -> Ticket:
        """Ask for a notice. A later one of the same class takes the place of an earlier one.

        A text that cannot be drawn (a missing glyph, a word too wide, too many pages) is found out off
        the loop: its ticket ends `rejected` and was never granted. Use `vet` to know before.

        Raises:
            TextRefused: the text is empty, in an old encoding, or has a character that no board shows.
        """
        spelling.clean(intent.text)
        ticket = Ticket(intent)
        notice = Notice(
            id=intent.id,
            issuer=intent.issuer,
            precedence=intent.precedence,
            text=intent.text,
            until_ns=intent.until_ns,
            deadline_ns=intent.deadline_ns,
            ticket=ticket,
        )
        earlier = self._asked.get(intent.precedence)
        if earlier is not None:
            text = f"A later notice of the same class took its place before it was shown: {intent.id}."
            self._end(earlier, OrderState.SUPERSEDED, Reason(ReasonCode.SUPERSEDED, text))
        self._asked[intent.precedence] = notice
        self._changed.set()
        return ticket

    def clear(self, intent: BoardClear) -> Ticket:
        """Ask to take notices down. Raises Refused(BUSY) when too many such orders wait."""
        if len(self._clears) >= CLEARS_MAX:
            raise Refused(
                ReasonCode.BUSY,
                f"{CLEARS_MAX} orders to clear the board are waiting already; wait for them to end.",
            )
        ticket = Ticket(intent)
        self._clears.append(_Clear(intent=intent, ticket=ticket))
        self._changed.set()
        return ticket

    @property
    def wanted(self) -> tuple[OrderId, ...]:
        """The orders whose notices the board shows, or is to show again."""
        return tuple(OrderId(notice.id) for notice in self._wanted.values())

    def wind_up(self) -> None:
        """The agent stops: orders under way end `interrupted`; what the board shows stays, and is wanted again at the
        next start."""
        text = "The node stopped before the board had all of it."
        for notice in list(self._asked.values()):
            self._end(notice, OrderState.INTERRUPTED, Reason(ReasonCode.INTERRUPTED, text))
        for clear in self._clears:
            if clear.ticket.finished is None:
                reason = Reason(ReasonCode.INTERRUPTED, "The node stopped before the board was clear.")
                asrun = AsRun(outcome=Outcome.PARTIAL if clear.started_ns else Outcome.MISSED, reason=reason)
                clear.ticket.end(Finished(state=OrderState.INTERRUPTED, asrun=asrun))
        self._clears.clear()

    def state(self) -> BoardState:
        """The board at a glance. Never blocks."""
        top = self._top
        drawn = top is not None and bool(top.pages)
        return BoardState(
            order=top.id if top else None,
            precedence=top.precedence if top else None,
            page=top.index + 1 if top and drawn else 0,
            pages=len(top.pages) if top else 0,
            text=top.page.text if top and drawn else "",
            picture=self._panel.shown,
            fault=self.fault,
        )

    # ------------------------------------------------------------ the thread of life

    async def life(self) -> None:
        """Serve the board until cancelled."""
        try:
            while True:
                try:
                    await self._step()
                except (SerialError, BoardFault) as error:
                    await self._suffer(str(error))
                except Exception:
                    logger.exception("The presenter stumbled and starts anew.")
                    self._panel.lost()
                    await asyncio.sleep(self._backoff_s)
                    self._backoff_s = min(2 * self._backoff_s, BACKOFF_MAX_S)
        finally:
            self._panel.lost()

    async def _step(self) -> None:
        """One small advance towards what is wanted; returns after each, so that anything may come between."""
        self._changed.clear()
        if not self._restored:
            await self._restore()
        await self._drop_ended()
        await self._begin_clears()
        await self._draw_asked()
        top = self._highest()
        if top is not self._top:
            if self._top is not None and self._asked.get(self._top.precedence) is self._top:
                self._top.interrupted += 1
            self._top = top
        if top is not None and top.ticket is not None and top.started_ns is None:
            await self._begin(top, top.ticket)
        elif not self._panel.ready or self._clock.monotonic_ns() >= self._reassert_ns:
            await self._assure()
        elif top is None:
            await self._panel.show(None)
            if self._panel.ready:
                self._end_clears()
                await self._wait()
        else:
            await self._advance(top)

    async def _advance(self, notice: Notice) -> None:
        """One write, or one decision, or one wait, for the notice that is to be seen."""
        now_ns = self._clock.monotonic_ns()
        pictures = [page.picture for page in notice.pages]
        standing = self._panel.holds(notice.page.picture)
        following = (notice.index + 1) % len(pictures)
        if not standing:
            await self._panel.store(notice.page.picture, keep=pictures)
        elif await self._put(notice):
            if not self._panel.ready:
                return
            self._end_clears()
            notice.seen.add(notice.index)
            notice.due_ns = self._clock.monotonic_ns() + round(notice.page.dwell_s * NS)
        elif len(pictures) > 1 and now_ns >= notice.due_ns and self._panel.holds(pictures[following]):
            notice.index = following
        elif missing := [picture for picture in pictures if not self._panel.holds(picture)]:
            ahead = pictures[following]
            await self._panel.store(ahead if ahead in missing else missing[0], keep=pictures)
        elif notice.ticket is not None:
            await self._aired(notice)
        elif notice.takes_over and now_ns >= self._look_ns:
            await self._panel.look()
            self._look_ns = self._clock.monotonic_ns() + ALERT_LOOK_S * NS
        else:
            self._end_clears()
            await self._wait(notice.due_ns if len(pictures) > 1 else None)

    async def _put(self, notice: Notice) -> bool:
        """Show the notice's page in its place. Whether anything had to be written."""
        picture = notice.page.picture
        if not notice.takes_over:
            return await self._panel.show(picture)
        left_s = (notice.until_ns - self._clock.monotonic_ns()) / NS
        return await self._panel.take_over(picture, left_s=left_s)

    async def _wait(self, until_ns: int | None = None) -> None:
        """Wait for an order, or for whichever comes first of `until_ns`, an end, and the next check."""
        open_notices = [*self._wanted.values(), *self._asked.values()]
        moments = [self._look_ns] if self._top is not None and self._top.takes_over else []
        moments += [self._reassert_ns, *(notice.until_ns for notice in open_notices)]
        moments += [notice.deadline_ns + 1 for notice in self._asked.values() if notice.started_ns is None]
        if until_ns is not None:
            moments.append(until_ns)
        left_ns = min(moments) - self._clock.monotonic_ns()
        await self._sleep(max(LEAST_WAIT_S, left_ns / NS))

    async def _sleep(self, seconds: float) -> None:
        """Sleep, but no longer than until something changes."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    # ------------------------------------------------------------ notices come and go

    def _highest(self) -> Notice | None:
        for precedence in DOWNWARD:
            notice = self._asked.get(precedence) or self._wanted.get(precedence)
            if notice is not None and notice.pages:
                return notice
        return None

    async def _begin(self, notice: Notice, ticket: Ticket) -> None:
        """Tell the asker that its turn has come, and wait until that is stored."""
        if not await self._granted(ticket):
            return
        notice.started_ns = self._clock.monotonic_ns()

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

    async def _aired(self, notice: Notice) -> None:
        """The board has all pages: from now on the notice is wanted, over restarts too; its order has succeeded."""
        ticket = notice.ticket
        assert ticket is not None
        notice.ticket = None
        if self._asked.get(notice.precedence) is notice:
            del self._asked[notice.precedence]
        self._wanted[notice.precedence] = notice
        await self._book.keep(notice)
        if ticket.finished is None:
            asrun = self._asrun(notice, Outcome.AIRED, None, proof=self._proof)
            ticket.end(
                Finished(state=OrderState.SUCCESSFUL, asrun=asrun, result={"pages": len(notice.pages)})
            )

    def _end(self, notice: Notice, state: OrderState, reason: Reason) -> None:
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

    def _asrun(self, notice: Notice, outcome: Outcome, reason: Reason | None, *, proof: int = 0) -> AsRun:
        pages = len(notice.pages) if outcome is Outcome.AIRED else len(notice.seen)
        return AsRun(
            outcome=outcome,
            reason=reason,
            started_ns=notice.started_ns,
            ended_ns=None if notice.started_ns is None else self._clock.monotonic_ns(),
            pages=pages,
            preempted_count=notice.interrupted,
            proof=proof or min(1, len(notice.seen)),
        )

    async def _drop_ended(self) -> None:
        """Let go of what has had its time, shown or not."""
        now_ns = self._clock.monotonic_ns()
        for notice in self._wanted.values():
            learn_wall_time(notice, self._clock)
        over = [notice for notice in self._wanted.values() if notice.until_ns <= now_ns]
        await self._withdraw(over)
        for notice in list(self._asked.values()):
            late = notice.started_ns is None and notice.deadline_ns < now_ns
            if notice.until_ns <= now_ns or late:
                text = "Its time was over before the board had shown all of it."
                self._end(notice, OrderState.EXPIRED, Reason(ReasonCode.EXPIRED, text))

    async def _withdraw(self, notices: list[Notice]) -> None:
        """These are wanted no longer, not after a restart either."""
        for notice in notices:
            del self._wanted[notice.precedence]
        await self._book.forget(notices)

    async def _restore(self) -> None:
        """What was wanted before the restart is wanted again."""
        kept = await self._book.read()
        if kept is None:
            return
        self._restored = True
        for notice in kept:
            if await self._drawable(notice):
                self._wanted.setdefault(notice.precedence, notice)
            else:
                logger.warning("A kept notice can no longer be drawn. id=%s", notice.id)

    # ------------------------------------------------------------ clears

    async def _begin_clears(self) -> None:
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
            clear.taken = tuple(notice.id for notice in [*asked, *wanted])
            for notice in asked:
                self._end(notice, OrderState.CANCELLED, Reason(ReasonCode.CANCELLED, text))
            await self._withdraw(wanted)

    def _end_clears(
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
                proof=self._proof if well else 0,
            )
            result: dict[str, object] = {"cleared": list(clear.taken)}
            clear.ticket.end(Finished(state=state, asrun=asrun, result=result))

    # ------------------------------------------------------------ drawing

    async def _draw_asked(self) -> None:
        """Draw what was asked for since the last step; refuse what cannot be drawn."""
        for notice in list(self._asked.values()):
            if not notice.pages:
                await self._drawable(notice)

    async def _drawable(self, notice: Notice) -> bool:
        try:
            notice.pages = await self.vet(notice.text, notice.precedence)
        except TextRefused as refused:
            bad = refused.code is ReasonCode.BAD_ARGS
            state = OrderState.REJECTED if bad else OrderState.FAILED
            self._end(notice, state, Reason(refused.code, refused.text))
            return False
        return True

    # ------------------------------------------------------------ faults

    async def _assure(self) -> None:
        """Find the board well, or raise; then let it show everything anew."""
        alert = self._top is not None and self._top.takes_over
        await self._panel.assure(alert=alert)
        self._reassert_ns = self._clock.monotonic_ns() + self._settings.reassert_s * NS
        self._good_ns = self._clock.monotonic_ns()
        self._backoff_s = BACKOFF_MIN_S
        if self.fault is not None:
            logger.warning("The board is well again.")
            self.fault = None
        if self._wanted:
            await self._book.keep(*self._wanted.values())

    async def _suffer(self, text: str) -> None:
        """The board is missing or silent: note it once, end orders that have waited too long, wait."""
        self._panel.lost()
        if self.fault is None:
            logger.error("The board has failed. fault=%s", text)
        self.fault = text
        give_up_ns = round(self._settings.give_up_s * NS)
        now_ns = self._clock.monotonic_ns()
        top = self._top
        waiting: list[int] = [clear.started_ns for clear in self._clears if clear.started_ns is not None]
        if top is not None and top.ticket is not None and top.started_ns is not None:
            begun_ns = max(top.started_ns, self._good_ns)
            waiting.append(begun_ns)
            if now_ns - begun_ns >= give_up_ns:
                self._end(top, OrderState.FAILED, Reason(ReasonCode.HARDWARE_FAULT, text))
        if any(
            now_ns - max(clear.started_ns, self._good_ns) >= give_up_ns
            for clear in self._clears
            if clear.started_ns is not None
        ):
            gone = f"{text} The notices are withdrawn, and will vanish when the board answers again."
            self._end_clears(OrderState.FAILED, Reason(ReasonCode.HARDWARE_FAULT, gone))
        left_s = [max(0.0, (begun + give_up_ns - now_ns) / NS) for begun in waiting]
        await self._sleep(min([self._backoff_s, *(left for left in left_s if left > 0)]))
        self._backoff_s = min(2 * self._backoff_s, BACKOFF_MAX_S)
