"""Content to pages on boards of every size: nothing cut, nothing changed, nothing too bright, or a refusal."""

from __future__ import annotations

import unicodedata
from datetime import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.board import spelling
from edge_agent.board.drawing import ClockJob, DrawingTable, HeadlinesJob, TextJob
from edge_agent.board.page import Page
from edge_agent.board.painter import Painter
from edge_agent.board.picture import GREEN, RED, Colours
from edge_agent.board.settings import BoardSettings
from edge_agent.errors import TextRefused
from edge_agent.model import LOCAL_TIME

NOTICE = "Mời bà con đến nhà văn hóa thôn lúc 19h30 họp bàn phòng chống bão số 9"
SIZES = [(96, 16), (128, 24), (192, 32), (256, 48), (320, 64), (64, 32)]


def table(**said: Any) -> DrawingTable:
    return DrawingTable(msgspec.convert(said, BoardSettings))


def pages(text: str, *, emergency: bool = False, **said: Any) -> tuple[Page, ...]:
    return table(**said).draw_now(TextJob(text=spelling.clean(text), emergency=emergency))


def words(text: str) -> list[str]:
    return text.replace(spelling.GLUE, " ").replace("-", "- ").replace("/", "/ ").split()


@pytest.mark.parametrize(("columns", "rows"), SIZES)
def test_a_page_has_the_boards_size_and_some_light(columns: int, rows: int) -> None:
    for page in pages(NOTICE, columns=columns, rows=rows):
        assert (page.picture.width, page.picture.height) == (columns, rows)
        assert 0 < page.picture.load_percent <= 50


