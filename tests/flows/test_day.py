"""A day in a village, in seconds: an order every ten minutes, small faults, and the judges always on."""

from __future__ import annotations

import asyncio
from collections import Counter

from edge_agent.model import OrderId
from hal.sim import faults
from hal.sim.loop import NS
from tests.flows.conftest import Programme
from tests.flows.scene import Village

TEXTS = ("Họp 19h30", "Tiêm chó", "Cắt điện", "Nghỉ học")
GENTLE = (
    "broker lost",
    "broker silent",
    "broker forgets",
    "disk slow",
    "database slow",
    "sign silent",
    "clock ahead",
)


async def a_day_of_orders(village: Village, programmes: list[Programme]) -> list[OrderId]:
    assets = [programme.on(village) for programme in programmes]
    rng = village.rng
    orders = []
    for number in range(144):
        kind = rng.choices(("play", "board", "ping", "volume"), (6, 3, 1, 1))[0]
        klass = rng.choices(("routine", "priority", "emergency"), (8, 3, 1))[0]
        if kind == "play":
            orders.append(village.play(rng.choice(assets), klass, good_for_s=3_600))
        elif kind == "board":
            orders.append(
                village.order("board_show", klass, text=rng.choice(TEXTS), ttl_s=300, good_for_s=3_600)
            )
        elif kind == "volume":
            orders.append(village.order("volume", volume=rng.randint(40, 90), good_for_s=3_600))
        else:
            orders.append(village.order("ping", good_for_s=3_600))
        await asyncio.sleep(600 * (number + 1) - (village.world.counter.ns / NS - 12))
    return orders


def test_a_quiet_day(short: Programme, alarm: Programme) -> None:
    village = Village(2026)

    async def story() -> None:
        orders = await a_day_of_orders(village, [short, alarm])
        await village.quiet()
        assert Counter(village.outcomes().values()) == {"AIRED": len(orders)}
        assert [entry["id"] for entry in village.reports()] == list(village.outcomes())

    village.tell(story)


def test_a_day_with_every_small_fault(short: Programme, alarm: Programme) -> None:
    village = Village(2027)

    async def story() -> None:
        async with asyncio.TaskGroup() as group:
            day = group.create_task(a_day_of_orders(village, [short, alarm]))
            plan = faults.drawn(
                village.world.rng("faults"), count=60, span_s=86_000, longest_s=120, kinds=GENTLE
            )
            group.create_task(faults.play(village.world, plan))
        await village.quiet()
        assert {order for order in day.result() if order in village.ledger()} == set(village.outcomes())
        assert Counter(village.outcomes().values())["AIRED"] > 120

    village.tell(story)


def test_an_idle_day_is_asleep_and_writes_next_to_nothing(village: Village) -> None:
    async def story() -> None:
        await asyncio.sleep(600)
        runs, steps = village.world.database.runs, village.world.disk.steps
        await asyncio.sleep(86_400)
        assert village.world.database.runs - runs < 1_000
        assert village.world.disk.steps == steps

    village.tell(story)
