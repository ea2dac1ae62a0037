"""Who wins: an emergency cuts in and gives back, the commune goes first, a stop silences."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from edge_agent.playout.gain import RAMP_FRAMES
from edge_agent.sense.settings import InputLineSettings, Meaning, SenseSettings
from hal.sim.loop import NS
from tests.flows import hearing
from tests.flows.conftest import Programme
from tests.flows.scene import COMMUNE, DISTRICT, SETTINGS, Asset, Village


async def held(village: Village, *assets: Asset) -> None:
    """Have assets in the cellar, and a fresh process: what is heard from now on is a recording of its own."""
    for asset in assets:
        await village.ends(village.play(asset))
    await village.restart()


def split(village: Village, bulletin: Programme, alarm: Programme) -> tuple[int, int]:
    """(frames of the bulletin heard before the alarm, its frame at which it went on), in the last life."""
    heard, frames = hearing.recording(village.world.lives()[-1]), bulletin.frames
    before, after = hearing.find(heard, frames, 4_800), hearing.find(heard, frames, len(frames) - 12_000)
    between = hearing.whole(heard, alarm.frames)
    heard_before = between.offset - before.offset
    went_on = between.offset + len(alarm.frames) - after.offset
    assert hearing.same(heard, frames, before, RAMP_FRAMES, heard_before - 2 * RAMP_FRAMES)
    assert hearing.same(heard, frames, after, went_on + RAMP_FRAMES, len(frames) - RAMP_FRAMES)
    assert before.gain == pytest.approx(after.gain, rel=1e-6)
    return heard_before, went_on


# ---------------------------------------------------------------- emergencies


@pytest.mark.parametrize("after_s", [0.4, 1.2345, 5, 11.5])
def test_an_emergency_cuts_in_and_the_bulletin_goes_on_with_the_very_next_frame(
    village: Village, bulletin: Programme, alarm: Programme, after_s: float
) -> None:
    routine, emergency = bulletin.on(village), alarm.on(village)

    async def story() -> None:
        await held(village, routine, emergency)
        first = village.play(routine)
        await village.until(lambda: village.world.heard.segments)
        await asyncio.sleep(after_s)
        second = village.play(emergency, "emergency")
        assert await village.ends(second, first) == ["successful", "successful"]
        await village.quiet()
        entry = village.report(first)
        assert (entry["outcome"], entry["preempted"]) == ("AIRED", 1)
        assert entry["frames"] == len(bulletin.frames)
        assert village.report(second)["preempted"] == 0

    village.tell(story)
    heard_before, went_on = split(village, bulletin, alarm)
    assert went_on == heard_before


def test_an_emergency_is_heard_soon_after_its_order(
    village: Village, bulletin: Programme, alarm: Programme
) -> None:
    routine, emergency = bulletin.on(village), alarm.on(village)
    ordered_ns = 0

    async def story() -> None:
        nonlocal ordered_ns
        await held(village, routine, emergency)
        village.play(routine)
        await asyncio.sleep(6)
        ordered_ns = village.world.clock.monotonic_ns()
        await village.ends(village.play(emergency, "emergency"))

    village.tell(story)
    life = village.world.lives()[-1]
    place = hearing.whole(hearing.recording(life), alarm.frames)
    assert (hearing.begins_ns(life, place.offset) - ordered_ns) / NS < 0.15


def test_an_emergency_that_comes_while_the_amplifier_settles_goes_first(
    village: Village, notice: Programme, alarm: Programme
) -> None:
    routine, emergency = notice.on(village), alarm.on(village)

    async def story() -> None:
        await held(village, routine, emergency)
        first = village.play(routine)
        await asyncio.sleep(1)
        second = village.play(emergency, "emergency")
        assert await village.ends(first, second) == ["successful", "successful"]

    village.tell(story)
    heard = hearing.recording(village.world.lives()[-1])
    last, earlier = hearing.whole(heard, notice.frames), hearing.whole(heard, alarm.frames)
    assert earlier.offset < last.offset


def test_three_classes_are_nested_and_each_goes_on_where_it_was(
    village: Village, bulletin: Programme, notice: Programme, alarm: Programme
) -> None:
    routine, priority, emergency = (programme.on(village) for programme in (bulletin, notice, alarm))

    async def story() -> None:
        await held(village, routine, priority, emergency)
        first = village.play(routine)
        await asyncio.sleep(5)
        second = village.play(priority, "priority")
        await asyncio.sleep(2)
        third = village.play(emergency, "emergency")
        assert await village.ends(first, second, third) == ["successful"] * 3
        await village.quiet()
        assert [village.report(order)["preempted"] for order in (first, second, third)] == [1, 1, 0]

    village.tell(story)
    heard_before, went_on = split(village, notice, alarm)
    assert went_on == heard_before
    whole = [entry["frames"] for entry in village.stored()[-3:]]
    assert sorted(whole) == sorted(len(programme.frames) for programme in (bulletin, notice, alarm))


def test_a_priority_does_not_cut_off_another(village: Village, notice: Programme, alarm: Programme) -> None:
    first, second = notice.on(village), alarm.on(village)

    async def story() -> None:
        await held(village, first, second)
        speaking = village.play(first, "priority", issuer=DISTRICT)
        await asyncio.sleep(4)
        waiting = village.play(second, "priority", issuer=COMMUNE)
        assert await village.ends(speaking, waiting) == ["successful", "successful"]

    village.tell(story)
    heard = hearing.recording(village.world.lives()[-1])
    assert hearing.whole(heard, notice.frames).offset < hearing.whole(heard, alarm.frames).offset


def test_of_two_priorities_that_wait_the_communes_goes_first(
    village: Village, bulletin: Programme, notice: Programme, alarm: Programme
) -> None:
    speaking, district, commune = (programme.on(village) for programme in (bulletin, notice, alarm))

    async def story() -> None:
        await held(village, speaking, district, commune)
        orders = [village.play(speaking, "priority")]
        await asyncio.sleep(3)
        orders.append(village.play(district, "priority", issuer=DISTRICT))
        await asyncio.sleep(1)
        orders.append(village.play(commune, "priority", issuer=COMMUNE))
        assert await village.ends(*orders) == ["successful"] * 3

    village.tell(story)
    heard = hearing.recording(village.world.lives()[-1])
    places = [hearing.whole(heard, programme.frames).offset for programme in (bulletin, alarm, notice)]
    assert places == sorted(places)


# ---------------------------------------------------------------- stops


def silence_ns(village: Village) -> int:
    """When the last audible frame of the last life had sounded."""
    return village.world.lives()[-1].loud[-1][1]


def test_a_stop_silences_within_150_ms(village: Village, bulletin: Programme) -> None:
    asset = bulletin.on(village)
    stopped_ns = 0

    async def story() -> None:
        nonlocal stopped_ns
        await held(village, asset)
        order = village.play(asset)
        await asyncio.sleep(6)
        stopped_ns = village.world.clock.monotonic_ns()
        stop = village.order("stop", order=order)
        assert await village.ends(order, stop) == ["cancelled", "successful"]
        assert village.told(stop)[-1]["result"] == {"stopped": 1, "orders": [order]}
        await village.quiet()
        entry = village.report(order)
        assert (entry["outcome"], entry["code"]) == ("PARTIAL", "cancelled")
        assert 3 < entry["frames"] / 48_000 < 4.2

    village.tell(story)
    assert 0 < (silence_ns(village) - stopped_ns) / NS < 0.15


def test_a_stop_up_to_priority_lets_the_emergency_speak(
    village: Village, bulletin: Programme, notice: Programme, alarm: Programme
) -> None:
    routine, priority, emergency = (programme.on(village) for programme in (bulletin, notice, alarm))

    async def story() -> None:
        await held(village, routine, priority, emergency)
        interrupted = village.play(routine)
        await asyncio.sleep(4)
        speaking = village.play(emergency, "emergency")
        waiting = village.play(priority, "priority")
        await asyncio.sleep(1)
        village.order("stop", **{"class": "priority"})
        assert await village.ends(interrupted, waiting, speaking) == ["cancelled", "cancelled", "successful"]

    village.tell(story)
    hearing.whole(hearing.recording(village.world.lives()[-1]), alarm.frames)


def test_a_stop_reaches_an_order_that_is_still_being_fetched(village: Village, notice: Programme) -> None:
    asset = village.put("slow.wav", notice.blob, drip_bytes_per_s=10_000)

    async def story() -> None:
        order = village.play(asset)
        await asyncio.sleep(5)
        assert await village.ends(village.order("stop"), order) == ["successful", "cancelled"]
        await asyncio.sleep(100)

    village.tell(story)
    assert not village.world.lives()[0].loud
    assert not village.lines()


def test_the_stop_button_silences_without_the_server(bulletin: Programme) -> None:
    button = SenseSettings(inputs={"nut-dung": InputLineSettings(meaning=Meaning.STOP_BUTTON, offset=23)})
    village = Village(settings=msgspec.structs.replace(SETTINGS, sense=button))
    asset = bulletin.on(village)
    pressed_ns = 0

    async def story() -> None:
        nonlocal pressed_ns
        order = village.play(asset, "emergency")
        await asyncio.sleep(6)
        village.world.broker.partition("lost")
        pressed_ns = village.world.clock.monotonic_ns()
        await village.world.lines.press("nut-dung", held_s=0.3)
        village.world.broker.heal()
        assert await village.ends(order) == ["cancelled"]

    village.tell(story)
    assert 0 < (silence_ns(village) - pressed_ns) / NS < 0.25, "debounced, then at once"
