"""A node that starts on a sick disk: it goes on with what it has, and is well again without anyone's help."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from hal.sim.world import World
from tests.flows.conftest import Programme
from tests.flows.scene import Village

Strike = Callable[[World], None]


def database_full(world: World) -> None:
    world.database.fail("full", times=1_000_000)


def database_broken(world: World) -> None:
    world.database.fail("io", times=1_000_000)


def disk_full(world: World) -> None:
    world.disk.fail("full", times=1_000_000)


def disk_broken(world: World) -> None:
    world.disk.fail("io", times=1_000_000)


def heal(world: World) -> None:
    world.database.mend()
    world.disk.mend()


STRIKES = [database_full, database_broken, disk_full, disk_broken]
BROKEN = ("DatabaseError",)
"""Without a database that can be read nothing can be promised: the process ends, and is started again until
it can."""


@pytest.mark.parametrize("strike", STRIKES)
def test_a_node_recovers_from_a_start_on_a_sick_disk(
    village: Village, short: Programme, strike: Strike
) -> None:
    asset = short.on(village)
    village.may_end = BROKEN if strike is database_broken else ()

    async def story() -> None:
        strike(village.world)
        village.start()
        await asyncio.sleep(120)
        assert strike is database_broken or village.world.supervisor.ready_ns is not None
        heal(village.world)
        await asyncio.sleep(120)
        assert await village.ends(village.play(asset)) == ["successful"]
        assert await village.ends(village.order("board_show", text="Họp 19h30")) == ["successful"]
        await village.quiet()

    village.tell(story, starts=False)


@pytest.mark.parametrize("strike", STRIKES)
def test_what_was_kept_before_is_there_again_when_the_disk_is_well(
    village: Village, short: Programme, strike: Strike
) -> None:
    asset = short.on(village)
    village.may_end = BROKEN if strike is database_broken else ()

    async def story() -> None:
        await village.ends(village.play(asset), village.order("volume", volume=40))
        await village.ends(village.order("board_show", text="Họp 19h30", ttl_s=86_400))
        await village.world.stop()
        strike(village.world)
        village.start()
        await asyncio.sleep(60)
        heal(village.world)
        await asyncio.sleep(120)
        order = village.play(asset)
        assert await village.ends(order) == ["successful"]
        await village.quiet()
        assert village.report(order)["volume"] == 40
        assert village.world.sign.current.lit

    village.tell(story)


def test_a_node_whose_database_was_lost_starts_on_a_full_disk_and_finds_its_media_again(
    village: Village, short: Programme
) -> None:
    asset = short.on(village)

    async def story() -> None:
        await village.ends(village.play(asset))
        await village.quiet()
        village.world.database.corrupt()
        village.world.database.fail("full", times=1_000_000)
        await village.world.outage()
        await asyncio.sleep(60)
        assert village.world.supervisor.ready_ns is not None
        heal(village.world)
        await village.restart()
        assert await village.ends(village.play(asset)) == ["successful"]

    village.tell(story, judge=False)
    village.world.check()
    assert not village.world.ended
    assert len(village.world.web_server.requests) == 1


@pytest.mark.parametrize("strike", STRIKES)
def test_a_disk_that_falls_sick_in_mid_life_ends_nothing(
    village: Village, short: Programme, strike: Strike
) -> None:
    asset = short.on(village)

    async def story() -> None:
        await village.ends(village.play(asset))
        strike(village.world)
        await asyncio.sleep(300)
        assert not village.world.ended
        heal(village.world)
        await asyncio.sleep(120)
        assert await village.ends(village.play(asset)) == ["successful"]

    village.tell(story)


def test_a_corrupt_database_is_set_aside_and_the_node_says_so(village: Village, short: Programme) -> None:
    asset = short.on(village)

    async def story() -> None:
        assert await village.ends(village.play(asset)) == ["successful"]
        await village.quiet()
        village.world.database.corrupt()
        await village.world.outage()
        await asyncio.sleep(5)
        assert village.up("alert/database_rebuilt")[-1] is not None
        assert await village.ends(village.play(asset)) == ["successful"]
        await village.restart()
        await village.until(lambda: village.up("alert/database_rebuilt")[-1] is None, within_s=60)

    village.tell(story, judge=False)
    village.world.check()
