"""What the playlist has to show on one board now: whose turn it is, drawn; and what came of each turn.

The list decides (`rota`); this file has the content drawn, passes over what cannot be shown, and tells the as-run
log. Nothing is drawn before it is due but the page that comes next.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from edge_agent.board.drawing import ClockJob, DrawingTable, HeadlinesJob, ImageJob, Job, QrJob, TextJob
from edge_agent.board.grade import Grade
from edge_agent.board.notices import Showing
from edge_agent.board.page import Page
from edge_agent.board.proof import Proof, Proofs
from edge_agent.board.rota import Rota, Whose
from edge_agent.errors import Refused, TextRefused
from edge_agent.model import NS, Digest, OrderId, Precedence, Reason, ReasonCode
from edge_agent.playlist import (
    ClockContent,
    FeedContent,
    ImageContent,
    Item,
    Playlist,
    QrContent,
    TextContent,
)
from hal.errors import DatabaseError, DiskError
from hal.ports import Clock

logger = logging.getLogger(__name__)

AGAIN_NS = 60 * NS
"""What could not be shown (no file yet, no headlines) is tried again after this."""
IDLE = OrderId("idle")


class Pictures(Protocol):
    """What this room asks of the media cellar."""

    async def picture(self, media: Digest, url: str | None) -> bytes:
        """An image file, whole. Raises MediaRefused, DatabaseError, DiskError."""


class Headlines(Protocol):
    """What this room asks of `cache.headlines`."""

    def latest(self, url: str, keep_h: int, most: int) -> tuple[str, ...]:
        """The newest headlines of a feed, none older than that."""


class NoHeadlines:
    """There are none."""

    def latest(self, url: str, keep_h: int, most: int) -> tuple[str, ...]:
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where content comes from that is not in the document itself."""

    pictures: Pictures
    headlines: Headlines
    celsius: Callable[[], float | None]
    place: str
    """What people call the place."""


@dataclass(frozen=True, slots=True)
class _Standing:
    """A page that is to be seen: since when, and how well that is known."""

    page: Digest
    since_ns: int
    grade: Grade


@dataclass(slots=True, kw_only=True, eq=False)
class Turn(Showing):
    """An item of the list whose turn it is, or the idle page (`item` is None)."""

    item: Item | None
    language: str = ""
    minute: datetime | None = None
    """The minute that its clock shows."""
    counted: bool = False
    """The as-run log knows of this turn."""
    standing: _Standing | None = None
    """The page that is to be seen; None: none is."""

    @property
    def ends(self) -> datetime | None:
        """When its item is over; None: no end is set."""
        return None if self.item is None else self.item.ends


