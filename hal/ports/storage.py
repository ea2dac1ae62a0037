"""The doors of what is kept: the disk, and the database."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeVar

if TYPE_CHECKING:
    import sqlite3

T = TypeVar("T")


class StagedFile(Protocol):
    """A file being written out of sight; nobody sees it before `commit`."""

    async def write(self, payload: bytes) -> None:
        """Append. Raises DiskFull, DiskError."""

    async def commit(self, path: str) -> None:
        """fsync, rename to `path` (parents made), fsync the directory: after this it survives a power cut."""

    async def abandon(self) -> None:
        """Remove it. Idempotent, never raises."""


class Disk(Protocol):
    """Files below one state directory; paths are relative, `/`-separated, without `..`."""

    async def read(self, path: str) -> bytes:
        """The whole of a small file (<= 1 MiB). Raises DiskMissing, DiskError."""

    async def write_atomic(self, path: str, payload: bytes) -> None:
        """Replace a small file: temp, fsync, rename, fsync(dir). Raises DiskFull, DiskError."""

    async def stage(self) -> StagedFile:
        """Begin a large file. Left-over stages are removed when the disk is opened. Raises DiskError."""

    def open_read(self, path: str) -> BinaryIO:
        """A seekable binary reader of a committed file. Raises DiskMissing, DiskError."""

    async def remove(self, path: str) -> None:
        """Remove a file; no error when it is not there. Raises DiskError."""

    async def list(self, directory: str) -> tuple[tuple[str, int], ...]:
        """(name, size in bytes) of the files directly in a directory, sorted; () when there is none."""

    async def free_bytes(self) -> int:
        """What an unprivileged process may still write."""


class Database(Protocol):
    """The one SQLite database, on one connection and one thread (WAL, synchronous=FULL)."""

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` inside one transaction and return its result; durable when this returns.

        `work` must be quick and touch nothing but the connection: it may run on another thread.
        An exception from it rolls back and is raised here; sqlite3.Error becomes DatabaseError
        (disk full: DiskFull). Calls run one after another in the order they were made. Cancelling
        the await does not stop a transaction that has begun.
        """

    def set_aside(self) -> str | None:
        """Where a corrupt database was moved when this one was opened, or None."""

    async def close(self) -> None:
        """Checkpoint and close. Idempotent, never raises."""
