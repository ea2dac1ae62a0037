"""A simulated week of a whole node: orders, notices, health, every checker; how many wall seconds it takes."""

from __future__ import annotations

import asyncio
import logging
import os

from hal.sim.loop import NS
from tests.bench.measure import cpu_seconds, figure, seconds
from tests.flows.conftest import noise
from tests.flows.scene import Village

RUNS = 5
DAY_S = 86_400
BULLETIN_S = 10
TEXT = "Tiêm phòng dại cho chó, mèo vào sáng thứ Bảy"


def week(seed: int) -> tuple[Village, float]:
    """Four bulletins and two notices a day, one emergency in the week. Returns the village and wall seconds."""
    village = Village(seed)
    village.acknowledges_every_s = 60
    bulletin = noise("ban-tin.wav", BULLETIN_S, seed=1).on(village)
    alarm = noise("khan-cap.wav", 3, seed=2).on(village)

    async def story() -> None:
        for day in range(7):
            for hour in (5, 11, 17, 18):
                await asyncio.sleep(DAY_S * day + 3600 * hour - (village.world.counter.ns / NS - 12))
                village.play(bulletin, good_for_s=600)
                if hour == 5:
                    village.order("board_show", text="Họp 19h30", ttl_s=12 * 3600)
                if hour == 17:
                    village.order("board_show", "priority", text=TEXT, ttl_s=600)
            if day == 3:
                village.play(alarm, "emergency")
        await asyncio.sleep(DAY_S * 7 - (village.world.counter.ns / NS - 12))
        await village.quiet()

    started = seconds()
    village.tell(story, limit_s=8 * DAY_S)
    return village, seconds() - started


def main() -> None:
    """Print the figure."""
    logging.disable(logging.CRITICAL)
    found: list[float] = []
    used: list[float] = []
    done = 0
    for seed in range(RUNS):
        before_s = cpu_seconds(os.getpid())
        village, wall_s = week(seed)
        used.append(cpu_seconds(os.getpid()) - before_s)
        found.append(wall_s)
        done = len(village.stored())
        village.world.close()
    logging.disable(logging.NOTSET)
    figure("simulated_week", found, "s", aim="<= 2", orders=done)
    figure("simulated_week_cpu", used, "s")


if __name__ == "__main__":
    main()
