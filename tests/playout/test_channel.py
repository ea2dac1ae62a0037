"""Stories of one loudspeaker: turns, pre-emption, stops, faults; heard at a virtual card in virtual time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_agent.errors import Refused
from edge_agent.model import NS, Intent, OrderState, Outcome, Precedence, Reason, ReasonCode
from edge_agent.playout.amplifier import State
from edge_agent.playout.gain import RAMP_FRAMES
from edge_agent.playout.rules import NoRules
from tests.playout.conftest import RATE_HZ, WIRED, NoisySource, Rig, sounding, through

if TYPE_CHECKING:
    from hal.ports import Frames

LEAD_IN = round(WIRED.lead_in_s * RATE_HZ)
EMERGENCY, PRIORITY, ROUTINE = Precedence.EMERGENCY, Precedence.PRIORITY, Precedence.ROUTINE


def assert_same_but_edges(heard: Frames, programme: Frames) -> None:
    assert heard.size == programme.size
    inner = slice(RAMP_FRAMES, -RAMP_FRAMES)
    np.testing.assert_array_equal(heard[inner], programme[inner])
    assert np.all(np.abs(heard) <= np.abs(programme) + 1e-7)


def test_a_programme_is_heard_whole_through_the_amplifiers_sequence(rig: Rig) -> None:
    source = NoisySource(3.0)

    async def story() -> None:
        finished = await through(rig.request(source))
        assert finished.state is OrderState.SUCCESSFUL
        asrun = finished.asrun
        assert asrun.outcome is Outcome.AIRED
        assert asrun.reason is None
        assert asrun.frames == source.frames.size
        assert asrun.underruns == 0
        assert asrun.volume == 100
        assert asrun.proof == 1
        assert asrun.started_ns is not None
        assert asrun.ended_ns is not None
        assert asrun.started_ns / NS == pytest.approx(10 + 2.0 + 0.1 + 0.1, abs=0.03)
        assert (asrun.ended_ns - asrun.started_ns) / NS == pytest.approx(3.0, abs=0.05)
        assert finished.result == {"frames": source.frames.size, "gaps": 0}
        await asyncio.sleep(10)

    rig.run(story)
    assert_same_but_edges(sounding(rig.heard.everything()), source.frames)
    assert source.closed == 1
    assert rig.changes() == [
        ("amplifier_power", True, 0.0),
        ("zone_upper", True, 2.0),
        ("zone_lower", True, 2.0),
        ("amplifier_unmute", True, 2.1),
        ("amplifier_unmute", False, pytest.approx(10.2, abs=0.05)),
        ("amplifier_power", False, pytest.approx(10.25, abs=0.05)),
        ("zone_upper", False, pytest.approx(10.25, abs=0.05)),
        ("zone_lower", False, pytest.approx(10.25, abs=0.05)),
    ]


def test_the_first_frames_are_not_eaten_by_the_sequence(rig: Rig) -> None:
    source = NoisySource(1.0)

    async def story() -> None:
        await through(rig.request(source))

    rig.run(story)
    unmuted_ns = next(c.at_ns for c in rig.lines.changes("amplifier_unmute") if c.active)
    heard = rig.heard.between(unmuted_ns, unmuted_ns + 2 * NS)
    first = int(np.flatnonzero(heard)[0])
    assert first >= 0.1 * RATE_HZ - 1, "the lead-in lies between unmuting and the programme"
    np.testing.assert_array_equal(heard[first + RAMP_FRAMES : first + 2400], source.frames[RAMP_FRAMES:2400])


def test_the_device_is_open_only_inside_a_turn(rig: Rig) -> None:
    async def story() -> None:
        await asyncio.sleep(5)
        assert not rig.heard.sessions
        await through(rig.request(NoisySource(1.0)))
        await asyncio.sleep(1)
        assert rig.card.stream is None
        assert rig.amplifier.state is State.LIVE, "the hang time is not over"

    rig.run(story)
    assert len(rig.heard.sessions) == 1


def test_nothing_is_heard_and_no_line_moves_before_the_asker_has_stored(rig: Rig) -> None:
    async def story() -> None:
        ticket = rig.request(NoisySource(1.0))
        assert await ticket.granted()
        await asyncio.sleep(5)
        assert rig.changes() == []
        assert not rig.heard.sessions
        ticket.begin()
        assert (await ticket.ended()).state is OrderState.SUCCESSFUL

    rig.run(story)


def test_an_asker_that_never_stores_does_not_block_the_loudspeaker(rig: Rig) -> None:
    async def story() -> None:
        deaf = rig.request(NoisySource(1.0))
        following = rig.request(NoisySource(1.0))
        finished = await deaf.ended()
        assert finished.state is OrderState.FAILED
        assert finished.asrun.reason is not None
        assert finished.asrun.reason.code is ReasonCode.INTERNAL
        assert (await through(following)).state is OrderState.SUCCESSFUL

    rig.run(story)


def test_an_emergency_cuts_in_within_150_ms_and_what_it_cut_goes_on_with_the_next_frame(rig: Rig) -> None:
    bulletin, alarm = NoisySource(8.0, seed=1), NoisySource(2.0, seed=2, level=0.2)
    ordered_ns = alarm_began_ns = 0

    async def story() -> None:
        nonlocal ordered_ns, alarm_began_ns
        routine = asyncio.create_task(through(rig.request(bulletin)))
        await asyncio.sleep(5.0173)
        ordered_ns = rig.counter.ns
        emergency = await through(rig.request(alarm, EMERGENCY))
        assert emergency.asrun.outcome is Outcome.AIRED
        assert emergency.asrun.started_ns is not None
        alarm_began_ns = emergency.asrun.started_ns
        finished = await routine
        assert finished.state is OrderState.SUCCESSFUL
        assert finished.asrun.outcome is Outcome.AIRED
        assert finished.asrun.preempted_count == 1
        assert finished.asrun.frames == bulletin.frames.size

    rig.run(story)
    heard = rig.heard.everything()[LEAD_IN:]
    start = int(np.flatnonzero(heard == alarm.frames[1000])[0]) - 1000
    began_ns = rig.heard.segments[0].start_ns + (LEAD_IN + start) * NS // RATE_HZ
    assert 0 < began_ns - ordered_ns <= 0.060 * NS, "150 ms are allowed; a real card adds its own latency"
    assert abs(alarm_began_ns - began_ns) <= 0.020 * NS, "what is reported is right within a period"
    assert_same_but_edges(heard[start : start + alarm.frames.size], alarm.frames)
    before, after = heard[:start], heard[start + alarm.frames.size :]
    assert before.size + after.size == bulletin.frames.size, "no frame is missing and none came twice"
    fade = round(0.008 * RATE_HZ)
    np.testing.assert_array_equal(before[RAMP_FRAMES:-fade], bulletin.frames[RAMP_FRAMES : start - fade])
    np.testing.assert_array_equal(
        after[RAMP_FRAMES:-RAMP_FRAMES], bulletin.frames[start + RAMP_FRAMES : -RAMP_FRAMES]
    )
    assert len([c for c in rig.changes() if c[0] == "amplifier_power"]) == 2, "the amplifier stays on"


def test_after_a_rewind_the_last_words_are_said_again() -> None:
    rig = Rig(resume_rewind_s=0.5)
    bulletin = NoisySource(6.0)

    async def story() -> None:
        routine = asyncio.create_task(through(rig.request(bulletin)))
        await asyncio.sleep(4)
        await through(rig.request(NoisySource(1.0, seed=2), EMERGENCY))
        assert (await routine).asrun.frames == bulletin.frames.size

    rig.run(story)
    assert rig.heard.everything()[LEAD_IN:].size == bulletin.frames.size + 1.5 * RATE_HZ


def test_three_classes_at_once_each_resume_highest_first(rig: Rig) -> None:
    ended: list[str] = []

    async def ask(name: str, source: NoisySource, precedence: Precedence) -> None:
        finished = await through(rig.request(source, precedence))
        assert finished.asrun.outcome is Outcome.AIRED
        assert finished.asrun.frames == source.frames.size
        ended.append(name)

    async def story() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(ask("routine", NoisySource(6.0, seed=1), ROUTINE))
            await asyncio.sleep(4)
            group.create_task(ask("priority", NoisySource(4.0, seed=2), PRIORITY))
            await asyncio.sleep(1)
            group.create_task(ask("emergency", NoisySource(2.0, seed=3), EMERGENCY))
            await asyncio.sleep(0.5)
            snapshot = rig.channel.snapshot()
            assert (snapshot.current, snapshot.suspended) == ("emergency-3", 2)

    rig.run(story)
    assert ended == ["emergency", "priority", "routine"]
    assert rig.heard.underruns == 0


def test_what_cannot_resume_in_time_ends_preempted() -> None:
    rig = Rig(resume_within_s=2)

    async def story() -> None:
        source = NoisySource(6.0)
        routine = asyncio.create_task(through(rig.request(source)))
        await asyncio.sleep(4)
        emergency = asyncio.create_task(through(rig.request(NoisySource(5.0, seed=2), EMERGENCY)))
        finished = await routine
        assert not emergency.done()
        assert finished.state is OrderState.INTERRUPTED
        assert finished.asrun.outcome is Outcome.PREEMPTED
        assert 0 < finished.asrun.frames < source.frames.size
        await emergency
        assert source.closed == 1

    rig.run(story)


def test_a_stop_is_silent_within_150_ms_and_the_rest_is_reported(rig: Rig) -> None:
    source = NoisySource(30.0)

    async def story() -> None:
        turn = asyncio.create_task(through(rig.request(source)))
        await asyncio.sleep(7.01)
        stopped_ns = rig.counter.ns
        assert rig.channel.stop() == 1
        finished = await turn
        assert finished.state is OrderState.CANCELLED
        assert finished.asrun.outcome is Outcome.PARTIAL
        await asyncio.sleep(1)
        assert rig.heard.end_ns is not None
        assert rig.heard.end_ns - stopped_ns <= 0.150 * NS
        assert finished.asrun.frames == rig.heard.everything()[LEAD_IN:].size

    rig.run(story)


def test_a_stop_up_to_a_class_leaves_what_is_above_it(rig: Rig) -> None:
    async def story() -> None:
        priority = asyncio.create_task(through(rig.request(NoisySource(3.0), PRIORITY)))
        routine = rig.request(NoisySource(3.0))
        await asyncio.sleep(3)
        assert rig.channel.stop(highest=ROUTINE) == 1
        finished = await routine.ended()
        assert (finished.state, finished.asrun.outcome) == (OrderState.CANCELLED, Outcome.MISSED)
        assert (await priority).state is OrderState.SUCCESSFUL

    rig.run(story)


def test_a_stop_of_one_order_leaves_the_others(rig: Rig) -> None:
    async def story() -> None:
        first = asyncio.create_task(through(rig.request(NoisySource(3.0))))
        second = asyncio.create_task(through(rig.request(NoisySource(3.0))))
        await asyncio.sleep(3)
        current = rig.channel.snapshot().current
        assert rig.channel.stop(target=current) == 1
        assert rig.channel.stop(target=current) <= 1
        assert (await first).state is OrderState.CANCELLED
        assert (await second).state is OrderState.SUCCESSFUL

    rig.run(story)


def test_a_stop_while_the_turn_before_is_fading_out_stops_the_one_that_was_about_to_begin(rig: Rig) -> None:
    async def story() -> None:
        routine = asyncio.create_task(through(rig.request(NoisySource(6.0))))
        await asyncio.sleep(4)
        emergency = rig.request(NoisySource(2.0), EMERGENCY)
        await asyncio.sleep(0)
        assert rig.channel.stop() == 2
        assert (await emergency.ended()).asrun.outcome is Outcome.MISSED
        assert (await routine).asrun.outcome is Outcome.PARTIAL

    rig.run(story)


def test_an_order_whose_turn_comes_too_late_expires(rig: Rig) -> None:
    async def story() -> None:
        long = asyncio.create_task(through(rig.request(NoisySource(20.0))))
        late = rig.request(NoisySource(1.0), within_s=5)
        finished = await late.ended()
        assert rig.now_s == pytest.approx(15, abs=0.01)
        assert (finished.state, finished.asrun.outcome) == (OrderState.EXPIRED, Outcome.MISSED)
        assert finished.asrun.reason is not None
        assert finished.asrun.reason.code is ReasonCode.EXPIRED
        await long

    rig.run(story)


def test_a_full_queue_refuses_but_makes_room_for_a_higher_class() -> None:
    rig = Rig(queue_requests=2)

    async def story() -> None:
        current = asyncio.create_task(through(rig.request(NoisySource(5.0))))
        await asyncio.sleep(1)
        older, newer = rig.request(NoisySource(1.0)), rig.request(NoisySource(1.0))
        with pytest.raises(Refused) as refused:
            rig.request(NoisySource(1.0))
        assert refused.value.code is ReasonCode.BUSY
        priority = asyncio.create_task(through(rig.request(NoisySource(1.0), PRIORITY)))
        displaced = await newer.ended()
        assert displaced.asrun.outcome is Outcome.REFUSED
        assert displaced.asrun.reason is not None
        assert displaced.asrun.reason.code is ReasonCode.BUSY
        for task in (priority, asyncio.create_task(through(older)), current):
            assert (await task).asrun.outcome is Outcome.AIRED

    rig.run(story)


class Night(NoRules):
    """Only emergencies."""

    reason = Reason(ReasonCode.QUIET_HOURS, "It is night.")

    def allow(self, intent: Intent, now_ns: int) -> Reason | None:
        return None if intent.precedence is EMERGENCY else self.reason


def test_the_house_rules_are_asked_when_the_turn_comes() -> None:
    rig = Rig(rules=Night())
    quiet = Night.reason

    async def story() -> None:
        refused = await rig.request(NoisySource(1.0)).ended()
        assert (refused.state, refused.asrun.outcome) == (OrderState.FAILED, Outcome.REFUSED)
        assert refused.asrun.reason == quiet
        assert (await through(rig.request(NoisySource(1.0), EMERGENCY))).state is OrderState.SUCCESSFUL

    rig.run(story)


def test_back_to_back_turns_use_the_hang_time_and_keep_a_gap(rig: Rig) -> None:
    async def story() -> None:
        first = asyncio.create_task(through(rig.request(NoisySource(1.0))))
        second = asyncio.create_task(through(rig.request(NoisySource(1.0, seed=2))))
        ended_ns = (await first).asrun.ended_ns
        started_ns = (await second).asrun.started_ns
        assert ended_ns is not None
        assert started_ns is not None
        assert 0.45 * NS <= started_ns - ended_ns <= 0.6 * NS

    rig.run(story)
    assert [c[1] for c in rig.changes() if c[0] == "amplifier_unmute"] == [True, False]


def test_another_zone_is_switched_only_while_muted(rig: Rig) -> None:
    async def story() -> None:
        first = await through(rig.request(NoisySource(1.0), zones=("upper",)))
        second = await through(rig.request(NoisySource(1.0), zones=("lower",)))
        assert (first.asrun.zones, second.asrun.zones) == (("upper",), ("lower",))

    rig.run(story)
    for change in rig.lines.history:
        if change.line.startswith("zone") and change.active:
            before = [c for c in rig.lines.changes("amplifier_unmute") if c.at_ns <= change.at_ns]
            assert not before[-1].active
    lower = [c for c in rig.changes() if c[0] == "zone_lower"]
    assert [c[1] for c in lower] == [True, False]


def test_an_unknown_zone_is_refused_with_the_known_ones(rig: Rig) -> None:
    with pytest.raises(Refused, match="lower, upper") as refused:
        rig.request(NoisySource(1.0), zones=("market",))
    assert refused.value.code is ReasonCode.BAD_ARGS


def test_the_volume_of_an_order_is_its_own_and_the_nodes_is_ramped(rig: Rig) -> None:
    rig.channel.set_volume(50)
    loud, quiet = NoisySource(2.0, level=0.2), NoisySource(2.0, level=0.2)

    async def story() -> None:
        await through(rig.request(quiet))
        rig.channel.set_volume(0)
        finished = await through(rig.request(loud, volume=100))
        assert finished.asrun.volume == 100

    rig.run(story)
    heard = sounding(rig.heard.everything())
    half = heard.size // 2
    ratio = np.abs(heard[RAMP_FRAMES : half - RAMP_FRAMES]) / np.abs(quiet.frames[RAMP_FRAMES:-RAMP_FRAMES])
    assert 20 * np.log10(np.median(ratio)) == pytest.approx(-15.0, abs=0.01)
    np.testing.assert_array_equal(
        heard[half + RAMP_FRAMES : -RAMP_FRAMES], loud.frames[RAMP_FRAMES:-RAMP_FRAMES]
    )


def test_a_node_that_was_turned_down_is_heard_in_an_emergency(rig: Rig) -> None:
    rig.channel.set_volume(0)

    async def story() -> None:
        plain = await through(rig.request(NoisySource(0.5), Precedence.PRIORITY))
        urgent = await through(rig.request(NoisySource(0.5), Precedence.EMERGENCY))
        asked = await through(rig.request(NoisySource(0.5), Precedence.EMERGENCY, volume=20))
        assert [done.asrun.volume for done in (plain, urgent, asked)] == [0, 60, 20]

    rig.run(story)


def test_shutdown_ends_everything_interrupted_and_takes_no_more(rig: Rig) -> None:
    async def story() -> None:
        current = asyncio.create_task(through(rig.request(NoisySource(60.0))))
        waiting = rig.request(NoisySource(1.0))
        await asyncio.sleep(5)
        await rig.channel.wind_up()
        assert ((await current).state, (await current).asrun.outcome) == (
            OrderState.INTERRUPTED,
            Outcome.PARTIAL,
        )
        ended = await waiting.ended()
        assert (ended.state, ended.asrun.outcome) == (OrderState.INTERRUPTED, Outcome.MISSED)
        with pytest.raises(Refused):
            rig.request(NoisySource(1.0))

    rig.run(story)
    assert [(line, active) for line, active, _ in rig.changes()[-4:-2]] == [
        ("amplifier_unmute", False),
        ("amplifier_power", False),
    ]
    assert rig.now_s == pytest.approx(15.05, abs=0.05), "it waits for the mute only"


def test_without_lines_the_card_alone_is_played() -> None:
    rig = Rig(amplifier=type(WIRED)())
    source = NoisySource(1.0)

    async def story() -> None:
        assert (await through(rig.request(source))).state is OrderState.SUCCESSFUL
        assert rig.now_s == pytest.approx(11.15, abs=0.05)

    rig.run(story)
    assert_same_but_edges(sounding(rig.heard.everything()), source.frames)
