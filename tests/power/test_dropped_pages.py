"""A real process's system calls, cut at any of them: what was not synced is dropped by a coin, and nothing told is lost.

This stands in for a file system that drops unsynced pages. strace sees what SQLite and the disk's driver truly ask of
the kernel, and `tests.power.syscalls` says what a disk may make of it.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent import agent, kept
from hal.errors import DatabaseError
from hal.linux.database import open_database
from tests.power.books import the_books_are_sound
from tests.power.busy_node import Told, all_of_it_is_there
from tests.power.syscalls import STRACE, Call, Medium, record

pytestmark = [
    pytest.mark.realtime,
    pytest.mark.skipif(STRACE is None, reason="needs strace (make apt-test)"),
]

STATES = 60


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Call]]:
    """One life of `busy_node.two_releases`, and the directory it had."""
    directory = tmp_path_factory.mktemp("traced")
    root = directory / "state"
    root.mkdir()
    calls = record([sys.executable, "-m", "tests.power.busy_node", str(root)], directory / "strace")
    return root, calls


def cut(traced: tuple[Path, list[Call]], where: int, *, syncs: bool = True) -> Medium:
    """What the calls before this one left."""
    root, calls = traced
    medium = Medium(root, syncs=syncs)
    for call in calls[:where]:
        medium.apply(call)
    return medium


def sampled(traced: tuple[Path, list[Call]]) -> Iterator[tuple[int, int]]:
    """(call, seed): half anywhere, half just when something was told, which is when the most is promised."""
    rng = random.Random(11)
    root, calls = traced
    first = next(
        index for index, call in enumerate(calls) if any(str(root).encode() in text for text in call.texts)
    )
    told = [index + 1 for index, call in enumerate(calls) if call.name == "write" and call.numbers[0] == 1]
    for number in range(STATES):
        where = rng.choice(told) if number % 2 else rng.randrange(first, len(calls) + 1)
        yield where, rng.randrange(1 << 30)


def test_the_trace_has_what_matters(traced: tuple[Path, list[Call]]) -> None:
    names = [call.name for call in traced[1]]
    for name in ("fsync", "fdatasync", "pwrite64", "rename", "unlink", "ftruncate"):
        assert name in names


def test_when_nothing_is_cut_the_imitation_is_the_directory(
    traced: tuple[Path, list[Call]], tmp_path: Path
) -> None:
    medium = cut(traced, len(traced[1]))
    for file in {id(file): file for file in medium._now.values() if file is not None}.values():
        file.sync()
    medium._durable = medium._now
    medium._namings.clear()
    medium.materialise(tmp_path, random.Random(0))
    assert contents(tmp_path) == contents(traced[0])


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_nothing_that_was_told_is_lost_whatever_was_not_synced(
    traced: tuple[Path, list[Call]], tmp_path: Path
) -> None:
    facts = 0
    for where, seed in sampled(traced):
        medium = cut(traced, where)
        told = Told()
        told.hear(medium.told)
        root = tmp_path / f"{where}-{seed}"
        root.mkdir()
        medium.materialise(root, random.Random(seed))
        try:
            asyncio.run(all_of_it_is_there(root, told))
        except BaseException as error:
            error.add_note(f"cut before call {where}, seed {seed}: {traced[1][where - 1]!r:.200}")
            raise
        facts += sum(map(len, told.facts.values()))
    assert facts > 500


def test_a_disk_that_does_not_heed_syncs_is_found_out(
    traced: tuple[Path, list[Call]], tmp_path: Path
) -> None:
    """So that the test above is known to see what it looks for."""
    lost = 0
    for where, seed in list(sampled(traced))[1:20:2]:
        medium = cut(traced, where, syncs=False)
        told = Told()
        told.hear(medium.told)
        root = tmp_path / f"{where}-{seed}"
        root.mkdir()
        medium.materialise(root, random.Random(seed))
        try:
            asyncio.run(all_of_it_is_there(root, told))
        except (AssertionError, KeyError, DatabaseError):
            lost += 1
    assert lost > 5


AFTER_A_KILL = """
import asyncio, os, sys
from pathlib import Path
from hal.linux.disk import DirectoryDisk

