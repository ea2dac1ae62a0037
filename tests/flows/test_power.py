"""The power goes at any instant: no order runs twice, each is answered for once, and all of it reaches the server."""

from __future__ import annotations

import asyncio
import random

import pytest

from edge_agent.model import OrderId
from tests.flows import hearing
from tests.flows.conftest import Programme
from tests.flows.scene import Asset, Village

SEEDS = range(24)
NOTICES = ("Họp 19h30", "Tiêm chó", "Cắt điện")


async def a_busy_minute(village: Village, rng: random.Random, assets: list[Asset]) -> list[OrderId]:
    """Orders of every verb, at random."""
    orders = []
    for _ in range(8):
        match rng.randrange(8):
            case 0 | 1 | 2:
                orders.append(village.play(rng.choice(assets), rng.choice(["routine", "priority"])))
            case 3:
                orders.append(village.play(rng.choice(assets), "emergency"))
            case 4:
                orders.append(village.order("volume", volume=rng.randint(30, 90)))
            case 5 | 6:
                klass = rng.choice(["routine", "priority", "emergency"])
                orders.append(village.order("board_show", klass, text=rng.choice(NOTICES)))
            case _:
                orders.append(
                    village.order("stop", order=rng.choice(orders)) if orders else village.order("ping")
                )
        await asyncio.sleep(rng.uniform(0, 9))
    return orders


def everything_was_answered_for(village: Village, orders: list[OrderId]) -> None:
    """Every order that the node took has one end, one entry, and the server has both."""
    ledger, outcomes = village.ledger(), village.outcomes()
    for order in orders:
        assert village.states(order)[-1] == ledger[order]
        assert outcomes[order] in {"AIRED", "PARTIAL", "PREEMPTED", "MISSED", "REFUSED", "FAILED"}
        assert village.report(order)["outcome"] == outcomes[order]
    assert sorted(outcomes) == sorted(orders)


def frames_heard(village: Village) -> int:
    return sum(life.heard.frames_heard for life in village.world.lives())


@pytest.mark.parametrize("seed", SEEDS)
def test_cuts_and_kills_at_random_instants(seed: int, notice: Programme, short: Programme) -> None:
    village = Village(seed, battery=seed % 4 != 0)
    assets = [notice.on(village), short.on(village)]
    rng = village.rng

    async def story() -> None:
        async with asyncio.TaskGroup() as group:
            ordering = group.create_task(a_busy_minute(village, rng, assets))
            for _ in range(rng.randint(1, 3)):
                await asyncio.sleep(rng.uniform(0, 30))
                if rng.random() < 0.7:
                    await village.world.outage(dark_s=rng.choice([0.5, 5, 60]))
                    if not village.world.clock.wall_synced():
                        village.world.clock.sync(village.world.outside.utc_now())
                else:
                    await village.world.crash(pause_s=rng.choice([0.1, 2]))
        orders = ordering.result()
        await village.until(lambda: all(village.states(order) for order in orders), within_s=900)
        await village.quiet()
        everything_was_answered_for(village, orders)

    village.tell(story)
    assert village.world.database.image() is not None


@pytest.mark.parametrize("run", range(30))
def test_a_cut_at_each_transaction_of_one_order(run: int, short: Programme) -> None:
    """Before it, inside it, after it: in turn, from the order's arrival to its last report."""
    village = Village(run)
    asset = short.on(village)

    async def story() -> None:
        await asyncio.sleep(20)
        village.world.database.cut_at(
            village.world.database.runs + run // 3, ("before", "inside", "after")[run % 3]
        )
        order = village.play(asset)
        await asyncio.sleep(12)
        await village.world.outage()
        await village.until(lambda: village.states(order), within_s=900)
        await village.quiet()
        everything_was_answered_for(village, [order])
        assert village.states(order)[-1] in {"successful", "interrupted"}

    village.tell(story)
    assert frames_heard(village) <= 0.7 * 48_000, "half a second and a lead-in, once"


def test_a_routine_bulletin_that_was_cut_is_not_begun_again_and_an_emergency_is(
    village: Village, notice: Programme, alarm: Programme
) -> None:
    routine, emergency = notice.on(village), alarm.on(village)

    async def story() -> None:
        first = village.play(routine)
        await village.reaches(first, "executing")
        await asyncio.sleep(4)
        await village.world.outage(dark_s=10)
        assert await village.ends(first) == ["interrupted"]
        second = village.play(emergency, "emergency")
        await village.reaches(second, "executing")
        await asyncio.sleep(3)
        await village.world.outage(dark_s=10)
        assert await village.ends(second) == ["successful"]
        await village.quiet()
        assert [entry["outcome"] for entry in village.reports()] == ["PARTIAL", "AIRED"]

    village.tell(story)
    hearing.whole(hearing.recording(village.world.lives()[-1]), alarm.frames)


def test_what_waited_is_played_after_the_cut_if_there_is_time(
    village: Village, bulletin: Programme, notice: Programme, alarm: Programme
) -> None:
    speaking, soon, late = bulletin.on(village), notice.on(village), alarm.on(village)

    async def story() -> None:
        first = village.play(speaking)
        await village.reaches(first, "executing")
        waiting, expiring = village.play(soon, good_for_s=600), village.play(late, good_for_s=20)
        await asyncio.sleep(4)
        await village.world.outage(dark_s=30)
        assert await village.ends(first, waiting, expiring) == ["interrupted", "successful", "expired"]

    village.tell(story)
    hearing.whole(hearing.recording(village.world.lives()[-1]), notice.frames)


def test_a_download_goes_on_after_a_cut_and_nothing_half_is_ever_played(
    village: Village, notice: Programme
) -> None:
    asset = village.put("cham.wav", notice.blob, drip_bytes_per_s=20_000)

    async def story() -> None:
        order = village.play(asset, good_for_s=900)
        await asyncio.sleep(15)
        await village.world.outage(dark_s=20)
        assert await village.ends(order) == ["successful"]
        assert len(village.world.disk.image()) == 1

    village.tell(story)
    hearing.whole(hearing.recording(village.world.lives()[-1]), notice.frames)


def test_two_days_without_a_broker_cost_nothing_but_the_two_days(village: Village, short: Programme) -> None:
    asset = short.on(village)

    async def story() -> None:
        await village.ends(village.play(asset))
        village.world.broker.partition("lost")
        await asyncio.sleep(2 * 86_400)
        village.world.broker.heal()
        await village.until(lambda: village.up("state")[-1]["state"] == "online", within_s=700)
        assert await village.ends(village.play(asset)) == ["successful"]
        await village.quiet()

    village.tell(story, limit_s=3 * 86_400)
