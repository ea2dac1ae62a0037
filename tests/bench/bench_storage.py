"""Storage that has grown large, on the real file system: an outbox of 200,000 entries, a cellar of 100,000 files."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

from edge_agent import agent
from edge_agent.cache.settings import MIB, CacheSettings
from edge_agent.cache.store import Store
from edge_agent.report import shelf
from hal.linux.clock import SystemClock
from hal.linux.database import SqliteDatabase, open_database
from hal.linux.disk import DirectoryDisk
from tests.bench.measure import figure, seconds
from tests.power import large
from tests.power.books import digest_of, noise

T = TypeVar("T")

ENTRIES, ASSETS = 200_000, 100_000
WAVES = 200


def main() -> None:
    """Both, each in a directory that goes away."""
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_outbox(Path(directory)))
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_cellar(Path(directory)))


async def _timed(work: Awaitable[T]) -> tuple[float, T]:
    began = seconds()
    result = await work
    return seconds() - began, result


def _wave(connection: sqlite3.Connection) -> int:
    """Take the next wave and settle it, as a drain does."""
    wave = shelf.next_wave(
        connection, now_ns=1, held=(), probed=(), parcels_max=16, bytes_max=32_768, new_log="0000abcd"
    )
    taken = [entry for parcel in wave.parcels for entry in parcel.entries]
    shelf.settle(connection, taken=taken, refused=(), now_ns=1, refusal_first_ns=1, refusal_max_ns=1)
    return len(taken)


def _alert(connection: sqlite3.Connection) -> int:
    return shelf.put(connection, topic=large.ALERT, payload=b'{"text":"a"}', kind="alert", retain=True)


async def _outbox(root: Path) -> None:
    path = root / "node.sqlite3"
    database = await open_database(path, agent.SCHEMAS)
    await database.run(lambda connection: large.fill_outbox(connection, ENTRIES))
    await database.close()
    opening_s, database = await _timed(open_database(path, agent.SCHEMAS))
    figure("opening a database with 200,000 entries in the outbox", [opening_s], "s")
    waves = [await _timed(database.run(_wave)) for _ in range(WAVES)]
    figure("one wave of a long outbox", [spent * 1000 for spent, _ in waves], "ms")
    figure("a long outbox drains", [count / spent for spent, count in waves], "entries/s")
    alerts = [(await _timed(database.run(_alert)))[0] * 1000 for _ in range(20)]
    figure("an alert laid on a long outbox", alerts, "ms")
    await database.close()


async def _cellar(root: Path) -> None:
    for path in large.paths(ASSETS):
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(large.PAYLOAD)
    database = await open_database(root / "node.sqlite3", agent.SCHEMAS)
    await database.run(lambda connection: large.fill_table(connection, ASSETS))
    store = _store(root, database)
    figure("opening a cellar of 100,000 files", [(await _timed(store.open()))[0]], "s")
    found = [(await _timed(store.find(digest)))[0] * 1000 for digest in large.digests(50)]
    figure("finding one of 100,000 files", found, "ms")
    payload = noise(8 * MIB, 1)
    staging_s, incoming = await _timed(store.stage(digest_of(payload), len(payload)))
    figure("making room for 8 MiB of small files", [staging_s], "s")
    await incoming.abandon()
    await database.close()


def _store(root: Path, database: SqliteDatabase) -> Store:
    settings = CacheSettings(quota_mib=25, reserve_mib=16, asset_max_mib=8)
    return Store(disk=DirectoryDisk(root), database=database, clock=SystemClock(), settings=settings)


if __name__ == "__main__":
    main()
