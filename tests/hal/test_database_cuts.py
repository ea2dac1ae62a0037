"""What power cuts and kill -9 leave of the database, and how the virtual one lets it be tried."""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hal.errors import DatabaseError, DiskFull
from hal.linux.database import SqliteDatabase, open_database
from hal.sim import loop
from hal.sim.database import Moment, VirtualDatabase

SCHEMAS = ("CREATE TABLE IF NOT EXISTS note (id INTEGER PRIMARY KEY, text TEXT NOT NULL);",)


def add(text: str) -> Callable[[sqlite3.Connection], int]:
    return lambda connection: connection.execute("INSERT INTO note (text) VALUES (?)", (text,)).rowcount


def texts(connection: sqlite3.Connection) -> list[str]:
    return [text for (text,) in connection.execute("SELECT text FROM note ORDER BY id")]


_WRITER = """
import asyncio, sys
from pathlib import Path
from hal.linux.database import open_database

SCHEMA = "CREATE TABLE IF NOT EXISTS pair (number INTEGER, half INTEGER);"

async def main():
    database = await open_database(Path(sys.argv[1]), [SCHEMA])
    number = await database.run(lambda c: c.execute("SELECT coalesce(max(number), 0) FROM pair").fetchone()[0])
    while True:
        number += 1
        await database.run(lambda c: [c.execute("INSERT INTO pair VALUES (?, ?)", (number, h)).rowcount for h in (0, 1)])
        print(number, flush=True)

asyncio.run(main())
"""


@pytest.mark.realtime
def test_a_process_killed_ten_times_loses_nothing_that_it_was_told_is_stored(tmp_path: Path) -> None:
    """kill -9 at a random moment; each acknowledged pair is there, no pair is half, and it opens cleanly."""
    path = tmp_path / "agent.db"
    rng = random.Random(4)
    told = 0

    async def check() -> None:
        database = await open_database(path, ())
        assert database.set_aside() is None
        rows = await database.run(
            lambda c: c.execute("SELECT number, count(*) FROM pair GROUP BY number").fetchall()
        )
        assert all(halves == 2 for _, halves in rows)
        assert [number for number, _ in rows] == list(range(1, len(rows) + 1))
        assert told <= len(rows) <= told + 1
        await database.close()

    for _ in range(10):
        command = [sys.executable, "-c", _WRITER, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as writer:
            assert writer.stdout is not None
            for _ in range(rng.randrange(1, 40)):
                told = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            for line in writer.stdout:
                if line.endswith(b"\n"):
                    told = int(line)
        asyncio.run(check())


@pytest.mark.realtime
def test_a_killed_agent_leaves_no_lock_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _WRITER, str(tmp_path / "agent.db")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()

        async def refused() -> None:
            with pytest.raises(DatabaseError, match=str(writer.pid)):
                await open_database(tmp_path / "agent.db", ())

        asyncio.run(refused())
        writer.kill()
        writer.stdout.read()

    async def granted() -> None:
        database: SqliteDatabase = await open_database(tmp_path / "agent.db", ())
        await database.close()

    asyncio.run(granted())


# ---------------------------------------------------------------- the virtual database


@pytest.mark.parametrize(
    ("moment", "stored"), [("before", ["first"]), ("inside", ["first"]), ("after", ["first", "second"])]
)
def test_a_power_cut_leaves_the_transaction_whole_or_undone(moment: Moment, stored: list[str]) -> None:
    async def main() -> None:
        database = VirtualDatabase(SCHEMAS)
        await database.run(add("first"))
        database.cut_at(database.runs, moment)
        with pytest.raises(DatabaseError, match="power"):
            await database.run(add("second"))
        with pytest.raises(DatabaseError, match="power"):
            await database.run(texts)

        database.power_on()

        assert await database.run(texts) == stored

    loop.run(main(), loop.Counter())


def test_the_old_door_stays_dead_and_the_new_one_has_what_was_committed() -> None:
    async def main() -> None:
        old = VirtualDatabase(SCHEMAS)
        await old.run(add("before"))
        new = old.reborn()
        with pytest.raises(DatabaseError):
            await old.run(add("from beyond"))
        assert await new.run(texts) == ["before"]
        await new.run(add("after"))

    loop.run(main(), loop.Counter())


def test_virtual_faults_come_when_ordered_and_go_away() -> None:
    async def main() -> None:
        database = VirtualDatabase(SCHEMAS)
        database.fail("full")
        database.fail("io")
        with pytest.raises(DiskFull):
            await database.run(add("x"))
        with pytest.raises(DatabaseError, match="IOERR"):
            await database.run(add("x"))
        await database.run(add("y"))
        assert await database.run(texts) == ["y"]

    loop.run(main(), loop.Counter())


def test_a_virtual_database_can_be_found_corrupt_after_a_cut() -> None:
    async def main() -> None:
        database = VirtualDatabase(SCHEMAS)
        await database.run(add("x"))
        database.corrupt()
        assert database.set_aside() is None
        database.power_cut()
        assert database.set_aside() == "agent.db.corrupt-1"
        assert await database.run(texts) == []
        assert database.reborn().set_aside() is None

    loop.run(main(), loop.Counter())


def test_a_slow_database_still_keeps_the_order() -> None:
    counter = loop.Counter()

    async def main() -> None:
        database = VirtualDatabase(SCHEMAS)
        database.slow_s = 2.0
        await asyncio.gather(*(database.run(add(text)) for text in "abc"))
        database.slow_s = 0.0
        assert await database.run(texts) == ["a", "b", "c"]

    loop.run(main(), counter)
    assert counter.ns == 16 * loop.NS


def test_a_watched_column_is_followed_over_power_cuts_and_rollbacks_are_not() -> None:
    def change(text: str, *, fail: bool = False) -> Callable[[sqlite3.Connection], None]:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE note SET text = ?", (text,))
            if fail:
                raise LookupError

        return work

    async def main() -> None:
        database = VirtualDatabase(SCHEMAS)
        database.watch("note", key="id", column="text")
        database.watch("nowhere", key="id", column="text")
        await database.run(add("a"))
        with pytest.raises(LookupError):
            await database.run(change("no", fail=True))
        await database.run(change("b"))
        database.power_cut()
        await database.run(change("c"))
        database = database.reborn()
        await database.run(change("d"))

        assert database.watched("note") == [
            ("1", None, "a"),
            ("1", "a", "b"),
            ("1", "b", "c"),
            ("1", "c", "d"),
        ]
        assert database.watched("nowhere") == []

    loop.run(main(), loop.Counter())
