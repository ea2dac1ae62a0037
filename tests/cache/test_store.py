"""The cellar's shelves: what is kept, what is thrown away, and what a power cut leaves."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io

import pytest

from edge_agent.cache.assets import path_of
from edge_agent.errors import MediaRefused
from hal.errors import DatabaseError, DiskError, DiskFull
from tests.cache.cellar import MIB, Cellar, ReasonCode, digest_of, noise


def test_what_was_admitted_is_found_and_read_back() -> None:
    cellar, payload = Cellar(), noise(100_000)

    async def main() -> bytes:
        await cellar.store.open()
        assert await cellar.store.find(digest_of(payload)) is None
        await cellar.keep(payload)
        asset = await cellar.store.find(digest_of(payload))
        assert asset is not None
        assert (asset.size, asset.gain_db) == (100_000, None)
        with cellar.store.open_read(asset.digest) as reader:
            return reader.read()

    assert cellar.run(main()) == payload
    assert list(cellar.files()) == [path_of(digest_of(payload))]


def test_a_reader_seeks_as_a_decoder_needs_it() -> None:
    cellar, payload = Cellar(), noise(200_000)

    async def main() -> None:
        await cellar.keep(payload)
        with cellar.store.open_read(digest_of(payload)) as reader:
            assert reader.seek(0, io.SEEK_END) == 200_000
            reader.seek(150_000)
            assert reader.read(10) == payload[150_000:150_010]
            assert reader.tell() == 150_010

    cellar.run(main())


def test_loudness_is_measured_once_and_kept() -> None:
    cellar, payload = Cellar(), noise(1000)

    async def main() -> None:
        await cellar.keep(payload)
        noted = await cellar.store.note_loudness(digest_of(payload), -3.5, -13.5, 61.25, -0.2)
        assert noted is not None
        cellar.power_cut()
        await cellar.store.open()
        asset = await cellar.store.find(digest_of(payload))
        assert asset == noted
        assert (asset.gain_db, asset.lufs, asset.duration_s, asset.peak_dbtp) == (-3.5, -13.5, 61.25, -0.2)
        assert await cellar.store.note_loudness(digest_of(b"other"), 0, 0, 0) is None

    cellar.run(main())


def test_the_wrong_bytes_are_never_committed() -> None:
    cellar = Cellar()

    async def main() -> str:
        incoming = await cellar.store.stage(digest_of(b"right"), 5)
        await incoming.write(b"wrong")
        with pytest.raises(MediaRefused) as refused:
            await incoming.admit()
        await incoming.abandon()
        assert await cellar.is_clean()
        return refused.value.text

    text = cellar.run(main())
    assert digest_of(b"right") in text
    assert digest_of(b"wrong") in text
    assert cellar.files() == {}


# ---------------------------------------------------------------- quota and eviction


def test_what_is_kept_for_ever_outlives_everything_and_a_start_that_must_make_room() -> None:
    cellar = Cellar(quota_mib=16, reserve_mib=16, asset_max_mib=8)
    message, programme = noise(5 * MIB, 1), noise(6 * MIB, 2)

    async def main() -> None:
        cellar.store.keep(digest_of(message))
        await cellar.keep(message)
        for seed in range(3, 8):
            await cellar.keep(noise(5 * MIB, seed))
        cellar.power_cut()
        cellar.store.keep(digest_of(message))
        await cellar.store.open()
        await cellar.keep(programme)
        assert await cellar.store.find(digest_of(message)) is not None

    cellar.run(main())


def test_the_least_recently_used_goes_first() -> None:
    cellar = Cellar(quota_mib=16, reserve_mib=16, asset_max_mib=8)
    old, middle, new, newest = (noise(5 * MIB, seed) for seed in range(4))

    async def main() -> None:
        for payload in (old, middle, new):
            await cellar.keep(payload)
        assert await cellar.store.find(digest_of(old)) is not None, "a use"
        await cellar.keep(newest)
        assert await cellar.store.find(digest_of(middle)) is None
        for payload in (old, new, newest):
            assert await cellar.store.find(digest_of(payload)) is not None

    cellar.run(main())
    assert path_of(digest_of(middle)) not in cellar.files()


def test_what_is_in_use_stays_and_nothing_is_thrown_away_in_vain() -> None:
    cellar = Cellar(quota_mib=16, reserve_mib=16, asset_max_mib=16)
    read, pinned, idle = (noise(5 * MIB, seed) for seed in range(3))

    async def main() -> None:
        for payload in (read, pinned, idle):
            await cellar.keep(payload)
        with cellar.store.pinned(digest_of(pinned)), cellar.store.open_read(digest_of(read)):
            with pytest.raises(MediaRefused) as refused:
                await cellar.store.stage(digest_of(b""), 12 * MIB)
            assert refused.value.code is ReasonCode.NO_SPACE
            assert await cellar.store.find(digest_of(idle)) is not None, (
                "evicting it would not have been enough"
            )
            incoming = await cellar.store.stage(digest_of(b""), 6 * MIB)
            assert await cellar.store.find(digest_of(idle)) is None
            await incoming.abandon()
        assert not cellar.store.in_use()
        await cellar.store.stage(digest_of(b""), 12 * MIB)
        assert cellar.files() == {}

    cellar.run(main())


def test_a_reader_that_is_dropped_unclosed_does_not_pin_for_ever() -> None:
    cellar, payload = Cellar(), noise(10)

    async def main() -> None:
        await cellar.keep(payload)
        reader = cellar.store.open_read(digest_of(payload))
        assert cellar.store.in_use() == {digest_of(payload)}
        del reader
        gc.collect()
        assert not cellar.store.in_use()

    cellar.run(main())


def test_the_reserve_stays_free_whatever_the_quota_says() -> None:
    cellar = Cellar(capacity_bytes=40 * MIB, quota_mib=1000, reserve_mib=20)

    async def main() -> None:
        await cellar.keep(noise(15 * MIB, 1))
        await cellar.keep(noise(10 * MIB, 2))
        assert await cellar.store.find(digest_of(noise(15 * MIB, 1))) is None
        assert await cellar.disk.free_bytes() == 30 * MIB
        with pytest.raises(MediaRefused) as refused:
            await cellar.store.stage(digest_of(b""), 25 * MIB)
        assert refused.value.code is ReasonCode.NO_SPACE
        assert "reserve" in refused.value.text

    cellar.run(main())


def test_two_at_once_do_not_count_on_the_same_room() -> None:
    cellar = Cellar(quota_mib=16, reserve_mib=16)

    async def main() -> None:
        first = await cellar.store.stage(digest_of(b"1"), 10 * MIB)
        with pytest.raises(MediaRefused):
            await cellar.store.stage(digest_of(b"2"), 10 * MIB)
        await first.abandon()
        second = await cellar.store.stage(digest_of(b"2"), 10 * MIB)
        await second.abandon()

    cellar.run(main())


def test_a_file_of_unknown_size_is_stopped_at_the_limit() -> None:
    cellar = Cellar(asset_max_mib=9)

    async def main() -> None:
        incoming = await cellar.store.stage(digest_of(b""), None)
        for _ in range(9):
            await incoming.write(bytes(MIB))
        with pytest.raises(MediaRefused) as refused:
            await incoming.write(b"1")
        assert refused.value.code is ReasonCode.NO_SPACE
        await incoming.abandon()
        assert await cellar.is_clean()

    cellar.run(main())


# ---------------------------------------------------------------- spoilt files


def test_a_file_of_the_wrong_size_is_quarantined_and_may_come_again() -> None:
    cellar, payload = Cellar(), noise(5000)

    async def main() -> None:
        await cellar.keep(payload)
        await cellar.disk.write_atomic(path_of(digest_of(payload)), payload[:-1])
        assert await cellar.store.find(digest_of(payload)) is None
        (row,) = await cellar.store.listing()
        assert row.quarantined == "Its file had 4999 bytes instead of 5000."
        assert cellar.files() == {}
        await cellar.keep(payload)
        assert await cellar.store.find(digest_of(payload)) is not None
        (row,) = await cellar.store.listing()
        assert row.quarantined is None

    cellar.run(main())


def test_files_without_rows_are_adopted_and_hashed_before_their_first_use() -> None:
    cellar, good, bad = Cellar(), noise(3000, 1), noise(3000, 2)

    async def main() -> None:
        await cellar.disk.write_atomic(path_of(digest_of(good)), good)
        await cellar.disk.write_atomic(path_of(digest_of(bad)), bytes(3000))
        await cellar.disk.write_atomic("media/00/notes.txt", b"what is this")
        await cellar.disk.write_atomic(path_of(digest_of(b"")), b"")
        sweep = await cellar.store.open()
        assert (sweep.adopted, sweep.removed, sweep.kept) == (2, 2, 0)
        assert await cellar.store.find(digest_of(good)) is not None
        assert await cellar.store.find(digest_of(bad)) is None
        reads = cellar.disk.done["open_read"]
        assert await cellar.store.find(digest_of(good)) is not None
        assert cellar.disk.done["open_read"] == reads, "it is hashed once"

    cellar.run(main())
    assert list(cellar.files()) == [path_of(digest_of(good))]


def test_rows_without_files_are_forgotten_at_open() -> None:
    cellar, payload = Cellar(), noise(3000)

    async def main() -> None:
        await cellar.keep(payload)
        await cellar.disk.remove(path_of(digest_of(payload)))
        assert (await cellar.store.open()).forgotten == 1
        assert await cellar.store.listing() == []

    cellar.run(main())


def test_a_directory_that_cannot_be_read_does_not_stop_the_node() -> None:
    cellar, payload = Cellar(), noise(3000)

    async def main() -> None:
        await cellar.keep(payload)
        cellar.disk.fail("io", operation="list", times=256)
        assert (await cellar.store.open()).forgotten == 0
        assert await cellar.store.find(digest_of(payload)) is not None, "it was only out of sight"
        await cellar.disk.write_atomic(path_of(digest_of(payload)), b"too short")
        cellar.disk.fail("io", operation="remove")
        assert (await cellar.store.open()).quarantined == 1
        await cellar.keep(payload)
        assert await cellar.store.find(digest_of(payload)) is not None

    cellar.run(main())


def test_a_database_without_room_does_not_stop_the_node_and_is_put_right_later() -> None:
    cellar, payload = Cellar(), noise(3000)

    async def main() -> None:
        await cellar.disk.write_atomic(path_of(digest_of(payload)), payload)
        cellar.database.fail("full", times=9)
        await cellar.store.open()
        assert await cellar.store.find(digest_of(payload)) is None
        cellar.database.mend()
        await cellar.store.open()
        assert await cellar.store.find(digest_of(payload)) is not None

    cellar.run(main())


def test_on_a_disk_so_full_that_no_row_can_be_written_files_make_room_first() -> None:
    cellar = Cellar(quota_mib=64, reserve_mib=16)

    async def main() -> None:
        for seed in range(4):
            await cellar.keep(noise(8 * MIB, seed))
        cellar.disk.fill(leave_bytes=2 * MIB)
        cellar.database.fail("full")
        await cellar.store.open()
        assert [row.asset.digest for row in await cellar.store.listing()] == [
            digest_of(noise(8 * MIB, seed)) for seed in (2, 3)
        ]

    cellar.run(main())
    assert len(cellar.files()) == 2


def test_a_smaller_quota_takes_effect_at_open() -> None:
    cellar = Cellar(quota_mib=64, reserve_mib=16)

    async def main() -> None:
        for seed in range(4):
            await cellar.keep(noise(8 * MIB, seed))
        smaller = Cellar(quota_mib=20, reserve_mib=16)
        smaller.disk, smaller.database = cellar.disk, cellar.database
        smaller.build()
        await smaller.store.open()
        assert [row.asset.digest for row in await smaller.store.listing()] == [
            digest_of(noise(8 * MIB, seed)) for seed in (2, 3)
        ]

    cellar.run(main())
    assert len(cellar.files()) == 2


# ---------------------------------------------------------------- power cuts and failing disks


@pytest.mark.parametrize("step", range(8))
def test_a_power_cut_at_any_step_of_a_commit_leaves_a_cellar_that_opens_cleanly(step: int) -> None:
    cellar, before, payload = Cellar(quota_mib=16, reserve_mib=16), noise(9 * MIB, 1), noise(9 * MIB, 2)

    async def main() -> None:
        await cellar.keep(before)
        cellar.disk.cut_at(cellar.disk.steps + step)
        with contextlib.suppress(DiskError):
            await cellar.keep(payload)
        cellar.power_cut()
        await cellar.store.open()
        await the_cellar_is_whole(cellar)
        await cellar.keep(payload)
        assert await cellar.store.find(digest_of(payload)) is not None

    cellar.run(main())


@pytest.mark.parametrize("moment", ["before", "inside", "after"])
@pytest.mark.parametrize("run", range(4))
def test_a_power_cut_at_any_transaction_leaves_a_cellar_that_opens_cleanly(run: int, moment: str) -> None:
    cellar, before, payload = Cellar(quota_mib=16, reserve_mib=16), noise(9 * MIB, 1), noise(9 * MIB, 2)

    async def main() -> None:
        await cellar.keep(before)
        cellar.database.cut_at(cellar.database.runs + run, moment)  # type: ignore[arg-type] # one of its literals
        with contextlib.suppress(DatabaseError):
            await cellar.keep(payload)
        cellar.power_cut()
        await cellar.store.open()
        await the_cellar_is_whole(cellar)
        await cellar.keep(payload)
        assert await cellar.store.find(digest_of(payload)) is not None

    cellar.run(main())


async def the_cellar_is_whole(cellar: Cellar) -> None:
    """Every row has its file and every file its row, all within the quota, and what is found is right."""
    rows = [row for row in await cellar.store.listing() if row.quarantined is None]
    assert {path_of(row.asset.digest) for row in rows} == set(cellar.files())
    assert sum(row.asset.size for row in rows) <= cellar.settings.quota_bytes
    for row in rows:
        if await cellar.store.find(row.asset.digest) is not None:
            with cellar.store.open_read(row.asset.digest) as reader:
                assert digest_of(reader.read()) == row.asset.digest
    assert await cellar.is_clean()


def test_a_row_that_cannot_be_written_takes_its_file_with_it() -> None:
    cellar, payload = Cellar(), noise(1000)

    async def main() -> None:
        incoming = await cellar.store.stage(digest_of(payload), len(payload))
        await incoming.write(payload)
        cellar.database.fail("full")
        with pytest.raises(DiskFull):
            await incoming.admit()
        await incoming.abandon()
        await cellar.keep(noise(1, 9))
        assert list(cellar.files()) == [path_of(digest_of(noise(1, 9)))]

    cellar.run(main())


def test_an_eviction_cut_short_is_finished_later() -> None:
    cellar = Cellar(quota_mib=16, reserve_mib=16)
    old, new = noise(10 * MIB, 1), noise(10 * MIB, 2)

    async def main() -> None:
        await cellar.keep(old)
        cellar.disk.fail("io", operation="remove")
        with pytest.raises(DiskError):
            await cellar.keep(new)
        assert path_of(digest_of(old)) in cellar.files()
        await cellar.keep(new)

    cellar.run(main())
    assert list(cellar.files()) == [path_of(digest_of(new))]


def test_many_come_and_go_at_once_and_the_quota_holds() -> None:
    cellar = Cellar(quota_mib=16, reserve_mib=16, asset_max_mib=8)
    payloads = [noise(3 * MIB, seed) for seed in range(12)]
    cellar.disk.slow_s = cellar.database.slow_s = 0.01

    async def one(payload: bytes) -> None:
        with cellar.store.pinned(digest_of(payload)), contextlib.suppress(MediaRefused):
            await cellar.keep(payload)
            assert await cellar.store.find(digest_of(payload)) is not None

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for payload in payloads:
                group.create_task(one(payload))
        await the_cellar_is_whole(cellar)
        assert len(cellar.files()) == 5, "as many as fit stayed, though more came"

    cellar.run(main())
