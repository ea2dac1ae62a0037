"""Files below one state directory, written so that a power cut leaves the old or the new, never a part.

Facts: rename is atomic but not durable until the directory is synced; the data behind it is not
durable until the file is synced; a new directory needs its own parent synced. After a failed
fsync the kernel may have thrown the pages away, so a second fsync proves nothing: the file is
given up. ext4 may give back a removed file after a power cut; nobody here promises otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from hal.errors import DiskError, DiskFull, DiskMissing
from hal.linux.durable import sync_directory

log = logging.getLogger(__name__)

_STAGE = ".stage"
_SMALL_BYTES = 1 << 20
_PRIVATE, _SHARED, _DIRECTORY = 0o600, 0o640, 0o750


class DirectoryDisk:
    """`hal.ports.Disk` on a directory, made when it is not there. Constructing it sweeps left-over stages.

    Small files are private (0600); committed stages may be read by the group (0640).
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._stage = root / _STAGE
        self._directories = _Directories(root)
        with _naming(_STAGE):
            self._stage.mkdir(mode=_DIRECTORY, parents=True, exist_ok=True)
            for leftover in self._stage.iterdir():
                leftover.unlink()
                log.info("A file left unfinished by the last run is removed. name=%s", leftover.name)

    async def read(self, path: str) -> bytes:
        """On a thread."""
        return await asyncio.to_thread(self._read, self._place(path), path)

    async def write_atomic(self, path: str, payload: bytes) -> None:
        """Through a stage of its own."""
        place = self._place(path)

        def write() -> None:
            staged = _Staged(self._stage, self._directories)
            try:
                staged.append(payload)
                staged.move_to(place, path, mode=_PRIVATE)
            finally:
                staged.discard()

        await asyncio.to_thread(write)

    async def stage(self) -> DirectoryStage:
        """A new file in the stage directory, open."""
        return DirectoryStage(self, await asyncio.to_thread(_Staged, self._stage, self._directories))

    def open_read(self, path: str) -> BinaryIO:
        """Buffered."""
        place = self._place(path)
        with _naming(path):
            return place.open("rb")

    async def remove(self, path: str) -> None:
        """On a thread."""
        place = self._place(path)

        def remove() -> None:
            with _naming(path):
                place.unlink(missing_ok=True)

        await asyncio.to_thread(remove)

    async def list(self, directory: str) -> tuple[tuple[str, int], ...]:
        """On a thread."""
        place = self._place(directory) if directory not in {"", "."} else self._root

        def scan() -> tuple[tuple[str, int], ...]:
            try:
                with _naming(directory), os.scandir(place) as entries:
                    return tuple(
                        sorted(
                            (entry.name, entry.stat(follow_symlinks=False).st_size)
                            for entry in entries
                            if entry.is_file(follow_symlinks=False)
                        )
                    )
            except DiskMissing:
                return ()

        return await asyncio.to_thread(scan)

    async def free_bytes(self) -> int:
        """f_bavail: without what is reserved for root."""

        def free() -> int:
            with _naming("."):
                room = os.statvfs(self._root)
            return room.f_bavail * room.f_frsize

        return await asyncio.to_thread(free)

    def _place(self, path: str) -> Path:
        """Where a relative path lies; refuses every way out of the root, and the stage directory."""
        parts = path.split("/")
        if "\0" in path or any(part in {"", ".", ".."} for part in parts) or parts[0] == _STAGE:
            raise DiskError(f"'{path}' is not a path below the state directory.")
        return self._root.joinpath(*parts)

    @staticmethod
    def _read(place: Path, path: str) -> bytes:
        with _naming(path), place.open("rb") as reader:
            payload = reader.read(_SMALL_BYTES + 1)
        if len(payload) > _SMALL_BYTES:
            raise DiskError(f"'{path}' is larger than {_SMALL_BYTES} bytes; open it as a stream instead.")
        return payload


class DirectoryStage:
    """`hal.ports.StagedFile`: writes go to a thread, one after another."""

    def __init__(self, disk: DirectoryDisk, staged: _Staged) -> None:
        self._disk = disk
        self._staged = staged

    async def write(self, payload: bytes) -> None:
        """Append; when cancelled, an unknown part of `payload` was appended: abandon the file then."""
        await asyncio.to_thread(self._staged.append, payload)

    async def commit(self, path: str) -> None:
        """Readable by the group from then on."""
        place = self._disk._place(path)  # noqa: SLF001 - the stage is part of its disk
        await asyncio.to_thread(self._staged.move_to, place, path, mode=_SHARED)

    async def abandon(self) -> None:
        """Also after a failed commit; nothing after a good one."""
        await asyncio.to_thread(self._staged.discard)


class _Staged:
    """An open file in the stage directory. Called from threads: its lock keeps a cancelled write,
    which still runs, from meeting a descriptor that was closed and given to someone else."""

    _names = itertools.count(1)

    def __init__(self, stage: Path, directories: _Directories) -> None:
        self._directories = directories
        self._lock = threading.Lock()
        self._path = stage / f"{os.getpid()}-{next(_Staged._names)}"
        with _naming(_STAGE):
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)

    def append(self, payload: bytes) -> None:
        with self._lock, _naming("a staged file"):
            self._assert_open()
            view = memoryview(payload)
            while view:
                view = view[os.write(self._fd, view) :]

    def move_to(self, place: Path, path: str, *, mode: int) -> None:
        with self._lock, _naming(path):
            self._assert_open()
            os.fchmod(self._fd, mode)
            os.fsync(self._fd)
            self._directories.make(place.parent)
            self._path.rename(place)
            self._close()
            sync_directory(place.parent)

    def discard(self) -> None:
        with self._lock:
            if self._fd < 0:
                return
            try:
                self._close()
                self._path.unlink(missing_ok=True)
            except OSError as error:
                log.warning("A staged file could not be removed; the next start will. error=%s", error)

    def _assert_open(self) -> None:
        if self._fd < 0:
            raise DiskError("This staged file was committed or abandoned before.")

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        os.close(fd)


class _Directories:
    """Makes directories below the root and syncs the name of each once in this process: one that is there
    already may have been made by another thread, or by a process that was killed, and never synced."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._synced: set[Path] = set()

    def make(self, directory: Path) -> None:
        """With its parents; durable when this returns."""
        missing = []
        while directory != self._root and not (directory in self._synced and directory.is_dir()):
            missing.append(directory)
            directory = directory.parent
        for made in reversed(missing):
            made.mkdir(mode=_DIRECTORY, exist_ok=True)
            sync_directory(made.parent)
            self._synced.add(made)


@contextlib.contextmanager
def _naming(path: str) -> Iterator[None]:
    """Turn an OSError into the door's own, naming the file."""
    try:
        yield
    except DiskError:
        raise
    except FileNotFoundError as error:
        raise DiskMissing(f"There is no file '{path}'.") from error
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DiskFull(f"No space is left to write '{path}'.") from error
        name = errno.errorcode.get(error.errno or 0, str(error.errno))
        raise DiskError(f"'{path}' failed with {name}: {error.strerror}.") from error
