"""A node that does nothing but store: orders, answers, as-run entries, facts and assets. It tells what is stored,
one line each, so that whoever kills it knows what must be there. Run with the state directory."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

from edge_agent import agent, kept
from edge_agent.cache.settings import CacheSettings
from edge_agent.cache.store import Store
from edge_agent.model import Digest
from edge_agent.report import asrun, shelf
from hal.linux.clock import SystemClock
from hal.linux.database import SqliteDatabase, open_database
from hal.linux.disk import DirectoryDisk
from tests.entries import ident
from tests.power.books import advance, close, digest_of, receive, the_books_are_sound

NAME = "node.sqlite3"
SETTINGS = CacheSettings(quota_mib=64, reserve_mib=16, asset_max_mib=8)


def tell(what: str) -> None:
    """One line, whole: a write this short to a pipe or file is never torn."""
    os.write(1, f"{what}\n".encode())


def a_payload(number: int) -> bytes:
    """The asset of this number, small and of a size of its own."""
    return random.Random(number).randbytes(2000 + number * 17 % 9000)


def store_at(root: Path, database: SqliteDatabase) -> Store:
    return Store(disk=DirectoryDisk(root), database=database, clock=SystemClock(), settings=SETTINGS)


async def an_asset(store: Store, number: int) -> None:
    payload = a_payload(number)
    incoming = await store.stage(digest_of(payload), len(payload))
    for start in range(0, len(payload), 1500):
        await incoming.write(payload[start : start + 1500])
    await incoming.admit()
    tell(f"asset {number}")


async def an_order(database: SqliteDatabase, number: int) -> None:
    def end(connection: sqlite3.Connection) -> None:
        close(connection, number)
        kept.put(connection, "last_order", str(number))

    await database.run(lambda connection: receive(connection, number))
    tell(f"came {number}")
    await database.run(lambda connection: advance(connection, number))
    tell(f"began {number}")
    await database.run(end)
    tell(f"ended {number}")


async def a_delivery(database: SqliteDatabase) -> None:
    """A wave leaves, and the server acknowledges all but the last line of it."""

    def work(connection: sqlite3.Connection) -> int:
        shelf.next_wave(
            connection, now_ns=1, held=(), probed=(), parcels_max=4, bytes_max=4000, new_log="0000abcd"
        )
        last = int(kept.get(connection, "outbox_last_n") or 0)
        shelf.acknowledge(connection, last - 1, "0000abcd")
        return last

    tell(f"numbered {await database.run(work)}")


async def first_number(database: SqliteDatabase) -> int:
    """After every order that an earlier life began."""
    return await database.run(
        lambda connection: connection.execute("SELECT coalesce(max(seq), 0) + 1 FROM ledger").fetchone()[0]
    )


async def be_busy(root: Path, *, rounds: int, pages_max: int, schemas: Sequence[str] = agent.SCHEMAS) -> None:
    """Store for so many rounds; the database is checkpointed each time its log holds `pages_max` pages."""
    database = await open_database(root / NAME, schemas)
    store = store_at(root, database)
    await store.open()
    await database.run(lambda c: c.execute(f"PRAGMA wal_autocheckpoint = {pages_max}").fetchall())
    first = await first_number(database)
    for number in range(first, first + rounds):
        async with asyncio.TaskGroup() as group:
            group.create_task(an_order(database, number))
            group.create_task(an_asset(store, number))
        if number % 3 == 0:
            await a_delivery(database)
        if number % 5 == 0:
            await store.quarantine(Digest(digest_of(a_payload(number - 4))), "Spoilt, says the test.")
            tell(f"spoilt {number - 4}")
    await database.close()


class Told:
    """What a node said that it had stored, in this life and in earlier ones."""

    def __init__(self) -> None:
        self.facts: dict[str, set[int]] = {}

    def hear(self, lines: str) -> None:
        """Whole lines only."""
        for line in lines[: lines.rfind("\n") + 1].splitlines():
            kind, _, number = line.partition(" ")
            self.facts.setdefault(kind, set()).add(int(number))

    def of(self, kind: str) -> set[int]:
        return self.facts.get(kind, set())


def no_answer_is_missing(connection: sqlite3.Connection) -> None:
    """Each step of each order laid down its messages, once; those that left have numbers without a gap, and
    nothing but an acknowledgement took any away."""
    steps = connection.execute(
        "SELECT sum(CASE state WHEN 'accepted' THEN 1 WHEN 'executing' THEN 2 ELSE 4 END) FROM ledger"
    ).fetchone()[0]
    last = int(kept.get(connection, "outbox_last_n") or 0)
    numbers = [n for (n,) in connection.execute("SELECT n FROM outbox WHERE n IS NOT NULL ORDER BY n")]
    assert numbers == list(range(last - len(numbers) + 1, last + 1))
    (lying,) = connection.execute("SELECT count(*) FROM outbox").fetchone()
    assert lying + last - len(numbers) == (steps or 0)


async def all_of_it_is_there(root: Path, told: Told, *, assets: Sequence[int] | None = None) -> None:
    """Open what a kill or a cut left, and hold every told fact against it."""
    database = await open_database(root / NAME, agent.SCHEMAS)
    try:
        assert database.set_aside() is None
        await database.run(the_books_are_sound)
        states = await database.run(
            lambda connection: dict(connection.execute("SELECT id, state FROM ledger").fetchall())
        )
        reached = {"came": 0, "began": 1, "ended": 2}
        stages = {"accepted": 0, "executing": 1, "successful": 2}
        for kind, least in reached.items():
            for number in told.of(kind):
                assert stages[states[ident(number)]] >= least, f"order {number} {kind}"
        await database.run(no_answer_is_missing)
        numbered = await database.run(lambda connection: int(kept.get(connection, "outbox_last_n") or 0))
        assert numbered >= max(told.of("numbered"), default=0)
        store = store_at(root, database)
        await store.open()
        assert list((root / ".stage").iterdir()) == []
        for number in told.of("asset") if assets is None else assets:
            found = await store.find(digest_of(a_payload(number)))
            if number % 5 == 1:
                continue  # quarantined soon after: here, gone, or come back by a cut, but never half
            assert found is not None, f"asset {number}"
            with store.open_read(found.digest) as reader:
                assert reader.read() == a_payload(number)
        again = await store.open()
        assert (again.adopted, again.forgotten, again.quarantined, again.removed) == (0, 0, 0, 0)
        entries = await database.run(lambda connection: asrun.verify_chain(connection).entries)
        assert entries >= len(told.of("ended"))
    finally:
        await database.close()


async def two_releases(root: Path) -> None:
    """An older release leaves a database; this one brings it up to date, works, stops, and works again."""
    database = await open_database(root / NAME, agent.SCHEMAS[:3])
    await database.run(lambda connection: kept.put(connection, "volume", "60"))
    await database.close()
    for _ in range(2):
        await be_busy(root, rounds=6, pages_max=24)


def nursery(root: Path) -> None:
    """Everything is imported, so a life costs one fork: for each line on stdin one begins, and its end is told
    after everything that it told itself."""
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            asyncio.run(be_busy(root, rounds=1_000_000, pages_max=24))
            os._exit(0)
        tell(f"alive {child}")
        os.waitpid(child, 0)
        tell(f"dead {child}")


if __name__ == "__main__":
    if sys.argv[2:] == ["nursery"]:
        nursery(Path(sys.argv[1]))
    else:
        asyncio.run(two_releases(Path(sys.argv[1])))
