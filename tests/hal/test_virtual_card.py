"""The virtual sound card's own promises: time, drift, faults, and what its sinks hear."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from hal.errors import SoundLost, SoundMissing
from hal.ports import SoundCard
from hal.sim.clock import VirtualClock
from hal.sim.heard import Ears, Heard
from hal.sim.loop import NS, Counter, run
from hal.sim.sound import SoundFaults, VirtualCard

RATE = 48_000


def _beside(name: str) -> ModuleType:
    """A module of this directory, which is no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


scenes = _beside("sound_scenes")


class Stage:
    """A virtual card in virtual time."""

    def __init__(self, *, drift_ppm: float = 0.0, keep_s: float = 600.0) -> None:
        self.counter = Counter()
        self.clock = VirtualClock(self.counter)
        self.heard = Heard(keep_s=keep_s)
        self.card = VirtualCard(self.clock, self.heard, drift_ppm)

    def play(self, main: Any) -> Any:
        return run(main, self.counter)

    async def open(self) -> Any:
        return await self.card.open(rate_hz=RATE, period_frames=960, ring_frames=7_200)


def test_what_is_heard_at_an_instant_was_queued_for_it() -> None:
    stage = Stage()

    async def main() -> None:
        stream = await stage.open()
        await asyncio.sleep(1.0)
        await stream.write(np.full(4_800, 0.25, dtype=np.float32))
        await stream.drain()
        await stream.close()

    start = stage.counter.ns
    stage.play(main())
    assert stage.heard.first_ns == pytest.approx(start + NS, abs=NS // RATE + 1)
    assert stage.heard.rms(start + NS + NS // 100, start + NS + 9 * NS // 100) == pytest.approx(0.25)
    assert [round(gap.ms) for gap in stage.heard.gaps(start, start + 2 * NS)] == [1000, 900]


def test_a_fast_card_draws_more_frames_in_the_same_time() -> None:
    async def main(stage: Stage) -> float:
        stream = await stage.open()
        block = np.zeros(960, dtype=np.float32)
        begun = stage.clock.monotonic_ns()
        for _ in range(50 * 600):
            await stream.write(block)
        await stream.drain()
        return (stage.clock.monotonic_ns() - begun) / NS

    slow, fast = Stage(drift_ppm=-200), Stage(drift_ppm=200)
    assert slow.play(main(slow)) == pytest.approx(600 * (1 + 200e-6), abs=0.001)
    assert fast.play(main(fast)) == pytest.approx(600 * (1 - 200e-6), abs=0.001)


def test_a_late_writer_is_heard_as_inserted_silence() -> None:
    stage = Stage()

    async def main() -> None:
        stream = await stage.open()
        await stream.write(scenes.tone(0.1))
        stage.counter.advance(NS // 2)  # the event loop hung, or the machine was busy
        await stream.write(scenes.tone(0.1))
        await stream.drain()

    stage.play(main())
    assert stage.heard.underruns == 1
    assert stage.heard.frames_inserted == pytest.approx(0.4 * RATE, abs=2)


def test_blocks_larger_than_the_ring_leave_a_late_writer_half_of_it() -> None:
    stage = Stage()

    async def main() -> int:
        stream = await stage.open()
        writing = asyncio.create_task(stream.write(scenes.tone(2.0)))
        least = RATE
        for _ in range(300):
            await asyncio.sleep(0.005)
            status = stream.status()
            least = min(least, status.written - status.sounded)
        await writing
        await stream.drain()
        await stream.close()
        return least

    assert stage.play(main()) >= 3_500


def test_a_stalled_card_is_given_up_after_two_seconds() -> None:
    stage = Stage()

    async def main() -> float:
        stream = await stage.open()
        await stream.write(scenes.tone(0.1))
        stage.card.stall()
        begun = stage.clock.monotonic_ns()
        with pytest.raises(SoundLost, match="taken no frames for 2 s"):
            await stream.write(scenes.tone(10.0))
        await stream.close()
        return (stage.clock.monotonic_ns() - begun) / NS

    assert stage.play(main()) == pytest.approx(2.0, abs=0.01)


def test_a_short_stall_is_heard_late_but_whole() -> None:
    stage = Stage()

    async def main() -> None:
        stream = await stage.open()
        writing = asyncio.create_task(stream.write(scenes.chirp()))
        await asyncio.sleep(0.3)
        stage.card.stall()
        await asyncio.sleep(1.0)
        stage.card.resume()
        await writing
        await stream.drain()

    stage.play(main())
    np.testing.assert_array_equal(stage.heard.everything(), scenes.chirp())
    assert stage.heard.frames_inserted == pytest.approx(RATE, abs=2)


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (SoundFaults(missing=True), "plug it in"),
        (SoundFaults(wrong_card=True), "some other card"),
        (SoundFaults(held=True), "held by another program"),
    ],
)
def test_a_card_that_cannot_be_opened_says_why(faults: SoundFaults, words: str) -> None:
    stage = Stage()
    stage.card.faults = faults
    with pytest.raises(SoundMissing, match=words):
        stage.play(stage.open())


def test_a_card_whose_delay_lies_reports_its_first_sound_wrongly() -> None:
    stage = Stage()
    stage.card.faults.delay_lie_s = 0.5

    async def main() -> int:
        stream = await stage.open()
        await stream.write(scenes.tone(0.1))
        await stream.drain()
        first = stream.status().first_sound_ns
        assert first is not None
        return int(first)

    reported = stage.play(main())
    assert stage.heard.first_ns is not None
    assert reported - stage.heard.first_ns == pytest.approx(NS // 2, abs=10)


def test_a_replugged_card_opens_again() -> None:
    stage = Stage()

    async def main() -> None:
        stream = await stage.open()
        await stream.write(scenes.tone(0.1))
        stage.card.unplug()
        with pytest.raises(SoundLost):
            await stream.write(scenes.tone(0.1))
        await stream.close()
        assert not stage.card.present()
        stage.card.replug()
        await (await stage.open()).close()

    stage.play(main())
    assert len(stage.heard.sessions) == 2


def test_an_hour_of_audio_stays_in_bounded_memory() -> None:
    stage = Stage(keep_s=5.0)

    async def main() -> None:
        stream = await stage.open()
        block = np.full(7_200, 0.1, dtype=np.float32)
        for _ in range(3600 * RATE // 7_200):
            await stream.write(block)
        await stream.drain()

    stage.play(main())
    assert stage.heard.frames_heard == 3600 * RATE
    assert sum(segment.length for segment in stage.heard.segments) <= 20 * RATE
    assert stage.heard.underruns == 0


def test_several_ears_hear_the_same() -> None:
    counter = Counter()
    left, right = Heard(), Heard()
    card = VirtualCard(VirtualClock(counter), Ears(left, right))

    async def main(card: SoundCard) -> None:
        stream = await card.open(rate_hz=RATE, period_frames=960, ring_frames=7_200)
        await stream.write(scenes.tone(0.1))
        await asyncio.sleep(0.5)
        await stream.write(scenes.tone(0.1))
        await stream.close()

    run(main(card), counter)
    np.testing.assert_array_equal(left.everything(), right.everything())
    assert left.underruns == right.underruns == 1
    assert left.sessions == right.sessions
