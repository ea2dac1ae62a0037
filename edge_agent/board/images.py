"""Picture files to the dots of a board: checked before they are decoded, fitted, dithered to the colours there are.

A file from outside is a small program for a large decoder, so: only three formats, a bound on the file and on the pixels
that it says it has, both before anything is decoded; and Pillow does it on a thread.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Final

from edge_agent.board.picture import BLUE, GREEN, RED, Colours, Picture
from edge_agent.errors import TextRefused
from edge_agent.model import ReasonCode

if TYPE_CHECKING:
    from PIL import Image

FORMATS: Final = ("PNG", "JPEG", "WEBP")
BYTES_MAX: Final = 8 * 1024 * 1024
PIXELS_MAX: Final = 40_000_000
SIDE_MAX: Final = 20_000
DECODED_MAX: Final = 9_000_000
"""Pixels that are ever held: a node has 384 MiB for everything, and a picture is held some three times, four bytes each."""
DARKER: Final = 0.8
"""A picture that needs too much light is darkened by this, again and again,"""
DARKEST: Final = 0.25
"""but not beyond this: it would be nothing but noise."""


def drawn(blob: bytes, *, columns: int, rows: int, colours: Colours, load_percent_max: int) -> Picture:
    """A picture file on `columns` x `rows` dots: whole, in proportion, centred on dark ground.

    Raises:
        TextRefused: BAD_ARGS when it is no picture of the three formats, is broken, too large, or too bright.
    """
    fitted = _fitted(_opened(blob, columns, rows), columns, rows)
    factor = 1.0
    while factor >= DARKEST:
        picture = _on_ground(_dithered(_darkened(fitted, factor), colours), columns, rows, colours)
        if picture.load_percent <= load_percent_max:
            return picture
        factor *= DARKER
    raise _refused(
        f"The picture would need {picture.load_percent:.0f} % of the board's light and {load_percent_max} % are allowed. "
        "Send one with a dark ground."
    )


def _opened(blob: bytes, columns: int, rows: int) -> Image.Image:
    """The first frame, upright, in RGB on black."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    if len(blob) > BYTES_MAX:
        raise _refused(
            f"The file has {len(blob)} bytes and {BYTES_MAX} are the most. Send a smaller picture."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(blob), formats=FORMATS)
        width, height = image.size
        if width * height > PIXELS_MAX or max(width, height) > SIDE_MAX or min(width, height) < 1:
            raise _refused(
                f"The picture has {width} x {height} pixels and {PIXELS_MAX // 1_000_000} million are the most. Shrink it."
            )
        image.draft("RGB", (columns, rows))  # JPEG alone: decodes at a fraction of its size
        if image.width * image.height > DECODED_MAX:
            raise _refused(
                f"The picture has {width} x {height} pixels, and only a JPEG may have so many: another would have to be held whole. "
                "Shrink it, or save it as JPEG."
            )
        image.load()
        upright = ImageOps.exif_transpose(image)
        if upright.mode in {"RGBA", "LA", "PA"} or "transparency" in upright.info:
            layer = upright.convert("RGBA")
            ground = Image.new("RGBA", layer.size, (0, 0, 0, 255))
            return Image.alpha_composite(ground, layer).convert("RGB")
        return upright.convert("RGB")
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, Image.DecompressionBombError) as error:
        nameless = isinstance(error, UnidentifiedImageError)  # its words name an address in memory
        why = "" if nameless else f" ({error})"
        raise _refused(
            f"The file is no whole picture of the formats {', '.join(FORMATS)}{why}. Save it anew as PNG."
        ) from error


def _fitted(image: Image.Image, columns: int, rows: int) -> Image.Image:
    from PIL import Image

    scale = min(columns / image.width, rows / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    whole_times = scale >= 2 and columns // image.width == rows // image.height
    return image.resize(size, Image.Resampling.NEAREST if whole_times else Image.Resampling.LANCZOS)


def _darkened(image: Image.Image, factor: float) -> Image.Image:
    return image if factor == 1.0 else image.point([round(level * factor) for level in range(256)] * 3)


def _dithered(image: Image.Image, colours: Colours) -> tuple[bytes, int, int]:
    """The cells of a picture of these colours, and its size; Floyd and Steinberg's error diffusion."""
    from PIL import Image

    if colours is Colours.FULL:
        return image.tobytes(), image.width, image.height
    if colours is Colours.MONO:
        grey = image.convert("L").convert("1", dither=Image.Dither.FLOYDSTEINBERG)
        return bytes(1 if level else 0 for level in grey.convert("L").tobytes()), image.width, image.height
    bits = (RED, GREEN) if colours is Colours.RED_GREEN else (RED, GREEN, BLUE)
    palette = Image.new("P", (1, 1))
    codes = sorted({code & sum(bits) for code in range(8)})
    levels = [
        level
        for code in codes
        for level in (255 * bool(code & RED), 255 * bool(code & GREEN), 255 * bool(code & BLUE))
    ]
    palette.putpalette(levels + levels[:3] * (256 - len(codes)))
    flat = image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    table = bytes(codes[index] if index < len(codes) else 0 for index in range(256))
    return flat.tobytes().translate(table), image.width, image.height


def _on_ground(dithered: tuple[bytes, int, int], columns: int, rows: int, colours: Colours) -> Picture:
    """In the middle of a dark board."""
    cells, width, height = dithered
    dot = colours.bytes_a_dot
    left, above = (columns - width) // 2, (rows - height) // 2
    before, after = bytes(left * dot), bytes((columns - width - left) * dot)
    lines = [before + cells[y * width * dot : (y + 1) * width * dot] + after for y in range(height)]
    dark = bytes(columns * dot)
    whole = [dark] * above + lines + [dark] * (rows - height - above)
    return Picture(columns, rows, colours, b"".join(whole))


def _refused(text: str) -> TextRefused:
    return TextRefused(ReasonCode.BAD_ARGS, text)
