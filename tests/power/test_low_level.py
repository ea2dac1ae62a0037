"""What lies below the rooms is sick: locked, malformed, read-only, failing once at any operation."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Literal

import pytest

from edge_agent import agent
from edge_agent.cache.assets import path_of
from edge_agent.config import parse, with_state_dir
from edge_agent.doors import DATABASE
from hal.errors import DatabaseError, DiskError
from hal.linux.database import SqliteDatabase, open_database
from hal.sim.disk import Operation
from tests.flows.conftest import Programme
from tests.flows.scene import Village
from tests.power.books import Books, advance, close, digest_of, noise, receive, rows_of, the_books_are_sound

ROOT = Path(__file__).resolve().parents[2]
CONFIG = '[node]\nid = "thon-1"\n[broker]\nurl = "mqtt://127.0.0.1:1"\n'

Kind = Literal["full", "io"]


def exit_code(state: Path) -> int:
    """What a whole agent on this state directory ends with."""
    settings = with_state_dir(parse(CONFIG, (), "sim"), str(state))
    return asyncio.run(agent.run(settings, problems=(), config_path=Path("node.toml")))


def some_orders(path: Path, *, closes: bool = True) -> dict[str, bytes]:
    """A database of some dozens of pages; its files, as they are at the end."""

    async def main() -> dict[str, bytes]:
        database = await open_database(path, agent.SCHEMAS)
        for number in range(1, 40):
            await database.run(lambda connection, number=number: an_order(connection, number))  # type: ignore[misc] # a default for the loop variable
        if closes:
            await database.close()
        files = {found.name: found.read_bytes() for found in path.parent.glob(path.name + "*")}
        await database.close()
        return files

    return asyncio.run(main())


def an_order(connection: sqlite3.Connection, number: int) -> None:
    receive(connection, number)
    advance(connection, number)
    close(connection, number)


# ---------------------------------------------------------------- locked


@pytest.mark.realtime
def test_a_state_directory_that_another_agent_uses_is_refused_with_exit_code_three(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    program = (
        "import asyncio, sys; from pathlib import Path; from hal.linux.database import open_database\n"
        "async def main():\n"
        "    held = await open_database(Path(sys.argv[1]), ())\n"
        "    print('held', flush=True); sys.stdin.read(); await held.close()\n"
        "asyncio.run(main())"
    )
    command = [sys.executable, "-c", program, str(tmp_path / DATABASE)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert exit_code(tmp_path) == agent.NO_STATE == 3
        assert f"process {holder.pid}" in caplog.text
        holder.communicate()


@pytest.mark.realtime
def test_a_database_that_a_tool_holds_open_is_refused_and_not_taken_for_corrupt(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Someone looks at it with the sqlite3 shell, inside a transaction."""
    some_orders(tmp_path / DATABASE)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as tool:
        tool.execute("BEGIN IMMEDIATE")
        assert exit_code(tmp_path) == agent.NO_STATE
    assert "SQLITE_BUSY" in caplog.text
    assert list(tmp_path.glob("*.corrupt-*")) == []


# ---------------------------------------------------------------- malformed


def reopened(path: Path) -> tuple[str | None, int]:
    """Where it was set aside, and how many orders it has now. The new one must be sound and usable."""

    async def main() -> tuple[str | None, int]:
        database = await open_database(path, agent.SCHEMAS)
        try:
            await database.run(the_books_are_sound)
            count = await database.run(lambda c: int(c.execute("SELECT count(*) FROM ledger").fetchone()[0]))
            await database.run(lambda connection: an_order(connection, 1000 + count))
            return database.set_aside(), count
        finally:
            await database.close()

    return asyncio.run(main())


def harms(whole: bytes) -> Iterator[tuple[str, bytes]]:
    """Every page turned over, every page zeroed, and the file cut short after every page and within one."""
    size = 4096
    for start in range(0, len(whole), size):
        page = whole[start : start + size]
        turned = bytes(byte ^ 0xFF for byte in page)
        yield f"turned {start}", whole[:start] + turned + whole[start + size :]
        yield f"zeroed {start}", whole[:start] + bytes(size) + whole[start + size :]
        if start:
            yield f"short {start}", whole[:start]
        yield f"torn {start}", whole[: start + 1000]
    yield "header", os.urandom(100) + whole[100:]
    yield "text", b"this is no database at all" * 1000