class Bill:
    """The playlist's side of one board."""

    def __init__(
        self, board: str, *, table: DrawingTable, sources: Sources, clock: Clock, idle: bool
    ) -> None:
        self._board = board
        self._rota = Rota(board)
        self._table = table
        self._sources = sources
        self._clock = clock
        self._proofs = Proofs(board)
        self._playlist = Playlist()
        self._turn: Turn | None = None
        self._idle = Turn(key=IDLE, precedence=Precedence.ROUTINE, item=None) if idle else None
        self._passed_over: dict[OrderId, tuple[int, str]] = {}
        """What cannot be shown: when it is tried again, and why."""
        self._unfit: str | None = None
        """Why there is no idle page."""
        self.broken: str | None = None
        """Why nothing can be drawn at all: there is no font."""

    # ------------------------------------------------------------ asked from above

    def take(self, playlist: Playlist) -> None:
        """This list is in force from now on."""
        self._playlist = playlist
        self._rota.take(playlist)
        self._passed_over.clear()

    def proofs(self, *, everything: bool = False) -> list[Proof]:
        """The entries for the as-run log whose time has come."""
        if self._turn is not None and self._turn.standing is not None:
            self.appears(self._turn, self._turn.standing.grade)  # what still stands counts until now
        listed = {item.key for item in self._playlist.items}
        return self._proofs.ripe(self._clock.monotonic_ns(), listed, everything=everything)

    @property
    def faults(self) -> list[str]:
        """Why some items are not shown."""
        unfit = [] if self._unfit is None else [f"{IDLE}: {self._unfit}"]
        return unfit + [f"{key}: {why}" for key, (_, why) in self._passed_over.items()]

    # ------------------------------------------------------------ whose turn it is

    async def turn(self, local: datetime | None) -> Turn | None:
        """Whose turn it is, drawn. None: no item of the list can be shown now."""
        for _ in range(len(self._playlist.items) + 1):
            whose = self._rota.turn(local, passed_over=self._skipped())
            if whose is None:
                break
            turn = self._turn
            if turn is None or turn.item is not whose.item or turn.language != whose.language:
                turn = await self._drawn(whose, local)
            elif not await self._still(turn, local):
                turn = None
            if turn is not None:
                self._turn = turn
                return turn
        self._turn = None
        return None

    async def idle(self, local: datetime | None) -> Turn | None:
        """The page for when nothing is due; None: it is to be dark."""
        if self._idle is None:
            return None
        try:
            fresh = await self._fresh(self._idle, local)
        except TextRefused as refused:
            self._unfit = refused.text  # a clock too large for the board: it is dark instead
            self.broken = refused.text if refused.code is ReasonCode.HARDWARE_FAULT else None
            return None
        self._unfit = self.broken = None
        return self._idle if fresh else None

    async def ahead(self, local: datetime | None) -> Turn | None:
        """Whose turn it is after the one that is shown, drawn; None: nobody else's."""
        whose = self._rota.following(local, passed_over=self._skipped())
        if whose is None or self._turn is None or (whose.item, whose.language) == (
            self._turn.item, self._turn.language
        ):  # fmt: skip
            return None
        return await self._drawn(whose, local)

    def over(self, turn: Turn) -> None:
        """All its pages have stood: the next one's turn."""
        if turn is self._turn:
            self._rota.advance()
            self._turn = None

    # ------------------------------------------------------------ what came of it

    def appears(self, turn: Turn, grade: Grade) -> None:
        """Its page is to be seen from now on."""
        self.vanishes(turn)
        turn.standing = _Standing(turn.page.picture.digest, self._clock.monotonic_ns(), grade)

    def vanishes(self, turn: Turn) -> None:
        """Its page is to be seen no more."""
        standing, turn.standing = turn.standing, None
        if standing is None or turn.item is None:
            return
        self._proofs.stood(
            turn.key,
            turn.item.issuer,
            turn.item.precedence,
            page=standing.page,
            from_ns=standing.since_ns,
            to_ns=self._clock.monotonic_ns(),
            grade=standing.grade,
            first=not turn.counted,
        )
        turn.counted = True

    def pass_over(self, turn: Turn, why: str) -> None:
        """The board cannot show it now: the next one's turn."""
        if turn.item is not None:
            self._pass_over(turn.item, why)

    # ------------------------------------------------------------ drawing

    async def _still(self, turn: Turn, local: datetime | None) -> bool:
        """Whether an item can go on standing, its clock drawn anew."""
        try:
            return await self._fresh(turn, local)
        except TextRefused as refused:
            self.pass_over(turn, refused.text)
            return False

    async def _fresh(self, turn: Turn, local: datetime | None) -> bool:
        """Draw its clock anew when the minute has changed. False: it cannot be shown any more."""
        shows_time = turn.item is None or isinstance(turn.item.content, ClockContent)
        if not shows_time:
            return True
        if local is None:
            return False
        minute = local.replace(second=0, microsecond=0)
        if turn.minute != minute or not turn.pages:
            pages = await self._table.draw(self._clock_job(minute))
            turn.pages, turn.minute, turn.index = pages, minute, min(turn.index, len(pages) - 1)
        return True

    async def _drawn(self, whose: Whose, local: datetime | None) -> Turn | None:
        """A turn with its pages; None when they cannot be had now, which is noted."""
        item = whose.item
        try:
            jobs = await self._jobs(item, local)
            if not jobs:
                self._pass_over(
                    item, "There is nothing to show: no headlines that are new enough, or no time."
                )
                return None
            drawn = {language: await self._table.draw(job) for language, job in jobs.items()}
        except (Refused, DatabaseError, DiskError) as error:
            text = error.text if isinstance(error, Refused) else str(error)
            code = error.code if isinstance(error, Refused) else ReasonCode.HARDWARE_FAULT
            self._pass_over(item, text)
            now_ns = self._clock.monotonic_ns()
            self._proofs.refused(item.key, item.issuer, item.precedence, Reason(code, text), now_ns)
            return None
        self._passed_over.pop(item.key, None)
        longest = max(_whole_s(pages) for pages in drawn.values())
        return Turn(
            key=item.key,
            precedence=item.precedence,
            pages=_lasting(drawn[whose.language], max(longest, item.seconds or 0)),
            item=item,
            language=whose.language,
            minute=None if local is None else local.replace(second=0, microsecond=0),
        )

    async def _jobs(self, item: Item, local: datetime | None) -> dict[str, Job]:
        """What is to be drawn, by language; nothing when there is nothing to show."""
        match item.content:
            case TextContent(texts=texts, scroll=scroll):
                emergency = item.precedence is Precedence.EMERGENCY
                return {
                    language: TextJob(text=text, emergency=emergency, scroll=scroll)
                    for language, text in texts
                }
            case ImageContent(media=media, url=url, caption=caption):
                blob = await self._sources.pictures.picture(media, url)
                return {"": ImageJob(digest=media, blob=blob, caption=caption)}
            case QrContent(text=text, caption=caption):
                return {"": QrJob(text=text, caption=caption)}
            case ClockContent():
                return {} if local is None else {"": self._clock_job(local.replace(second=0, microsecond=0))}
            case FeedContent(url=url, headlines=most, keep_h=keep_h):
                lines = self._sources.headlines.latest(url, keep_h, most)
                return {"": HeadlinesJob(lines=lines)} if lines else {}

    def _clock_job(self, minute: datetime) -> ClockJob:
        celsius = self._sources.celsius()
        return ClockJob(local=minute, celsius=celsius, place=self._sources.place)

    def _pass_over(self, item: Item, why: str) -> None:
        if self._passed_over.get(item.key, (0, ""))[1] != why:
            logger.warning(
                "An item of the playlist is not shown. board=%s key=%s why=%s", self._board, item.key, why
            )
        self._passed_over[item.key] = (self._clock.monotonic_ns() + AGAIN_NS, why)

    def _skipped(self) -> frozenset[OrderId]:
        now_ns = self._clock.monotonic_ns()
        return frozenset(key for key, (until_ns, _) in self._passed_over.items() if now_ns < until_ns)


def _whole_s(pages: tuple[Page, ...]) -> float:
    return sum(page.dwell_s for page in pages)


def _lasting(pages: tuple[Page, ...], seconds: float) -> tuple[Page, ...]:
    """Pages that stand `seconds` in all, but none for less than reading it takes."""
    whole_s = _whole_s(pages)
    if seconds <= whole_s:
        return pages
    return tuple(replace(page, dwell_s=page.dwell_s * seconds / whole_s) for page in pages)
