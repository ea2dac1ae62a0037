"""The cellar's shelves: assets under their sha256, within a quota, verified before anyone sees them.

What a power cut leaves is always sound: a file appears under its name by one rename, after its
bytes were hashed and synced, and its row is written after it. `open` heals what lies between.
"""

from __future__ import annotations

import asyncio
import io
import logging
import sqlite3
import threading
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from edge_agent.cache import assets
from edge_agent.cache.assets import Asset, path_of
from edge_agent.cache.hashing import digest_of, digest_slowly
from edge_agent.cache.incoming import Incoming
from edge_agent.cache.settings import MIB, CacheSettings
from edge_agent.errors import MediaRefused
from edge_agent.model import Digest, ReasonCode
from hal.errors import DatabaseError, DiskError, DiskFull
from hal.ports import Clock, Database, Disk

__all__ = ["SCHEMA", "Asset", "Store", "Sweep"]

logger = logging.getLogger(__name__)

SCHEMA = assets.SCHEMA

_BLOCK_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What `open` found."""

    kept: int
    adopted: int
    """Files without a row: hashed before their first use."""
    forgotten: int
    """Rows without a file."""
    quarantined: int
    """Files of a wrong size."""
    removed: int
    """Files that are no assets."""


class Store:
    """Keeps assets. Whoever will read one holds `pinned`, so that it is not evicted meanwhile."""

    def __init__(self, *, disk: Disk, database: Database, clock: Clock, settings: CacheSettings) -> None:
        self._disk = disk
        self._database = database
        self._clock = clock
        self._settings = settings
        self._changing = asyncio.Lock()
        self._pins: Counter[Digest] = Counter()
        self._pins_lock = threading.Lock()
        self._incoming: set[Incoming] = set()
        self._uses: dict[Digest, int] = {}
        self._used = 0
        self._doomed: dict[Digest, None] = {}

    # ---------------------------------------------------- opening

    async def open(self, *, evict: bool = True) -> Sweep:
        """Bring table and disk together, and (`evict`) the whole within the quota. Raises DatabaseError.

        What the disk will not show or remove, or has no room to note, is logged and left for the next start:
        without a cache the node goes on.
        """
        async with self._changing:
            rows = {row.asset.digest: row for row in await self._database.run(assets.all_rows)}
            self._used = await self._database.run(assets.last_used)
            files, unseen, removed = await self._files()
            live = [
                row.asset
                for row in rows.values()
                if row.quarantined is None and path_of(row.asset.digest).rpartition("/")[0] not in unseen
            ]
            gone = [asset.digest for asset in live if asset.digest not in files]
            spoilt = [asset.digest for asset in live if files.get(asset.digest, asset.size) != asset.size]
            found = [digest for digest in files if digest not in rows or rows[digest].quarantined is not None]
            added = self._clock.utc_now().isoformat(timespec="seconds")

            def work(connection: sqlite3.Connection) -> None:
                assets.forget(connection, gone)
                for digest in spoilt:
                    assets.quarantine(connection, digest, "Its file had the wrong size at start.")
                for digest in found:
                    assets.add(
                        connection, digest=digest, size=files[digest], used=0, added=added, verified=False
                    )

            try:
                await self._database.run(work)
                self._doomed.update(dict.fromkeys(spoilt))
            except (DatabaseError, DiskError) as error:
                logger.warning("What the cache holds could not be noted. error=%s", error)
        if evict:
            await self.tidy()
        sweep = Sweep(
            kept=len(rows) - len(gone) - len(spoilt),
            adopted=len(found),
            forgotten=len(gone),
            quarantined=len(spoilt),
            removed=removed,
        )
        if sweep.adopted or sweep.forgotten or sweep.quarantined or sweep.removed:
            logger.warning("The cache was put in order. %s", sweep)
        return sweep

    async def squeezed(self) -> bool:
        """Whether the disk has less than half of the reserve: not the cache did that. Raises DiskError."""
        return await self._disk.free_bytes() < self._settings.reserve_bytes // 2

    async def tidy(self) -> None:
        """Bring the whole within the quota, once it is known what is to be kept. Never raises for the disk's sake."""
        async with self._changing:
            try:
                await self._make_room(0, strict=False)
            except (DatabaseError, DiskError) as error:
                logger.warning("The cache could not be tidied up. error=%s", error)

    async def _files(self) -> tuple[dict[Digest, int], set[str], int]:
        """Every asset's file and size; directories that could not be read; and how many other files were removed."""
        files: dict[Digest, int] = {}
        unseen: set[str] = set()
        removed = 0
        for first in range(256):
            directory = f"{assets.ROOT}/{first:02x}"
            try:
                for name, size in await self._disk.list(directory):
                    digest = Digest(f"sha256:{name}")
                    if size > 0 and assets.well_formed(digest) and path_of(digest) == f"{directory}/{name}":
                        files[digest] = size
                    else:
                        await self._disk.remove(f"{directory}/{name}")
                        removed += 1
            except DiskError as error:
                logger.warning(
                    "A directory of the cache cannot be read. directory=%s error=%s", directory, error
                )
                unseen.add(directory)
        return files, unseen, removed

    # ---------------------------------------------------- finding and reading

    async def find(self, digest: Digest) -> Asset | None:
        """The asset, if it is here and sound; this counts as a use.

        A file of the wrong size, or one that was found without a row and does not hash to its name,
        is quarantined. Raises DatabaseError, DiskError.
        """
        row = await self._database.run(lambda connection: assets.find(connection, digest))
        if row is None or row.quarantined is not None:
            return None
        if await self._fault(row) is not None:
            await self._quarantine_if_faulty(digest)
            return None
        self._used += 1
        self._uses[digest] = self._used
        return row.asset

    def open_read(self, digest: Digest) -> BinaryIO:
        """A seekable reader; the asset is pinned until it is closed. Raises DiskMissing, DiskError.

        It may be read and closed on another thread.
        """
        reader = self._disk.open_read(path_of(digest))
        self._pin(digest)
        return io.BufferedReader(_PinnedFile(reader, digest, self), _BLOCK_BYTES)

    @contextmanager
    def pinned(self, digest: Digest) -> Iterator[None]:
        """Nobody evicts this asset, be it here already or not yet, while the context lasts."""
        self._pin(digest)
        try:
            yield
        finally:
            self.unpin(digest)

    def keep(self, digest: Digest) -> None:
        """Never evict this asset, be it here already or not yet. Call it before `open`, which may evict."""
        self._pin(digest)

    def in_use(self) -> frozenset[Digest]:
        """What is pinned now."""
        with self._pins_lock:
            return frozenset(self._pins)

    # ---------------------------------------------------- coming and going

    async def stage(self, digest: Digest, size: int | None) -> Incoming:
        """Begin an asset of `size` bytes (None: not known); room is made for it first.

        Raises MediaRefused(NO_SPACE) when it can never fit, or does not fit now beside what is in
        use; DatabaseError, DiskError.
        """
        limit = self._settings.asset_max_bytes
        if size is not None and size > limit:
            raise MediaRefused(ReasonCode.NO_SPACE, _too_large(size, limit))
        incoming = Incoming(shelf=self, digest=digest, size=size, size_max=limit)
        async with self._changing:
            await self._make_room(incoming.reserved)
            incoming.staged = await self._disk.stage()
            self._incoming.add(incoming)
        return incoming

    async def reserve(self, incoming: Incoming, more: int) -> None:
        """Room for `more` bytes of something whose size was not known. Raises as `stage`."""
        async with self._changing:
            await self._make_room(more)
            incoming.reserved += more

    async def admit(self, incoming: Incoming) -> Asset:
        """Commit a staged file whose hash was checked, then write its row. Raises DatabaseError, DiskError."""
        assert incoming.staged is not None
        digest, size = incoming.digest, incoming.written
        async with self._changing:
            await self._remove_doomed()
            await incoming.staged.commit(path_of(digest))
            incoming.staged = None
            self._used += 1
            uses, used = self._taken_uses(), self._used
            added = self._clock.utc_now().isoformat(timespec="seconds")

            def work(connection: sqlite3.Connection) -> None:
                assets.add(connection, digest=digest, size=size, used=used, added=added, verified=True)
                assets.touch(connection, uses)

            try:
                await self._database.run(work)
            except (DatabaseError, DiskError):
                self._doomed[digest] = None
                raise
        logger.info("An asset is kept. digest=%s size=%d", digest, size)
        return Asset(digest=digest, size=size)

    def release(self, incoming: Incoming) -> None:
        """It is admitted or abandoned, and holds no room any more."""
        self._incoming.discard(incoming)

    async def note_loudness(
        self, digest: Digest, gain_db: float, lufs: float, duration_s: float, peak_dbtp: float | None = None
    ) -> Asset | None:
        """Keep what was measured; returns the asset, None when it is gone. Raises DatabaseError."""
        row = await self._database.run(
            lambda connection: assets.measure(
                connection, digest, gain_db=gain_db, lufs=lufs, duration_s=duration_s, peak_dbtp=peak_dbtp
            )
        )
        return None if row is None else row.asset

    async def quarantine(self, digest: Digest, why: str) -> None:
        """Its file is spoilt: remove it and remember why; it may be fetched again. Raises DatabaseError, DiskError."""
        async with self._changing:
            await self._quarantine(digest, why)

    async def held(self, digests: Collection[Digest]) -> frozenset[Digest]:
        """Which of these are here, by the table alone; no use is counted. Raises DatabaseError."""
        return (await self._database.run(assets.held)).intersection(digests)

    async def verify(self, digest: Digest, *, bytes_per_s: int | None = None) -> str | None:
        """Hash an asset's file once more, no faster than asked; spoilt, it is quarantined. Why, or None.

        One that is not here is not spoilt. Raises DatabaseError, DiskError.
        """
        row = await self._database.run(lambda connection: assets.find(connection, digest))
        if row is None or row.quarantined is not None:
            return None
        with self.pinned(digest):
            found = await digest_slowly(self._disk, path_of(digest), bytes_per_s=bytes_per_s)
        if found == digest:
            return None
        fault = "Its bytes have changed on the disk." if found else "Its file cannot be read."
        await self.quarantine(digest, fault)
        return fault

    async def collect(self) -> tuple[int, int]:
        """Remove every asset that nobody keeps or uses; how many, and their bytes. Raises DatabaseError, DiskError."""
        async with self._changing:
            spared = self.in_use()

            def work(connection: sqlite3.Connection) -> list[tuple[Digest, int]]:
                gone = [
                    (row.asset.digest, row.asset.size)
                    for row in assets.all_rows(connection)
                    if row.asset.digest not in spared
                ]
                assets.forget(connection, [digest for digest, _ in gone])
                return gone

            gone = await self._database.run(work)
            self._doomed.update(dict.fromkeys(digest for digest, _ in gone))
            await self._remove_doomed()
        return len(gone), sum(size for _, size in gone)

    async def listing(self) -> list[assets.Row]:
        """Everything that is kept or quarantined, least recently used first. Raises DatabaseError."""
        uses = self._taken_uses()

        def work(connection: sqlite3.Connection) -> list[assets.Row]:
            assets.touch(connection, uses)
            return assets.all_rows(connection)

        return await self._database.run(work)

    # ---------------------------------------------------- within

    def unpin(self, digest: Digest) -> None:
        """One reader, context or `keep` less. Safe on any thread."""
        with self._pins_lock:
            self._pins[digest] -= 1
            if self._pins[digest] <= 0:
                del self._pins[digest]

    def _pin(self, digest: Digest) -> None:
        with self._pins_lock:
            self._pins[digest] += 1

    async def _quarantine_if_faulty(self, digest: Digest) -> None:
        """Look again with nobody else changing anything: it may have been evicted, or fetched anew, meanwhile."""
        async with self._changing:
            row = await self._database.run(lambda connection: assets.find(connection, digest))
            fault = None if row is None or row.quarantined is not None else await self._fault(row)
            if fault is not None:
                await self._quarantine(digest, fault)

    async def _quarantine(self, digest: Digest, why: str) -> None:
        await self._database.run(lambda connection: assets.quarantine(connection, digest, why))
        logger.warning("An asset is quarantined. digest=%s why=%s", digest, why)
        self._doomed[digest] = None
        await self._remove_doomed()

    async def _fault(self, row: assets.Row) -> str | None:
        """What is wrong with its file, in a sentence, or None."""
        asset = row.asset
        path = path_of(asset.digest)
        directory, _, name = path.rpartition("/")
        size = dict(await self._disk.list(directory)).get(name)
        if size is None:
            return "Its file was gone."
        if size != asset.size:
            return f"Its file had {size} bytes instead of {asset.size}."
        if not row.verified:
            if await asyncio.to_thread(digest_of, self._disk, path) != asset.digest:
                return "Its file did not hash to its name."
            await self._database.run(lambda connection: assets.verify(connection, asset.digest))
        return None

    async def _make_room(self, need: int, *, strict: bool = True) -> None:
        """Evict until `need` more bytes fit into the quota and onto the disk. Holds `_changing`.

        Raises MediaRefused(NO_SPACE) if `strict`; else does what it can.
        """
        await self._remove_doomed()
        settings = self._settings
        reserved = sum(incoming.reserved for incoming in self._incoming)
        unwritten = sum(max(0, incoming.reserved - incoming.written) for incoming in self._incoming)
        held = await self._database.run(assets.held_bytes)
        free = await self._disk.free_bytes()
        over_quota = held + reserved + need - settings.quota_bytes
        over_disk = need + unwritten + settings.reserve_bytes - free
        short = max(over_quota, min(over_disk, held) if not strict else over_disk)
        if short <= 0:
            return
        spared, uses = self.in_use(), self._taken_uses()

        def work(connection: sqlite3.Connection) -> list[Digest] | None:
            assets.touch(connection, uses)
            return assets.evict(connection, short_bytes=short, spared=spared)

        try:
            victims = await self._database.run(work)
        except DiskFull:
            victims = await self._evict_from_a_full_disk(short, spared)
        if victims is None:
            if strict:
                raise MediaRefused(ReasonCode.NO_SPACE, _no_room(need, over_quota, free, settings))
            return
        self._doomed.update(dict.fromkeys(victims))
        await self._remove_doomed()
        logger.info("Assets were evicted. count=%d short=%d", len(victims), short)
        free = await self._disk.free_bytes()
        if strict and need + unwritten + settings.reserve_bytes > free:
            raise MediaRefused(ReasonCode.NO_SPACE, _no_room(need, over_quota, free, settings))

    async def _evict_from_a_full_disk(self, short: int, spared: frozenset[Digest]) -> list[Digest] | None:
        """Not even the table can be written: the files go first, and the table follows when there is room."""
        victims = await self._database.run(
            lambda connection: assets.oldest(connection, short_bytes=short, spared=spared)
        )
        for digest in victims or ():
            await self._disk.remove(path_of(digest))
        if victims:
            await self._database.run(lambda connection: assets.forget(connection, victims))
        return victims

    async def _remove_doomed(self) -> None:
        """Remove files whose rows are gone; what a cancellation or a failing disk left over comes again."""
        while self._doomed:
            digest = next(iter(self._doomed))
            await self._disk.remove(path_of(digest))
            self._doomed.pop(digest, None)

    def _taken_uses(self) -> dict[Digest, int]:
        """Numbers of use that are not in the table yet. Kept in memory until something is written
        anyway: a power cut costs some order of eviction, and playing costs no flush."""
        uses, self._uses = self._uses, {}
        return uses


