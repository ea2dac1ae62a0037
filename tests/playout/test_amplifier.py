"""The amplifier's sequence, as whole histories of its lines."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.model import NS
from edge_agent.playout.amplifier import Amplifier, Position, State, Times, Wish, advance
from edge_agent.playout.settings import AmplifierSettings, LineSettings
from hal.errors import LineError
from hal.sim import loop
from hal.sim.clock import VirtualClock
from hal.sim.gpio import AmplifierPhysics, VirtualLines
from tests.playout.conftest import WIRED

History = list[tuple[str, bool, float]]


class Pole:
    """An amplifier alone, in virtual time."""

    def __init__(self, amplifier: AmplifierSettings = WIRED) -> None:
        self.counter = loop.Counter(10 * NS)
        clock = VirtualClock(self.counter)
        self.physics = AmplifierPhysics(
            power="amplifier_power",
            unmute="amplifier_unmute",
            settle_s=amplifier.settle_time_s,
            off_on_s=amplifier.off_on_delay_s,
        )
        self.thumps = amplifier.power is not None
        self.lines = VirtualLines(clock, watches=[self.physics])
        self.amplifier = Amplifier(settings=amplifier, lines=self.lines, clock=clock)
        self._requests = len(self.lines.history)

    def run(self, story: Callable[[Amplifier], Awaitable[None]]) -> History:
        async def main() -> None:
            async with asyncio.TaskGroup() as group:
                life = group.create_task(self.amplifier.life())
                await story(self.amplifier)
                life.cancel()

        loop.run(main(), self.counter)
        self.lines.close()
        assert not self.thumps or not list(self.physics.violations)
        return [
            (change.line, change.active, round(change.at_ns / NS - 10, 3))
            for change in list(self.lines.history)[self._requests :]
        ]


def test_all_lines_are_inactive_from_the_first_instant_and_that_means_muted() -> None:
    pole = Pole()
    assert [(c.line, c.active, c.level) for c in pole.lines.history] == [
        ("amplifier_unmute", False, False),  # its mute input is active low: low is muted
        ("amplifier_power", False, False),
        ("zone_upper", False, False),
        ("zone_lower", False, False),
    ]
    high = Pole(msgspec.structs.replace(WIRED, mute=LineSettings(offset=27)))
    assert high.lines.history[0].level, "a mute input that is active high is held high"


def test_the_whole_sequence_with_its_times() -> None:
    async def story(amplifier: Amplifier) -> None:
        assert await amplifier.acquire(["upper"]) == 0.1
        assert str(amplifier.state) == "LIVE"
        await asyncio.sleep(1)
        amplifier.release()
        await asyncio.sleep(20)
        assert str(amplifier.state) == "OFF"

    assert Pole().run(story) == [
        ("amplifier_power", True, 0),
        ("zone_upper", True, 2.0),
        ("amplifier_unmute", True, 2.1),
        ("amplifier_unmute", False, 8.1),
        ("amplifier_power", False, 8.15),
        ("zone_upper", False, 8.15),
    ]


def test_within_the_hang_time_it_is_live_at_once() -> None:
    pole = Pole()

    async def story(amplifier: Amplifier) -> None:
        await amplifier.acquire()
        amplifier.release()
        await asyncio.sleep(4.9)
        before = pole.counter.ns
        assert await amplifier.acquire() == 0.0, "no lead-in is owed"
        assert pole.counter.ns == before
        await asyncio.sleep(60)

    assert [c for c in pole.run(story) if c[0] == "amplifier_unmute"] == [
        ("amplifier_unmute", True, 2.1),
        ("amplifier_unmute", False, pytest.approx(67.0)),
    ]


def test_after_off_it_waits_before_on() -> None:
    async def story(amplifier: Amplifier) -> None:
        await amplifier.acquire()
        amplifier.release()
        await asyncio.sleep(5.2)
        assert amplifier.state is State.OFF
        await amplifier.acquire()

    history = [c for c in Pole().run(story) if c[0] == "amplifier_power"]
    assert history[1:3] == [("amplifier_power", False, 7.15), ("amplifier_power", True, 10.15)]


def test_another_zone_is_switched_while_muted_and_owes_a_lead_in() -> None:
    async def story(amplifier: Amplifier) -> None:
        await amplifier.acquire(["upper"])
        assert await amplifier.acquire(["lower"]) == 0.1

    assert Pole().run(story)[2:7] == [
        ("amplifier_unmute", True, 2.1),
        ("amplifier_unmute", False, 2.1),
        ("zone_upper", False, 2.15),
        ("zone_lower", True, 2.15),
        ("amplifier_unmute", True, 2.25),
    ]


def test_given_up_while_settling_it_is_never_unmuted_and_goes_off_after_the_hang_time() -> None:
    async def story(amplifier: Amplifier) -> None:
        waiting = asyncio.create_task(amplifier.acquire())
        await asyncio.sleep(1)
        waiting.cancel()
        await asyncio.wait([waiting])
        amplifier.release()
        await asyncio.sleep(30)

    assert Pole().run(story) == [
        ("amplifier_power", True, 0),
        ("amplifier_power", False, 6.0),
    ]


def test_cancelled_it_goes_off_waiting_only_for_the_mute() -> None:
    async def story(amplifier: Amplifier) -> None:
        await amplifier.acquire()

    assert Pole().run(story)[-4:] == [
        ("amplifier_unmute", False, 2.1),
        ("amplifier_power", False, 2.15),
        ("zone_upper", False, 2.15),
        ("zone_lower", False, 2.15),
    ]


def test_a_line_that_fails_takes_everything_off_and_is_told_to_whoever_waits() -> None:
    pole = Pole()
    pole.lines.fail("amplifier_unmute")

    async def story(amplifier: Amplifier) -> None:
        with pytest.raises(LineError):
            await amplifier.acquire()
        assert amplifier.state is State.OFF
        pole.lines.fail("amplifier_unmute", broken=False)
        assert await amplifier.acquire() == 0.1

    history = pole.run(story)
    assert ("amplifier_power", False, 2.1) in history


def test_without_a_power_line_there_is_nothing_to_settle() -> None:
    async def story(amplifier: Amplifier) -> None:
        await amplifier.acquire()

    pole = Pole(msgspec.structs.replace(WIRED, power=None))
    assert pole.run(story)[:3] == [
        ("zone_upper", True, 0),
        ("zone_lower", True, 0),
        ("amplifier_unmute", True, 0.1),
    ]


TIMES = Times(settle=2000, unmute=100, mute=50, hang=5000, off_on=3000)
zone_sets = st.none() | st.frozensets(st.sampled_from(["a", "b"]), min_size=1)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.lists(st.tuples(zone_sets, st.integers(0, 8000)), max_size=20))
def test_whatever_is_wished_when_the_sequence_keeps_its_order_and_its_times(
    wishes: list[tuple[frozenset[str] | None, int]],
) -> None:
    now, position, wish = 0, Position(), Wish()
    off_since, on_since, muted_since, switched_at = -(10**9), 0, 0, 0
    for zones, wait in wishes:
        wish = (
            Wish(zones=zones) if zones is not None else (wish if wish.zones is None else Wish(since_ns=now))
        )
        until = now + wait
        while True:
            step = advance(position, wish, TIMES, now)
            if isinstance(step, Position):
                if step.powered and not position.powered:
                    assert now - off_since >= TIMES.off_on
                    on_since = now
                if position.powered and not step.powered:
                    assert not position.live
                    assert now - muted_since >= TIMES.mute
                    off_since = now
                if step.zones != position.zones and step.powered:
                    assert not position.live
                    assert not step.live
                    switched_at = now
                if step.live and not position.live:
                    assert now - on_since >= TIMES.settle
                    assert now - switched_at >= TIMES.unmute
                    assert step.zones == wish.zones
                if position.live and not step.live:
                    muted_since = now
                position = step
            elif step is None or step > until:
                break
            else:
                assert step > now, "it never asks to be woken in the past"
                now = step
        now = until
