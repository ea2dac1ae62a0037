"""A notice becomes dots: the sign shows what was meant, an emergency takes it over and gives it back."""

from __future__ import annotations

import asyncio
import itertools
from functools import cache

import pytest

from edge_agent.board import spelling
from edge_agent.board.drawing import DrawingTable, TextJob
from edge_agent.board.picture import Picture as Meant
from edge_agent.board.settings import BoardSettings
from hal.sim.loop import NS
from hal.sim.picture import Picture
from tests.flows.scene import SETTINGS, Village

NOTICE = "Họp 19h30"
ALARM = "LŨ QUÉT"
MEETING = (
    "Tiêm phòng dại cho chó, mèo vào sáng thứ Bảy; bà con giữ vật nuôi ở nhà, đeo rọ mõm khi dắt ra ngoài."
)


@cache
def meant(text: str, *, emergency: bool = False) -> list[Picture]:
    """The pages that a text makes on this board, as its dots."""
    pages = DrawingTable(SETTINGS.board).draw_now(TextJob(text=spelling.clean(text), emergency=emergency))
    return [dots_of(page.picture) for page in pages]


def dots_of(picture: Meant) -> Picture:
    return tuple(picture.row(y) for y in range(picture.height))


def lit(picture: Picture) -> Picture:
    """Lit or dark, whatever the colour."""
    return tuple(bytes(bool(dot) for dot in row) for row in picture)


def seen(village: Village) -> list[Picture]:
    """Every sight of the sign, each once in a row, the dark ones left out."""
    sights = [lit(shown.dots) for shown in village.world.sign.shown]
    sights = [sight for sight in sights if any(map(any, sight))]
    return [sight for before, sight in zip([None, *sights], sights, strict=False) if sight != before]


def test_the_dots_are_those_that_were_meant(village: Village) -> None:
    async def story() -> None:
        order = village.order("board_show", text=NOTICE)
        assert await village.ends(order) == ["successful"]
        assert [lit(village.world.sign.current.dots)] == meant(NOTICE)
        await village.quiet()
        entry = village.report(order)
        assert (entry["outcome"], entry["pages"], entry["proof"]) == ("AIRED", 1, 2)

    assert len(meant(NOTICE)) == 1
    village.tell(story)
    assert seen(village) == meant(NOTICE)


def test_pages_turn_in_order_each_long_enough_to_be_read(village: Village) -> None:
    pages = meant(MEETING)

    async def story() -> None:
        await village.ends(village.order("board_show", text=MEETING))
        await asyncio.sleep(120)

    assert len(pages) >= 4
    village.tell(story)
    sights = seen(village)
    assert sights[: len(pages)] == pages
    assert sights == [pages[index % len(pages)] for index in range(len(sights))]
    shown = [shown for shown in village.world.sign.shown if shown.lit]
    stood_s = [(after.at_ns - before.at_ns) / NS for before, after in itertools.pairwise(shown)]
    assert min(stood_s) >= 3


def test_a_notice_ends_with_its_time(village: Village) -> None:
    async def story() -> None:
        await village.ends(village.order("board_show", text=NOTICE, ttl_s=60))
        await asyncio.sleep(45)
        assert village.world.sign.current.lit
        await asyncio.sleep(20)
        assert village.world.sign.current.kind == "blank"

    village.tell(story)


def test_an_emergency_takes_the_sign_over_and_hands_it_back(village: Village) -> None:
    def kind() -> str:
        return village.world.sign.current.kind

    async def story() -> None:
        await village.ends(village.order("board_show", text=NOTICE))
        alarm = village.order("board_show", "emergency", text=ALARM, ttl_s=120)
        assert await village.ends(alarm) == ["successful"]
        assert kind() == "priority"
        await asyncio.sleep(60)
        assert lit(village.world.sign.current.dots) in meant(ALARM, emergency=True)
        await asyncio.sleep(90)
        assert kind() == "run"
        assert [lit(village.world.sign.current.dots)] == meant(NOTICE)

    village.tell(story)


def test_an_alert_is_back_within_a_minute_on_a_sign_that_forgot_it(village: Village) -> None:
    async def story() -> None:
        await village.ends(village.order("board_show", "emergency", text=ALARM, ttl_s=3_600))
        await asyncio.sleep(300)
        village.world.restart_sign()
        await asyncio.sleep(80)
        assert lit(village.world.sign.current.dots) in meant(ALARM, emergency=True)
        assert village.world.sign.current.kind == "priority"

    village.tell(story)


