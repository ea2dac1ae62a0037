"""Two stories that must end alike: what may differ in the telling must not differ in what was done."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from edge_agent.command.envelope import Order
from edge_agent.model import OrderId
from hal.sim.picture import Picture
from tests.flows.conftest import Programme
from tests.flows.scene import GROUP, Village

SEEDS = range(4)
TELLING = {
    "number",
    "recorded",
    "recorded_ms",
    "planned",
    "planned_ms",
    "started",
    "started_ms",
    "ended",
    "ended_ms",
    "preempted",
    "volume",
}
"""Fields of an as-run entry that depend on when it was, and what stood beside it."""


def what_was_done(village: Village) -> dict[str, dict[str, Any]]:
    """The as-run log, modulo times and order."""
    return {
        entry["id"]: {field: value for field, value in entry.items() if field not in TELLING}
        for entry in village.stored()
    }


def a_list_of_orders(village: Village, short: Programme) -> list[Order]:
    """Plays of one class, notices of three, pings, one that is refused, one for the group."""
    asset = short.on(village)
    media: dict[str, Any] = {"media": asset.digest, "url": asset.url}
    orders = [village.make_order("play", good_for_s=900, **media) for _ in range(6)]
    orders += [
        village.make_order("board_show", klass, text=f"Tin {klass[:3]}", good_for_s=900)
        for klass in ("routine", "priority", "emergency")
    ]
    orders += [village.make_order("ping", good_for_s=900), village.make_order("volume", volume=60)]
    orders.append(village.make_order("play", zones=["khong-co"], good_for_s=900, **media))
    orders.append(village.make_order("play", to=f"g:{GROUP}", good_for_s=900, **media))
    return orders


def told(seed: int, short: Programme, deliver: Any, **faults: Any) -> dict[str, dict[str, Any]]:
    """The log of a node to which the list is delivered in some way, while it was off."""
    village = Village(seed)
    orders = a_list_of_orders(village, short)

    async def story() -> None:
        for name, value in faults.items():
            target = (
                village.world.broker if hasattr(village.world.broker, name) else village.world.broker.faults
            )
            setattr(target, name, value)
        await village.world.stop()
        for order in deliver(village, orders):
            village.publish(order)
        village.start()
        await village.until(lambda: len(village.ledger()) == len(orders))
        await village.quiet()

    village.tell(story)
    return what_was_done(village)


def as_listed(_: Village, orders: list[Order]) -> Iterable[Order]:
    return orders


def shuffled(village: Village, orders: list[Order]) -> Iterable[Order]:
    mixed = orders * 3
    village.rng.shuffle(mixed)
    return mixed


@pytest.mark.parametrize("seed", SEEDS)
def test_a_duplicated_shuffled_list_of_orders_gives_the_same_log(seed: int, short: Programme) -> None:
    plain, mixed = told(seed, short, as_listed), told(seed, short, shuffled)
    assert mixed == plain
    assert len(plain) == 13


@pytest.mark.parametrize("seed", SEEDS)
def test_a_slow_jittery_line_that_delivers_twice_gives_the_same_log(seed: int, short: Programme) -> None:
    plain = told(seed, short, as_listed)
    assert told(seed, short, as_listed, delay_s=0.4, jitter_s=1.5, deliver_twice=0.5) == plain


# ---------------------------------------------------------------- cut and resumed


def end_state(
    seed: int, notice: Programme, *, cuts: bool
) -> tuple[dict[OrderId, str], Picture, int, list[str]]:
    """(states, what the sign shows, the volume, the files) after orders that a restart takes up again."""
    village = Village(seed)
    asset = village.put("cham.wav", notice.blob, drip_bytes_per_s=60_000)
    rng = village.rng
    orders: list[OrderId] = []

    async def cut() -> None:
        for _ in range(3):
            await asyncio.sleep(rng.uniform(0.5, 12))
            await village.world.outage(dark_s=1)

    async def story() -> None:
        async with asyncio.TaskGroup() as group:
            if cuts:
                group.create_task(cut())
            orders.append(village.play(asset, "emergency", good_for_s=900))
            orders.append(village.order("volume", volume=42, good_for_s=900))
            orders.append(village.order("board_show", text="Họp 19h30", good_for_s=900, ttl_s=86_400))
            orders.append(
                village.order("board_show", "priority", text="Cắt điện", good_for_s=900, ttl_s=86_400)
            )
            await village.ends(orders[-1])
            orders.append(village.order("board_clear", "priority", order=orders[-1], good_for_s=900))
        await village.until(lambda: len(village.ledger()) == len(orders), within_s=900)
        await village.quiet()
        await asyncio.sleep(30)

    village.tell(story)
    (volume,) = village.world.database.rows("SELECT value FROM kept WHERE name = 'volume'")
    states = {order: village.ledger()[order] for order in orders}
    return states, village.world.sign.current.dots, int(str(volume[0])), sorted(village.world.disk.image())


@pytest.mark.parametrize("seed", range(8))
def test_a_run_cut_by_power_and_resumed_ends_like_one_that_was_not(seed: int, notice: Programme) -> None:
    assert end_state(seed, notice, cuts=True) == end_state(seed, notice, cuts=False)
