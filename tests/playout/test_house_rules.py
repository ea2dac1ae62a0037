"""Stories of the loudspeaker under the house rules: whoever asks the channel, by whichever inlet, is held to them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from edge_agent import kept
from edge_agent.clocktrust import ClockSettings, ClockTrust
from edge_agent.model import NS, Finished, OrderState, Outcome, Precedence, ReasonCode
from edge_agent.playout import daybook, stops
from edge_agent.playout.guard import Guard
from edge_agent.playout.settings import GovernorSettings
from hal.sim.database import VirtualDatabase
from tests.playout.conftest import NoisySource, Rig, through

EMERGENCY, PRIORITY, ROUTINE = Precedence.EMERGENCY, Precedence.PRIORITY, Precedence.ROUTINE


class House(Rig):
    """A loudspeaker with a real guard above it; it is `local` o'clock in Vietnam."""

    def __init__(self, *, local: str = "07:00:00", **rules: Any) -> None:
        self._local = local
        self._rules = GovernorSettings(**rules)
        super().__init__()

    def house_rules(self) -> Guard:
        self.clock.sync(datetime.fromisoformat(f"2026-11-23T{self._local}+07:00").astimezone(UTC))
        database = VirtualDatabase((kept.SCHEMA, stops.SCHEMA, daybook.SCHEMA))
        trust = ClockTrust(settings=ClockSettings(), clock=self.clock, database=database)
        return Guard(settings=self._rules, clock=self.clock, trust=trust, database=database)


def code(finished: Finished) -> ReasonCode | None:
    return None if finished.asrun.reason is None else finished.asrun.reason.code


def heard_s(finished: Finished) -> float:
    return finished.asrun.frames / 48_000


def test_quiet_hours_hold_whoever_asks_and_an_emergency_breaks_them() -> None:
    """A schedule that an authority signed asks the channel as everybody does; it is refused at the last door."""
    house = House(local="03:15:00")

    async def story() -> None:
        for precedence in (ROUTINE, PRIORITY):
            refused = await through(house.request(NoisySource(1.0), precedence, issuer="commune-schedule"))
            assert (code(refused), refused.asrun.outcome) == (ReasonCode.QUIET_HOURS, Outcome.REFUSED)
            assert refused.state is OrderState.FAILED
        assert (await through(house.request(NoisySource(1.0), EMERGENCY))).asrun.outcome is Outcome.AIRED

    house.run(story)
    assert [change for change in house.changes() if change[1]], "the emergency did sound"


def test_a_turn_that_runs_into_quiet_hours_is_cut_at_their_first_second() -> None:
    house = House(local="21:29:50")

    async def story() -> None:
        began_ns = house.counter.ns
        cut = await through(house.request(NoisySource(60.0)))
        assert (code(cut), cut.asrun.outcome) == (ReasonCode.QUIET_HOURS, Outcome.PARTIAL)
        assert cut.asrun.ended_ns is not None
        assert 0 <= cut.asrun.ended_ns - (began_ns + 10 * NS) < NS // 4
        waiting = await through(house.request(NoisySource(1.0), PRIORITY))
        assert code(waiting) is ReasonCode.QUIET_HOURS

    house.run(story)


def test_what_an_emergency_interrupted_does_not_go_on_in_quiet_hours() -> None:
    house = House(local="21:29:50")

    async def story() -> None:
        routine = asyncio.create_task(through(house.request(NoisySource(30.0))))
        await asyncio.sleep(6)
        emergency = asyncio.create_task(through(house.request(NoisySource(10.0), EMERGENCY)))
        assert (await emergency).asrun.outcome is Outcome.AIRED
        given_up = await routine
        assert (code(given_up), given_up.asrun.preempted_count) == (ReasonCode.QUIET_HOURS, 1)

    house.run(story)


def test_the_longest_turn_is_cut_and_the_next_one_gets_its_turn() -> None:
    house = House(turn_max_s=5, emergency_turn_max_s=8)

    async def story() -> None:
        long = asyncio.create_task(through(house.request(NoisySource(60.0))))
        after = asyncio.create_task(through(house.request(NoisySource(1.0, seed=2))))
        cut = await long
        assert (code(cut), cut.asrun.outcome) == (ReasonCode.GOVERNOR, Outcome.PARTIAL)
        assert 4.7 < heard_s(cut) <= 5.01, "to the end of its fade"
        assert (await after).asrun.outcome is Outcome.AIRED
        emergency = await through(house.request(NoisySource(60.0), EMERGENCY))
        assert 7.7 < heard_s(emergency) <= 8.01, "to the end of its fade"

    house.run(story)


