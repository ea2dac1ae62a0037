"""The hand that draws pages for one board: sizes of letters, colours, pictures, codes. Slow; it is called on a thread.

A text is set in the largest letters with which all of it fits on one page; where it fits on none, in the ordinary ones, on
several. An emergency is red where the board has colours, and white on red on a screen; everything else about it is as
ever: what is never used otherwise fails when it is needed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from edge_agent.board import images, layout, qr, raster, scroll, spelling
from edge_agent.board.page import Page
from edge_agent.board.picture import INK, Colours, Picture, coloured
from edge_agent.board.settings import GLYPH_ROWS, BoardSettings
from edge_agent.errors import TextRefused
from edge_agent.model import ReasonCode

logger = logging.getLogger(__name__)

SCALABLE_ROWS: Final = 24
"""From this height on a scalable font is as clear as Unifont."""
SCREEN_LINES: Final = range(3, 17)
"""On a screen a line is a third to a sixteenth of the height."""
SCREEN_LINES_ORDINARY: Final = 8
ROLLING_LINES: Final = (3, 4, 6, 8)
"""A line that runs is one of so many, the longer the smaller."""
TELEVISION_ROWS: Final = 480
"""A full-colour screen of so many rows may be a television."""
MARGIN: Final = 0.03
"""The share of a side that text keeps off its ends there."""
CAPTION_ROWS: Final = 48
"""On lower boards a caption has a page of its own."""
CODE_S: Final = 15.0
"""To take out a telephone and hold it still."""
PICTURE_S: Final = 8.0
RED_GROUND, WHITE = (190, 0, 0), (255, 255, 255)


class Painter:
    """Draws for one board. Belongs to one thread at a time."""

    def __init__(self, settings: BoardSettings) -> None:
        self._settings = settings
        self._unifont = raster.Unifont(settings.font)
        self._faces: dict[int, raster.Typeface] = {}
        self._full = settings.colours is Colours.FULL
        self._warned = False
        self._plain = False
        """Unifont alone is used: for a text with characters that the large font has not."""

    # ------------------------------------------------------------ pages

    def text(self, text: str, *, emergency: bool, rolls: bool = False) -> tuple[Page, ...]:
        """A cleaned text on as few pages as it needs. Raises TextRefused."""
        try:
            return self._set(text, emergency=emergency, rolls=rolls)
        except TextRefused:
            if not self._scalable(text):
                raise
            self._plain = (
                True  # Unifont has more characters than any other; the whole text is set in one font
            )
            try:
                return self._set(text, emergency=emergency, rolls=rolls)
            finally:
                self._plain = False

    def _scalable(self, text: str) -> bool:
        """Whether the large font lacks a character of a text that Unifont may have."""
        if self._plain:
            return False
        for face in self._faces.values():
            if isinstance(face, raster.Scalable):
                try:
                    face.width(text.replace("\n", " "))
                except TextRefused as refused:
                    return refused.code is ReasonCode.BAD_ARGS
        return False

    def _set(self, text: str, *, emergency: bool, rolls: bool) -> tuple[Page, ...]:
        """In the fonts as they are. Raises TextRefused."""
        if rolls and not emergency and (page := self._rolling(text)) is not None:
            return (page,)
        refusal: TextRefused | None = None
        heights = list(self._heights())
        for height in heights:
            try:
                pages = self._laid_out(text, height, pages_max=1, emergency=emergency)
            except TextRefused as refused:
                refusal = refused
            else:
                return pages
        if self._settings.letters == 0 and self._full:
            heights = [
                height for height in heights if height <= self._settings.rows // SCREEN_LINES_ORDINARY
            ] or heights
        for height in heights[:1] if self._full else heights[-1:]:
            try:
                return self._laid_out(text, height, pages_max=self._settings.pages_max, emergency=emergency)
            except TextRefused as refused:
                refusal = refused
        assert refusal is not None
        raise refusal

    def image(self, blob: bytes, caption: str) -> tuple[Page, ...]:
        """A picture file; its caption below, or, on a low board, on pages of its own. Raises TextRefused."""
        settings = self._settings
        caption = spelling.clean(caption) if caption else ""
        below = caption and settings.rows >= CAPTION_ROWS
        height = self._small() if below else 0
        picture = images.drawn(
            blob,
            columns=settings.columns,
            rows=settings.rows - height,
            colours=settings.colours,
            load_percent_max=settings.lit_percent_max,
        )
        dwell_s = max(PICTURE_S, self._reading(emergency=False).dwell_s([caption]) if below else 0)
        if not below:
            page = Page(caption, picture, dwell_s)
            return (page, *self.text(caption, emergency=False)) if caption else (page,)
        line = self._block([self._single(caption, settings.columns)], height, settings.columns, height)
        whole = Picture(settings.columns, settings.rows, settings.colours, picture.cells + line.cells)
        return (self._within_light(Page(caption, whole, dwell_s)),)

    def code(self, text: str, caption: str) -> tuple[Page, ...]:
        """A QR code, its caption beside it. Raises TextRefused."""
        settings = self._settings
        made = qr.code(text, columns=settings.columns, rows=settings.rows)
        side = made.dots.width
        left = (settings.columns - side) // 2 if not caption else 0
        above = (settings.rows - side) // 2
        canvas = _Canvas(settings.columns, settings.rows, settings.colours)
        canvas.put(coloured(made.dots, settings.colours, "white"), left, above)
        if caption:
            caption = spelling.clean(caption)
            width = settings.columns - side - 2
            canvas.put(self._beside(caption, width), side + 2, 0)
        page = Page(
            caption or text, canvas.picture(), max(CODE_S, self._reading(emergency=False).dwell_s([caption]))
        )
        return (self._within_light(page),)

    def several(self, texts: Sequence[str]) -> tuple[Page, ...]:
        """Short texts that belong together: on one page if they fit, below one another; else each on its own.

        Raises TextRefused.
        """
        together = "\n".join(texts)
        for height in self._heights():
            try:
                return self._laid_out(together, height, pages_max=1, emergency=False)
            except TextRefused:
                continue
        return tuple(page for text in texts for page in self.text(text, emergency=False))

    # ------------------------------------------------------------ letters

    def _heights(self) -> Iterator[int]:
        """Heights of a line that this board has room for, the largest first."""
        settings = self._settings
        if settings.letters:
            yield min(settings.letters, settings.rows)
        elif self._full:
            heights = [settings.rows // lines for lines in SCREEN_LINES]
            yield from [height for height in heights if height >= SCALABLE_ROWS] or [self._small()]
        else:
            for height in (64, 48, 32, 24, GLYPH_ROWS):
                if height <= settings.rows and self._face(height).height == height:
                    yield height

    def _margin(self, side: int) -> int:
        """What of a side is left free at each end: many televisions cut the edges off."""
        television = self._full and self._settings.rows >= TELEVISION_ROWS
        return round(side * MARGIN) if television else 0

    def _small(self) -> int:
        """The height of a caption's line."""
        return max(SCALABLE_ROWS, self._settings.rows // 12) if self._full else GLYPH_ROWS

    def _face(self, height: int) -> raster.Typeface:
        """The letters of a height; Unifont's next smaller size where there is no scalable font."""
        if self._plain:
            times = height // GLYPH_ROWS
            return self._unifont if times <= 1 else raster.Enlarged(self._unifont, times)
        face = self._faces.get(height)
        if face is None:
            face = self._faces[height] = self._made(height)
        return face

    def _made(self, height: int) -> raster.Typeface:
        times = height // GLYPH_ROWS
        fits = times * GLYPH_ROWS == height
        if fits and not self._full:
            return self._unifont if times == 1 else raster.Enlarged(self._unifont, times)
        if height >= SCALABLE_ROWS:
            if Path(self._settings.large_font).is_file():
                return raster.Scalable(self._settings.large_font, height)
            if not self._warned:
                logger.warning(
                    "There is no large font; letters are enlarged. path=%s", self._settings.large_font
                )
                self._warned = True
        return self._unifont if times <= 1 else raster.Enlarged(self._unifont, times)

    def _reading(self, *, emergency: bool) -> layout.Reading:
        settings = self._settings
        return layout.Reading(
            page_least_s=settings.page_least_s,
            characters_per_s=settings.characters_per_s,
            emergency=emergency,
        )

    # ------------------------------------------------------------ pages of text

    def _laid_out(self, text: str, height: int, *, pages_max: int, emergency: bool) -> tuple[Page, ...]:
        settings, face = self._settings, self._face(height)
        texts = layout.pages_of(
            text,
            measure=face.width,
            width=settings.columns - 2 * self._margin(settings.columns),
            lines_per_page=max(1, (settings.rows - 2 * self._margin(settings.rows)) // height),
            pages_max=pages_max,
            reading=self._reading(emergency=emergency),
        )
        return tuple(
            self._within_light(
                Page(
                    page.text,
                    self._block(page.lines, height, settings.columns, settings.rows, emergency=emergency),
                    page.dwell_s,
                )
            )
            for page in texts
        )

    def _block(
        self, lines: Sequence[str], height: int, columns: int, rows: int, *, emergency: bool = False
    ) -> Picture:
        """Lines in the middle of an area."""
        settings, face = self._settings, self._face(height)
        if self._full and isinstance(face, raster.Scalable):
            return _painted(lines, face, columns, rows, self._ink(), emergency=emergency)
        ink = "red" if emergency else settings.colour
        dots = raster.page([face.line(line) for line in lines], columns=columns, rows=rows)
        return coloured(dots, settings.colours, ink)

    def _ink(self) -> tuple[int, int, int]:
        bits = INK[self._settings.colour]
        return (255 * (bits & 1), 255 * (bits >> 1 & 1), 255 * (bits >> 2 & 1))

    def _single(self, text: str, width: int) -> str:
        """A text that must fit on one small line. Raises TextRefused."""
        used = self._face(self._small()).width(text)
        if used > width:
            raise TextRefused(
                ReasonCode.BAD_ARGS,
                f"The caption '{text}' needs {used} of {width} dots. Shorten it, or leave it out.",
            )
        return text

    def _beside(self, caption: str, width: int) -> Picture:
        """A caption in the room beside a code, as large as it fits there. Raises TextRefused."""
        rows = self._settings.rows
        if width < GLYPH_ROWS:
            raise TextRefused(
                ReasonCode.BAD_ARGS, "There is no room beside the QR code for a caption. Leave it out."
            )
        refusal: TextRefused | None = None
        for height in (*self._heights(), self._small()):
            try:
                (page,) = layout.pages_of(
                    caption,
                    measure=self._face(height).width,
                    width=width,
                    lines_per_page=max(1, rows // height),
                    pages_max=1,
                    reading=self._reading(emergency=False),
                )
            except TextRefused as refused:
                refusal = refused
            else:
                return self._block(page.lines, height, width, rows)
        assert refusal is not None
        raise refusal

    def _rolling(self, text: str) -> Page | None:
        """A text as one line that runs through a screen, as large as its strip may be; None where none can be read."""
        settings = self._settings
        if not self._full:
            return None
        one_line = text.replace("\n", " ")
        heights = [
            settings.rows // lines for lines in ROLLING_LINES if settings.rows >= lines * SCALABLE_ROWS
        ]
        for height in heights or [settings.rows]:
            face = self._face(height)
            pace = scroll.speed(one_line, measure=face.width, width=settings.columns)
            width = face.width(one_line)
            if pace is None or width * height > STRIP_DOTS_MAX:
                continue
            top = (settings.rows - height) // 2
            strip = scroll.Strip(self._block([one_line], height, width, height), pace, top)
            first = scroll.sight(strip, settings.columns, settings.rows, 0)
            return Page(one_line, first, scroll.pass_s(strip, settings.columns), strip)
        return None

    def _within_light(self, page: Page) -> Page:
        """Raise TextRefused when a page needs more light than the power supply is made for."""
        percent, most = page.picture.load_percent, self._settings.lit_percent_max
        if percent > most:
            raise TextRefused(
                ReasonCode.BAD_ARGS,
                f"A page would light {percent:.0f} % of the board's dots and {most} % are allowed. "
                "Use letters instead of block characters.",
            )
        return page


STRIP_DOTS_MAX: Final = 8_000_000
"""24 MB: some 120 characters in letters of 360 rows, 800 in letters of 135."""


def _painted(
    lines: Sequence[str],
    face: raster.Scalable,
    columns: int,
    rows: int,
    ink: tuple[int, int, int],
    *,
    emergency: bool,
) -> Picture:
    """Lines with soft edges, for a screen."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (columns, rows), RED_GROUND if emergency else (0, 0, 0))
    pen = ImageDraw.Draw(image)
    y = (rows - face.height * len(lines)) // 2
    for line in lines:
        face.paint(pen, (columns - face.width(line)) // 2, y, line, WHITE if emergency else ink)
        y += face.height
    return Picture(columns, rows, Colours.FULL, image.tobytes())


class _Canvas:
    """A picture in the making."""

    def __init__(self, columns: int, rows: int, colours: Colours) -> None:
        self._columns, self._rows, self._colours = columns, rows, colours
        self._cells = bytearray(columns * rows * colours.bytes_a_dot)

    def put(self, picture: Picture, x: int, y: int) -> None:
        """Lay a picture that fits at (x, y)."""
        dot = self._colours.bytes_a_dot
        for row in range(picture.height):
            at = ((y + row) * self._columns + x) * dot
            self._cells[at : at + picture.width * dot] = picture.row(row)

    def picture(self) -> Picture:
        """As it is now."""
        return Picture(self._columns, self._rows, self._colours, bytes(self._cells))
