"""Whether somebody else's board is in our hands: noted before it is touched, and forgotten when it has been handed back.

A node that loses its power in the middle of a requisition must hand the board back when it is there again. A database that is
full or broken keeps no emergency from the board; then only this is lost.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable

from hal.errors import DatabaseError, DiskFull
from hal.ports import Database

logger = logging.getLogger(__name__)

SCHEMA = """
CREATE TABLE IF NOT EXISTS board_lent (
    board      TEXT PRIMARY KEY,
    found_dark INTEGER NOT NULL          -- its owner had switched its dots off; -1: not known yet
) WITHOUT ROWID;
"""


class Lease:
    """One board that is not ours. Belongs to its presenter."""

    def __init__(self, *, board: str, database: Database) -> None:
        self._board = board
        self._database = database
        self.held = False
        """We have touched it, or are about to, and have not handed it back."""
        self.stale = False
        """The database does not say so yet."""
        self.found_dark: bool | None = None
        """Its dots were switched off when we came; None: not known yet."""

    async def read(self) -> bool:
        """What is known from before the restart. False: it cannot be read now."""
        row: tuple[int] | None = None

        def work(connection: sqlite3.Connection) -> None:
            nonlocal row
            found = connection.execute("SELECT found_dark FROM board_lent WHERE board = ?", (self._board,))
            row = found.fetchone()

        if not await self._do(work):
            return False
        if row is not None:
            self.held, self.found_dark = True, None if row[0] < 0 else bool(row[0])
        return True

    async def take(self, *, found_dark: bool | None) -> None:
        """It is in our hands from now on."""
        if self.held and found_dark == self.found_dark and not self.stale:
            return
        self.held, self.found_dark = True, found_dark

        def work(connection: sqlite3.Connection) -> None:
            row = (self._board, -1 if found_dark is None else int(found_dark))
            connection.execute("INSERT OR REPLACE INTO board_lent VALUES (?, ?)", row)

        self.stale = not await self._do(work)

    async def end(self) -> None:
        """It has been handed back."""
        self.held, self.found_dark = False, None

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM board_lent WHERE board = ?", (self._board,))

        self.stale = not await self._do(work)

    async def _do(self, work: Callable[[sqlite3.Connection], None]) -> bool:
        try:
            await self._database.run(work)
        except (DatabaseError, DiskFull) as error:
            logger.warning("That a board is lent cannot be noted. board=%s error=%s", self._board, error)
            return False
        return True
