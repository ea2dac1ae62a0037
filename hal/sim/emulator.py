"""What every emulated board can do: bytes in, bytes out, and what a passer-by would see (no I/O)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal, Protocol

from hal.sim.picture import Picture

KEPT = 20_000


@dataclass(frozen=True, slots=True)
class Shown:
    """From `at_ns` on this was to be seen, until the next."""

    at_ns: int
    dots: Picture
    kind: Literal["run", "priority", "blank"]
    """`priority`: an emergency stands above what the board shows otherwise."""

    @property
    def lit(self) -> int:
        """Dots that are not dark."""
        return sum(len(row) - row.count(0) for row in self.dots)


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that a real board would not have forgiven."""

    at_ns: int
    kind: str
    text: str


class Emulator(Protocol):
    """One board at the far end of a line.

    Faults are attributes, changed at any time.
    """

    columns: int
    rows: int
    shown: deque[Shown]
    """At most `KEPT`."""
    shown_count: int
    """How many were ever appended to `shown`, which forgets its oldest."""
    violations: deque[Violation]
    """At most `KEPT`."""
    brightness: int
    """Percent, 0 when its dots are switched off."""
    silent: bool
    """It shows, but answers nothing."""
    dark: bool
    """It hears and shows nothing: no power."""
    drop_every: int
    """It loses each n-th byte; 0: none."""
    noise: bytes
    """Foreign bytes around each answer."""
    late_ns: int
    """It answers so much later than it should."""
    refuse_next: int
    """It refuses so many of the next commands, as if their sum were wrong."""
    deaf_until_ns: int
    """It hears nothing before."""
    dead_dots: frozenset[tuple[int, int]]
    """(x, y) of dots that never light."""

    def feed(self, received: bytes, at_ns: int) -> bytes:
        """Take bytes that began to come at `at_ns`, one byte time after the other; return what it answers."""

    def advance(self, at_ns: int) -> None:
        """Let time pass: pages are turned, times to live end."""

    def power_cycle(self, at_ns: int, *, keeps_memory: bool = False) -> None:
        """Mains gone and back."""

    def foreign(self, at_ns: int, text: bytes) -> None:
        """Someone with a telephone app takes the board and writes on it."""

    @property
    def current(self) -> Shown:
        """What is to be seen now."""
