"""What the world does to a loudspeaker in mid-turn, and what is heard and reported of it."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from edge_agent.errors import MediaRefused
from edge_agent.model import OrderState, Outcome, Precedence, Reason, ReasonCode
from edge_agent.playout.gain import RAMP_FRAMES
from tests.playout.conftest import RATE_HZ, NoisySource, Rig, sounding, through

EMERGENCY = Precedence.EMERGENCY


def test_a_missing_device_is_tried_three_times_then_reported_with_a_remedy(rig: Rig) -> None:
    rig.card.faults.missing = True

    async def story() -> None:
        finished = await through(rig.request(NoisySource(1.0)))
        assert rig.now_s == pytest.approx(13, abs=0.1)
        assert (finished.state, finished.asrun.outcome) == (OrderState.FAILED, Outcome.FAILED)
        assert finished.asrun.reason is not None
        assert finished.asrun.reason.code is ReasonCode.HARDWARE_FAULT
        assert "check its plug" in finished.asrun.reason.text
        assert finished.asrun.started_ns is None

    rig.run(story)


def test_a_device_that_comes_back_while_it_is_looked_for_plays_whole(rig: Rig) -> None:
    rig.card.faults.missing = True

    async def story() -> None:
        turn = asyncio.create_task(through(rig.request(NoisySource(1.0))))
        await asyncio.sleep(1)
        rig.card.replug()
        assert (await turn).asrun.outcome is Outcome.AIRED

    rig.run(story)


def test_unplugged_in_mid_turn_it_goes_on_with_the_first_unheard_frame(rig: Rig) -> None:
    source = NoisySource(6.0)

    async def story() -> None:
        turn = asyncio.create_task(through(rig.request(source)))
        await asyncio.sleep(4.003)
        rig.card.unplug()
        await asyncio.sleep(3)
        rig.card.replug()
        finished = await turn
        assert finished.state is OrderState.SUCCESSFUL
        assert finished.asrun.frames == source.frames.size
        assert finished.result["reopened"] == 1

    rig.run(story)
    heard = sounding(rig.heard.everything())
    assert heard.size == source.frames.size
    wrong = np.flatnonzero(heard != source.frames)
    assert wrong.size <= 3 * RAMP_FRAMES, "only the ramps differ"


def test_unplugged_for_good_the_rest_is_reported_as_not_played(rig: Rig) -> None:
    async def story() -> None:
        turn = asyncio.create_task(through(rig.request(NoisySource(6.0))))
        await asyncio.sleep(4)
        rig.card.unplug()
        finished = await turn
        assert (finished.state, finished.asrun.outcome) == (OrderState.FAILED, Outcome.PARTIAL)
        assert finished.asrun.reason is not None
        assert finished.asrun.reason.code is ReasonCode.HARDWARE_FAULT
        assert finished.asrun.frames == pytest.approx(1.8 * RATE_HZ, abs=2000)
        rig.card.replug()
        assert (await through(rig.request(NoisySource(1.0)))).state is OrderState.SUCCESSFUL

    rig.run(story)


def test_an_emergency_while_the_device_is_gone_is_tried_and_the_bulletin_resumes(rig: Rig) -> None:
    async def story() -> None:
        routine = asyncio.create_task(through(rig.request(NoisySource(6.0))))
        await asyncio.sleep(4)
        rig.card.unplug()
        await asyncio.sleep(1)
        emergency = asyncio.create_task(through(rig.request(NoisySource(1.0), EMERGENCY)))
        await asyncio.sleep(1)
        rig.card.replug()
        assert (await emergency).asrun.outcome is Outcome.AIRED
        assert (await routine).asrun.outcome is Outcome.AIRED

    rig.run(story)


def test_a_source_that_cannot_be_opened_fails_at_once_and_moves_no_more_than_it_must(rig: Rig) -> None:
    async def refuse() -> NoisySource:
        raise MediaRefused(ReasonCode.NO_MEDIA, "The file is not audio.")

    async def story() -> None:
        finished = await through(rig.channel.request(rig.play(), refuse))
        assert rig.now_s == pytest.approx(10, abs=0.01)
        assert (finished.state, finished.asrun.outcome) == (OrderState.FAILED, Outcome.FAILED)
        assert finished.asrun.reason == Reason(ReasonCode.NO_MEDIA, "The file is not audio.")

    rig.run(story)


def test_a_programme_that_breaks_off_plays_what_it_has(rig: Rig) -> None:
    async def story() -> None:
        finished = await through(rig.request(NoisySource(3.0, break_at=RATE_HZ)))
        assert (finished.state, finished.asrun.outcome) == (OrderState.FAILED, Outcome.PARTIAL)
        assert finished.asrun.frames == RATE_HZ

    rig.run(story)


def test_a_line_that_does_not_obey_is_a_hardware_fault_and_the_next_turn_tries_again(rig: Rig) -> None:
    rig.lines.fail("zone_upper")

    async def story() -> None:
        finished = await through(rig.request(NoisySource(1.0)))
        assert finished.state is OrderState.FAILED
        assert finished.asrun.reason is not None
        assert finished.asrun.reason.code is ReasonCode.HARDWARE_FAULT
        assert not rig.lines.active("amplifier_power")
        rig.lines.fail("zone_upper", broken=False)
        assert (await through(rig.request(NoisySource(1.0)))).state is OrderState.SUCCESSFUL

    rig.run(story)


def test_a_failure_of_our_own_ends_what_it_had_and_the_channel_goes_on(rig: Rig) -> None:
    async def broken() -> NoisySource:
        raise RuntimeError("a bug")

    async def story() -> None:
        finished = await through(rig.channel.request(rig.play(), broken))
        assert finished.asrun.reason is not None
        assert finished.asrun.reason.code is ReasonCode.INTERNAL
        assert (await through(rig.request(NoisySource(1.0)))).state is OrderState.SUCCESSFUL

    rig.run(story)
