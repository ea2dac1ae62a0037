"""The power cut at every step and every transaction of every operation that stores something."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest

from edge_agent import agent, kept
from edge_agent.cache.assets import path_of
from edge_agent.model import OrderState
from edge_agent.report import shelf
from edge_agent.report.outbox import Outbox
from edge_agent.report.settings import ReportSettings
from hal.errors import BrokerLost, DatabaseError, DiskError
from hal.ports import Message
from hal.sim.database import Moment, VirtualDatabase
from hal.sim.disk import VirtualDisk
from tests.power.books import (
    MIB,
    MOMENTS,
    Books,
    advance,
    close,
    digest_of,
    noise,
    receive,
    rows_of,
)
from tests.report.post_room import CommandedSession

CUT = (DatabaseError, DiskError)

Rows = dict[str, list[tuple[Any, ...]]]
Work = Callable[[sqlite3.Connection], object]


async def some_history(books: Books) -> None:
    """Orders that came, went on and ended; something sent, something waiting, something kept."""

    def work(connection: sqlite3.Connection) -> None:
        for number in range(1, 6):
            receive(connection, number)
        advance(connection, 2, OrderState.WAITING)
        for number in (3, 4):
            advance(connection, number)
            close(connection, number)
        kept.put(connection, "volume", "60")
        wave(connection)

    await books.write(work)


def wave(connection: sqlite3.Connection) -> shelf.Wave:
    return shelf.next_wave(
        connection, now_ns=1, held=(), probed=(), parcels_max=16, bytes_max=32_768, new_log="0000abcd"
    )


def put(connection: sqlite3.Connection) -> None:
    shelf.put(connection, topic="pa/v1/thon-3/up/alert/x", payload=b'{"a":1}', kind="alert", retain=True)


def overflow(connection: sqlite3.Connection) -> None:
    shelf.limit(connection, 3)
    put(connection)


def settle(connection: sqlite3.Connection) -> None:
    due = connection.execute("SELECT entry FROM outbox WHERE due = 1 ORDER BY entry").fetchall()
    entries = [entry for (entry,) in due]
    shelf.settle(
        connection,
        taken=entries[:-2],
        refused=entries[-2:],
        now_ns=1,
        refusal_first_ns=10,
        refusal_max_ns=100,
    )


def acknowledge(connection: sqlite3.Connection) -> None:
    assert shelf.acknowledge(connection, 3, "0000abcd") == 3


WORKS: dict[str, Work] = {
    "an order comes": lambda connection: receive(connection, 6),
    "an order goes on": lambda connection: advance(connection, 2),
    "an order ends": lambda connection: close(connection, 5),
    "a message is laid down": put,
    "a wave is numbered": lambda connection: wave(connection).parcels,
    "a wave is settled": settle,
    "the server acknowledges": acknowledge,
    "it is sent again": lambda connection: shelf.send_again(connection, 3),
    "the outbox is full": overflow,
    "a fact is kept": lambda connection: kept.put(connection, "volume", "40"),
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("name", WORKS)
def test_a_transaction_is_whole_or_absent_and_what_was_told_is_there(name: str, moment: Moment) -> None:
    books, whole = Books(), without_cut(name)

    async def main() -> None:
        await some_history(books)
        before = await books.write(rows_of)
        runs = books.database.runs
        books.database.cut_at(runs, moment)
        with pytest.raises(DatabaseError, match="power"):
            await books.write(WORKS[name])
        books.reborn()
        await books.opens()
        after = await books.write(rows_of)
        if moment != "after":
            assert after == before
            await books.write(WORKS[name])
            after = await books.write(rows_of)
        assert after == whole, "the same as if there had been no cut"

    books.run(main())


def without_cut(name: str) -> Rows:
    """What the operation leaves when nothing happens to it."""
    books = Books()

    async def main() -> Rows:
        await some_history(books)
        await books.write(WORKS[name])
        return await books.write(rows_of)

    return books.run(main())


# ---------------------------------------------------------------- the cellar


PINNED, OLD, YOUNG, NEW = (noise(5 * MIB + seed, seed) for seed in range(4))


@dataclass(frozen=True)
class Cellaring:
    """An operation of the cellar, what it must leave in any case, and what it brings when it was told."""

    act: Callable[[Books], Awaitable[object]]
    stays: tuple[bytes, ...]
    told: tuple[bytes, ...] = ()
    told_gone: tuple[bytes, ...] = ()


SMALL = noise(1000, 9)


async def spoil_and_open(books: Books) -> None:
    """A start that has everything to put in order: a short file, a file without a row, no asset at all."""
    platter = books.disk._platter.files
    platter[path_of(digest_of(OLD))] = OLD[:-1]
    platter[path_of(digest_of(SMALL))] = SMALL
    platter["media/00/notes.txt"] = b"what is this"
    await books.store.open()


CELLARINGS = {
    "admit": Cellaring(lambda books: books.admit(SMALL), (PINNED, OLD, YOUNG), (SMALL,)),
    "admit again": Cellaring(lambda books: books.admit(OLD), (PINNED, YOUNG), (OLD,)),
    "admit and evict": Cellaring(lambda books: books.admit(NEW), (PINNED, YOUNG), (NEW,), (OLD,)),
    "measure": Cellaring(
        lambda books: books.store.note_loudness(digest_of(OLD), -3.5, -13.5, 61.0), (PINNED, OLD, YOUNG)
    ),
    "quarantine": Cellaring(
        lambda books: books.store.quarantine(digest_of(OLD), "Spoilt."), (PINNED, YOUNG), (), (OLD,)
    ),
    "collect": Cellaring(lambda books: books.store.collect(), (PINNED,), (), (OLD, YOUNG)),
    "verify": Cellaring(lambda books: books.store.verify(digest_of(OLD)), (PINNED, OLD, YOUNG)),
    "open": Cellaring(lambda books: books.store.open(), (PINNED, OLD, YOUNG)),
    "heal": Cellaring(spoil_and_open, (PINNED, YOUNG), (), (OLD,)),
}


@cache
def filled() -> tuple[bytes, dict[str, bytes]]:
    """Three assets fill the quota; the first is kept for ever though it is the oldest."""
    books = Books()
    books.keep(digest_of(PINNED))

    async def main() -> None:
        await some_history(books)
        await books.store.open()
        for payload in (PINNED, OLD, YOUNG):
            await books.admit(payload)

    books.run(main())
    image = books.database.image()
    assert image
    return image, books.disk.image()


def a_full_cellar(seed: int) -> Books:
    """Open, and full."""
    image, files = filled()
    books = Books(seed, image=image)
    books.disk._platter.files.update(files)
    books.keep(digest_of(PINNED))
    books.run(books.store.open())
    return books


def instants(name: str) -> Iterator[tuple[str, int, Moment]]:
    """Every step of the disk and every moment of every transaction that an operation takes."""
    books = a_full_cellar(0)
    steps, runs = books.disk.steps, books.database.runs
    books.run(acting(books, name))
    for step in range(books.disk.steps - steps):
        yield "disk", step, "before"
    for transaction in range(books.database.runs - runs):
        for moment in MOMENTS:
            yield "database", transaction, moment


async def doing(books: Books, name: str) -> None:
    await CELLARINGS[name].act(books)


async def acting(books: Books, name: str) -> bool:
    """Whether it was told that it is done."""
    try:
        await CELLARINGS[name].act(books)
    except CUT:
        return False
    return books.disk._powered


def arm(books: Books, where: str, index: int, moment: Moment) -> None:
    if where == "disk":
        books.disk.cut_at(books.disk.steps + index)
    else:
        books.database.cut_at(books.database.runs + index, moment)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", CELLARINGS)
def test_the_cellar_is_whole_after_a_cut_at_every_instant(name: str, seed: int) -> None:
    cuts = 0
    for where, index, moment in instants(name):
        books = a_full_cellar(seed)
        before = books.run(books.write(rows_of))
        arm(books, where, index, moment)
        told = books.run(acting(books, name))
        assert not books.disk._powered, "the cut came"
        assert name in {"open", "heal"} or not told, "nobody is told of what was cut"
        cuts += 1
        books.reborn()
        books.run(the_cellar_is_whole(books, CELLARINGS[name], told=told))
        after = books.run(books.write(rows_of))
        assert {**after, "asset": None} == {**before, "asset": None}, "nobody else's rows are touched"
        books.run(doing(books, name))
        books.run(
            the_cellar_is_whole(books, replace(CELLARINGS[name], stays=(PINNED,), told_gone=()), told=True)
        )
    assert cuts > 1


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", CELLARINGS)
def test_the_cellar_is_whole_after_a_cut_just_when_it_was_told(name: str, seed: int) -> None:
    books = a_full_cellar(seed)
    books.run(acting(books, name))
    books.reborn()
    operation = CELLARINGS[name]
    books.run(the_cellar_is_whole(books, operation, told=True, may_return=True))


async def the_cellar_is_whole(
    books: Books, operation: Cellaring, *, told: bool, may_return: bool = False
) -> None:
    """A removed file may come back after a cut (ext4 does that); it is whole then, or it is found out."""
    await books.opens()
    for payload in operation.stays:
        assert await books.holds(payload), "it was here before, and nobody took it away"
    for payload in (*operation.told, *operation.told_gone) if not told or may_return else ():
        await books.holds(payload)
    for payload in operation.told if told else ():
        assert await books.holds(payload)
    for payload in operation.told_gone if told and not may_return else ():
        assert not await books.holds(payload)
    await books.opens()


def test_a_cut_in_the_sweep_that_heals_a_cut_is_healed_by_the_next() -> None:
    for where, index, moment in instants("admit and evict"):
        for second in (0, 1, 4, 5, 9, 10):
            books = a_full_cellar(index)
            arm(books, where, index, moment)
            books.run(acting(books, "admit and evict"))
            books.reborn()
            if second < 9:
                books.database.cut_at(second // 3, MOMENTS[second % 3])
            else:
                books.disk.cut_at(second - 9)
            with contextlib.suppress(*CUT):
                books.run(books.store.open())
            books.reborn()
            books.run(the_cellar_is_whole(books, CELLARINGS["admit and evict"], told=False))


# ---------------------------------------------------------------- torn last writes


@pytest.mark.parametrize("seed", range(8))
def test_a_torn_last_write_is_rubbish_that_the_next_opening_removes(seed: int) -> None:
    books = Books(seed)
    payload = noise(30_000, seed)

    async def main() -> None:
        incoming = await books.store.stage(digest_of(payload), len(payload))
        await incoming.write(payload[:10_000])
        await incoming.write(payload[10_000:])
        books.disk.power_off()
        (torn,) = books.disk.rubbish()
        assert 10_000 <= len(torn) <= 30_000
        assert payload.startswith(torn)
        books.reborn()
        assert books.disk.swept == 1
        await books.opens()
        assert not await books.holds(payload)
        await books.admit(payload)
        assert await books.holds(payload)

    books.run(main())


def test_the_last_write_is_torn_anywhere() -> None:
    lengths = set()
    for seed in range(40):
        books = Books(seed)

        async def main(disk: VirtualDisk) -> None:
            staged = await disk.stage()
            await staged.write(b"0123")
            disk.power_off()

        books.run(main(books.disk))
        lengths.add(len(books.disk.rubbish()[0]))
    assert lengths == {0, 1, 2, 3, 4}


# ---------------------------------------------------------------- schemas


@pytest.mark.parametrize("older", range(1, len(agent.SCHEMAS)))
def test_a_database_of_an_older_release_is_brought_up_to_date_whatever_cut_it_short(older: int) -> None:
    """As many statements as you like of the new tables may be there already: nothing old is touched."""
    statements = [line for schema in agent.SCHEMAS[older:] for line in statements_of(schema)]
    for done in range(len(statements) + 1):
        database = VirtualDatabase(agent.SCHEMAS[:older])
        connection = sqlite3.connect(":memory:")
        image = database.image()
        assert image
        connection.deserialize(image)
        kept.put(connection, "volume", "60")
        connection.commit()
        before = rows_of(connection)
        for statement in statements[:done]:
            connection.execute(statement)
        connection.commit()
        books = Books(image=connection.serialize())
        connection.close()
        after = books.run(books.write(rows_of))
        assert {name: after[name] for name in before} == before
        fresh = Books()
        assert after.keys() == fresh.run(fresh.write(rows_of)).keys()
        books.run(some_history(books))
        books.run(books.opens())


def statements_of(schema: str) -> Iterator[str]:
    """One by one, as SQLite reads them."""
    text = ""
    for line in schema.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            yield text
            text = ""


# ---------------------------------------------------------------- a whole delivery


class Server:
    """Keeps every line it was sent, by its number."""

    def __init__(self) -> None:
        self.lines: dict[int, dict[str, Any]] = {}

    def take(self, messages: list[Message]) -> None:
        for message in messages:
            content = json.loads(message.payload)
            for line in content.get("reports", [content]):
                assert self.lines.setdefault(line["n"], line)["n"] == line["n"]
                kind = [key for key in ("id", "asrun") if key in line]
                assert self.lines[line["n"]][kind[0]] == line[kind[0]], "a number means one message"

    def upto(self) -> int:
        upto = 0
        while upto + 1 in self.lines:
            upto += 1
        return upto


async def deliver(books: Books, server: Server, settings: ReportSettings) -> None:
    """Drain for a while, then let the server acknowledge what it has without a gap."""
    session = CommandedSession()
    outbox = Outbox(database=books.database, clock=books.clock, settings=settings)
    draining = asyncio.create_task(outbox.drain(session))
    await asyncio.sleep(20)
    draining.cancel()
    with contextlib.suppress(asyncio.CancelledError, BrokerLost):
        await draining
    server.take(session.messages)
    with contextlib.suppress(DatabaseError):
        await outbox.acknowledged(server.upto())


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_cut_at_every_transaction_of_a_delivery_loses_nothing_and_renumbers_nothing(moment: Moment) -> None:
    settings = ReportSettings(resend_after_s=10, bytes_per_s=1_000_000)
    total = 0
    for transaction in range(99):
        books, server = Books(transaction), Server()
        books.run(some_history(books))
        runs = books.database.runs
        books.database.cut_at(runs + transaction, moment)
        books.run(deliver(books, server, settings))
        cut = not books.disk._powered
        books.reborn()
        books.run(books.opens())
        for _ in range(2):
            books.run(deliver(books, server, settings))
        left = books.run(books.write(shelf.counts))
        assert (left.waiting, left.unacknowledged) == (0, 0)
        assert sorted(server.lines) == list(range(1, len(server.lines) + 1))
        total = total or len(server.lines)
        assert len(server.lines) == total, "no line was lost"
        if not cut:
            break
    assert transaction > 3, "there were transactions to cut"
