"""A line that runs through a screen, slowly enough to be read (pure).

At most six characters a second pass the edge, and every word is wholly visible for two seconds at least. On a board of 64
dots no word could be: there a text stands still.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from edge_agent.board.picture import Picture

WIDTH_MIN: Final = 128
CHARACTERS_PER_S: Final = 6.0
WORD_S: Final = 2.0
FRAMES_PER_S: Final = 25


@dataclass(frozen=True, slots=True)
class Strip:
    """A picture as high as the line and as long as the text, and how fast it runs from right to left. The rest of the
    screen stays dark, and is not drawn again for each frame."""

    picture: Picture
    dots_per_s: float
    top: int = 0
    """The screen's row at which it begins."""


def speed(text: str, *, measure: Callable[[str], int], width: int) -> float | None:
    """The fastest legal speed in dots a second; None when there is none and the text must stand still."""
    words: Sequence[str] = text.split()
    if width < WIDTH_MIN or not words:
        return None
    longest = max(measure(word) for word in words)
    if longest >= width:
        return None
    by_characters = CHARACTERS_PER_S * measure(text) / len(text)
    by_words = (width - longest) / WORD_S
    return min(by_characters, by_words)


def pass_s(strip: Strip, width: int) -> float:
    """How long one pass takes: from the first dot at the right edge to the last one at the left."""
    return (strip.picture.width + width) / strip.dots_per_s


def offset(strip: Strip, width: int, elapsed_s: float) -> int:
    """The strip's column that stands at the board's left edge; negative while it is still coming in."""
    return round(elapsed_s % pass_s(strip, width) * strip.dots_per_s) - width


def window(strip: Strip, width: int, at: int) -> Picture:
    """What the strip's rows show when its column `at` stands at the left edge."""
    picture = strip.picture
    dot = picture.colours.bytes_a_dot
    first, last = max(0, at), min(picture.width, at + width)
    before, after = max(0, min(width, -at)), max(0, min(width, at + width - max(picture.width, at)))
    lines = []
    for y in range(picture.height):
        row = picture.row(y)
        inside = row[first * dot : last * dot] if last > first else b""
        lines.append(
            (bytes(before * dot) + inside + bytes(after * dot))[: width * dot].ljust(width * dot, b"\0")
        )
    return Picture(width, picture.height, picture.colours, b"".join(lines))


def sight(strip: Strip, columns: int, rows: int, at: int) -> Picture:
    """The whole screen at that moment."""
    band = window(strip, columns, at)
    line = bytes(columns * band.colours.bytes_a_dot)
    below = rows - strip.top - band.height
    return Picture(columns, rows, band.colours, line * strip.top + band.cells + line * below)