def test_interruptions_do_not_lengthen_a_turn() -> None:
    house = House(turn_max_s=6, emergency_turn_max_s=60)

    async def story() -> None:
        routine = asyncio.create_task(through(house.request(NoisySource(60.0))))
        await asyncio.sleep(6)
        await through(house.request(NoisySource(20.0), EMERGENCY))
        cut = await routine
        assert code(cut) is ReasonCode.GOVERNOR
        assert cut.asrun.preempted_count == 1
        assert 5.3 < heard_s(cut) <= 6.0

    house.run(story)


def test_the_days_minutes_end_a_turn_and_emergencies_do_not_need_them() -> None:
    house = House(minutes_a_day=1)

    async def story() -> None:
        first = await through(house.request(NoisySource(40.0)))
        assert first.asrun.outcome is Outcome.AIRED
        second = await through(house.request(NoisySource(40.0), PRIORITY))
        assert (code(second), second.asrun.outcome) == (ReasonCode.GOVERNOR, Outcome.PARTIAL)
        assert heard_s(first) + heard_s(second) <= 60
        assert heard_s(first) + heard_s(second) > 59
        third = await through(house.request(NoisySource(1.0)))
        assert (code(third), third.asrun.outcome) == (ReasonCode.GOVERNOR, Outcome.REFUSED)
        assert (await through(house.request(NoisySource(1.0), EMERGENCY))).asrun.outcome is Outcome.AIRED

    house.run(story)


def test_a_recording_may_begin_only_so_often() -> None:
    house = House(repeats_a_day=2)

    async def story() -> None:
        codes = [code(await through(house.request(NoisySource(0.5)))) for _ in range(3)]
        assert codes == [None, None, ReasonCode.GOVERNOR]

    house.run(story)


def test_no_order_is_louder_than_its_class_may_be() -> None:
    house = House(volume_max=40, emergency_volume_max=80)

    async def story() -> None:
        volumes = [
            (await through(house.request(NoisySource(0.5), precedence, volume=volume))).asrun.volume
            for precedence, volume in ((ROUTINE, 100), (PRIORITY, 20), (EMERGENCY, 100), (ROUTINE, None))
        ]
        assert volumes == [40, 20, 80, 40]
        playing = asyncio.create_task(through(house.request(NoisySource(8.0))))
        await asyncio.sleep(4)
        house.channel.set_volume(100)
        assert (await playing).asrun.volume == 40

    house.run(story)


def test_turns_keep_their_distance_and_an_emergency_does_not_wait() -> None:
    house = House(gap_s=20)

    async def story() -> None:
        first = asyncio.create_task(through(house.request(NoisySource(1.0))))
        second = asyncio.create_task(through(house.request(NoisySource(1.0, seed=2))))
        ended_ns = (await first).asrun.ended_ns
        emergency = asyncio.create_task(through(house.request(NoisySource(1.0, seed=3), EMERGENCY)))
        urgent_ns = (await emergency).asrun.started_ns
        assert ended_ns is not None
        assert urgent_ns is not None
        assert urgent_ns - ended_ns < NS
        started_ns = (await second).asrun.started_ns
        assert started_ns is not None
        assert started_ns - urgent_ns >= 20 * NS

    house.run(story)


def test_a_routine_request_is_refused_while_nobody_knows_the_hour_and_a_priority_is_not() -> None:
    house = House()
    house.clock.lose()

    async def story() -> None:
        refused = await through(house.request(NoisySource(1.0)))
        assert (code(refused), refused.asrun.outcome) == (ReasonCode.CLOCK_UNTRUSTED, Outcome.REFUSED)
        assert (await through(house.request(NoisySource(1.0), PRIORITY))).asrun.outcome is Outcome.AIRED

    house.run(story)


def test_a_clock_that_jumps_into_the_night_cuts_once_it_is_believed() -> None:
    house = House(local="12:00:00")

    async def story() -> None:
        playing = asyncio.create_task(through(house.request(NoisySource(1_500.0))))
        await asyncio.sleep(30)
        house.clock.step(11 * 3600)
        jumped_ns = house.counter.ns
        cut = await playing
        assert code(cut) is ReasonCode.QUIET_HOURS
        assert 480 * NS <= house.counter.ns - jumped_ns <= 602 * NS

    house.run(story)