@pytest.mark.realtime
def test_a_malformed_database_is_set_aside_and_a_new_one_made_wherever_it_is_malformed(
    tmp_path: Path,
) -> None:
    whole = some_orders(tmp_path / DATABASE)[DATABASE]
    spoilings = list(harms(whole))
    for number, (what, spoilt) in enumerate([*spoilings[::3], *spoilings[-2:]]):
        path = tmp_path / str(number) / DATABASE
        path.parent.mkdir()
        path.write_bytes(spoilt)
        aside, orders = reopened(path)
        assert (aside, orders) == (f"{path}.corrupt-1", 0), what
        assert path.with_name(f"{DATABASE}.corrupt-1").read_bytes() == spoilt, what


@pytest.mark.realtime
def test_a_log_that_is_torn_anywhere_gives_the_whole_transactions_before_it(tmp_path: Path) -> None:
    files = some_orders(tmp_path / DATABASE, closes=False)
    log = files[DATABASE + "-wal"]
    counts = []
    for number, length in enumerate(range(0, len(log), len(log) // 40)):
        path = tmp_path / str(number) / DATABASE
        path.parent.mkdir()
        path.write_bytes(files[DATABASE])
        path.with_name(DATABASE + "-wal").write_bytes(log[:length] + os.urandom(2000))
        aside, orders = reopened(path)
        assert aside is None
        counts.append(orders)
    assert counts == sorted(counts)
    assert counts[0] == 0
    assert counts[-1] > 30


@pytest.mark.realtime
@pytest.mark.parametrize("step", ["rename", "_create", "_prepare"])
def test_setting_aside_can_be_cut_anywhere_and_the_next_start_still_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / DATABASE
    some_orders(path)
    path.write_bytes(os.urandom(8192))
    owner, calls_well = (Path, 0) if step == "rename" else (SqliteDatabase, 1)
    original, calls = getattr(owner, step), 0

    def failing(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls > calls_well:
            raise OSError(5, "Input/output error")
        return original(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(owner, step, failing)
        with pytest.raises(DatabaseError, match="set aside"):
            asyncio.run(open_and_close(path))
    assert calls == calls_well + 1
    assert reopened(path) == (f"{path}.corrupt-1", 0)
    assert reopened(path)[0] is None


async def open_and_close(path: Path) -> None:
    database = await open_database(path, agent.SCHEMAS)
    await database.close()


# ---------------------------------------------------------------- read-only

READ_ONLY = """
import asyncio, json, subprocess, sys
from pathlib import Path
from hal.errors import DatabaseError, DiskError
from hal.linux.database import open_database
from hal.linux.disk import DirectoryDisk
from tests.power.test_low_level import exit_code, some_orders
from edge_agent.doors import DATABASE

root = Path(sys.argv[1])
mounted = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(root)], stderr=subprocess.DEVNULL)
if mounted.returncode:
    print(json.dumps({"skip": "tmpfs cannot be mounted here"}))
    raise SystemExit
some_orders(root / DATABASE)

async def main():
    disk = DirectoryDisk(root)
    await disk.write_atomic("small", b"kept")
    subprocess.run(["mount", "-o", "remount,ro", str(root)], check=True)
    said = {"read": (await disk.read("small")).decode(), "listed": await disk.list("")}
    for name, doing in {
        "write": lambda: disk.write_atomic("small", b"new"), "stage": disk.stage, "remove": lambda: disk.remove("small"),
        "database": lambda: open_database(root / DATABASE, ()),
    }.items():
        try:
            await doing()
        except (DatabaseError, DiskError) as error:
            said[name] = f"{type(error).__name__}: {error}"
    said["again"] = (await DirectoryDisk(root).read("small")).decode()
    return said

said = asyncio.run(main())
said["exit"] = exit_code(root)
subprocess.run(["mount", "-o", "remount,rw", str(root)], check=True)
asyncio.run(DirectoryDisk(root).write_atomic("small", b"well again"))
print(json.dumps(said))
"""


@pytest.mark.realtime
def test_on_a_read_only_file_system_reading_goes_on_and_the_agent_says_why_it_ends(tmp_path: Path) -> None:
    """In a namespace of its own, where whoever runs the tests may mount."""
    try:
        ran = subprocess.run(
            ["unshare", "-rm", sys.executable, "-c", READ_ONLY, str(tmp_path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("needs unshare (util-linux)")
    if ran.returncode and "unshare" in ran.stderr:
        pytest.skip(f"no namespaces here: {ran.stderr.strip()}")
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout.splitlines()[-1])
    if "skip" in said:
        pytest.skip(said["skip"])
    assert (said["read"], said["again"]) == ("kept", "kept")
    for name in ("write", "stage", "remove"):
        assert said[name].startswith("DiskError")
        assert "EROFS" in said[name]
    assert said["database"].startswith("DatabaseError")
    assert said["exit"] == agent.NO_STATE


# ---------------------------------------------------------------- failing once

OPERATIONS: tuple[Operation, ...] = (
    "read", "write_atomic", "stage", "write", "commit", "open_read", "remove", "list", "any",
)  # fmt: skip

OLD, SPOILT, NEW = noise(9_000_000, 1)[: 7 << 20], noise(7 << 20, 2), noise(4 << 20, 3)


async def spoil(books: Books) -> None:
    """A find that finds a file too short."""
    books.disk._platter.files[path_of(digest_of(SPOILT))] = SPOILT[:-1]
    assert await books.store.find(digest_of(SPOILT)) is None


async def measure(books: Books) -> None:
    await books.store.note_loudness(digest_of(OLD), -1.0, -17.0, 3.0)


async def reopen(books: Books) -> None:
    await books.store.open()


async def take_in(books: Books) -> None:
    await books.admit(NEW)


async def quarantine(books: Books) -> None:
    await books.store.quarantine(digest_of(SPOILT), "Spoilt.")


ROOMS = {room.__name__: room for room in (spoil, measure, reopen, take_in, quarantine)}


def a_cellar() -> Books:
    books = Books()
    books.keep(digest_of(OLD))

    async def main() -> None:
        await books.store.open()
        await books.admit(OLD)
        await books.admit(SPOILT)

    books.run(main())
    return books


def strike_disk(kind: Kind, operation: Operation, books: Books) -> None:
    books.disk.fail(kind, operation=operation)


def strike_database(kind: Kind, times: int, books: Books) -> None:
    books.database.fail(kind, times=times)


@pytest.mark.parametrize("room", ROOMS)
def test_one_failure_at_any_operation_of_the_cellar_spoils_nothing(room: str) -> None:
    """It fails, it is told, and it works the next time: without a restart."""
    kinds: tuple[Kind, ...] = ("full", "io")
    strikes = [
        (f"{kind} {operation}", partial(strike_disk, kind, operation))
        for kind in kinds
        for operation in OPERATIONS
    ]
    strikes += [
        ("database full", partial(strike_database, "full", 1)),
        ("database io", partial(strike_database, "io", 1)),
        ("database io twice", partial(strike_database, "io", 2)),
    ]
    failures = 0
    for name, strike in strikes:
        books = a_cellar()
        strike(books)
        try:
            books.run(ROOMS[room](books))
        except (DatabaseError, DiskError):
            failures += 1
        books.disk.mend()
        books.database.mend()
        books.run(ROOMS[room](books))
        assert books.run(books.holds(OLD)), name
        if room == "take_in":
            assert books.run(books.holds(NEW)), name
        assert books.disk.left_open() == (), name
        books.reborn()
        books.run(books.opens())
        assert books.run(books.holds(OLD)), name
    assert failures > (0 if room != "reopen" else -1)


def test_one_failure_at_any_transaction_of_the_journal_leaves_it_as_it_was() -> None:
    works: tuple[Callable[[sqlite3.Connection], object], ...] = (
        lambda connection: receive(connection, 1),
        lambda connection: advance(connection, 1),
        lambda connection: close(connection, 1),
    )
    kinds: tuple[Kind, ...] = ("full", "io")
    for kind in kinds:
        books = Books()
        for work in works:
            before = books.run(books.write(rows_of))
            books.database.fail(kind)
            with pytest.raises((DatabaseError, DiskError)):
                books.run(books.write(work))
            assert books.run(books.write(rows_of)) == before
            books.run(books.write(work))
        books.run(books.opens())


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_node_goes_on_whatever_the_disk_refuses_once(operation: Operation, short: Programme) -> None:
    village = Village(5)
    asset = short.on(village)

    async def story() -> None:
        village.world.disk.fail("io", operation=operation)
        (ended,) = await village.ends(village.play(asset))
        assert ended in {"successful", "failed"}
        village.world.disk.mend()
        assert await village.ends(village.play(asset)) == ["successful"]
        await village.quiet()
        assert not village.world.ended

    village.tell(story)


@pytest.mark.parametrize("later_ms", range(0, 2000, 125))
def test_a_node_goes_on_whenever_the_database_refuses_once(later_ms: int, short: Programme) -> None:
    village = Village(later_ms)
    asset = short.on(village)

    async def story() -> None:
        await asyncio.sleep(20)
        order = village.play(asset)
        await asyncio.sleep(later_ms / 1000)
        village.world.database.fail("io")
        await village.until(lambda: village.states(order), within_s=900)
        await village.ends(order)
        assert await village.ends(village.play(asset)) == ["successful"]
        await village.quiet()
        assert not village.world.ended

    village.tell(story)
