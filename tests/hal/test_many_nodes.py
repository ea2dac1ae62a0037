"""Several nodes in one simulated world: one time, one network, each with its own box, card and wrong clock."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import numpy as np

from hal.ports import Hardware
from hal.sim.village import Village

GROUP = ("239.1.1.1", 5004)


async def ear(hardware: Hardware) -> None:
    """A process that ticks, too softly for any checker, once for each packet to the group."""
    heard = await hardware.datagrams.open(host="0.0.0.0", port=GROUP[1], group=GROUP[0])
    stream = await hardware.sound.open(rate_hz=48_000, period_frames=960, ring_frames=9_600)
    try:
        while True:
            await heard.receive()
            await stream.write(np.full(480, 0.001, np.float32))
            await stream.drain()
    finally:
        heard.close()
        await stream.close()


def test_one_packet_to_a_group_sounds_at_every_node_by_its_own_card() -> None:
    village = Village(seed=4, nodes=3, drift_ppm=100)

    async def story() -> None:
        for world in village.nodes:
            world.start(ear)
        mouth = await village.neighbour("10.0.0.100").open(host="0.0.0.0", port=0)
        for _ in range(5):
            await asyncio.sleep(1)
            mouth.send(b"beep", GROUP)
        await asyncio.sleep(0.5)
        await village.nodes[1].crash(pause_s=0.5)
        await asyncio.sleep(0.2)
        mouth.send(b"beep", GROUP)
        await asyncio.sleep(1)

    village.run(story())
    heard = [[life.heard.frames_heard for life in world.lives()] for world in village.nodes]
    assert heard == [[6 * 480], [5 * 480, 480], [6 * 480]]
    assert len({world.card.drift_ppm for world in village.nodes}) == 3
    village.check()


def test_wall_clocks_are_off_by_what_was_allowed_and_wander_slowly() -> None:
    village = Village(seed=5, nodes=10, clock_error_ms=4)
    errors: list[list[float]] = []

    async def story() -> None:
        for _ in range(120):
            true = village.outside.utc_now()
            errors.append([(w.clock.utc_now() - true) / timedelta(milliseconds=1) for w in village.nodes])
            await asyncio.sleep(10)

    village.run(story())
    seen = np.array(errors)
    assert 1.5 < np.abs(seen).max() <= 4
    assert (np.ptp(seen, axis=0) > 3).all(), "each one wanders"
    assert np.abs(np.diff(seen, axis=0)).max() < 0.25, "and slowly: under 25 ppm"
    village.check()
