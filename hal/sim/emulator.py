"""What every emulated board is: bytes in, bytes out, and what a passer-by would see (no I/O)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from typing import Literal

from hal.sim.picture import Picture

SECOND = 1_000_000_000
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


class Emulator(ABC):
    """One board at the far end of a line. It hears one byte per byte time, however fast they come.

    Faults are attributes, changed at any time.
    """

    def __init__(self, *, columns: int, rows: int, baud: int, bits_per_byte: int) -> None:
        self.columns = columns
        self.rows = rows
        self._byte_ns = bits_per_byte * SECOND // baud
        self.shown: deque[Shown] = deque(maxlen=KEPT)
        self.shown_count = 0
        """How many were ever appended to `shown`, which forgets its oldest."""
        self.violations: deque[Violation] = deque(maxlen=KEPT)
        self.brightness = 100
        """Percent, 0 when its dots are switched off."""
        self.silent = False
        """It shows, but answers nothing."""
        self.dark = False
        """It hears and shows nothing: no power."""
        self.drop_every = 0
        """It loses each n-th byte; 0: none."""
        self.noise = b""
        """Foreign bytes around each answer."""
        self.late_ns = 0
        """It answers so much later than it should; whoever carries its answers waits for that."""
        self.refuse_next = 0
        """It refuses so many of the next commands, as if their sum were wrong."""
        self.deaf_until_ns = 0
        """It hears nothing before."""
        self.dead_dots: frozenset[tuple[int, int]] = frozenset()
        """(x, y) of dots that never light."""
        self._received = 0
        self._line_ns = 0
        """When the byte that was heard last was whole."""

    # ------------------------------------------------------------ what happens to it

    def feed(self, received: bytes, at_ns: int) -> bytes:
        """Take bytes that began to come at `at_ns`; return what the board answers."""
        self.advance(at_ns)
        answer, place = b"", 0
        while place < len(received):
            start = max(at_ns, self._line_ns)
            quiet_ns = start - self._line_ns
            hears = not self.dark and start >= self.deaf_until_ns
            if hears and not quiet_ns and not self.drop_every and (many := self._swallows(received, place)):
                place += many
                self._received += many
                self._line_ns = start + many * self._byte_ns
                continue
            self._line_ns = start + self._byte_ns
            self._received += 1
            lost = self.drop_every and self._received % self.drop_every == 0
            if hears and not lost:
                answer += self._hears(received[place], quiet_ns, self._line_ns)
            place += 1
        if self.silent or not answer:
            return b""
        return self.noise + answer + self.noise

    @abstractmethod
    def advance(self, at_ns: int) -> None:
        """Let time pass: pages are turned, times to live end."""

    @abstractmethod
    def power_cycle(self, at_ns: int, *, keeps_memory: bool = False) -> None:
        """Mains gone and back."""

    @abstractmethod
    def foreign(self, at_ns: int, text: bytes) -> None:
        """Someone with a telephone app takes the board and writes on it."""

    @property
    def current(self) -> Shown:
        """What is to be seen now."""
        return self.shown[-1]

    # ------------------------------------------------------------ inside

    @abstractmethod
    def _hears(self, byte: int, quiet_ns: int, at_ns: int) -> bytes:
        """One byte, after `quiet_ns` of silence, whole at `at_ns`; returns the answer that it completes."""

    def _swallows(self, received: bytes, place: int) -> int:
        """How many of the bytes from `place` on, each right behind the one before, mean nothing by themselves and are
        kept at once, to spare the work of hearing each."""
        return 0

    def _shows(self, at_ns: int, dots: Picture, kind: Literal["run", "priority", "blank"]) -> None:
        """From now on this is to be seen; keep it if it is another sight."""
        if self.dead_dots:
            dots = tuple(
                bytes(0 if (x, y) in self.dead_dots else dot for x, dot in enumerate(row))
                for y, row in enumerate(dots)
            )
        if not any(map(any, dots)) and kind == "run":
            kind = "blank"
        if not self.shown or (self.shown[-1].dots, self.shown[-1].kind) != (dots, kind):
            self.shown.append(Shown(at_ns, dots, kind))
            self.shown_count += 1

    def _minds(self, at_ns: int, kind: str, text: str) -> None:
        self.violations.append(Violation(at_ns, kind, text))

    def _nothing(self) -> Picture:
        return tuple(bytes(self.columns) for _ in range(self.rows))
