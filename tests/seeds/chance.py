"""What happens in a random week: documents, orders, and everything that goes wrong; all of it from the seed."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

import msgspec

from edge_agent.model import OrderId
from edge_agent.playout.settings import GovernorSettings
from hal.sim import faults
from hal.sim.loop import NS
from tests.flows.scene import SETTINGS, Asset, Village

DAY_S = 86_400
TEXTS = ("Họp 19h30", "Tiêm chó", "Cắt điện", "Nghỉ học")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
LONG = ("broker lost", "broker silent", "card unplugged", "serial missing", "disk full", "database full")
"""Faults that may last for hours."""


@dataclass
class Week:
    """One seed's village, and what was asked of it."""

    village: Village
    rng: random.Random
    days: float
    assets: list[Asset]
    orders: list[OrderId] = field(default_factory=list)
    published: dict[str, int] = field(default_factory=dict)
    schedules: list[tuple[int, dict[str, Any], float]] = field(default_factory=list)
    """Every schedule that was published: version, body, and when, s of the world."""

    @property
    def now_s(self) -> float:
        """The world's time."""
        return self.village.world.counter.ns / NS


def a_village(seed: int) -> Village:
    """Some have a battery clock, some have quiet hours, each has its own crystals."""
    rng = random.Random(f"{seed}/village")
    hours = GovernorSettings() if rng.random() < 0.5 else SETTINGS.governor
    village = Village(
        seed,
        settings=msgspec.structs.replace(SETTINGS, governor=hours),
        battery=rng.random() < 0.6,
        drift_ppm=rng.uniform(-80, 80),
    )
    village.acknowledges_every_s = 60
    village.world.broker.faults.deliver_twice = rng.choice((0.0, 0.0, 0.1))
    village.world.broker.faults.lose_qos0 = rng.choice((0.0, 0.2))
    village.may_end = ("in order",)
    return village


async def documents(week: Week) -> None:
    """A schedule every two days or so; media, a board and settings now and then."""
    rng = week.rng
    while week.now_s < (week.days - 0.3) * DAY_S:
        body: dict[str, Any] = {"rules": [_rule(rng, n, week.assets) for n in range(rng.randint(1, 6))]}
        version = week.published["schedule"] = week.village.desire("schedule", body)
        week.schedules.append((version, body, week.now_s))
        if rng.random() < 0.4:
            wanted = rng.sample(week.assets, rng.randint(0, len(week.assets)))
            listed = [
                {"media": one.digest, "url": one.url, "size": len(one.blob), "urgent": rng.random() < 0.3}
                for one in wanted
            ]
            week.published["media"] = week.village.desire("media", {"assets": listed})
        if rng.random() < 0.3:
            board = {"items": [{"id": "tin", "text": rng.choice(TEXTS)}] * rng.randint(0, 1)}
            week.published["board"] = week.village.desire("board", board)
        await asyncio.sleep(rng.uniform(0.5, 3) * DAY_S)


def _rule(rng: random.Random, number: int, assets: list[Asset]) -> dict[str, Any]:
    at = sorted({f"{rng.randrange(24):02}:{rng.randrange(60):02}" for _ in range(rng.randint(1, 3))})
    parts: list[dict[str, Any]] = []
    for _ in range(rng.randint(1, 3)):
        asset = rng.choice(assets)
        parts.append(
            {"say": "Kính mời bà con"} if rng.random() < 0.3 else {"media": asset.digest, "url": asset.url}
        )
    rule: dict[str, Any] = {"id": f"luat-{number}", "at": at, "programme": parts}
    if rng.random() < 0.4:
        rule["days"] = rng.sample(DAYS, rng.randint(1, 6))
    if rng.random() < 0.3:
        rule["late"] = {"policy": "skip"} if rng.random() < 0.5 else {"minutes": rng.randint(1, 60)}
    if rng.random() < 0.2:
        rule["repeat"] = {"times": rng.randint(2, 4), "every_min": rng.randint(5, 90)}
    if rng.random() < 0.2:
        rule["together"] = True
    return rule


async def orders(week: Week) -> None:
    """Some orders a day."""
    rng, village = week.rng, week.village
    while week.now_s < (week.days - 0.1) * DAY_S:
        await asyncio.sleep(rng.expovariate(1 / (DAY_S / 5)))
        klass = rng.choices(("routine", "priority", "emergency"), (6, 3, 1))[0]
        match rng.choices(("play", "say", "board_show", "volume", "stop", "ping"), (6, 2, 3, 1, 1, 1))[0]:
            case "play":
                order = village.play(rng.choice(week.assets), klass, good_for_s=rng.choice((60, 600, 3_000)))
            case "say":
                order = village.order("say", klass, text="Chú ý, trời mưa to", good_for_s=600)
            case "board_show":
                order = village.order("board_show", klass, text=rng.choice(TEXTS), ttl_s=900)
            case "volume":
                order = village.order("volume", volume=rng.randint(30, 90))
            case "stop" if week.orders:
                order = village.order("stop", order=rng.choice(week.orders[-5:]))
            case _:
                order = village.order("ping")
        week.orders.append(order)


async def misfortunes(week: Week) -> None:
    """Short faults of every kind, some long ones, power cuts, and a network that is away for a day."""
    world, rng = week.village.world, week.rng
    span_s = (week.days - 0.25) * DAY_S
    plan = [*faults.drawn(rng, count=round(2.5 * week.days), span_s=span_s, longest_s=300)]
    plan += faults.drawn(rng, count=round(week.days / 2), span_s=span_s, longest_s=4 * 3600, kinds=LONG)
    plan += faults.drawn(rng, count=round(week.days), span_s=span_s, longest_s=900, kinds=("power", "crash"))
    if rng.random() < 0.5:
        away_s = rng.uniform(0.5, 1.5) * DAY_S
        plan.append(faults.Fault(at_s=rng.uniform(0, span_s - away_s), what="broker lost", for_s=away_s))
    await faults.play(world, sorted(plan, key=lambda fault: fault.at_s))


async def time_service(week: Week) -> None:
    """What NTP does: sets a clock that nobody vouches for, once there is a network, some minutes later."""
    world = week.village.world
    while True:
        await asyncio.sleep(week.rng.uniform(60, 900))
        if not world.clock.wall_synced() and world.broker.network == "whole":
            world.clock.sync(world.outside.utc_now())


def mend(week: Week) -> None:
    """Every fault has ended; whatever the order of their ends left is put right."""
    world = week.village.world
    world.broker.heal()
    world.disk.mend()
    world.database.mend()
    world.disk.slow_s = world.database.slow_s = 0.0
    world.card.replug()
    world.card.resume()
    world.sign.dark = world.sign.silent = False
    world.pull_serial(out=False)
    world.clock.sync(world.outside.utc_now())
