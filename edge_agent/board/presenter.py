"""The board's thread of life: what is shown, which of its pages, since when, until when.

What is to be seen comes from two sides: orders (`desk`) and the playlist (`bill`). The highest class is
shown; of the same class, an order goes before the playlist while it lasts. Then what was due is due again,
from its first page.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from edge_agent.board import spelling
from edge_agent.board.desk import Desk
from edge_agent.board.drawing import DrawingTable
from edge_agent.board.link import BoardFault, Link
from edge_agent.board.notices import Notice, NoticeBook, Page, Showing
from edge_agent.board.panel import Panel
from edge_agent.board.picture import Picture
from edge_agent.board.protocols.alpha import PICTURE_LABELS, AlphaCodec
from edge_agent.board.settings import BoardSettings
from edge_agent.errors import TextRefused
from edge_agent.model import NS, BoardClear, BoardShow, OrderId, OrderState, Precedence, Reason, ReasonCode
from edge_agent.ticket import Ticket
from hal.errors import SerialError
from hal.ports import Clock, Database, SerialPort

logger = logging.getLogger(__name__)

ALERT_LOOK_S = 60
"""How long an alert may be gone from a board that has lost its memory."""
LEAST_WAIT_S = 0.001
"""A timer may fire a moment early; never spin on it."""
BACKOFF_MIN_S, BACKOFF_MAX_S = 1.0, 30.0


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


class Presenter:
    """One board. `show` and `clear` queue an order and return its ticket; `life` does the work."""

    def __init__(
        self,
        *,
        settings: BoardSettings,
        clock: Clock,
        serial: SerialPort,
        database: Database,
        name: str = "main",
    ) -> None:
        self._settings = settings
        self._clock = clock
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
        book = NoticeBook(board=name, database=database, clock=clock)
        self._desk = Desk(clock=clock, book=book, proof=lambda: 2 if settings.answers else 1)
        self._table = DrawingTable(settings)
        self._top: Showing | None = None
        self._changed = asyncio.Event()
        self._restored = False
        self._reassert_ns = self._look_ns = 0
        self._backoff_s = BACKOFF_MIN_S
        self._good_ns = clock.monotonic_ns()
        """When the board was last known to be well."""
        self.fault: str | None = None
        """What is wrong with the board, a sentence with a remedy; None when it is well."""

    # ------------------------------------------------------------ asked from outside

    async def vet(self, intent: BoardShow) -> tuple[Page, ...]:
        """The pages that a notice would make, drawn off the loop.

        Raises:
            TextRefused: it cannot be shown whole and unchanged.
        """
        return (await self._fitting((intent.text, *intent.shorter), intent.precedence))[1]

    def show(self, intent: BoardShow) -> Ticket:
        """Ask for a notice. A later one of the same class takes the place of an earlier one.

        A text that cannot be drawn (a missing glyph, a word too wide, too many pages) is found out off
        the loop: its ticket ends `rejected` and was never granted. Use `vet` to know before.

        Raises:
            TextRefused: the text is empty, in an old encoding, or has a character that no board shows.
        """
        if not intent.shorter:
            spelling.clean(intent.text)
        ticket = self._desk.show(intent)
        self._changed.set()
        return ticket

    def clear(self, intent: BoardClear) -> Ticket:
        """Ask to take notices down. Raises Refused(BUSY) when too many such orders wait."""
        ticket = self._desk.clear(intent)
        self._changed.set()
        return ticket

    @property
    def wanted(self) -> tuple[OrderId, ...]:
        """The orders whose notices the board shows, or is to show again."""
        return self._desk.wanted

    def wind_up(self) -> None:
        """The agent stops: orders under way end `interrupted`; what the board shows stays, and is wanted again at the
        next start."""
        self._desk.wind_up()

    def state(self) -> BoardState:
        """The board at a glance. Never blocks."""
        top = self._top
        drawn = top is not None and bool(top.pages)
        return BoardState(
            order=top.key if top else None,
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
        await self._desk.drop_ended()
        await self._desk.begin_clears()
        for notice in self._desk.undrawn:
            await self._drawable(notice)
        top = self._desk.highest
        if top is not self._top:
            if isinstance(self._top, Notice):
                self._desk.interrupted(self._top)
            self._top = top
        if isinstance(top, Notice) and top.ticket is not None and top.started_ns is None:
            await self._desk.begin(top, top.ticket)
        elif not self._panel.ready or self._clock.monotonic_ns() >= self._reassert_ns:
            await self._assure()
        elif top is None:
            await self._panel.show(None)
            if self._panel.ready:
                self._desk.end_clears()
                await self._wait()
        else:
            await self._advance(top)

    async def _advance(self, top: Showing) -> None:
        """One write, or one decision, or one wait, for what is to be seen."""
        now_ns = self._clock.monotonic_ns()
        pictures = [page.picture for page in top.pages]
        following = (top.index + 1) % len(pictures)
        if not self._panel.holds(top.page.picture):
            await self._panel.store(top.page.picture, keep=pictures)
        elif await self._put(top):
            if not self._panel.ready:
                return
            self._desk.end_clears()
            if isinstance(top, Notice):
                top.seen.add(top.index)
            top.due_ns = self._clock.monotonic_ns() + round(top.page.dwell_s * NS)
        elif len(pictures) > 1 and now_ns >= top.due_ns and self._panel.holds(pictures[following]):
            top.index = following
        elif missing := [picture for picture in pictures if not self._panel.holds(picture)]:
            ahead = pictures[following]
            await self._panel.store(ahead if ahead in missing else missing[0], keep=pictures)
        elif isinstance(top, Notice) and top.ticket is not None:
            await self._desk.aired(top)
        elif top.takes_over and now_ns >= self._look_ns:
            await self._panel.look()
            self._look_ns = self._clock.monotonic_ns() + ALERT_LOOK_S * NS
        else:
            self._desk.end_clears()
            await self._wait(top.due_ns if len(pictures) > 1 else None)

    async def _put(self, top: Showing) -> bool:
        """Show the page in its place. Whether anything had to be written."""
        picture = top.page.picture
        if not top.takes_over:
            return await self._panel.show(picture)
        until_ns = top.until_ns if isinstance(top, Notice) else self._clock.monotonic_ns()
        left_s = (until_ns - self._clock.monotonic_ns()) / NS
        return await self._panel.take_over(picture, left_s=left_s)

    async def _wait(self, until_ns: int | None = None) -> None:
        """Wait for an order, or for whichever comes first of `until_ns`, an end, and the next check."""
        moments = [self._look_ns] if self._top is not None and self._top.takes_over else []
        moments += [self._reassert_ns, *self._desk.moments()]
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

    # ------------------------------------------------------------ drawing

    async def _restore(self) -> None:
        """What was wanted before the restart is wanted again."""
        self._restored = await self._desk.restore()
        for notice in self._desk.standing:
            if not notice.pages and not await self._drawable(notice):
                self._desk.unwanted(notice)

    async def _drawable(self, notice: Notice) -> bool:
        """Draw it; refuse it when it cannot be drawn."""
        try:
            texts = (notice.text, *notice.shorter)
            notice.text, notice.pages = await self._fitting(texts, notice.precedence)
        except TextRefused as refused:
            bad = refused.code is ReasonCode.BAD_ARGS
            state = OrderState.REJECTED if bad else OrderState.FAILED
            self._desk.end(notice, state, Reason(refused.code, refused.text))
            return False
        return True

    async def _fitting(self, texts: tuple[str, ...], precedence: Precedence) -> tuple[str, tuple[Page, ...]]:
        """The first of the texts that the board can show, and its pages. Raises the first's TextRefused."""
        refusal: TextRefused | None = None
        for text in texts:
            try:
                return text, await self._table.pages_of(text, precedence)
            except TextRefused as refused:
                refusal = refusal or refused
        assert refusal is not None
        raise refusal

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
        await self._desk.keep_all()

    async def _suffer(self, text: str) -> None:
        """The board is missing or silent: note it once, end orders that have waited too long, wait."""
        self._panel.lost()
        if self.fault is None:
            logger.error("The board has failed. fault=%s", text)
        self.fault = text
        ends = self._desk.give_up(
            self._top if isinstance(self._top, Notice) else None,
            text,
            good_ns=self._good_ns,
            after_ns=round(self._settings.give_up_s * NS),
        )
        left_s = [(end_ns - self._clock.monotonic_ns()) / NS for end_ns in ends]
        await self._sleep(max(LEAST_WAIT_S, min([self._backoff_s, *left_s])))
        self._backoff_s = min(2 * self._backoff_s, BACKOFF_MAX_S)
