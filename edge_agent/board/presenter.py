"""The board's thread of life: what is shown, which of its pages, since when, until when.

What is to be seen comes from two sides: orders (`desk`) and the playlist (`bill`). The highest class is
shown; of the same class, an order goes before the playlist while it lasts. Then what was due is due again,
from its first page. A board that is not ours (`requisitioned`) is only touched while it is lent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from edge_agent.board import health, requisition, spelling
from edge_agent.board.bill import Bill, Sources, Turn
from edge_agent.board.desk import Desk
from edge_agent.board.drawing import DrawingTable
from edge_agent.board.health import BoardState
from edge_agent.board.lease import Lease
from edge_agent.board.lighting import DARK, Lighting
from edge_agent.board.link import BoardFault
from edge_agent.board.notices import Notice, NoticeBook, Showing
from edge_agent.board.outlet import BoardOutlet, WriteBudgetSpent, room_for
from edge_agent.board.page import Page
from edge_agent.board.picture import Picture
from edge_agent.board.proof import Proof
from edge_agent.board.rolling import roll
from edge_agent.board.settings import BoardSettings
from edge_agent.board.wear import DAY_NS
from edge_agent.clocktrust import ClockTrust
from edge_agent.errors import TextRefused
from edge_agent.model import (
    LOCAL_TIME,
    NS,
    BoardClear,
    BoardShow,
    OrderId,
    OrderState,
    Precedence,
    Reason,
    ReasonCode,
)
from edge_agent.playlist import Playlist
from edge_agent.ticket import Ticket
from hal.errors import ScreenError, SerialError
from hal.ports import Clock, Database

logger = logging.getLogger(__name__)

ALERT_LOOK_S = 60
"""How long an alert may be gone from a board that has lost its memory."""
LEAST_WAIT_S = 0.001
"""A timer may fire a moment early; never spin on it."""
SLICE_S = 30.0
"""No longer is slept where the time of day counts, because it may be set meanwhile."""
VAIN_MAX = 3
"""So often a board may be found well and then not take a page, before that is a fault."""
BACKOFF_MIN_S, BACKOFF_MAX_S = 1.0, 30.0


class Presenter:
    """One board. `show` and `clear` queue an order and return its ticket; `life` does the work."""

    def __init__(
        self,
        *,
        name: str,
        settings: BoardSettings,
        clock: Clock,
        trust: ClockTrust,
        outlet: BoardOutlet,
        database: Database,
        sources: Sources,
        lux: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._name = name
        self._settings = settings
        self._clock = clock
        self._trust = trust
        self._outlet = outlet
        self._lux = lux
        book = NoticeBook(board=name, database=database, clock=clock)
        self._desk = Desk(clock=clock, book=book, proof=lambda: outlet.grade.proof)
        self._table = DrawingTable(settings)
        self._bill = Bill(
            name, table=self._table, sources=sources, clock=clock, idle=settings.idle == "clock"
        )
        self._lighting = Lighting(settings)
        self._percent: int | None = None
        self._playlist = Playlist()
        self._lease = Lease(board=name, database=database)
        self._vain = 0
        """Times that the board was found well since it last showed what it should."""
        self._top: Showing | None = None
        self._changed = asyncio.Event()
        self._restored = False
        self._reassert_ns = self._look_ns = self._spent_ns = 0
        self._backoff_s = BACKOFF_MIN_S
        self._good_ns = clock.monotonic_ns()
        """When the board was last known to be well."""
        self._spent: str | None = None
        """Why pictures are not written to it any more today."""
        self.fault: str | None = None
        """What is wrong with the board, a sentence with a remedy; None when it is well."""

    # ------------------------------------------------------------ asked from outside

    async def vet(self, intent: BoardShow) -> tuple[Page, ...]:
        """The pages that a notice would make, drawn off the loop.

        Raises:
            TextRefused: it cannot be shown whole and unchanged.
        """
        return (await self._table.fitting((intent.text, *intent.shorter), emergency=_urgent(intent)))[1]

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

    def post(self, playlist: Playlist) -> None:
        """This list is in force from now on."""
        self._playlist = playlist
        self._bill.take(playlist)
        self._changed.set()

    def proofs(self, *, everything: bool = False) -> list[Proof]:
        """What came of the list's items, where an entry in the as-run log is due."""
        return self._bill.proofs(everything=everything)

    @property
    def ours(self) -> bool:
        """Whether it may be shown anything now: it is this node's own board, or it is lent."""
        return not self._settings.requisitioned or self._lent_s(self._local()) > 0

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
        return health.glance(self._top, self._outlet, fault=self.fault, percent=self._percent)

    def health(self) -> tuple[str, list[str]]:
        """ok, degraded, dark or unknown, and why."""
        spent = self._spent if self._clock.monotonic_ns() - self._spent_ns < DAY_NS else None
        faults = [*([spent] if spent else []), *self._bill.faults]
        return health.of(self._outlet, fault=self.fault, faults=faults, ours=self.ours)

    # ------------------------------------------------------------ the thread of life

    async def life(self) -> None:
        """Serve the board until cancelled."""
        try:
            while True:
                try:
                    await self._step()
                except (SerialError, ScreenError, BoardFault) as error:
                    await self._suffer(str(error))
                except Exception:
                    logger.exception("The presenter stumbled and starts anew. board=%s", self._name)
                    self._outlet.lost()
                    await asyncio.sleep(self._backoff_s)
                    self._backoff_s = min(2 * self._backoff_s, BACKOFF_MAX_S)
        finally:
            self._stands_no_more(self._top)
            self._outlet.lost()

    async def _step(self) -> None:
        """One small advance towards what is wanted; returns after each, so that anything may come between."""
        self._changed.clear()
        if not self._restored:
            await self._restore()
        await self._desk.drop_ended()
        await self._desk.begin_clears()
        for notice in self._desk.undrawn:
            await self._drawable(notice)
        local = self._local()
        if self._settings.requisitioned and self._lent_s(local) <= 0:
            await self._stand_aside()
            return
        top = await self._choose(local)
        if top is not self._top:
            self._replace(top)
        if isinstance(top, Notice) and top.ticket is not None and top.started_ns is None:
            await self._desk.begin(top, top.ticket)
        elif not self._outlet.ready or self._clock.monotonic_ns() >= self._reassert_ns:
            await self._assure(local)
        elif self._percent != DARK and await self._outlet.dim(self._percent):
            return
        elif top is None:
            await self._darken()
        else:
            await self._advance(top, local)

    async def _darken(self) -> None:
        """There is nothing to show, or nothing that can be drawn."""
        await self._outlet.show(None)
        if self._bill.broken is not None:
            self._vain = 0
            raise BoardFault(self._bill.broken)
        if not self._outlet.ready:
            return
        self._well()
        if not await self._looked(self._clock.monotonic_ns()):
            self._desk.end_clears()
            await self._wait()

    async def _choose(self, local: datetime | None) -> Showing | None:
        """What is to be seen now: the highest class, an order before the playlist; nothing in the dark hours."""
        notice, turn = self._desk.highest, await self._bill.turn(local)
        top: Showing | None = turn
        if notice is not None and (turn is None or notice.precedence >= turn.precedence):
            top = notice
        top = top or await self._bill.idle(local)
        alert = top is not None and top.takes_over
        self._percent = self._lighting.percent(local, self._lux(), emergency=alert)
        return None if self._percent == DARK else top

    def _replace(self, top: Showing | None) -> None:
        """Another is to be seen from now on."""
        if isinstance(self._top, Notice):
            self._desk.interrupted(self._top)
        self._stands_no_more(self._top)
        if top is not None:
            top.due_ns = 0
        if isinstance(top, Turn):
            top.index = 0
        self._top = top

    async def _advance(self, top: Showing, local: datetime | None) -> None:
        """One write, or one decision, or one wait, for what is to be seen."""
        outlet, now_ns = self._outlet, self._clock.monotonic_ns()
        if self._tells_time(top) and local is not None:
            await self._own_digits(local)
            return
        pictures = [page.picture for page in top.pages]
        ahead = await self._ahead(top, local)
        following = pictures[(top.index + 1) % len(pictures)] if ahead is None else ahead.pages[0].picture
        held = room_for([following, *pictures], [following, top.page.picture], outlet.caps)
        if not outlet.holds(top.page.picture):
            await self._store(top.page.picture, top, held)
        elif await self._put(top, local) or not top.due_ns:
            if outlet.ready:
                self._stands(top)
        elif (ahead is not None or len(pictures) > 1) and now_ns >= top.due_ns and outlet.holds(following):
            self._turn_page(top)
        elif missing := [picture for picture in held if not outlet.holds(picture)]:
            await self._store(missing[0], top if missing[0] in pictures else ahead or top, held)
        elif isinstance(top, Notice) and top.ticket is not None:
            await self._desk.aired(top)
        elif await self._looked(now_ns):
            return
        elif top.page.strip is not None and outlet.caps.scrolls:
            self._desk.end_clears()
            left_s = (top.due_ns - now_ns) / NS
            since_s = top.page.dwell_s - left_s
            await roll(outlet, top.page.strip, from_s=since_s, most_s=left_s, news=self._changed)
        else:
            self._desk.end_clears()
            await self._wait(top.due_ns if ahead is not None or len(pictures) > 1 else None)

    async def _own_digits(self, local: datetime) -> None:
        """The idle clock, as the board itself writes it."""
        await self._outlet.clock_text(local)
        if self._outlet.ready:
            self._well()
            self._desk.end_clears()
            await self._wait()

    async def _looked(self, now_ns: int) -> bool:
        """Whether it was time to look if the board still shows what it should."""
        alert = self._top is not None and self._top.takes_over
        every_s = self._outlet.caps.watch_s or (ALERT_LOOK_S if alert else 0)
        if not every_s or now_ns < self._look_ns:
            return False
        await self._outlet.look()
        self._look_ns = self._clock.monotonic_ns() + round(every_s * NS)
        return True

    async def _ahead(self, top: Showing, local: datetime | None) -> Turn | None:
        """Whose turn it is next, when the last page of a turn stands."""
        if not isinstance(top, Turn) or top.item is None or top.index + 1 < len(top.pages):
            return None
        return await self._bill.ahead(local)

    def _turn_page(self, top: Showing) -> None:
        """The page has stood long enough."""
        self._stands_no_more(top)
        top.due_ns = 0
        if isinstance(top, Turn) and top.item is not None and top.index + 1 == len(top.pages):
            self._bill.over(top)
        else:
            top.index = (top.index + 1) % len(top.pages)

    def _stands(self, top: Showing) -> None:
        """Its page is to be seen from now on."""
        self._well()
        self._desk.end_clears()
        if isinstance(top, Notice):
            top.seen.add(top.index)
        elif isinstance(top, Turn):
            self._bill.appears(top, self._outlet.grade)
        if not top.due_ns:
            top.due_ns = self._clock.monotonic_ns() + round(top.page.dwell_s * NS)

    def _stands_no_more(self, top: Showing | None) -> None:
        if isinstance(top, Turn):
            self._bill.vanishes(top)

    async def _put(self, top: Showing, local: datetime | None) -> bool:
        """Show the page in its place. Whether anything had to be written."""
        picture, lent = top.page.picture, self._settings.requisitioned
        if not top.takes_over and not lent:
            return await self._outlet.show(picture)
        left_s = self._lent_s(local) if lent else float("inf")
        if isinstance(top, Notice):
            left_s = min(left_s, (top.until_ns - self._clock.monotonic_ns()) / NS)
        elif isinstance(top, Turn) and top.ends is not None and local is not None:
            left_s = min(left_s, (top.ends - local).total_seconds())
        return await self._outlet.take_over(picture, left_s=left_s)

    async def _store(self, picture: Picture, owner: Showing, keep: list[Picture]) -> None:
        """Give the board a picture; one that wears out is spared what is not an emergency."""
        try:
            await self._outlet.store(picture, keep=keep, urgent=owner.takes_over)
        except WriteBudgetSpent as spent:
            if self._spent is None:
                logger.warning("No more is written to the board today. board=%s why=%s", self._name, spent)
            self._spent, self._spent_ns = str(spent), self._clock.monotonic_ns()
            if owner is self._top:
                await self._outlet.show(None)  # what stood before may be out of date by now
                self._well()
            if isinstance(owner, Turn) and owner.item is not None:
                self._bill.pass_over(owner, self._spent)
                return
            self._desk.end_clears()
            if isinstance(owner, Notice) and owner.ticket is not None:
                self._desk.end(owner, OrderState.FAILED, Reason(ReasonCode.GOVERNOR, self._spent))
            else:
                await self._sleep(SLICE_S)
        else:
            self._spent = self._spent if owner.takes_over else None

    async def _stand_aside(self) -> None:
        """Somebody else's board: hand it back as it was found, and wait."""
        if self._top is not None:
            self._replace(None)
        if (
            self._local() is None and self._desk.wanted
        ):  # an alarm stands, and nobody can say that its time is over
            self._desk.end_clears()
            await self._sleep(SLICE_S)
            return
        self._desk.stand_aside()
        if self._lease.held:
            await self._outlet.hand_back()
            await self._lease.end()
            logger.info("The board is handed back. board=%s", self._name)
        elif self._lease.stale:
            await self._lease.end()
        self._desk.end_clears()
        self._outlet.lost()
        self.fault = None
        await self._sleep(SLICE_S)

    # ------------------------------------------------------------ time

    def _local(self) -> datetime | None:
        """The local time, where it is believed."""
        now = self._trust.believed()
        return None if now is None else now.astimezone(LOCAL_TIME)

    def _lent_s(self, local: datetime | None) -> float:
        return requisition.left_s(self._playlist, self._name, local)

    def _tells_time(self, top: Showing) -> bool:
        """Whether the idle clock is left to the board's own digits."""
        idle = isinstance(top, Turn) and top.item is None
        return idle and self._settings.own_digits and self._outlet.caps.clock_text

    async def _wait(self, until_ns: int | None = None) -> None:
        """Wait for an order, or for whichever comes first of `until_ns`, an end, and the next check."""
        now_ns = self._clock.monotonic_ns()
        watched = self._outlet.caps.watch_s or (self._top is not None and self._top.takes_over)
        moments = [self._look_ns] if watched else []
        moments += [self._reassert_ns, *self._desk.moments()]
        if until_ns is not None:
            moments.append(until_ns)
        local = self._local()
        if self._playlist.items or self._settings.follows_time:
            into_minute_s = 0.0 if local is None else local.second + local.microsecond / 1e6
            moments.append(now_ns + round(min(SLICE_S, 60.0 - into_minute_s) * NS))
        await self._sleep(max(LEAST_WAIT_S, (min(moments) - now_ns) / NS))

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
        if self._settings.requisitioned:
            self._restored = await self._lease.read() and self._restored
            self._outlet.found_dark = self._lease.found_dark
        for notice in self._desk.standing:
            if not notice.pages and not await self._drawable(notice):
                self._desk.unwanted(notice)

    async def _drawable(self, notice: Notice) -> bool:
        """Draw it; refuse it when it cannot be drawn."""
        try:
            texts = (notice.text, *notice.shorter)
            notice.text, notice.pages = await self._table.fitting(texts, emergency=_urgent(notice))
        except TextRefused as refused:
            bad = refused.code is ReasonCode.BAD_ARGS
            state = OrderState.REJECTED if bad else OrderState.FAILED
            self._desk.end(notice, state, Reason(refused.code, refused.text))
            return False
        return True

    # ------------------------------------------------------------ faults

    async def _assure(self, local: datetime | None) -> None:
        """Find the board well, or raise; then let it show everything anew."""
        alert, lent = self._top is not None and self._top.takes_over, self._settings.requisitioned
        if lent:  # noted before it is touched
            await self._lease.take(found_dark=self._outlet.found_dark)
        await self._outlet.assure(alert=alert)
        if lent:
            await self._lease.take(found_dark=self._outlet.found_dark)
        elif local is not None:  # a stranger's clock is left alone
            await self._outlet.set_clock(local)
        self._vain += 1
        if self._vain > VAIN_MAX:
            self._vain = 1
            raise BoardFault(health.VAIN)
        self._reassert_ns = self._clock.monotonic_ns() + self._settings.reassert_s * NS
        if self._vain == 1:
            self._good_ns = self._clock.monotonic_ns()
        await self._desk.keep_all()

    def _well(self) -> None:
        """It shows what it should."""
        self._vain, self._good_ns, self._backoff_s = 0, self._clock.monotonic_ns(), BACKOFF_MIN_S
        if self.fault is not None:
            logger.warning("The board is well again. board=%s", self._name)
            self.fault = None

    async def _suffer(self, text: str) -> None:
        """The board is missing or silent: note it once, end orders that have waited too long, wait."""
        self._stands_no_more(self._top)
        if self._top is not None:
            self._top.due_ns = 0
        self._outlet.lost()
        if self.fault is None:
            logger.error("The board has failed. board=%s fault=%s", self._name, text)
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


def _urgent(wanted: BoardShow | Notice) -> bool:
    return wanted.precedence is Precedence.EMERGENCY
