"""What is wanted on the board: notices, and the table in which they outlive a restart."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from edge_agent.board.page import Page
from edge_agent.board.picture import digest_of
from edge_agent.model import NS, BoardClear, Digest, Issuer, OrderId, Precedence
from edge_agent.ticket import Ticket
from hal.errors import DatabaseError, DiskFull
from hal.ports import Clock, Database

logger = logging.getLogger(__name__)

SCHEMA = """
CREATE TABLE IF NOT EXISTS board_notices (
    board TEXT NOT NULL,
    precedence INTEGER NOT NULL,
    id TEXT NOT NULL,
    issuer TEXT NOT NULL,
    text TEXT NOT NULL,
    boot TEXT NOT NULL,
    until_ns INTEGER NOT NULL,
    left_ns INTEGER NOT NULL,
    saved_wall_ns INTEGER,
    PRIMARY KEY (board, precedence)
);
"""


@dataclass(slots=True, kw_only=True, eq=False)
class Showing:
    """Pages that are shown one after the other, whoever wanted them."""

    key: OrderId
    precedence: Precedence
    pages: tuple[Page, ...] = ()
    """() until they are drawn."""
    index: int = 0
    due_ns: int = 0
    """When the page that stands has stood long enough."""

    @property
    def page(self) -> Page:
        """The page that stands, or is next to stand."""
        return self.pages[self.index]

    @property
    def takes_over(self) -> bool:
        """It hides everything of a lower class."""
        return self.precedence is Precedence.EMERGENCY

    @property
    def digest(self) -> Digest:
        """The identity of all its dots."""
        return digest_of([page.picture for page in self.pages])


@dataclass(slots=True, kw_only=True, eq=False)
class Notice(Showing):
    """A notice on its way to the board (`ticket` is open) or on it (`ticket` is None)."""

    issuer: Issuer
    text: str
    shorter: tuple[str, ...] = ()
    """What may be shown in its place if it does not fit."""
    until_ns: int
    deadline_ns: int = 0
    ticket: Ticket | None = None
    started_ns: int | None = None
    """When its order began to be carried out."""
    seen: set[int] = field(default_factory=set)
    """Pages that were on the board."""
    interrupted: int = 0
    wall_doubted: bool = False
    """Restored while the wall clock was not to be trusted: `until_ns` may be too late."""
    until_wall_ns: int | None = None

    def taken_down_by(self, intent: BoardClear) -> bool:
        """Whether the order means this notice."""
        if intent.target is not None:
            return self.key == intent.target
        return self.precedence <= intent.precedence


class NoticeBook:
    """The notices that outlive a restart, in the database. One that is full or broken costs no notice that is
    shown: it is logged once, and what could not be written is written with the next thing that can."""

    def __init__(self, *, board: str, database: Database, clock: Clock) -> None:
        self._board = board
        self._database = database
        self._clock = clock
        self._unforgotten: list[OrderId] = []
        self._failing = False

    async def keep(self, *notices: Notice) -> None:
        """Note them, and how much of their time is left."""
        await self._write(notices)

    async def forget(self, notices: Sequence[Notice]) -> None:
        """They are wanted no longer, not after a restart either."""
        self._unforgotten += [notice.key for notice in notices]
        if notices:
            await self._write(())

    async def read(self) -> list[Notice] | None:
        """What was wanted before the restart; None when that cannot be read now."""
        try:
            kept = await self._database.run(lambda connection: load(connection, self._board, self._clock))
        except (DatabaseError, DiskFull) as error:
            self._fails(error)
            return None
        return kept

    async def _write(self, notices: Sequence[Notice]) -> None:
        ids = tuple(self._unforgotten)

        def work(connection: sqlite3.Connection) -> None:
            remove(connection, self._board, ids)
            for notice in notices:
                save(connection, self._board, notice, self._clock)

        try:
            await self._database.run(work)
        except (DatabaseError, DiskFull) as error:
            self._fails(error)
            return
        del self._unforgotten[: len(ids)]
        if self._failing:
            logger.info("Notices are stored again.")
        self._failing = False

    def _fails(self, error: Exception) -> None:
        if not self._failing:
            logger.warning(
                "Notices cannot be stored; until they can, a restart shows what stood before. error=%s", error
            )
        self._failing = True


def wall_ns(moment: datetime) -> int:
    """A wall time in whole ns since 1970."""
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * NS + since.microseconds * 1000


def save(connection: sqlite3.Connection, board: str, notice: Notice, clock: Clock) -> None:
    """Keep a notice as the one of its class; also to note how much of its time is left now."""
    now_ns = clock.monotonic_ns()
    connection.execute(
        "INSERT INTO board_notices VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (board, precedence) DO UPDATE SET "
        "id = excluded.id, issuer = excluded.issuer, text = excluded.text, boot = excluded.boot, "
        "until_ns = excluded.until_ns, left_ns = excluded.left_ns, saved_wall_ns = excluded.saved_wall_ns",
        (
            board,
            int(notice.precedence),
            notice.key,
            notice.issuer,
            notice.text,
            clock.boot_id(),
            notice.until_ns,
            max(0, notice.until_ns - now_ns),
            wall_ns(clock.utc_now()) if clock.wall_synced() else None,
        ),
    )


def remove(connection: sqlite3.Connection, board: str, ids: Sequence[OrderId]) -> None:
    """Keep these no longer."""
    connection.executemany(
        "DELETE FROM board_notices WHERE board = ? AND id = ?", [(board, one) for one in ids]
    )


def load(connection: sqlite3.Connection, board: str, clock: Clock) -> list[Notice]:
    """The kept notices, with their ends in this boot's time.

    In the same boot the end is known exactly. After a reboot it is what was left when the notice was
    last saved, less the wall time since, if both wall times can be trusted; what is still to be
    learnt from a clock that is not yet synchronised is `wall_doubted`.
    """
    rows = connection.execute(
        "SELECT precedence, id, issuer, text, boot, until_ns, left_ns, saved_wall_ns FROM board_notices "
        "WHERE board = ?",
        (board,),
    ).fetchall()
    notices: list[Notice] = []
    for precedence, order, issuer, text, boot, until_ns, left_ns, saved_ns in rows:
        notice = Notice(
            key=OrderId(order),
            issuer=Issuer(issuer),
            precedence=Precedence(precedence),
            text=text,
            until_ns=until_ns,
        )
        if boot != clock.boot_id():
            notice.until_ns = clock.monotonic_ns() + left_ns
            notice.until_wall_ns = None if saved_ns is None else saved_ns + left_ns
            notice.wall_doubted = notice.until_wall_ns is not None
            learn_wall_time(notice, clock)
        notices.append(notice)
    return notices


def learn_wall_time(notice: Notice, clock: Clock) -> None:
    """Bring the end forward as soon as the wall clock can be trusted; never put it off."""
    if notice.wall_doubted and notice.until_wall_ns is not None and clock.wall_synced():
        left_ns = notice.until_wall_ns - wall_ns(clock.utc_now())
        notice.until_ns = min(notice.until_ns, clock.monotonic_ns() + left_ns)
        notice.wall_doubted = False
