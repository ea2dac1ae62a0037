"""Storage that has grown large still does what it does when it is small; how fast is for tests/bench/bench_storage.py."""

from __future__ import annotations

import asyncio
import json
import sqlite3

from edge_agent.cache.assets import path_of
from edge_agent.report import shelf
from hal.ports import Message
from tests.power.books import MIB, Books, digest_of, noise
from tests.power.large import ALERT, PAYLOAD, digests, fill_outbox, fill_table, paths
from tests.report.post_room import CommandedSession, PostRoom

ENTRIES = 200_000
ASSETS = 100_000


class _Recording(CommandedSession):
    """Keeps only what tells the order, and calls when half has come."""

    def __init__(self, half: asyncio.Event) -> None:
        super().__init__(delay_s=0.0)
        self.order: list[str] = []
        self.ns: list[int] = []
        self.logs: set[str] = set()
        self._half = half

    async def publish(self, message: Message) -> None:
        content = json.loads(message.payload)
        for line in content.get("reports", [content]):
            self.order.append(line["text"])
            if "n" in line:
                self.ns.append(line["n"])
        if "log" in content:
            self.logs.add(content["log"])
        if len(self.ns) > ENTRIES // 2:
            self._half.set()


def test_an_outbox_of_two_hundred_thousand_leaves_in_order_and_an_alert_overtakes_it() -> None:
    room = PostRoom(
        bytes_per_s=10_000_000, burst_bytes=10_000_000, outbox_max_entries=200_000, batch_max_bytes=61_440
    )
    half = asyncio.Event()
    session = _Recording(half)

    async def alert() -> None:
        await half.wait()
        await room.put("alert", "a1", retain=True)
        await asyncio.sleep(600)

    async def main() -> shelf.Counts:
        await room.database.run(lambda connection: fill_outbox(connection, ENTRIES - 100))
        await room.drain(session, for_s=0, during=alert())
        assert (await room.outbox.counts()).waiting == 0
        await room.outbox.acknowledged(ENTRIES - 100)
        return await room.outbox.counts()

    counts = room.run(main())
    assert counts == shelf.Counts(waiting=0, unacknowledged=0, dropped=0)
    assert session.ns == list(range(1, ENTRIES - 99)), "no gap, and nothing twice"
    reports = [text for text in session.order if text != "a1"]
    assert reports == [f"r{number}" for number in range(ENTRIES - 100)]
    overtaken = len(session.order) - session.order.index("a1")
    assert overtaken > ENTRIES // 2 - 1000, "it left with the next wave"
    assert len(session.logs) == 1


def test_a_full_outbox_of_two_hundred_thousand_takes_a_new_alert_and_drops_the_oldest_reports() -> None:
    room = PostRoom()

    def work(connection: sqlite3.Connection) -> tuple[shelf.Counts, int]:
        fill_outbox(connection, ENTRIES)
        shelf.limit(connection, ENTRIES)
        shelf.put(connection, topic=ALERT, payload=b'{"text":"a1"}', kind="alert", retain=True)
        first = connection.execute("SELECT min(entry) FROM outbox WHERE lane = 2").fetchone()[0]
        return shelf.counts(connection), int(first)

    async def main() -> None:
        counts, first = await room.database.run(work)
        assert counts.dropped == first - 1 > 0
        assert counts.waiting == ENTRIES - counts.dropped + 1

    room.run(main())


def a_large_cellar() -> Books:
    """A hundred thousand small files, 24 MiB together."""
    books = Books(quota_mib=32)
    books.disk._platter.files.update(dict.fromkeys(paths(ASSETS), PAYLOAD))
    books.run(books.write(lambda connection: fill_table(connection, ASSETS)))
    return books


def test_a_cellar_of_a_hundred_thousand_opens_finds_and_evicts() -> None:
    books = a_large_cellar()
    names = list(digests(ASSETS))
    books.keep(names[0])
    new = noise(8 * MIB, 1), noise(8 * MIB, 2)
    room = 32 * MIB - ASSETS * len(PAYLOAD)
    gone = -(-(16 * MIB - room) // len(PAYLOAD))

    async def main() -> None:
        sweep = await books.store.open()
        assert (sweep.kept, sweep.adopted, sweep.forgotten, sweep.removed) == (ASSETS, 0, 0, 0)
        assert await books.store.find(names[1]) is not None, "used: it is the youngest now"
        for payload in new:
            await books.admit(payload)
        left = books.disk.image()
        assert len(left) == ASSETS - gone + 2
        assert [path_of(digest) in left for digest in (names[0], names[1])] == [True, True]
        assert not any(path_of(digest) in left for digest in names[2 : gone + 2])
        assert all(path_of(digest) in left for digest in names[gone + 2 :])
        for payload in new:
            assert await books.store.find(digest_of(payload)) is not None

    books.run(main())


def test_a_large_cellar_whose_table_was_lost_is_adopted_and_a_lost_disk_forgotten() -> None:
    books = a_large_cellar()

    async def without_table() -> None:
        await books.write(lambda connection: connection.execute("DELETE FROM asset").rowcount)
        assert (await books.store.open()).adopted == ASSETS

    async def without_files() -> None:
        books.disk._platter.files.clear()
        assert (await books.store.open()).forgotten == ASSETS
        assert await books.store.listing() == []

    books.run(without_table())
    books.run(without_files())
