"""Whoever asks the channel learns why the sound device could not be had, until it could."""

from __future__ import annotations

import asyncio

from tests.playout.conftest import NoisySource, Rig, through


def fault(rig: Rig) -> str | None:
    return rig.channel.sound_fault


def test_a_missing_device_is_a_fault_until_a_turn_has_had_it(rig: Rig) -> None:
    rig.card.faults.missing = True

    async def story() -> None:
        assert fault(rig) is None, "nobody has looked"
        await through(rig.request(NoisySource(1.0)))
        assert fault(rig) is not None
        rig.card.replug()
        assert fault(rig) is not None, "nobody has looked again"
        await through(rig.request(NoisySource(1.0)))
        assert fault(rig) is None

    rig.run(story)


def test_a_device_unplugged_for_good_is_a_fault_and_one_that_comes_back_is_none(rig: Rig) -> None:
    async def story() -> None:
        turn = asyncio.create_task(through(rig.request(NoisySource(6.0))))
        await asyncio.sleep(4)
        rig.card.unplug()
        await asyncio.sleep(3)
        rig.card.replug()
        await turn
        assert fault(rig) is None
        turn = asyncio.create_task(through(rig.request(NoisySource(6.0))))
        await asyncio.sleep(4)
        rig.card.unplug()
        await turn
        assert fault(rig) is not None
        rig.card.replug()

    rig.run(story)
