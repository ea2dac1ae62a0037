"""Lines of text to dots, with GNU Unifont through Pillow (imported when the first text comes).

Facts about Unifont at 16 px: every letter of Vietnamese has its own shape within 16 rows, the
ascent is 14 and the descent 2, and the outlines fall on whole dots, so Pillow's mode "1" gives
the designer's bitmap. `Layout.BASIC` is pinned: with raqm the dots would depend on a library
that may or may not be installed. Letters are set close: the ink and one dark column.
"""

from __future__ import annotations

import unicodedata
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.board import spelling
from edge_agent.board.dots import Dots
from edge_agent.board.settings import GLYPH_ROWS
from edge_agent.errors import TextRefused
from edge_agent.model import ReasonCode

if TYPE_CHECKING:
    from PIL import ImageFont

SPACE_COLUMNS = 4
GLYPHS_KEPT = 512
_CANVAS = 24
_MARGIN = 4
_NO_SUCH = "\U0010ffff"
"""A code point that no font has: what it draws is the font's "missing" box."""


class Unifont:
    """The glyphs of one font file, trimmed to their ink; the latest `GLYPHS_KEPT` are remembered."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._font: ImageFont.FreeTypeFont | None = None
        self._missing: Dots | None = None
        self._kept: OrderedDict[str, Dots] = OrderedDict()

    def width(self, text: str) -> int:
        """Width of a line in dots. Raises TextRefused like `glyph`."""
        advances = [SPACE_COLUMNS if c in {" ", spelling.GLUE} else self.glyph(c).width + 1 for c in text]
        return max(0, sum(advances) - (0 if text[-1:] in {" ", spelling.GLUE} else 1))

    def line(self, text: str) -> Dots:
        """One line of text, `width(text)` x 16 dots. Raises TextRefused like `glyph`."""
        rows = [0] * GLYPH_ROWS
        columns = self.width(text)
        x = 0
        for character in text:
            if character in {" ", spelling.GLUE}:
                x += SPACE_COLUMNS
                continue
            glyph = self.glyph(character)
            for y, row in enumerate(glyph.rows):
                rows[y] |= row << (columns - x - glyph.width)
            x += glyph.width + 1
        return Dots(columns, tuple(rows))

    def glyph(self, character: str) -> Dots:
        """One character, as wide as its ink, 16 rows.

        Raises:
            TextRefused: BAD_ARGS when the font has no such character; HARDWARE_FAULT when there
                is no font.
        """
        kept = self._kept.get(character)
        if kept is not None:
            self._kept.move_to_end(character)
            return kept
        drawn = self._drawn(character)
        if drawn is None or drawn == self._missing or unicodedata.category(character) == "Cn":
            raise TextRefused(
                ReasonCode.BAD_ARGS,
                f"The board's font has no character {spelling.name(character)}. Write the notice without it.",
            )
        self._kept[character] = drawn
        if len(self._kept) > GLYPHS_KEPT:
            self._kept.popitem(last=False)
        return drawn

    def _drawn(self, character: str) -> Dots | None:
        """The ink of a character, None when it has none."""
        from PIL import Image, ImageDraw

        font = self._font or self._opened()
        canvas = Image.new("1", (_CANVAS, GLYPH_ROWS))
        pen = ImageDraw.Draw(canvas)
        pen.fontmode = "1"
        pen.text((_MARGIN, 0), character, font=font, fill=1)
        box = canvas.getbbox()
        if box is None:
            return None
        raw, stride = canvas.tobytes(), _CANVAS // 8
        rows = (int.from_bytes(raw[y * stride : (y + 1) * stride], "big") for y in range(GLYPH_ROWS))
        width = box[2] - box[0]
        return Dots(width, tuple(row >> (_CANVAS - box[2]) & (1 << width) - 1 for row in rows))

    def _opened(self) -> ImageFont.FreeTypeFont:
        """Open the font; from then on the "missing" box is known."""
        from PIL import ImageFont

        try:
            if not Path(self._path).is_file():  # else Pillow takes any file of that name that the system has
                raise FileNotFoundError("no such file")
            self._font = ImageFont.truetype(self._path, GLYPH_ROWS, layout_engine=ImageFont.Layout.BASIC)
        except OSError as error:
            raise TextRefused(
                ReasonCode.HARDWARE_FAULT,
                f"The board's font {self._path} cannot be opened ({error}). "
                "Install Debian's package fonts-unifont, or set board.font to where unifont.otf is.",
            ) from error
        self._missing = self._drawn(_NO_SUCH)
        return self._font


def page(lines: Sequence[Dots], *, columns: int, rows: int) -> Dots:
    """Lines below one another, each centred, the block centred on a board of `columns` x `rows`."""
    above = (rows - GLYPH_ROWS * len(lines)) // 2
    assert above >= 0
    drawn = [0] * above
    for line in lines:
        assert line.width <= columns
        right = columns - line.width - (columns - line.width) // 2
        drawn += [row << right for row in line.rows]
    return Dots(columns, tuple(drawn + [0] * (rows - len(drawn))))


def refuse_too_bright(dots: Dots, percent_max: int) -> None:
    """Raise TextRefused when more dots are lit than the power supply is made for."""
    percent = 100 * dots.lit / (dots.width * dots.height)
    if percent > percent_max:
        raise TextRefused(
            ReasonCode.BAD_ARGS,
            f"A page would light {percent:.0f} % of the board's dots and {percent_max} % are allowed. "
            "Use letters instead of block characters.",
        )
