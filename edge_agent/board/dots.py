"""A picture of dots, lit or dark: small, frozen, hashable."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dots:
    """A picture of `width` x `len(rows)` dots.

    Attributes:
        width: columns.
        rows: one int a row from the top; its most significant of `width` bits is the leftmost dot.
    """

    width: int
    rows: tuple[int, ...]

    def __post_init__(self) -> None:
        """Hold the promise that no row is wider than the picture."""
        assert all(0 <= row < 1 << self.width for row in self.rows)

    @property
    def height(self) -> int:
        """Rows."""
        return len(self.rows)

    @property
    def lit(self) -> int:
        """How many dots are lit."""
        return sum(row.bit_count() for row in self.rows)

    def row_text(self, y: int, *, lit: str = "1", dark: str = "0") -> str:
        """Row `y` as one character a dot, left to right."""
        return "".join(lit if self.rows[y] >> x & 1 else dark for x in reversed(range(self.width)))

    def scaled(self, factor: int) -> Dots:
        """Each dot as a square of `factor` x `factor` dots."""
        block = (1 << factor) - 1
        wide = (sum(block << x * factor for x in range(self.width) if row >> x & 1) for row in self.rows)
        return Dots(self.width * factor, tuple(row for row in wide for _ in range(factor)))
