"""Random histories of one loudspeaker: orders, stops, cable faults and shutdown at any instant, from a seed."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys

import numpy as np
import pytest

from edge_agent.errors import Refused
from edge_agent.model import Finished, Outcome, Precedence
from tests.playout.conftest import NoisySource, Rig, through

FADE_FRAMES = 384


class Storm:
    """Everything that happens in one random history."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.rig = Rig(queue_requests=4, resume_within_s=self.rng.choice([3, 30]), reopen_within_s=3)
        self.sources: list[NoisySource] = []
        self.ended: list[Finished] = []
        self.refused = 0
        self.cuts = 0

    async def ask(self) -> None:
        rng = self.rng
        source = NoisySource(rng.uniform(0.004, 6.0), seed=rng.randrange(1000))
        precedence = rng.choices(list(Precedence), weights=[5, 3, 2])[0]
        zones = rng.choice([(), (), ("upper",), ("lower",)])
        try:
            ticket = self.rig.request(source, precedence, within_s=rng.choice([2, 60]), zones=zones)
        except Refused:
            self.refused += 1
            return
        self.sources.append(source)
        granted = await ticket.granted()
        if granted:
            await asyncio.sleep(rng.choice([0, 0.004, 0.2]))  # to store it
            ticket.begin()
        self.ended.append(await ticket.ended())

    async def story(self) -> None:
        rng, rig = self.rng, self.rig
        async with asyncio.TaskGroup() as askers:
            for _ in range(40):
                await asyncio.sleep(rng.choice([0, 0.003, 0.05, 0.5, 3.0]) * rng.random())
                happening = rng.random()
                if happening < 0.7:
                    askers.create_task(self.ask())
                elif happening < 0.85:
                    self.cuts += rig.channel.stop(highest=rng.choice(list(Precedence)))
                elif happening < 0.9:
                    rig.channel.set_volume(rng.randrange(50, 101))
                elif happening < 0.95:
                    rig.card.unplug()
                    self.cuts += FADE_FRAMES  # a fade that was promised may be lost with the card
                else:
                    rig.card.replug()
            rig.card.replug()
            if rng.random() < 0.5:
                await rig.channel.wind_up()


@pytest.mark.parametrize("seed", range(30))
def test_in_any_storm_each_request_ends_once_and_the_account_is_true(seed: int) -> None:
    storm = Storm(seed)
    storm.rig.run(storm.story)
    assert len(storm.ended) == len(storm.sources), f"seed {seed}: each request has one end"
    for source in storm.sources:
        assert source.closed <= 1
    heard = int(np.count_nonzero(storm.rig.heard.everything()))
    told = sum(finished.asrun.frames for finished in storm.ended)
    cuts = storm.cuts + sum(finished.asrun.preempted_count for finished in storm.ended) + 3
    assert abs(heard - told) <= cuts, f"seed {seed}: what is reported is what was heard"
    for finished in storm.ended:
        asrun = finished.asrun
        assert (asrun.reason is None) == (asrun.outcome is Outcome.AIRED)
        assert (asrun.started_ns is None) == (asrun.frames == 0), f"seed {seed}: {finished}"


def test_silence_costs_nothing_while_nobody_speaks(rig: Rig) -> None:
    async def story() -> None:
        await asyncio.sleep(7 * 86_400)
        await through(rig.request(NoisySource(0.5)))

    rig.run(story)
    assert len(rig.lines.history) < 20


def test_an_idle_channel_loads_no_heavy_library() -> None:
    program = (
        "import sys, edge_agent.playout.channel, edge_agent.playout.amplifier;"
        "print([name for name in ('numpy', 'av') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
