"""Any wiring, any wishes, given up at any instant: the world's own checker finds the sequence right."""

from __future__ import annotations

import asyncio
import random

import msgspec
import pytest

from edge_agent.model import NS
from edge_agent.playout.amplifier import Amplifier
from edge_agent.playout.settings import AmplifierSettings
from hal.sim import loop
from hal.sim.checkers import AmplifierRule, amplifier_walk
from hal.sim.clock import VirtualClock
from hal.sim.gpio import VirtualLines
from tests.playout.conftest import WIRED

SEEDS = 60
LINES = ("amplifier_unmute", "amplifier_power", "zone_upper", "zone_lower")


async def use(amplifier: Amplifier, rng: random.Random) -> None:
    """Turns of all lengths, some given up, with pauses around the hang time and the off-on delay."""
    for _ in range(rng.randint(1, 12)):
        zones = rng.choice([(), *((name,) for name in amplifier.zone_names)])
        try:
            async with asyncio.timeout(rng.choice([0.01, 0.5, 2.03, 2.3, 10])):
                await amplifier.acquire(zones)
                await asyncio.sleep(rng.choice([0, 0.01, 0.5, 3]))
        except TimeoutError:
            pass
        if rng.random() < 0.7:
            amplifier.release()
            await asyncio.sleep(rng.choice([0, 0.01, 4.9, 5, 5.02, 5.06, 6, 8.1, 20]))


def storm(settings: AmplifierSettings, seed: int) -> list[str]:
    rng = random.Random(seed)
    counter = loop.Counter(10 * NS)
    clock = VirtualClock(counter)
    lines = VirtualLines(clock)
    amplifier = Amplifier(settings=settings, lines=lines, clock=clock)

    async def main() -> None:
        life = asyncio.create_task(amplifier.life())
        user = asyncio.create_task(use(amplifier, rng))
        await asyncio.wait([user], timeout=rng.choice([rng.uniform(0, 30), 100]))
        user.cancel()
        life.cancel()
        await asyncio.wait([user, life])

    loop.run(main(), counter)
    _, found = amplifier_walk(lines.history, AmplifierRule(), counter.ns)
    return found + [f"{name} was left ACTIVE" for name in LINES if lines.active(name)]


@pytest.mark.parametrize("zones", [True, False], ids=["zones", "no zones"])
@pytest.mark.parametrize("mute", [True, False], ids=["mute", "no mute"])
@pytest.mark.parametrize("power", [True, False], ids=["power", "no power"])
def test_no_relay_switches_before_the_mute_has_taken_hold(*, power: bool, mute: bool, zones: bool) -> None:
    settings = msgspec.structs.replace(
        WIRED,
        power=WIRED.power if power else None,
        mute=WIRED.mute if mute else None,
        zones=WIRED.zones if zones else {},
    )
    for seed in range(SEEDS):
        assert storm(settings, seed) == [], f"seed {seed}"
