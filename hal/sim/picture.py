"""Pictures of dots: set on a sign, drawn as round LEDs in a PNG, or as half-blocks in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

Picture = tuple[bytes, ...]
"""Rows from the top, one byte a dot: 0 dark; 1 red, 2 green, 4 blue and their sums (3 amber, 7 white); 8-12 the further colours
of an Alpha sign (dim red, dim green, brown, orange, yellow)."""

LED = {
    1: (255, 48, 24),
    2: (60, 235, 70),
    3: (255, 176, 0),
    4: (60, 90, 255),
    5: (240, 70, 220),
    6: (50, 220, 230),
    7: (245, 245, 240),
    8: (150, 26, 12),
    9: (30, 120, 36),
    10: (170, 110, 40),
    11: (255, 120, 0),
    12: (255, 224, 40),
}
UNLIT = (38, 32, 30)
PANEL = (12, 12, 13)
FRAME = (46, 48, 52)
PIXELS_PER_DOT = 8
_SMOOTH = 4
"""Circles are drawn so many times larger and shrunk, for round edges."""


# ---------------------------------------------------------------- set on a sign


def block(code: int) -> Picture:
    """A letter of a sign's own font, near enough to see that it is there: 5 x 7 dots and a gap."""
    if code == 0x20:
        return tuple(bytes(6) for _ in range(7))
    bits = code * 0x9E3779B1 | 1 << 34
    return tuple(bytes([*((bits >> (y * 5 + x)) & 1 for x in range(5)), 0]) for y in range(7))


def beside(parts: Sequence[Picture]) -> Picture:
    """Pictures side by side, each in the middle of the highest one's rows."""
    height = max(map(len, parts), default=0)
    return tuple(b"".join(_row(part, y, height) for part in parts) for y in range(height))


def centred(picture: Picture, columns: int, rows: int) -> Picture:
    """A picture in the middle of a sign, cut where it sticks out."""
    above = max(0, (rows - len(picture)) // 2)
    lines = [bytes(columns)] * above
    for row in picture[:rows]:
        left = max(0, (columns - len(row)) // 2)
        lines.append((bytes(left) + row)[:columns].ljust(columns, b"\0"))
    return tuple(lines + [bytes(columns)] * (rows - len(lines)))


def _row(part: Picture, y: int, height: int) -> bytes:
    inside = y - (height - len(part)) // 2
    return part[inside] if 0 <= inside < len(part) else bytes(len(part[0]))


# ---------------------------------------------------------------- seen


def png(picture: Picture, *, dot: int = PIXELS_PER_DOT) -> bytes:
    """The picture as a PNG file: round LEDs on a dark panel, `dot` pixels from one to the next."""
    from PIL import Image, ImageDraw

    cells = {colour: _led(colour, dot) for colour in {0}.union(*picture)}
    margin = dot
    columns = len(picture[0])
    size = (columns * dot + 2 * margin, len(picture) * dot + 2 * margin)
    image = Image.new("RGB", size, FRAME)
    ImageDraw.Draw(image).rectangle(
        (margin // 2, margin // 2, size[0] - margin // 2 - 1, size[1] - margin // 2 - 1), fill=PANEL
    )
    for y, row in enumerate(picture):
        for x, colour in enumerate(row):
            image.paste(cells[colour], (margin + x * dot, margin + y * dot))
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def half_blocks(picture: Picture) -> str:
    """The picture for a terminal, two rows of dots a line."""
    rows = [*picture, bytes(len(picture[0]))] if len(picture) % 2 else list(picture)
    glyphs = " ▄▀█"
    lines = (
        "".join(glyphs[2 * bool(top) + bool(bottom)] for top, bottom in zip(upper, lower, strict=True))
        for upper, lower in zip(rows[::2], rows[1::2], strict=True)
    )
    return "\n".join(lines)


def _led(colour: int, dot: int) -> Image.Image:
    """One LED in its square, with the glow around a lit one."""
    from PIL import Image, ImageDraw

    big = dot * _SMOOTH
    cell = Image.new("RGB", (big, big), PANEL)
    pen = ImageDraw.Draw(cell)
    lit = LED.get(colour)
    if lit is None:
        pen.ellipse(_ring(big, 0.30), fill=UNLIT)
    else:
        glow = tuple((3 * ground + light) // 4 for ground, light in zip(PANEL, lit, strict=True))
        core = tuple((2 * light + 255) // 3 for light in lit)
        pen.ellipse(_ring(big, 0.50), fill=glow)
        pen.ellipse(_ring(big, 0.41), fill=lit)
        pen.ellipse(_ring(big, 0.16), fill=core)
    return cell.resize((dot, dot), Image.Resampling.LANCZOS)


def _ring(big: int, radius: float) -> tuple[float, float, float, float]:
    middle = (big - 1) / 2
    return (middle - radius * big, middle - radius * big, middle + radius * big, middle + radius * big)