@pytest.mark.parametrize(
    ("text", "rows", "letters"),
    [("Họp", 16, 16), ("Họp", 24, 24), ("Họp", 32, 32), ("Họp", 48, 48), ("Họp", 64, 64), (NOTICE, 32, 16)],
)
def test_letters_are_as_large_as_the_whole_text_fits(text: str, rows: int, letters: int) -> None:
    (page, *_) = pages(text, columns=192, rows=rows)
    lit = [y for y in range(rows) if any(page.picture.row(y))]
    height = lit[-1] - lit[0] + 1
    assert height <= letters * (rows // letters)
    assert height > letters * 0.6


def test_the_technician_may_want_small_letters() -> None:
    (page,) = pages("Họp", columns=96, rows=32, letters=16)
    lit = [y for y in range(32) if any(page.picture.row(y))]
    assert lit[-1] - lit[0] < 16


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.lists(
        st.sampled_from(
            [
                "Mời",
                "bà",
                "con",
                "xã",
                "Vị",
                "Hương",
                "họp",
                "lúc",
                "19h30",
                "ngày",
                "5/11,",
                "mang",
                "theo",
                "2",
                "kg",
                "gạo;",
                "Thủy",
                "Nguyễn",
                "H'Mông",
                "Ắ",
                "Ệ",
                "Ỗ",
                "Ữ",
                "đến",
                "0868",
                "123",
                "456",
            ]
        ),
        min_size=1,
        max_size=25,
    ),
    st.sampled_from(SIZES),
    st.sampled_from(["mono", "red_green", "rgb"]),
)
def test_every_word_is_there_in_order_and_whole(said: list[str], size: tuple[int, int], colours: str) -> None:
    text = " ".join(said)
    if size[0] == 64 and any(len(word) > 6 for word in said):
        return  # a word may be wider than so small a board
    shown = pages(text, columns=size[0], rows=size[1], colours=colours, pages_max=32)
    assert words(" ".join(page.text for page in shown)) == words(spelling.clean(text))
    composed, apart = (unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
    assert pages(composed, columns=size[0], rows=size[1], pages_max=32) == pages(
        apart, columns=size[0], rows=size[1], pages_max=32
    )
    for page in shown:
        assert page.dwell_s >= max(3.0, len(page.text) / 7 - 1e-9)


@pytest.mark.parametrize(("columns", "rows"), SIZES)
def test_an_emergency_stands_twice_as_long(columns: int, rows: int) -> None:
    ordinary = pages("Lũ quét", columns=columns, rows=rows)
    urgent = pages("Lũ quét", columns=columns, rows=rows, emergency=True)
    assert [2 * page.dwell_s for page in ordinary] == [page.dwell_s for page in urgent]


def test_colours_are_those_that_the_board_has() -> None:
    def inks(colours: str, *, emergency: bool = False) -> set[int]:
        (page,) = pages("Họp", columns=96, rows=16, colours=colours, colour="amber", emergency=emergency)
        return set(page.picture.cells) - {0}

    assert inks("mono") == {1}
    assert inks("red_green") == {RED | GREEN}
    assert inks("rgb") == {RED | GREEN}
    assert inks("rgb", emergency=True) == {RED}


def test_a_screen_has_soft_edges_and_an_emergency_in_white_on_red() -> None:
    screen: dict[str, Any] = {
        "protocol": "screen",
        "columns": 384,
        "rows": 192,
        "colours": "full",
        "lit_percent_max": 100,
    }
    (page,) = pages("Họp lúc 19h30", **screen)
    assert page.picture.colours is Colours.FULL
    assert len(set(page.picture.cells)) > 10, "shades between dark and lit"
    (alarm,) = pages("Lũ quét", **screen, emergency=True)
    assert alarm.picture.cells[:3] == bytes((190, 0, 0))
    assert b"\xff\xff\xff" in alarm.picture.cells


def test_a_wall_of_lamps_has_hard_edges() -> None:
    (page,) = pages("Họp", columns=128, rows=24, colours="rgb")
    assert set(page.picture.cells) == {0, RED}


def test_without_the_large_font_letters_are_enlarged(caplog: pytest.LogCaptureFixture) -> None:
    (page,) = pages("Họp", columns=192, rows=24, large_font="/nowhere.ttf")
    assert page.picture.lit
    (screen,) = pages("Họp", columns=384, rows=192, colours="full", large_font="/nowhere.ttf")
    assert screen.picture.lit
    assert caplog.text.count("There is no large font") >= 1


def test_what_does_not_fit_is_refused_with_what_to_do() -> None:
    for text, why in [
        (NOTICE * 9, "Shorten it"),
        ("Nghiêngnghiêngnghiêngnghiêng", "wider than the board"),
        ("Họp 😀", "no character"),
        ("█" * 10, "block characters"),
        ("ViÖt Nam häp", "TCVN3"),
    ]:
        with pytest.raises(TextRefused, match=why):
            pages(text, columns=96, rows=16, large_font="/nowhere.ttf")


def test_the_clock_says_the_time_the_day_and_the_place() -> None:
    moment = datetime(2026, 11, 24, 19, 30, tzinfo=LOCAL_TIME)
    small = table(columns=96, rows=16).draw_now(ClockJob(local=moment, celsius=26.6, place="Mỏ Phong"))
    assert [page.text for page in small] == ["19:30 27°C", "Thứ Ba 24/11", "Mỏ Phong"]
    (large,) = table(columns=192, rows=64).draw_now(ClockJob(local=moment, celsius=None, place="Mỏ Phong"))
    assert large.text == "19:30 Thứ Ba 24/11 Mỏ Phong"


def test_each_headline_has_its_own_page() -> None:
    shown = table(columns=192, rows=32).draw_now(HeadlinesJob(lines=("Xã họp", "Tiêm phòng dại")))
    assert [page.text for page in shown] == ["Xã họp", "Tiêm phòng dại"]


def test_a_text_runs_on_a_screen_and_stands_on_lamps() -> None:
    screen = table(columns=1280, rows=120, colours="full", lit_percent_max=100)
    (page,) = screen.draw_now(TextJob(text=NOTICE, scroll=True))
    assert page.strip is not None
    assert (page.strip.picture.height, page.strip.top) == (40, 40), "a third of the screen, in its middle"
    assert len(page.picture.cells) == 1280 * 120 * 3
    assert page.dwell_s == pytest.approx((page.strip.picture.width + 1280) / page.strip.dots_per_s)
    assert all(
        one.strip is None for one in table(columns=192, rows=32).draw_now(TextJob(text=NOTICE, scroll=True))
    )


def test_what_was_drawn_is_remembered_within_bounds() -> None:
    from edge_agent.board import drawing

    screen = table(columns=1920, rows=1080, colours="full", lit_percent_max=100)

    async def story() -> None:
        for number in range(8):
            await screen.draw(TextJob(text=f"Số {number}"))

    import asyncio

    asyncio.run(story())
    assert screen._bytes() <= drawing.BYTES_KEPT
    assert len(screen._drawn) == 4


@pytest.mark.parametrize("caption", ["", "Lễ hội Lồng Tồng"])
def test_a_picture_has_its_caption_below_or_on_a_page_of_its_own(caption: str) -> None:
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (50, 50), (255, 0, 0)).save(file, "PNG")
    low = Painter(msgspec.convert({"columns": 96, "rows": 32, "colours": "rgb"}, BoardSettings))
    assert len(low.image(file.getvalue(), caption)) == (2 if caption else 1)
    high = Painter(msgspec.convert({"columns": 192, "rows": 64, "colours": "rgb"}, BoardSettings))
    (page,) = high.image(file.getvalue(), caption)
    assert (page.picture.width, page.picture.height) == (192, 64)
    bottom = b"".join(page.picture.row(y) for y in range(48, 64))
    assert any(bottom)


@pytest.mark.parametrize("rows", [24, 192])
def test_a_character_that_only_unifont_has_sets_the_whole_text_in_unifont(rows: int) -> None:
    more: dict[str, Any] = {
        "columns": 384,
        "rows": rows,
        "colours": "full" if rows > 100 else "mono",
        "lit_percent_max": 100,
    }
    (page,) = pages("Mưa ☂ to", **more)
    assert page.picture.load_percent > 0
    assert page.text == "Mưa ☂ to"
    (again,) = pages("Mưa to", **more)
    assert again.picture != page.picture


@pytest.mark.parametrize("emergency", [False, True])
def test_on_a_television_the_edges_stay_free_for_those_that_cut_them_off(emergency: bool) -> None:  # noqa: FBT001
    for text in (NOTICE, "ẤP NGUYỄN ĐỀ NGHỊ HỌP ĐẢNG ỦY KHẨN CẤP Ổ ĐIỆN", "Họp"):
        shape = {"columns": 1920, "rows": 1080, "colours": "full", "lit_percent_max": 100}
        for page in pages(text, emergency=emergency, **shape):
            rows = [page.picture.row(y) for y in range(1080)]
            ground = rows[0][:3]
            assert all(row == ground * 1920 for row in (*rows[:25], *rows[-25:]))
            assert all(row[:120] == ground * 40 and row[-120:] == ground * 40 for row in rows)
