"""One programme's way to a card that holds something of its own."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from edge_agent.model import PERIOD_FRAMES, RATE_HZ, RING_FRAMES
from edge_agent.playout.pump import Pump
from hal.ports import SoundStatus
from hal.sim import loop
from hal.sim.clock import VirtualClock
from hal.sim.heard import Heard
from hal.sim.sound import VirtualCard, VirtualStream
from tests.playout.conftest import NoisySource

LEAD_IN = RATE_HZ // 10


class Holding:
    """A stream whose device says that it plays some silence before what is written now."""

    def __init__(self, stream: VirtualStream, silence_ahead: int) -> None:
        self._stream = stream
        self._ahead = silence_ahead
        self.write = stream.write
        self.drain = stream.drain
        self.drop = stream.drop
        self.close = stream.close

    def status(self) -> SoundStatus:
        now = self._stream.status()
        return SoundStatus(
            written=now.written,
            sounded=now.sounded,
            underruns=now.underruns,
            first_sound_ns=now.first_sound_ns,
            silence_ahead=self._ahead,
        )


@pytest.mark.parametrize(("ahead", "written"), [(0, LEAD_IN), (1200, LEAD_IN - 1200), (LEAD_IN + 1, 0)])
def test_of_the_lead_in_only_what_the_device_does_not_play_first_is_written(ahead: int, written: int) -> None:
    counter = loop.Counter(0)
    clock = VirtualClock(counter)
    heard = Heard()
    source = NoisySource(0.5)

    async def story() -> None:
        stream = await VirtualCard(clock, heard).open(
            rate_hz=RATE_HZ, period_frames=PERIOD_FRAMES, ring_frames=RING_FRAMES
        )
        pump = Pump(source=source, volume=100, ceiling_dbtp=-1.5, clock=clock)
        await pump.run(Holding(stream, ahead), lead_in_frames=LEAD_IN)
        await stream.close()
        assert pump.whole
        assert pump.heard == source.frames.size
        await asyncio.sleep(0)

    loop.run(story(), counter)
    assert np.flatnonzero(heard.everything())[0] == pytest.approx(written, abs=2)
