"""The database: one contract, kept in memory and on the real file."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hal.errors import DatabaseError, DiskFull
from hal.linux.database import open_database
from hal.ports import Database
from hal.sim import loop
from hal.sim.database import VirtualDatabase

SCHEMAS = (
    """
    CREATE TABLE IF NOT EXISTS note (id INTEGER PRIMARY KEY, text TEXT NOT NULL); -- a remark at the end
    """,
    """
    CREATE TABLE IF NOT EXISTS page (note INTEGER NOT NULL REFERENCES note (id), number INTEGER);
    CREATE TRIGGER IF NOT EXISTS gone AFTER DELETE ON note BEGIN
        DELETE FROM page WHERE note = old.id;
    END""",
)


@dataclass(frozen=True)
class Bench:
    """How to open the database (again), and the loop it lives on."""

    open: Callable[[], Awaitable[Database]]
    run: Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=["virtual", "linux"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    if request.param == "linux":

        async def open_file() -> Database:
            return await open_database(tmp_path / "state" / "agent.db", SCHEMAS)

        return Bench(open=open_file, run=asyncio.run)

    opened: list[VirtualDatabase] = []

    async def open_memory() -> Database:
        opened.append(opened[-1].reborn() if opened else VirtualDatabase(SCHEMAS))
        return opened[-1]

    return Bench(open=open_memory, run=lambda main: loop.run(main, loop.Counter()))


def add(text: str) -> Callable[[sqlite3.Connection], int]:
    def work(connection: sqlite3.Connection) -> int:
        row = connection.execute("INSERT INTO note (text) VALUES (?)", (text,))
        assert row.lastrowid is not None
        return row.lastrowid

    return work


def texts(connection: sqlite3.Connection) -> list[str]:
    return [text for (text,) in connection.execute("SELECT text FROM note ORDER BY id")]


def test_a_transaction_gives_its_result_and_stays(bench: Bench) -> None:
    async def main() -> None:
        database = await bench.open()
        assert await database.run(add("one")) == 1
        assert await database.run(add("two")) == 2
        await database.close()

        database = await bench.open()
        assert await database.run(texts) == ["one", "two"]
        assert database.set_aside() is None
        await database.close()

    bench.run(main())


def test_an_error_rolls_everything_back_and_comes_out_unchanged(bench: Bench) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        add("half")(connection)
        raise LookupError("changed my mind")

    async def main() -> None:
        database = await bench.open()
        with pytest.raises(LookupError, match="changed my mind"):
            await database.run(fail)
        await database.run(add("after"))
        assert await database.run(texts) == ["after"]
        await database.close()

    bench.run(main())


def test_what_sqlite_refuses_is_a_database_error_and_rolled_back(bench: Bench) -> None:
    def refused(connection: sqlite3.Connection) -> None:
        add("half")(connection)
        connection.execute("INSERT INTO note (text) VALUES (NULL)")

    async def main() -> None:
        database = await bench.open()
        with pytest.raises(DatabaseError, match="SQLITE_CONSTRAINT_NOTNULL"):
            await database.run(refused)
        with pytest.raises(DatabaseError, match="no such table"):
            await database.run(lambda connection: connection.execute("SELECT * FROM nowhere").fetchall())
        assert await database.run(texts) == []
        await database.close()

    bench.run(main())


def test_foreign_keys_hold_and_triggers_of_a_schema_work(bench: Bench) -> None:
    async def main() -> None:
        database = await bench.open()
        with pytest.raises(DatabaseError, match="FOREIGN"):
            await database.run(
                lambda connection: connection.execute("INSERT INTO page VALUES (9, 1)").rowcount
            )
        note = await database.run(add("x"))
        await database.run(lambda c: c.execute("INSERT INTO page VALUES (?, 1)", (note,)).rowcount)
        await database.close()

    bench.run(main())


def test_transactions_run_one_after_another_in_the_order_they_were_asked_for(bench: Bench) -> None:
    async def main() -> None:
        database = await bench.open()
        await asyncio.gather(*(database.run(add(str(number))) for number in range(50)))
        assert await database.run(texts) == [str(number) for number in range(50)]
        await database.close()

    bench.run(main())


def test_cancelling_leaves_a_whole_transaction_or_none_and_a_usable_database(bench: Bench) -> None:
    def pair(connection: sqlite3.Connection) -> None:
        add("left")(connection)
        add("right")(connection)

    async def main() -> None:
        database = await bench.open()
        for passes in range(6):
            asking = asyncio.create_task(database.run(pair))
            for _ in range(passes):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        found = await database.run(texts)
        assert found == ["left", "right"] * (len(found) // 2)
        await database.close()

    bench.run(main())


def test_a_closed_database_says_so_and_closes_again(bench: Bench) -> None:
    async def main() -> None:
        database = await bench.open()
        await database.close()
        await database.close()
        with pytest.raises(DatabaseError, match="closed"):
            await database.run(texts)

    bench.run(main())


def test_a_cursor_may_not_leave_its_transaction(bench: Bench) -> None:
    async def main() -> None:
        database = await bench.open()
        with pytest.raises(AssertionError, match="fetch"):
            await database.run(lambda connection: connection.execute("SELECT 1"))
        await database.close()

    bench.run(main())


# ---------------------------------------------------------------- the real file


def test_it_is_private_durable_and_on_one_thread(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"

    def look(connection: sqlite3.Connection) -> tuple[str, ...]:
        def one(pragma: str) -> str:
            return str(connection.execute(f"PRAGMA {pragma}").fetchone()[0])

        pragmas = ("journal_mode", "synchronous", "foreign_keys", "locking_mode", "user_version")
        return (*(one(pragma) for pragma in pragmas), threading.current_thread().name)

    async def main() -> None:
        database = await open_database(path, SCHEMAS)
        first, again = await database.run(look), await database.run(look)
        assert first[:5] == ("wal", "2", "1", "exclusive", "1")
        assert first[5] == again[5]
        assert first[5].startswith("database")
        await database.close()

    asyncio.run(main())
    assert path.stat().st_mode & 0o777 == 0o600
    assert not path.with_name("agent.db-wal").exists(), "closing checkpoints"


def test_a_second_agent_is_told_who_holds_the_directory(tmp_path: Path) -> None:
    async def main() -> None:
        first = await open_database(tmp_path / "agent.db", SCHEMAS)
        with pytest.raises(DatabaseError, match=rf"Another agent \(process {os.getpid()}\)"):
            await open_database(tmp_path / "agent.db", SCHEMAS)
        await first.run(add("still fine"))
        await first.close()
        second = await open_database(tmp_path / "agent.db", SCHEMAS)
        assert await second.run(texts) == ["still fine"]
        await second.close()

    asyncio.run(main())


def test_nobody_else_can_write_while_it_is_open(tmp_path: Path) -> None:
    async def main() -> None:
        database = await open_database(tmp_path / "agent.db", SCHEMAS)
        await database.run(add("mine"))
        with (
            contextlib.closing(sqlite3.connect(tmp_path / "agent.db", timeout=0)) as stranger,
            pytest.raises(sqlite3.OperationalError, match="locked"),
        ):
            stranger.execute("INSERT INTO note (text) VALUES ('not mine')")
        await database.close()

    asyncio.run(main())


def grow(path: Path) -> None:
    """A database of some pages, all of them in the main file."""

    async def main() -> None:
        database = await open_database(path, SCHEMAS)
        await database.run(lambda c: [add("x" * 500)(c) for _ in range(200)])
        await database.close()

    asyncio.run(main())


def test_opening_what_is_there_writes_nothing(tmp_path: Path) -> None:
    """So that a node with a full disk starts, and a restart costs the card nothing."""
    path = tmp_path / "agent.db"
    grow(path)
    before = path.read_bytes()
    wal_bytes = []

    async def main() -> None:
        database = await open_database(path, SCHEMAS)
        wal_bytes.append(path.with_name("agent.db-wal").stat().st_size)
        await database.close()

    asyncio.run(main())
    assert wal_bytes == [0]
    assert path.read_bytes() == before


@pytest.mark.parametrize("harm", ["no database", "torn header", "torn page", "cut short"])
def test_a_corrupt_file_is_set_aside_and_a_new_one_made(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "agent.db"
    grow(path)
    whole = path.read_bytes()
    if harm == "no database":
        path.write_bytes(b"something else entirely, and long enough" * 200)
    elif harm == "torn header":
        path.write_bytes(b"\0" * 100 + whole[100:])
    elif harm == "torn page":
        path.write_bytes(whole[:8192] + b"\xff" * 4096 + whole[12288:])
    else:
        path.write_bytes(whole[: len(whole) // 2])
    spoilt = path.read_bytes()

    async def main() -> None:
        database = await open_database(path, SCHEMAS)
        aside = database.set_aside()
        assert aside == f"{path}.corrupt-1"
        await database.run(add("a new start"))
        assert await database.run(texts) == ["a new start"]
        await database.close()
        database = await open_database(path, SCHEMAS)
        assert database.set_aside() is None
        await database.close()

    asyncio.run(main())
    assert path.with_name("agent.db.corrupt-1").read_bytes() == spoilt


def test_only_the_last_three_corrupt_files_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"

    async def main() -> None:
        for number in range(1, 6):
            path.write_bytes(b"spoilt " * 100)
            database = await open_database(path, SCHEMAS)
            assert database.set_aside() == f"{path}.corrupt-{number}"
            await database.close()

    asyncio.run(main())
    assert sorted(found.name for found in tmp_path.glob("*corrupt*")) == [
        f"agent.db.corrupt-{n}" for n in (3, 4, 5)
    ]


def test_a_database_of_a_newer_release_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    grow(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")

    async def main() -> None:
        with pytest.raises(DatabaseError, match="newer release"):
            await open_database(path, SCHEMAS)

    asyncio.run(main())
    assert path.exists()
    assert list(tmp_path.glob("*corrupt*")) == []


def test_a_schema_that_fails_leaves_nothing_of_any_schema(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"

    async def main() -> None:
        with pytest.raises(DatabaseError, match="syntax error"):
            await open_database(path, (*SCHEMAS, "CREATE TABL oops"))
        database = await open_database(path, ())
        tables = await database.run(lambda c: c.execute("SELECT name FROM sqlite_master").fetchall())
        assert tables == []
        await database.close()

    asyncio.run(main())


def test_a_path_that_cannot_be_used_is_a_database_error(tmp_path: Path) -> None:
    (tmp_path / "agent.db").mkdir()

    async def main() -> None:
        with pytest.raises(DatabaseError, match="cannot be opened"):
            await open_database(tmp_path / "agent.db", SCHEMAS)

    asyncio.run(main())


def test_a_full_disk_is_disk_full_and_the_database_goes_on(tmp_path: Path) -> None:
    def shrink(connection: sqlite3.Connection) -> int:
        pages = int(connection.execute("PRAGMA page_count").fetchone()[0])
        return int(connection.execute(f"PRAGMA max_page_count = {pages + 1}").fetchone()[0])

    async def main() -> None:
        database = await open_database(tmp_path / "agent.db", SCHEMAS)
        await database.run(shrink)
        with pytest.raises(DiskFull):
            await database.run(lambda c: [add("x" * 4000)(c) for _ in range(20)])
        assert await database.run(texts) == []
        await database.run(add("small"))
        assert await database.run(texts) == ["small"]
        await database.close()

    asyncio.run(main())