class _PinnedFile(io.RawIOBase):
    """A reader that unpins its asset when it is closed, by hand or by the garbage collector."""

    def __init__(self, reader: BinaryIO, digest: Digest, store: Store) -> None:
        super().__init__()
        self._reader = reader
        self._digest = digest
        self._store = store

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override] # what BufferedReader hands in
        payload = self._reader.read(len(buffer))
        buffer[: len(payload)] = payload
        return len(payload)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._reader.seek(offset, whence)

    def tell(self) -> int:
        return self._reader.tell()

    def close(self) -> None:
        if not self.closed:
            self._reader.close()
            self._store.unpin(self._digest)
        super().close()


def _too_large(size: int, limit: int) -> str:
    return (
        f"The file has {size / MIB:.1f} MiB and this node takes at most {limit / MIB:.0f}; send a shorter or "
        "more compressed one, or raise cache.asset_max_mib."
    )


def _no_room(need: int, over_quota: int, free: int, settings: CacheSettings) -> str:
    if over_quota > 0:
        return (
            f"The cache has no room for {need / MIB:.1f} MiB beside what is in use, within its {settings.quota_mib} "
            "MiB; wait until it has been played, or raise cache.quota_mib."
        )
    return (
        f"The disk has {free / MIB:.1f} MiB free, too little for {need / MIB:.1f} MiB and the reserve of "
        f"{settings.reserve_mib} MiB; free some space or lower cache.reserve_mib."
    )
