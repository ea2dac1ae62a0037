"""A node's books: orders, as-run log, outbox and cellar, on a virtual disk and database that lose power together."""

from __future__ import annotations

import hashlib
import random
import sqlite3
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from edge_agent import agent
from edge_agent.cache.settings import MIB, CacheSettings
from edge_agent.cache.store import Store
from edge_agent.clocktrust import Quality
from edge_agent.command import ledger
from edge_agent.command.scribe import Room, Scribe
from edge_agent.command.topics import Topics
from edge_agent.model import (
    AsRun,
    Digest,
    NodeId,
    OrderState,
    Outcome,
)
from edge_agent.report import asrun
from edge_agent.report.asrun import Timebase
from hal.sim.clock import VirtualClock
from hal.sim.database import Moment, VirtualDatabase
from hal.sim.disk import Platter, VirtualDisk
from hal.sim.loop import Counter, run
from tests.entries import START, an_entry

T = TypeVar("T")

MOMENTS: tuple[Moment, ...] = ("before", "inside", "after")

SCRIBE = Scribe(
    topics=Topics(root="pa/v1", node=NodeId("thon-3")),
    timebase=Timebase(monotonic_ns=10_000_000_000, utc=START, boot="boot-1", quality=Quality.SYNCED),
)


def receive(connection: sqlite3.Connection, number: int) -> None:
    """Journal an order, with its answer."""
    SCRIBE.receive(connection, an_entry(number), Room(open_max=1000, rows_max=1_000_000), tell=True)


def advance(connection: sqlite3.Connection, number: int, state: OrderState = OrderState.EXECUTING) -> None:
    """It goes on, with its answer."""
    assert SCRIBE.advance(connection, an_entry(number), state)


def close(connection: sqlite3.Connection, number: int) -> None:
    """It ends: journal, answer, as-run entry and report."""
    assert SCRIBE.close(
        connection, an_entry(number), OrderState.SUCCESSFUL, AsRun(outcome=Outcome.AIRED, frames=48_000)
    )


def noise(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def digest_of(payload: bytes) -> Digest:
    return Digest(f"sha256:{hashlib.sha256(payload).hexdigest()}")


def rows_of(connection: sqlite3.Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Everything in the database, by table."""
    tables = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
    ).fetchall()
    return {
        name: sorted(connection.execute(f"SELECT * FROM {name}").fetchall(), key=repr) for (name,) in tables
    }


def the_books_are_sound(connection: sqlite3.Connection) -> None:
    """What holds after every cut, whatever was cut."""
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    check = asrun.verify_chain(connection)
    assert check.broken_at is None
    ended = connection.execute(
        "SELECT id FROM ledger WHERE envelope IS NULL AND state NOT IN ('rejected', 'superseded')"
    ).fetchall()
    logged = connection.execute("SELECT order_id FROM asrun").fetchall()
    assert sorted(ended) == sorted(logged), "an order has ended exactly when it is in the as-run log"
    last = connection.execute("SELECT value FROM kept WHERE name = 'outbox_last_n'").fetchone()
    highest = connection.execute("SELECT coalesce(max(n), 0) FROM outbox").fetchone()[0]
    assert highest <= int(last[0] if last else 0)
    assert len(ledger.unfinished(connection)) == ledger.count(connection)[0]


class _JointDisk(VirtualDisk):
    """A disk that takes the database's power with it."""

    database: VirtualDatabase | None = None

    def power_off(self) -> None:
        super().power_off()
        if self.database is not None and self.database._powered:
            self.database.power_off()


class _JointDatabase(VirtualDatabase):
    """A database that takes the disk's power with it."""

    disk: VirtualDisk | None = None

    def power_off(self) -> None:
        super().power_off()
        if self.disk is not None and self.disk._powered:
            self.disk.power_off()


class Books:
    """One node's storage. `cut` cuts the power at an instant; `reborn` opens what it left."""

    def __init__(
        self, seed: int = 0, *, image: bytes | None = None, capacity_bytes: int = 1 << 30, quota_mib: int = 16
    ) -> None:
        self.counter = Counter()
        self.clock = VirtualClock(self.counter)
        self.settings = CacheSettings(quota_mib=quota_mib, reserve_mib=16, asset_max_mib=8)
        self.capacity_bytes = capacity_bytes
        self.rng = random.Random(seed)
        self.kept: list[Digest] = []
        self._build(Platter(), image)

    def _build(self, platter: Platter, image: bytes | None) -> None:
        self.disk = _JointDisk(
            clock=self.clock, rng=self.rng, platter=platter, capacity_bytes=self.capacity_bytes
        )
        self.database = _JointDatabase(agent.SCHEMAS, image=image)
        self.disk.database, self.database.disk = self.database, self.disk
        self.store = Store(disk=self.disk, database=self.database, clock=self.clock, settings=self.settings)
        for digest in self.kept:
            self.store.keep(digest)

    def keep(self, digest: Digest) -> None:
        """Pin an asset in this life and in all later ones."""
        self.kept.append(digest)
        self.store.keep(digest)

    def reborn(self) -> None:
        """The power goes, and comes again."""
        self.disk.power_off()
        self._build(self.disk._platter, self.database.image())

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        return run(main, self.counter)

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self.database.run(work)

    async def admit(self, payload: bytes, *, blocks: int = 3) -> None:
        """Stage, write in blocks and admit."""
        incoming = await self.store.stage(digest_of(payload), len(payload))
        try:
            step = -(-len(payload) // blocks)
            for start in range(0, len(payload), step):
                await incoming.write(payload[start : start + step])
            await incoming.admit()
        finally:
            await incoming.abandon()

    async def holds(self, payload: bytes) -> bool:
        """Whether it is here, whole to the last byte."""
        asset = await self.store.find(digest_of(payload))
        if asset is None:
            return False
        with self.store.open_read(asset.digest) as reader:
            assert reader.read() == payload, "what is found is whole"
        return True

    async def opens(self) -> None:
        """The next life opens, sweeps, and finds its books sound and its cellar whole; a second sweep finds
        nothing to do."""
        assert self.database.set_aside() is None
        assert self.disk.rubbish() == ()
        await self.store.open()
        again = await self.store.open()
        assert (again.adopted, again.forgotten, again.quarantined, again.removed) == (0, 0, 0, 0)
        await self.write(the_books_are_sound)
        rows = {row.asset.digest: row for row in await self.store.listing() if row.quarantined is None}
        files = {f"sha256:{path.rpartition('/')[2]}": payload for path, payload in self.disk.image().items()}
        assert rows.keys() == files.keys()
        assert all(digest_of(files[digest]) == digest for digest, row in rows.items() if row.verified)
        assert sum(map(len, files.values())) <= self.settings.quota_bytes
        assert await self.disk.free_bytes() == self.capacity_bytes - sum(map(len, files.values()))


__all__ = [
    "MIB",
    "MOMENTS",
    "SCRIBE",
    "Books",
    "advance",
    "close",
    "digest_of",
    "noise",
    "receive",
    "rows_of",
]
