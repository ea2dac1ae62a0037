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
    found_dark INTEGER NOT NULL          -- its owner had switched its dots off
) WITHOUT ROWID;
"""


class Lease:
    """One board that is not ours. Belongs to its presenter."""

    def __init__(self, *, board: str, database: Database) -> None:
        self._board = board
        self._database = database
        self.held = False
        """We have touched it, or are about to, and have not handed it back."""
        self.found_dark: bool | None = None
        """Its dots were switched off when we came; None: not known yet."""

    async def read(self) -> None:
        """What is known from before the restart."""
        row: tuple[int] | None = None

        def work(connection: sqlite3.Connection) -> None:
            nonlocal row
            found = connection.execute("SELECT found_dark FROM board_lent WHERE board = ?", (self._board,))
            row = found.fetchone()

        await self._do(work)
        if row is not None:
            self.held, self.found_dark = True, bool(row[0])

    async def take(self, *, found_dark: bool | None) -> None:
        """It is in our hands from now on."""
        if self.held and found_dark == self.found_dark:
            return
        self.held, self.found_dark = True, found_dark

        def work(connection: sqlite3.Connection) -> None:
            row = (self._board, int(bool(found_dark)))
            connection.execute("INSERT OR REPLACE INTO board_lent VALUES (?, ?)", row)

        await self._do(work)

    async def end(self) -> None:
        """It has been handed back."""
        self.held, self.found_dark = False, None

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM board_lent WHERE board = ?", (self._board,))

        await self._do(work)

    async def _do(self, work: Callable[[sqlite3.Connection], None]) -> None:
        try:
            await self._database.run(work)
        except (DatabaseError, DiskFull) as error:
            logger.warning("That a board is lent cannot be noted. board=%s error=%s", self._board, error)