async def main(root):
    for directory in ("media", "media/ab"):  # an earlier life was killed before it synced these names
        os.mkdir(root / directory)
    disk = DirectoryDisk(root)
    for name in ("one", "two"):
        staged = await disk.stage()
        await staged.write(name.encode())
        await staged.commit(f"media/ab/{name}")
        os.write(1, f"{name}\\n".encode())

asyncio.run(main(Path(sys.argv[1])))
"""

FIRST_START = """
import asyncio, os, sys
from pathlib import Path
from edge_agent import kept
from hal.linux.database import open_database

async def main(root):
    database = await open_database(root / "var" / "state" / "node.sqlite3", [kept.SCHEMA])
    await database.run(lambda connection: kept.put(connection, "volume", "60"))
    os.write(1, b"kept\\n")
    await database.run(lambda connection: kept.put(connection, "volume", "70"))

asyncio.run(main(Path(sys.argv[1])))
"""


NEW_RELEASE = """
import asyncio, os, sys
from pathlib import Path
from edge_agent import agent, kept
from hal.linux.database import open_database

async def main(path):
    database = await open_database(path, agent.SCHEMAS[:3])
    await database.run(lambda connection: kept.put(connection, "volume", "60"))
    os.write(1, b"kept\\n")
    await database.close()
    database = await open_database(path, agent.SCHEMAS)
    os.write(1, b"migrated\\n")
    await database.run(lambda connection: connection.execute("SELECT * FROM ledger").fetchall())
    await database.close()

asyncio.run(main(Path(sys.argv[1]) / "node.sqlite3"))
"""


def crashes(program: str, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """(what was told, what is left) of a small program, cut four times after each of its calls."""
    root = tmp_path / "root"
    root.mkdir()
    calls = record([sys.executable, "-c", program, str(root)], tmp_path / "strace")
    medium = Medium(root)
    for where, call in enumerate(calls):
        medium.apply(call)
        for seed in range(4) if medium.names() else ():
            left = tmp_path / f"{where}-{seed}"
            left.mkdir()
            medium.materialise(left, random.Random(seed))
            yield medium.told, left


def test_a_directory_that_a_killed_process_made_is_synced_by_the_next(tmp_path: Path) -> None:
    for told, left in crashes(AFTER_A_KILL, tmp_path):
        for name in told.split():
            assert left.joinpath("media", "ab", name).read_bytes() == name.encode()


def test_the_state_directory_itself_outlives_a_cut_on_its_first_day(tmp_path: Path) -> None:
    seen = 0
    for told, left in crashes(FIRST_START, tmp_path):
        if not told:
            continue
        seen += 1
        assert left.joinpath("var", "state", "node.sqlite3").exists()
    assert seen > 4


def test_a_new_release_that_is_cut_while_it_changes_the_tables_loses_nothing(tmp_path: Path) -> None:
    """The tables change in one transaction; the tables are all there or none of the new ones."""

    async def judge(left: Path) -> int:
        """How many tables it had before this start."""
        database = await open_database(left / "node.sqlite3", ())
        tables = await database.run(lambda c: len(c.execute("SELECT 1 FROM sqlite_master").fetchall()))
        await database.close()
        database = await open_database(left / "node.sqlite3", agent.SCHEMAS)
        try:
            assert database.set_aside() is None
            assert await database.run(lambda connection: kept.get(connection, "volume")) == "60"
            await database.run(the_books_are_sound)
        finally:
            await database.close()
        return tables

    found = set()
    for number, (told, left) in enumerate(crashes(NEW_RELEASE, tmp_path)):
        if told and number % 4 == 1:
            found.add((told, asyncio.run(judge(left))))
    before, after = sorted({tables for _, tables in found})
    assert {tables for told, tables in found if "migrated" in told} == {after}
    assert ("kept\n", before) in found
