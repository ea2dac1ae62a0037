"""SQLite on one connection and one thread, in one process: the journal, the as-run log and the outbox.

Facts: WAL with synchronous=FULL makes COMMIT the moment of durability. Older SQLite can corrupt a
WAL database when two connections meet while the WAL is reset, so locking_mode=EXCLUSIVE keeps every
other connection out (it also spares the -shm file), and a lock file says who holds the directory.
`sqlite3.Connection.executescript` commits first, so a schema script carries its own BEGIN and COMMIT.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from hal.errors import DatabaseError, DiskFull
from hal.linux.durable import sync_directory

T = TypeVar("T")

log = logging.getLogger(__name__)

USER_VERSION = 1
"""Layout of the database; a greater one was made by a newer release."""

_SETTINGS = (
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA busy_timeout = 2000",
    "PRAGMA wal_autocheckpoint = 1000",
    "PRAGMA journal_size_limit = 8388608",
    "PRAGMA cache_size = -1024",
    "PRAGMA temp_store = MEMORY",
)
_CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_KEPT_ASIDE = 3
"""Corrupt databases kept for whoever wants to look; older ones are removed."""


async def open_database(path: Path, schemas: Sequence[str]) -> SqliteDatabase:
    """Open (or make) the database and apply the schemas in one transaction.

    A corrupt file is set aside and a new one is made. Raises DatabaseError when another agent
    holds it, when a newer release made it, or when the file cannot be used; DiskFull.
    """
    database = SqliteDatabase(path)
    try:
        await database.open(schemas)
    except BaseException:
        await database.close()
        raise
    return database


class SqliteDatabase:
    """`hal.ports.Database` on a file; made by `open_database`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="database")
        self._connection: sqlite3.Connection | None = None
        self._lock_fd = -1
        self._aside: str | None = None
        self._closed = False

    async def open(self, schemas: Sequence[str]) -> None:
        """Lock, check and prepare; see `open_database`."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._open, tuple(schemas))

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """On the database's own thread."""
        if self._closed:
            raise DatabaseError("The database is closed.")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transact, work)

    def set_aside(self) -> str | None:
        """The path of the corrupt file."""
        return self._aside

    async def close(self) -> None:
        """Work that was asked for before is finished first."""
        if self._closed:
            return
        self._closed = True
        closing = asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)
        await asyncio.shield(closing)

    # -------------------------------------------------------- on the thread

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._connection
        assert connection is not None
        try:
            connection.execute("BEGIN IMMEDIATE")
            result = work(connection)
            assert not isinstance(result, sqlite3.Cursor), "fetch the rows inside the transaction"
            connection.execute("COMMIT")
        except BaseException as error:
            _roll_back(connection)
            if isinstance(error, sqlite3.Error):
                raise _named(error) from error
            raise
        return result

    def _open(self, schemas: tuple[str, ...]) -> None:
        try:
            _make_directory(self._path.parent)
            self._lock()
            self._create()
        except OSError as error:
            raise DatabaseError(f"The database {self._path} cannot be opened: {error}.") from error
        try:
            self._prepare(schemas)
        except sqlite3.Error as error:
            if not _is_corrupt(error):
                raise _named(error) from error
            self._disconnect()
            try:
                self._move_aside()
                log.error("The database was corrupt and is set aside. path=%s reason=%s", self._aside, error)  # noqa: TRY400 - the sentence says it all
                self._create()
                self._prepare(schemas)
            except OSError as again:
                raise DatabaseError(
                    f"The corrupt database {self._path} cannot be set aside: {again}."
                ) from again
            except sqlite3.Error as again:
                raise _named(again) from again

    def _lock(self) -> None:
        """Keep a second agent out; the kernel lets go of the lock however this process ends."""
        lock = self._path.with_name(self._path.name + ".lock")
        self._lock_fd = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._lock_fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise DatabaseError(
                f"Another agent (process {holder}) uses the state directory {self._path.parent}; "
                "stop it first, or give this one a directory of its own."
            ) from None
        with contextlib.suppress(OSError):  # a full disk: the lock holds without its holder's name
            os.ftruncate(self._lock_fd, 0)
            os.pwrite(self._lock_fd, f"{os.getpid()}\n".encode("ascii"), 0)

    def _create(self) -> None:
        """Make the file private and its name durable before SQLite writes to it."""
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        sync_directory(self._path.parent)

    def _prepare(self, schemas: tuple[str, ...]) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None, cached_statements=64)
        self._connection = connection
        for setting in _SETTINGS:
            connection.execute(setting)
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise _corruption(str(verdict))
        found = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if found > USER_VERSION:
            raise DatabaseError(
                f"The database {self._path} was made by a newer release (layout {found}, this one knows "
                f"{USER_VERSION}); install that release again, or move the file away."
            )
        if found == 0 and self._aside is None and (asides := self._asides()):
            # A start before this one set it aside, and was cut before it had made a new one.
            self._aside = str(asides[-1][1])
        stamp = () if found == USER_VERSION else (f"PRAGMA user_version = {USER_VERSION}",)
        script = "\n;\n".join(("BEGIN IMMEDIATE", *schemas, *stamp, "COMMIT"))
        try:
            connection.executescript(script + ";")
        except sqlite3.Error:
            _roll_back(connection)
            raise

    def _move_aside(self) -> None:
        """Rename the database with what belongs to it, and keep only the last few."""
        kept = self._asides()
        aside = self._path.with_name(f"{self._path.name}.corrupt-{kept[-1][0] + 1 if kept else 1}")
        for suffix in ("-wal", "-shm", "-journal", ""):
            part = self._path.with_name(self._path.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
        for _, old in kept[: -(_KEPT_ASIDE - 1)]:
            for suffix in ("-wal", "-shm", "-journal", ""):
                old.with_name(old.name + suffix).unlink(missing_ok=True)
        sync_directory(self._path.parent)
        self._aside = str(aside)

    def _asides(self) -> list[tuple[int, Path]]:
        """The corrupt databases that were set aside, by number."""
        return sorted(
            (int(number), found)
            for found in self._path.parent.glob(f"{self._path.name}.corrupt-*")
            if (number := found.name.rpartition("-")[2]).isdecimal()
        )

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _close(self) -> None:
        try:
            self._disconnect()
        except sqlite3.Error as error:
            log.warning("The database did not close cleanly; the next start recovers it. error=%s", error)
        finally:
            if self._lock_fd >= 0:
                os.close(self._lock_fd)
                self._lock_fd = -1


def _roll_back(connection: sqlite3.Connection) -> None:
    """Some errors (disk full) roll back by themselves; the others must not keep the lock."""
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        log.warning("A rollback failed. error=%s", error)


def _corruption(verdict: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(verdict)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def _is_corrupt(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _CORRUPT


def _named(error: sqlite3.Error) -> DatabaseError | DiskFull:
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
        return DiskFull("No space is left for the database; the transaction was rolled back.")
    return DatabaseError(f"SQLite refused with {name}: {error}; the transaction was rolled back.")


def _make_directory(directory: Path) -> None:
    """With its parents, and their names durable, too, as far as we may look into them."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    for made in reversed(missing):
        with contextlib.suppress(PermissionError):
            sync_directory(made.parent)
