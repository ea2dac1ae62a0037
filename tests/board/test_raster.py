"""Letters to dots: Unifont as its designer drew it, and what the board cannot show."""

from __future__ import annotations

import pytest

from edge_agent.board import raster, spelling
from edge_agent.board.dots import Dots
from edge_agent.board.settings import BoardSettings
from edge_agent.errors import TextRefused
from edge_agent.model import ReasonCode

FONT = BoardSettings().font


@pytest.fixture(scope="module")
def font() -> raster.Unifont:
    return raster.Unifont(FONT)


def picture(dots: Dots) -> list[str]:
    return [dots.row_text(y, lit="#", dark=".") for y in range(dots.height)]


def test_all_134_letters_are_distinct_and_inside_16_rows(font: raster.Unifont) -> None:
    glyphs = {letter: font.glyph(letter) for letter in spelling.LETTERS}
    assert len(set(glyphs.values())) == 134
    assert all(glyph.height == 16 and glyph.lit for glyph in glyphs.values())


def test_no_letter_loses_ink_at_the_edge_of_its_rows(font: raster.Unifont) -> None:
    from PIL import Image, ImageDraw, ImageFont

    pen_font = ImageFont.truetype(FONT, 16, layout_engine=ImageFont.Layout.BASIC)
    for letter in spelling.LETTERS:
        canvas = Image.new("1", (48, 48))
        pen = ImageDraw.Draw(canvas)
        pen.fontmode = "1"
        pen.text((16, 16), letter, font=pen_font, fill=1)
        left, top, right, bottom = canvas.getbbox() or (0, 0, 0, 0)
        assert (top >= 16, bottom <= 32) == (True, True), letter
        assert int.from_bytes(canvas.tobytes(), "big").bit_count() == font.glyph(letter).lit, letter
        assert right - left == font.glyph(letter).width


def test_a_letter_is_its_designers_bitmap(font: raster.Unifont) -> None:
    assert picture(font.glyph("A"))[4:14] == [
        "..##..",
        ".#..#.",
        ".#..#.",
        "#....#",
        "#....#",
        "######",
        "#....#",
        "#....#",
        "#....#",
        "#....#",
    ]


def test_letters_are_set_close(font: raster.Unifont) -> None:
    a, b = font.glyph("a"), font.glyph("b")
    assert font.width("ab") == a.width + 1 + b.width
    assert font.width("a b") == a.width + 1 + raster.SPACE_COLUMNS + b.width
    assert font.line("a b").width == font.width("a b")


def test_a_line_holds_its_letters(font: raster.Unifont) -> None:
    line = font.line("đi")
    assert line.lit == font.glyph("đ").lit + font.glyph("i").lit


@pytest.mark.parametrize(("character", "code"), [("😀", "U+1F600"), ("\U0010ffff", "U+10FFFF")])
def test_a_missing_glyph_is_refused_by_its_code_point(
    font: raster.Unifont, character: str, code: str
) -> None:
    with pytest.raises(TextRefused) as refused:
        font.glyph(character)
    assert code in refused.value.text
    assert refused.value.code is ReasonCode.BAD_ARGS


def test_a_missing_font_is_said_with_its_package() -> None:
    with pytest.raises(TextRefused, match="fonts-unifont") as refused:
        raster.Unifont("/nowhere/unifont.otf").glyph("a")
    assert refused.value.code is ReasonCode.HARDWARE_FAULT


def test_glyphs_are_remembered_but_not_without_end() -> None:
    font = raster.Unifont(FONT)
    for code in range(0x4E00, 0x4E00 + raster.GLYPHS_KEPT + 50):
        font.glyph(chr(code))
    assert len(font._kept) == raster.GLYPHS_KEPT


def test_a_page_is_centred(font: raster.Unifont) -> None:
    page = raster.page([font.line("i")], columns=31, rows=24)
    assert (page.width, page.height) == (31, 24)
    assert page.lit == font.glyph("i").lit
    assert not any(page.rows[:4])
    assert not any(page.rows[20:])


def test_two_lines_of_text_go_below_one_another(font: raster.Unifont) -> None:
    page = raster.page([font.line("a"), font.line("b")], columns=20, rows=32)
    assert any(page.rows[:16])
    assert any(page.rows[16:])


@pytest.mark.parametrize("rows", [24, 32, 36, 48, 64, 90, 135])
def test_a_scalable_font_keeps_all_letters_apart_and_inside_their_rows(rows: int) -> None:
    font = raster.Scalable(BoardSettings().large_font, rows)
    drawn = {letter: font.line(letter) for letter in spelling.LETTERS}
    assert len({(dots.width, dots.rows) for dots in drawn.values()}) == 134
    assert all(dots.height == rows and dots.lit for dots in drawn.values())
    tall = raster.Scalable(BoardSettings().large_font, rows)
    assert tall.font.size >= 0.7 * rows, "it makes use of the rows"


@pytest.mark.parametrize("rows", [24, 48])
def test_no_scalable_letter_loses_ink(rows: int) -> None:
    from PIL import Image, ImageDraw

    font = raster.Scalable(BoardSettings().large_font, rows)
    for letter in spelling.LETTERS + "gjpqy|()[]{}Q@":
        canvas = Image.new("1", (4 * rows, 3 * rows))
        pen = ImageDraw.Draw(canvas)
        pen.fontmode = "1"
        pen.text((rows, rows * 2), letter, font=font.font, fill=1, anchor="ls")
        ink = sum(map(bool, canvas.convert("L").tobytes()))
        inside = font.line(letter).lit
        assert ink == inside, letter


def test_a_scalable_font_refuses_what_it_has_not() -> None:
    with pytest.raises(TextRefused) as refused:
        raster.Scalable(BoardSettings().large_font, 24).line("漢")
    assert refused.value.code is ReasonCode.BAD_ARGS


def test_enlarged_letters_are_the_small_ones_dot_for_dot(font: raster.Unifont) -> None:
    large = raster.Enlarged(font, 3)
    assert large.line("Lũ").height == 48
    assert large.width("Lũ") == 3 * font.width("Lũ")
    assert large.line("Lũ").rows[::3] == font.line("Lũ").scaled(3).rows[::3]


def test_dots_can_be_doubled() -> None:
    assert picture(Dots(2, (0b10, 0b01)).scaled(2)) == ["##..", "##..", "..##", "..##"]
