"""The disk: one contract, kept by the virtual disk and by a directory; and what a power cut leaves."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import stat
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hal.errors import DiskError, DiskFull, DiskMissing
from hal.linux.disk import DirectoryDisk
from hal.ports import Disk
from hal.sim import loop
from hal.sim.disk import VirtualDisk

MIB = 1 << 20


@dataclass(frozen=True)
class Bench:
    """A disk, how to open it again as after a restart, and the loop it lives on."""

    disk: Disk
    reopen: Callable[[], Disk]
    run: Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=["virtual", "linux"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    if request.param == "linux":
        root = tmp_path / "state"
        return Bench(disk=DirectoryDisk(root), reopen=lambda: DirectoryDisk(root), run=asyncio.run)
    disk = VirtualDisk(capacity_bytes=64 * MIB)
    return Bench(disk=disk, reopen=disk.reborn, run=lambda main: loop.run(main, loop.Counter()))


def test_a_small_file_is_read_back_and_replaced_whole(bench: Bench) -> None:
    async def main() -> None:
        await bench.disk.write_atomic("config/last-good.toml", b"one")
        await bench.disk.write_atomic("config/last-good.toml", b"two and more")
        assert await bench.disk.read("config/last-good.toml") == b"two and more"

    bench.run(main())


def test_a_missing_file_is_named(bench: Bench) -> None:
    async def main() -> None:
        with pytest.raises(DiskMissing, match="'a/b'") as caught:
            await bench.disk.read("a/b")
        assert isinstance(caught.value, FileNotFoundError)
        with pytest.raises(DiskMissing):
            bench.disk.open_read("a/b")

    bench.run(main())


def test_only_small_files_are_read_whole(bench: Bench) -> None:
    async def main() -> None:
        await bench.disk.write_atomic("largest", bytes(MIB))
        await bench.disk.write_atomic("too-large", bytes(MIB + 1))
        assert len(await bench.disk.read("largest")) == MIB
        with pytest.raises(DiskError, match="larger"):
            await bench.disk.read("too-large")

    bench.run(main())


def test_a_staged_file_is_seen_by_nobody_before_it_is_committed(bench: Bench) -> None:
    async def main() -> None:
        staged = await bench.disk.stage()
        await staged.write(b"left ")
        await staged.write(b"right")
        assert await bench.disk.list("media") == ()
        assert await bench.disk.list("") == ()

        await staged.commit("media/ab/abcdef")

        assert await bench.disk.list("media/ab") == (("abcdef", 10),)
        assert await bench.disk.read("media/ab/abcdef") == b"left right"

    bench.run(main())


def test_a_commit_replaces_what_was_there(bench: Bench) -> None:
    async def main() -> None:
        await bench.disk.write_atomic("media/x", b"old")
        staged = await bench.disk.stage()
        await staged.write(b"new")
        await staged.commit("media/x")
        assert await bench.disk.read("media/x") == b"new"

    bench.run(main())


def test_an_abandoned_file_leaves_nothing_and_can_be_abandoned_again(bench: Bench) -> None:
    async def main() -> None:
        staged = await bench.disk.stage()
        await staged.write(b"x" * 1000)
        await staged.abandon()
        await staged.abandon()
        with pytest.raises(DiskError):
            await staged.write(b"more")
        with pytest.raises(DiskError):
            await staged.commit("media/x")
        assert await bench.disk.list("media") == ()

    bench.run(main())


def test_abandoning_after_a_commit_keeps_the_file(bench: Bench) -> None:
    async def main() -> None:
        staged = await bench.disk.stage()
        await staged.write(b"kept")
        await staged.commit("x")
        await staged.abandon()
        assert await bench.disk.read("x") == b"kept"

    bench.run(main())


def test_files_staged_side_by_side_do_not_meet(bench: Bench) -> None:
    async def main() -> None:
        async def write(letter: bytes) -> None:
            staged = await bench.disk.stage()
            for _ in range(20):
                await staged.write(letter * 100)
            await staged.commit("media/" + letter.decode())

        await asyncio.gather(*(write(letter) for letter in (b"a", b"b", b"c")))
        for letter in (b"a", b"b", b"c"):
            assert await bench.disk.read("media/" + letter.decode()) == letter * 2000

    bench.run(main())


def test_a_write_that_was_cancelled_spoils_nothing_else(bench: Bench) -> None:
    async def main() -> None:
        staged = await bench.disk.stage()
        writing = asyncio.create_task(staged.write(b"x" * MIB))
        await asyncio.sleep(0)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await staged.abandon()
        await bench.disk.write_atomic("other", b"whole")
        assert await bench.disk.read("other") == b"whole"

    bench.run(main())


def test_a_reader_can_seek_and_keeps_its_file_when_it_is_removed(bench: Bench) -> None:
    async def main() -> None:
        await bench.disk.write_atomic("media/x", b"0123456789")
        with bench.disk.open_read("media/x") as reader:
            reader.seek(4)
            await bench.disk.remove("media/x")
            assert reader.read(3) == b"456"
            assert reader.seek(0, os.SEEK_END) == 10
        assert await bench.disk.list("media") == ()

    bench.run(main())


def test_removing_what_is_not_there_is_no_error(bench: Bench) -> None:
    async def main() -> None:
        await bench.disk.remove("media/none")

    bench.run(main())


def test_a_listing_is_sorted_and_shows_files_only(bench: Bench) -> None:
    async def main() -> None:
        for name in ("b", "a", "c/deep"):
            await bench.disk.write_atomic("media/" + name, name.encode())
        assert await bench.disk.list("media") == (("a", 1), ("b", 1))
        assert await bench.disk.list("nowhere") == ()

    bench.run(main())


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a/", "a\0b", ".stage/x"]
)
def test_no_path_leads_out_of_the_state_directory(bench: Bench, path: str) -> None:
    async def main() -> None:
        with pytest.raises(DiskError):
            await bench.disk.write_atomic(path, b"x")
        with pytest.raises(DiskError):
            await bench.disk.read(path)
        with pytest.raises(DiskError):
            bench.disk.open_read(path)
        staged = await bench.disk.stage()
        with pytest.raises(DiskError):
            await staged.commit(path)
        await staged.abandon()

    bench.run(main())


def test_free_room_is_told(bench: Bench) -> None:
    async def main() -> None:
        assert await bench.disk.free_bytes() > 0

    bench.run(main())


def test_a_restart_keeps_committed_files_and_sweeps_left_over_stages(bench: Bench) -> None:
    async def main() -> None:
        await bench.disk.write_atomic("kept", b"kept")
        staged = await bench.disk.stage()
        await staged.write(b"never committed")

        disk = bench.reopen()

        assert await disk.read("kept") == b"kept"
        with pytest.raises(DiskError):
            await staged.commit("late")
        await staged.abandon()
        assert await disk.list("") == (("kept", 4),)

    bench.run(main())


# ---------------------------------------------------------------- the directory


def test_small_files_are_private_and_media_can_be_read_by_the_group(tmp_path: Path) -> None:
    async def main() -> None:
        disk = DirectoryDisk(tmp_path)
        await disk.write_atomic("secret", b"x")
        staged = await disk.stage()
        await staged.commit("media/x")

    asyncio.run(main())

    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "media/x").stat().st_mode) == 0o640


def test_every_commit_syncs_the_file_then_renames_then_syncs_the_directories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def note_fsync(fd: int) -> None:
        steps.append(
            "sync "
            + str(Path(f"/proc/self/fd/{fd}").readlink()).removeprefix(str(tmp_path)).split("/.stage/")[0]
        )
        fsync(fd)

    def note_rename(self: Path, target: Path) -> Path:
        steps.append("rename")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "rename", note_rename)

    async def main() -> None:
        await DirectoryDisk(tmp_path).write_atomic("a/b/file", b"x")

    asyncio.run(main())

    assert steps == ["sync ", "sync ", "sync /a", "rename", "sync /a/b"]


def test_no_space_and_other_faults_have_their_own_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = DirectoryDisk(tmp_path)

    async def fails_with(number: int) -> None:
        def refuse(*_: object) -> int:
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", refuse)
            await disk.write_atomic("x", b"x")

    async def main() -> None:
        for full in (errno.ENOSPC, errno.EDQUOT):
            with pytest.raises(DiskFull):
                await fails_with(full)
        with pytest.raises(DiskError, match="EIO") as caught:
            await fails_with(errno.EIO)
        assert not isinstance(caught.value, DiskFull)
        assert await disk.list("") == ()

    asyncio.run(main())

    assert list((tmp_path / ".stage").iterdir()) == []


def test_a_really_full_disk_is_disk_full(tmp_path: Path) -> None:
    """/dev/full answers every write with ENOSPC."""
    if not Path("/dev/full").exists():
        pytest.skip("this machine has no /dev/full")
    disk = DirectoryDisk(tmp_path)

    async def main() -> None:
        staged = await disk.stage()
        os.dup2(full := os.open("/dev/full", os.O_WRONLY), staged._staged._fd)
        os.close(full)
        with pytest.raises(DiskFull):
            await staged.write(b"x")
        await staged.abandon()

    asyncio.run(main())


# ---------------------------------------------------------------- the virtual disk


def virtual(main: Coroutine[Any, Any, None]) -> None:
    loop.run(main, loop.Counter())


def test_a_full_virtual_disk_takes_no_more_until_there_is_room_again() -> None:
    async def main() -> None:
        disk = VirtualDisk(capacity_bytes=1_000)
        staged = await disk.stage()
        await staged.write(bytes(900))
        with pytest.raises(DiskFull):
            await staged.write(bytes(200))
        assert await disk.free_bytes() == 0
        await staged.abandon()
        await disk.write_atomic("x", bytes(1_000))
        with pytest.raises(DiskFull):
            await disk.write_atomic("y", b"1")
        await disk.remove("x")
        await disk.write_atomic("y", b"1")
        disk.fill()
        with pytest.raises(DiskFull):
            await disk.write_atomic("z", b"1")

    virtual(main())


def test_faults_come_when_ordered_and_go_away() -> None:
    async def main() -> None:
        disk = VirtualDisk()
        disk.fail("full", operation="write_atomic")
        disk.fail("io", operation="read", times=2)
        with pytest.raises(DiskFull):
            await disk.write_atomic("x", b"x")
        await disk.write_atomic("x", b"x")
        for _ in range(2):
            with pytest.raises(DiskError, match="EIO"):
                await disk.read("x")
        assert await disk.read("x") == b"x"

    virtual(main())


def test_a_slow_disk_takes_virtual_time() -> None:
    counter = loop.Counter()

    async def main() -> None:
        disk = VirtualDisk()
        disk.slow_s = 3.0
        await disk.write_atomic("x", b"x")

    loop.run(main(), counter)
    assert counter.ns >= 13 * loop.NS


def test_the_old_door_stays_dead_after_a_power_cut() -> None:
    async def main() -> None:
        old = VirtualDisk()
        await old.write_atomic("x", b"before")
        new = old.reborn()
        with pytest.raises(DiskError):
            await old.write_atomic("x", b"from beyond")
        assert await new.read("x") == b"before"

    virtual(main())


@pytest.mark.parametrize("seed", range(8))
def test_a_cut_at_any_step_leaves_the_old_file_or_the_new_one(seed: int) -> None:
    """Four steps (write, sync, rename, directory sync), and after each of them the power goes."""
    seen: set[tuple[int, bytes]] = set()

    async def main() -> None:
        for step in range(5):
            disk = VirtualDisk(rng=random.Random(seed))
            await disk.write_atomic("ledger", b"old")
            disk.cut_at(disk.steps + step)
            try:
                await disk.write_atomic("ledger", b"new and longer")
                told = True
                disk.power_off()
            except DiskError:
                told = False
            disk.power_on()
            left = await disk.read("ledger")
            assert left in {b"old", b"new and longer"}
            assert not told or left == b"new and longer"
            assert await disk.list("") == (("ledger", len(left)),)
            seen.add((step, left))

    virtual(main())
    assert {(0, b"old"), (1, b"old"), (2, b"old"), (4, b"new and longer")} <= seen


def test_both_ends_of_an_unsynced_rename_happen() -> None:
    outcomes: set[bytes] = set()

    async def main() -> None:
        for seed in range(20):
            disk = VirtualDisk(rng=random.Random(seed))
            await disk.write_atomic("x", b"old")
            disk.cut_at(disk.steps + 3)
            with pytest.raises(DiskError):
                await disk.write_atomic("x", b"new")
            disk.power_on()
            outcomes.add(await disk.read("x"))

    virtual(main())
    assert outcomes == {b"old", b"new"}


def test_a_removed_file_may_come_back_until_its_directory_is_synced() -> None:
    came_back: set[bool] = set()

    async def main() -> None:
        for seed in range(20):
            disk = VirtualDisk(rng=random.Random(seed))
            await disk.write_atomic("media/x", b"x")
            await disk.write_atomic("media/y", b"y")
            await disk.remove("media/x")
            await disk.write_atomic("media/z", b"z")
            await disk.remove("media/y")
            disk.power_cut()
            left = dict(await disk.list("media"))
            assert "x" not in left
            assert "z" in left
            came_back.add("y" in left)

    virtual(main())
    assert came_back == {True, False}


def test_files_left_open_are_known() -> None:
    async def main() -> None:
        disk = VirtualDisk()
        await disk.write_atomic("media/x", b"x")
        staged, reader = await disk.stage(), disk.open_read("media/x")
        assert disk.left_open() == ("a staged file", "media/x")
        reader.close()
        await staged.abandon()
        assert disk.left_open() == ()

    virtual(main())


def test_a_killed_process_loses_its_stages_but_nothing_that_was_renamed() -> None:
    async def main() -> None:
        for seed in range(10):
            disk = VirtualDisk(rng=random.Random(seed))
            await disk.write_atomic("x", b"x")
            await disk.remove("x")
            staged = await disk.stage()
            await staged.write(b"unfinished")
            assert await disk.reborn(killed=True).list("") == ()

    virtual(main())
