"""A finished picture for a board: dots in the colours that this board has; small, frozen, hashable."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from edge_agent.board.dots import Dots
from edge_agent.model import Digest

RED, GREEN, BLUE = 1, 2, 4
"""The bits of a dot on a board of few colours; red and green together are amber, all three white."""


class Colours(StrEnum):
    """What colours a board's dots have."""

    MONO = "mono"
    """One, lit (1) or dark (0)."""
    RED_GREEN = "red_green"
    """Bits RED and GREEN."""
    RGB = "rgb"
    """Bits RED, GREEN and BLUE: eight colours."""
    FULL = "full"
    """Three bytes a dot, R G B, 0-255."""

    @property
    def bytes_a_dot(self) -> int:
        """How many bytes of `Picture.cells` are one dot."""
        return 3 if self is Colours.FULL else 1


INK = {"red": RED, "green": GREEN, "amber": RED | GREEN, "blue": BLUE, "magenta": RED | BLUE, "cyan": GREEN | BLUE, "white": RED | GREEN | BLUE}  # fmt: skip
"""The eight colours of a board of few colours by name, without dark."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of `width` x `height` dots.

    Attributes:
        cells: row by row from the top, each row from the left, `colours.bytes_a_dot` bytes a dot.
    """

    width: int
    height: int
    colours: Colours
    cells: bytes

    def __post_init__(self) -> None:
        """Hold the promise that there are as many cells as dots."""
        assert len(self.cells) == self.width * self.height * self.colours.bytes_a_dot

    @property
    def lit(self) -> int:
        """How many dots are not dark."""
        if self.colours is Colours.FULL:
            dots = zip(self.cells[::3], self.cells[1::3], self.cells[2::3], strict=True)
            return sum(any(dot) for dot in dots)
        return len(self.cells) - self.cells.count(0)

    @property
    def load_percent(self) -> float:
        """How much of the light that the board could give it needs: lit dots, on a screen their mean brightness."""
        if self.colours is Colours.FULL:
            return 100 * sum(self.cells) / (255 * len(self.cells))
        return 100 * self.lit / len(self.cells)

    @property
    def digest(self) -> Digest:
        """The identity of exactly these dots, for the as-run log."""
        head = f"{self.width}x{self.height} {self.colours}\n".encode()
        return Digest(f"sha256:{hashlib.sha256(head + self.cells).hexdigest()}")

    def row(self, y: int) -> bytes:
        """The cells of row `y`."""
        stride = self.width * self.colours.bytes_a_dot
        return self.cells[y * stride : (y + 1) * stride]

    def plane(self, bit: int) -> Dots:
        """The dots in which a colour's bit is set. Not for `FULL`."""
        assert self.colours is not Colours.FULL
        table = bytes(0x31 if code & bit else 0x30 for code in range(256))
        return Dots(self.width, tuple(int(self.row(y).translate(table), 2) for y in range(self.height)))


def digest_of(pictures: Sequence[Picture]) -> Digest:
    """The identity of several pictures in their order; of one, its own."""
    if len(pictures) == 1:
        return pictures[0].digest
    whole = "\n".join(picture.digest for picture in pictures)
    return Digest(f"sha256:{hashlib.sha256(whole.encode()).hexdigest()}")


def coloured(dots: Dots, colours: Colours, ink: str) -> Picture:
    """Dots of one colour; `ink` is one of INK, and of no account on a mono board."""
    if colours is Colours.FULL:
        lit = bytes(255 if INK[ink] & bit else 0 for bit in (RED, GREEN, BLUE))
        cells = b"".join(dots.row_text(y).encode() for y in range(dots.height))
        return Picture(
            dots.width, dots.height, colours, b"".join(lit if c == 0x31 else bytes(3) for c in cells)
        )
    code = 1 if colours is Colours.MONO else INK[ink]
    table = bytes(code if code_ == 0x31 else 0 for code_ in range(256))
    cells = b"".join(dots.row_text(y).encode().translate(table) for y in range(dots.height))
    return Picture(dots.width, dots.height, colours, cells)


def dark(width: int, height: int, colours: Colours) -> Picture:
    """A picture with no dot lit."""
    return Picture(width, height, colours, bytes(width * height * colours.bytes_a_dot))
