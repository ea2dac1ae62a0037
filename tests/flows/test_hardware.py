"""What is wired to the box breaks: the node says so, goes on with the rest, and is well again by itself."""

from __future__ import annotations

import asyncio

import pytest

from edge_agent.playout.gain import RAMP_FRAMES
from tests.flows import hearing
from tests.flows.conftest import Programme
from tests.flows.scene import Village


@pytest.mark.parametrize("fault", ["missing", "wrong_card", "held"])
def test_without_its_sound_card_an_order_fails_and_nothing_is_switched_on_for_long(
    village: Village, short: Programme, fault: str
) -> None:
    asset = short.on(village)

    async def story() -> None:
        setattr(village.world.card.faults, fault, True)
        order = village.play(asset)
        assert await village.ends(order) == ["failed"]
        assert village.code(order) == "hardware_fault"
        await asyncio.sleep(30)
        setattr(village.world.card.faults, fault, False)
        assert await village.ends(village.play(asset)) == ["successful"]

    village.tell(story)
    hearing.whole(hearing.recording(village.world.lives()[0]), short.frames)


def test_a_card_unplugged_in_mid_turn_goes_on_where_it_was_when_it_is_back(
    village: Village, bulletin: Programme
) -> None:
    asset = bulletin.on(village)

    async def story() -> None:
        order = village.play(asset)
        await village.until(lambda: village.world.heard.segments)
        await asyncio.sleep(4)
        village.world.card.unplug()
        await asyncio.sleep(6)
        village.world.card.replug()
        assert await village.ends(order) == ["successful"]
        assert village.told(order)[-1]["result"]["reopened"] == 1
        await village.quiet()
        entry = village.report(order)
        assert (entry["outcome"], entry["frames"]) == ("AIRED", len(bulletin.frames))

    village.tell(story)
    heard, frames = hearing.recording(village.world.lives()[0]), bulletin.frames
    before, after = hearing.find(heard, frames, 24_000), hearing.find(heard, frames, 400_000)
    lost = (after.offset - before.offset) / 48_000
    assert hearing.same(heard, frames, before, RAMP_FRAMES, 3 * 48_000)
    assert hearing.same(heard, frames, after, 7 * 48_000, len(frames) - RAMP_FRAMES)
    assert 0 <= lost <= 0.2, "nothing is left out; what may sound again is what the ring held"


def test_a_card_that_stays_away_ends_the_turn_partial(village: Village, bulletin: Programme) -> None:
    asset = bulletin.on(village)

    async def story() -> None:
        order = village.play(asset)
        await village.until(lambda: village.world.heard.segments)
        await asyncio.sleep(4)
        village.world.card.unplug()
        assert await village.ends(order) == ["failed"]
        assert village.code(order) == "hardware_fault"
        await village.quiet()
        entry = village.report(order)
        assert entry["outcome"] == "PARTIAL"
        assert 3.5 < entry["frames"] / 48_000 < 4.3

    village.tell(story)


def test_a_card_that_stalls_is_given_up_and_opened_anew(village: Village, bulletin: Programme) -> None:
    asset = bulletin.on(village)

    async def story() -> None:
        order = village.play(asset)
        await village.until(lambda: village.world.heard.segments)
        await asyncio.sleep(3)
        village.world.card.stall()
        assert await village.ends(order) == ["successful"]

    village.tell(story)


@pytest.mark.parametrize("line", ["amplifier_power", "amplifier_unmute", "zone_cho"])
def test_a_line_that_cannot_be_driven_fails_the_order_and_leaves_everything_off(
    village: Village, short: Programme, line: str
) -> None:
    asset = short.on(village)

    async def story() -> None:
        village.world.lines.fail(line)
        order = village.play(asset)
        assert await village.ends(order) == ["failed"]
        assert village.code(order) == "hardware_fault"
        assert not village.world.lines.active("amplifier_power")
        await asyncio.sleep(10)
        village.world.lines.fail(line, broken=False)
        assert await village.ends(village.play(asset)) == ["successful"]

    village.tell(story)


def test_lines_that_cannot_be_had_at_the_start_leave_a_silent_node_that_says_so(
    village: Village, short: Programme
) -> None:
    asset = short.on(village)

    async def story() -> None:
        village.world.lines.fail("amplifier_unmute")
        village.start()
        await asyncio.sleep(5)
        order = village.play(asset)
        assert await village.ends(order) == ["failed"]
        assert village.code(order) == "hardware_fault"
        assert await village.ends(village.order("board_show", text="Họp 19h30")) == ["successful"]
        assert village.up("alert/amplifier_lines")[-1] is not None
        await village.restart()
        assert await village.ends(village.play(asset)) == ["successful"]
        await village.until(lambda: village.up("alert/amplifier_lines")[-1] is None)

    village.tell(story, starts=False)
    assert not village.world.lives()[0].loud


def test_sound_goes_on_while_the_board_is_broken_and_the_board_while_there_is_no_sound(
    village: Village, short: Programme
) -> None:
    asset = short.on(village)

    async def story() -> None:
        village.world.pull_serial()
        shown, played = village.order("board_show", text="Họp 19h30"), village.play(asset)
        assert await village.ends(played, shown) == ["successful", "failed"]
        village.world.pull_serial(out=False)
        village.world.card.unplug()
        shown, played = village.order("board_show", text="Họp 19h30"), village.play(asset)
        assert await village.ends(played, shown) == ["failed", "successful"]

    village.tell(story)
