"""Lines of text to dots, with GNU Unifont, and from 24 rows a scalable font, through Pillow (imported when the first text comes).

Facts about Unifont at 16 px: every letter of Vietnamese has its own shape within 16 rows, the
ascent is 14 and the descent 2, and the outlines fall on whole dots, so Pillow's mode "1" gives
the designer's bitmap. `Layout.BASIC` is pinned: with raqm the dots would depend on a library
that may or may not be installed. Letters are set close: the ink and one dark column.
"""

from __future__ import annotations

import math
import unicodedata
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from edge_agent.board import spelling
from edge_agent.board.dots import Dots
from edge_agent.board.settings import GLYPH_ROWS
from edge_agent.errors import TextRefused
from edge_agent.model import ReasonCode

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

SPACE_COLUMNS = 4
GLYPHS_KEPT = 512
_CANVAS = 24
_MARGIN = 4
_NO_SUCH = "\U0010ffff"
"""A code point that no font has: what it draws is the font's "missing" box."""


class Typeface(Protocol):
    """Letters of one height."""

    height: int
    """Rows of a line."""

    def width(self, text: str) -> int:
        """Width of a line in dots. Raises TextRefused when a character is missing."""

    def line(self, text: str) -> Dots:
        """One line of text, `width(text)` x `height` dots. Raises TextRefused when a character is missing."""


class Unifont:
    """The glyphs of one font file, trimmed to their ink; the latest `GLYPHS_KEPT` are remembered."""

    height = GLYPH_ROWS

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


class Enlarged:
    """Unifont with each dot as a square of `times` dots: 32, 48, 64 rows."""

    def __init__(self, font: Unifont, times: int) -> None:
        self._font = font
        self._times = times
        self.height = GLYPH_ROWS * times

    def width(self, text: str) -> int:
        """Width of a line in dots. Raises TextRefused."""
        return self._font.width(text) * self._times

    def line(self, text: str) -> Dots:
        """One line of text. Raises TextRefused."""
        return self._font.line(text).scaled(self._times)


class Scalable:
    """A scalable font at the largest size at which no Vietnamese letter and no ASCII character leaves `height` rows.

    Measured with Noto Sans: from 16 rows on all 134 letters differ, dot for dot; below 24 they are hard to read from afar,
    and Unifont is better.
    """

    def __init__(self, path: str, height: int) -> None:
        self._path = path
        self.height = height
        self._font: ImageFont.FreeTypeFont | None = None
        self._baseline = 0
        """Rows from the top of a line to its baseline."""
        self._overhang = 0
        """Columns by which a mark may stand out beyond its letter, on either side: ĩ."""
        self._missing = b""
        self._known: dict[str, bool] = {}

    def width(self, text: str) -> int:
        """Width of a line in dots. Raises TextRefused."""
        self._check(text)
        length = self.font.getlength(text)
        return math.ceil(length) + 2 * self._overhang

    def line(self, text: str) -> Dots:
        """One line of text, each dot lit or dark. Raises TextRefused."""
        from PIL import Image, ImageDraw

        width = max(1, self.width(text))
        canvas = Image.new("1", (width, self.height))
        pen = ImageDraw.Draw(canvas)
        pen.fontmode = "1"
        pen.text((self._overhang, self._baseline), text, font=self.font, fill=1, anchor="ls")
        stride = (width + 7) // 8
        raw, spare = canvas.tobytes(), stride * 8 - width
        rows = (
            int.from_bytes(raw[y * stride : (y + 1) * stride], "big") >> spare for y in range(self.height)
        )
        return Dots(width, tuple(rows))

    def paint(self, pen: ImageDraw.ImageDraw, x: int, y: int, text: str, ink: tuple[int, int, int]) -> None:
        """Draw a line with soft edges, its upper left corner at (x, y): for screens."""
        pen.text((x + self._overhang, y + self._baseline), text, font=self.font, fill=ink, anchor="ls")

    @property
    def font(self) -> ImageFont.FreeTypeFont:
        """The opened font. Raises TextRefused(HARDWARE_FAULT) when there is none."""
        return self._font or self._opened()

    def _opened(self) -> ImageFont.FreeTypeFont:
        from PIL import ImageFont

        every = spelling.LETTERS + "".join(map(chr, range(0x21, 0x7F)))
        try:
            for size in range(self.height, 5, -1):
                font = ImageFont.truetype(self._path, size, layout_engine=ImageFont.Layout.BASIC)
                boxes = [font.getbbox(character, anchor="ls") for character in every]
                top, bottom = min(box[1] for box in boxes), max(box[3] for box in boxes)
                if bottom - top <= self.height:
                    break
        except OSError as error:
            raise TextRefused(
                ReasonCode.HARDWARE_FAULT,
                f"The board's large font {self._path} cannot be opened ({error}). "
                "Install Debian's package fonts-noto-core, or set board.large_font.",
            ) from error
        self._font, self._baseline = font, round(-top) + (self.height - round(bottom - top)) // 2
        beyond = [
            max(-box[0], box[2] - font.getlength(character))
            for character, box in zip(every, boxes, strict=True)
        ]
        self._overhang = max(0, math.ceil(max(beyond)))
        self._missing = bytes(font.getmask(_NO_SUCH))
        return font

    def _check(self, text: str) -> None:
        """Raise TextRefused for a character that the font has not."""
        for character in text:
            if character in {" ", spelling.GLUE}:
                continue
            known = self._known.get(character)
            if known is None:
                known = bytes(self.font.getmask(character)) != self._missing
                if len(self._known) < GLYPHS_KEPT:
                    self._known[character] = known
            if not known:
                raise TextRefused(
                    ReasonCode.BAD_ARGS,
                    f"The board's font has no character {spelling.name(character)}. Write the notice without it.",
                )


def page(lines: Sequence[Dots], *, columns: int, rows: int) -> Dots:
    """Lines of one height below one another, each centred, the block centred on a board of `columns` x `rows`."""
    above = (rows - sum(line.height for line in lines)) // 2
    assert above >= 0
    drawn = [0] * above
    for line in lines:
        assert line.width <= columns
        right = columns - line.width - (columns - line.width) // 2
        drawn += [row << right for row in line.rows]
    return Dots(columns, tuple(drawn + [0] * (rows - len(drawn))))
