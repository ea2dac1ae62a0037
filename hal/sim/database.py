"""A virtual database: real SQLite in memory, whose committed state is what a power cut leaves.

A transaction happens at one instant, so the power can be cut before it, inside it (everything
done, not committed) or after it (committed, but nobody was told); `cut_at` picks one.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

from hal.errors import DatabaseError, DiskFull

T = TypeVar("T")

Moment = Literal["before", "inside", "after"]


class _Connection(sqlite3.Connection):
    """Closes itself with its world: nobody opened a file that could be left open."""

    def __del__(self) -> None:
        self.close()


class VirtualDatabase:
    """`hal.ports.Database` in memory; it is open from the start, and again after a power cut.

    Attributes:
        slow_s: virtual seconds that a transaction takes, half of them before it.
        runs: transactions begun so far; `cut_at` counts in these.
    """

    def __init__(self, schemas: Sequence[str] = (), *, image: bytes | None = None) -> None:
        self.slow_s = 0.0
        self.runs = 0
        self._schemas = tuple(schemas)
        self._aside: str | None = None
        self._times_aside = 0
        self._spoilt = False
        self._watching: dict[str, tuple[str, str]] = {}
        self._watched: dict[str, list[tuple[str, str | None, str]]] = {}
        self._full = 0
        self._broken = 0
        self._cut: tuple[int, Moment] | None = None
        self._powered = True
        self._closed = False
        self._turns: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None
        self._open(image)

    # ---------------------------------------------------- the port

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """One after another, each at one instant of virtual time."""
        async with self._turn():
            self._assert_usable()
            await asyncio.sleep(self.slow_s / 2)
            self._assert_usable()
            result = self._transact(work)
            if self.slow_s:
                await asyncio.sleep(self.slow_s / 2)
                self._assert_usable()
        return result

    def set_aside(self) -> str | None:
        """Set by the power cut after `corrupt`."""
        return self._aside

    async def close(self) -> None:
        """The committed state stays for the next boot."""
        self._closed = True

    # ---------------------------------------------------- the world's side

    def fail(self, kind: Literal["full", "io"], *, times: int = 1) -> None:
        """Let the next `times` transactions fail at COMMIT; a full disk troubles only those that write."""
        if kind == "full":
            self._full += times
        else:
            self._broken += times

    def mend(self) -> None:
        """No ordered fault is left."""
        self._full = self._broken = 0

    def corrupt(self) -> None:
        """The file is spoilt: the next power cut or `reborn` finds it so and starts afresh."""
        self._spoilt = True

    def cut_at(self, run: int, moment: Moment = "inside") -> None:
        """Cut the power at transaction number `run` of `runs`; it stays off until `power_on`."""
        self._cut = (run, moment)

    def power_off(self) -> None:
        """Lose what was not committed. Every transaction fails until `power_on`."""
        self._powered = False
        self._cut = None
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._collect_watched()

    def power_on(self) -> None:
        """Open again on what is left."""
        image = self.image()
        self._connection.close()
        self._powered, self._closed = True, False
        self._find_spoilt()
        self._open(image)

    def power_cut(self) -> None:
        """Off and on."""
        self.power_off()
        self.power_on()

    def reborn(self) -> VirtualDatabase:
        """The same data behind a new door, after a power cut; this door stays dead for whoever holds it."""
        self.power_off()
        other = VirtualDatabase(self._schemas, image=self.image())
        other._times_aside, other._spoilt = self._times_aside, self._spoilt
        other._find_spoilt()
        other.slow_s, other._full, other._broken = self.slow_s, self._full, self._broken
        other._watched = self._watched
        for table, (key, column) in self._watching.items():
            other.watch(table, key=key, column=column)
        return other

    def image(self) -> bytes | None:
        """The committed database file, or None when it is spoilt."""
        if self._spoilt:
            return None
        empty = self._connection.execute("PRAGMA page_count").fetchone()[0] == 0
        return b"" if empty else self._connection.serialize()

    def watch(self, table: str, *, key: str, column: str) -> None:
        """From now on keep every committed change of a column in `watched`; also in later lives of this database.

        Does nothing while there is no such table.
        """
        self._watching[table] = (key, column)
        known = self._connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        if known is None:
            return
        noted = f"INSERT INTO watched VALUES ('{table}', new.{key}, %s, new.{column}); END"  # noqa: S608 - names from our own code
        connection = self._connection
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("CREATE TEMP TABLE IF NOT EXISTS watched (tbl, key, old, new)")
        for moment, old in (("INSERT", "NULL"), (f"UPDATE OF {column}", f"old.{column}")):
            name = f"watch_{table}_{moment.partition(' ')[0].lower()}"
            connection.execute(
                f"CREATE TEMP TRIGGER IF NOT EXISTS {name} AFTER {moment} ON main.{table} BEGIN {noted % old}"
            )

    def watched(self, table: str) -> list[tuple[str, str | None, str]]:
        """(key, old value or None for a new row, new value) of each committed change, oldest first."""
        self._collect_watched()
        return list(self._watched.get(table, ()))

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """What a checker reads, outside every transaction."""
        return self._connection.execute(query).fetchall()

    # ---------------------------------------------------- within

    def _collect_watched(self) -> None:
        if not self._connection.execute("SELECT 1 FROM sqlite_temp_master WHERE name = 'watched'").fetchone():
            return
        for table, *change in self._connection.execute("SELECT * FROM watched ORDER BY rowid"):
            self._watched.setdefault(table, []).append((str(change[0]), change[1], change[2]))
        self._connection.execute("DELETE FROM watched")

    def _open(self, image: bytes | None) -> None:
        self._connection = sqlite3.connect(
            ":memory:", isolation_level=None, check_same_thread=False, factory=_Connection
        )
        if image:
            self._connection.deserialize(image)
        self._connection.execute("PRAGMA foreign_keys = ON")
        for schema in self._schemas:
            self._connection.executescript(schema)
        for table, (key, column) in self._watching.items():
            self.watch(table, key=key, column=column)

    def _find_spoilt(self) -> None:
        """What the real driver says after it opened a corrupt file, and only then."""
        self._aside = None
        if self._spoilt:
            self._spoilt = False
            self._times_aside += 1
            self._aside = f"agent.db.corrupt-{self._times_aside}"

    def _turn(self) -> asyncio.Lock:
        """The queue; each event loop that uses this database has its own."""
        loop = asyncio.get_running_loop()
        if self._turns is None or self._turns[0] is not loop:
            self._turns = (loop, asyncio.Lock())
        return self._turns[1]

    def _assert_usable(self) -> None:
        if not self._powered:
            raise DatabaseError("The power is off.")
        if self._closed:
            raise DatabaseError("The database is closed.")

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        moment = self._cut[1] if self._cut is not None and self._cut[0] == self.runs else None
        self.runs += 1
        if moment == "before":
            self._lose_power()
        connection = self._connection
        changes = connection.total_changes
        try:
            connection.execute("BEGIN IMMEDIATE")
            result = work(connection)
            assert not isinstance(result, sqlite3.Cursor), "fetch the rows inside the transaction"
            if moment == "inside":
                self._lose_power()
            self._refuse_commit(wrote=connection.total_changes != changes)
            connection.execute("COMMIT")
        except BaseException as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                name = getattr(error, "sqlite_errorname", type(error).__name__)
                raise DatabaseError(
                    f"SQLite refused with {name}: {error}; the transaction was rolled back."
                ) from error
            raise
        if moment == "after":
            self._lose_power()
        return result

    def _lose_power(self) -> None:
        self.power_off()
        raise DatabaseError("The power was cut.")

    def _refuse_commit(self, *, wrote: bool) -> None:
        if self._full and wrote:
            self._full -= 1
            raise DiskFull("No space is left for the database; the transaction was rolled back.")
        if self._broken:
            self._broken -= 1
            raise DatabaseError(
                "SQLite refused with SQLITE_IOERR: disk I/O error; the transaction was rolled back."
            )