def test_an_alert_given_again_to_a_sign_that_forgot_is_seen_at_once(village: Village) -> None:
    async def story() -> None:
        for _ in range(2):
            alarm = village.order("board_show", "emergency", text=ALARM, ttl_s=60)
            assert await village.ends(alarm) == ["successful"]
            assert lit(village.world.sign.current.dots) in meant(ALARM, emergency=True)
            await asyncio.sleep(90)
            village.world.restart_sign()
            await asyncio.sleep(5)

    village.tell(story)


def test_clear_takes_one_notice_down_and_leaves_the_other(village: Village) -> None:
    async def story() -> None:
        below = village.order("board_show", text=NOTICE)
        await village.ends(below)
        above = village.order("board_show", "priority", text=ALARM)
        await village.ends(above)
        clear = village.order("board_clear", "priority", order=above)
        assert await village.ends(clear) == ["successful"]
        assert village.told(clear)[-1]["result"] == {"cleared": [above]}
        assert [lit(village.world.sign.current.dots)] == meant(NOTICE)
        assert await village.ends(village.order("board_clear")) == ["successful"]
        assert village.world.sign.current.kind == "blank"

    village.tell(story)


def test_a_letter_that_no_font_has_is_refused_whole(village: Village) -> None:
    async def story() -> None:
        order = village.order("board_show", text="Họp \U0001f4e2 19h30")
        assert await village.ends(order) in (["rejected"], ["failed"])
        assert village.code(order) == "bad_args"
        assert not village.world.sign.current.lit
        await village.quiet()
        assert village.report(order)["outcome"] == "REFUSED"

    village.tell(story)


def test_the_notice_stands_again_after_a_power_cut(village: Village) -> None:
    async def story() -> None:
        await village.ends(village.order("board_show", text=NOTICE, ttl_s=3600))
        await village.world.outage(dark_s=60)
        assert not village.world.sign.current.lit
        await asyncio.sleep(30)
        assert [lit(village.world.sign.current.dots)] == meant(NOTICE)
        await asyncio.sleep(3600 - 80)
        assert village.world.sign.current.kind == "blank", "the time in the dark counts"

    village.tell(story)


def test_a_sign_that_forgot_is_written_again_within_a_quarter_of_an_hour(village: Village) -> None:
    async def story() -> None:
        await village.ends(village.order("board_show", text=NOTICE))
        await asyncio.sleep(20)
        village.world.restart_sign()
        await asyncio.sleep(BoardSettings().reassert_s + 20)
        assert [lit(village.world.sign.current.dots)] == meant(NOTICE)

    village.tell(story)


def test_a_foreign_hand_is_undone(village: Village) -> None:
    async def story() -> None:
        await village.ends(village.order("board_show", text=NOTICE))
        await asyncio.sleep(20)
        village.world.sign.foreign(village.world.outside.monotonic_ns(), b"\x1b bHACKED")
        await asyncio.sleep(BoardSettings().reassert_s + 20)
        assert [lit(village.world.sign.current.dots)] == meant(NOTICE)

    village.tell(story)


@pytest.mark.parametrize("misfortune", ["silent", "dark", "missing"])
def test_a_board_that_does_not_answer_fails_the_order_and_raises_an_alert_until_it_is_well(
    village: Village, misfortune: str
) -> None:
    def strike(*, on: bool) -> None:
        if misfortune == "missing":
            village.world.pull_serial(out=on)
        else:
            setattr(village.world.sign, misfortune, on)

    async def story() -> None:
        strike(on=True)
        order = village.order("board_show", text=NOTICE)
        assert await village.ends(order) == ["failed"]
        assert village.code(order) == "hardware_fault"
        await village.until(lambda: village.up("alert/board_dark"), within_s=60)
        strike(on=False)
        assert await village.ends(village.order("board_show", text=ALARM)) == ["successful"]
        await village.until(lambda: village.up("alert/board_dark")[-1] is None, within_s=120)

    village.tell(story)
    assert seen(village)[-1] in meant(ALARM)


def test_foreign_bytes_around_every_answer_harm_nothing(village: Village) -> None:
    async def story() -> None:
        village.world.sign.noise = b"\xff\x00]_\x04\x02junk"
        assert await village.ends(village.order("board_show", text=NOTICE)) == ["successful"]
        assert [lit(village.world.sign.current.dots)] == meant(NOTICE)

    village.tell(story)
