"""Adalight: the colours of a string of lamps, as many ESP32 matrices (WLED and its kin) take them on a serial line.

Facts about Adalight:

- A frame is `Ada`, the count of lamps less one (high byte, low byte), those two and 55h exclusive-ored, then R G B of each lamp.
- The lamps of a matrix hang on one string. It runs row by row from the top left; in a serpentine one every second row
  runs from right to left.
- The receiver answers nothing that says how it went. WLED goes back to its own effects when it hears nothing for 2.5 s unless
  its setting "Timeout" (Sync) is 0 (65000): set that, or the board goes dark between our pages.
- Bytes have all eight bits; noise looks like colours, so a frame is only found by its head.
"""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.board.picture import BLUE, GREEN, RED, Colours, Picture
from edge_agent.board.protocols import Caps, Command, Dim, Draw, Reply, Settle, SetUp, Tx
from hal.ports import SerialSettings

HEAD = b"Ada"
LAMPS_MAX = 65_536
BRIGHTNESS_STEPS = 50
GAP_S = 0.02
"""For the lamps to be clocked out: 30 us each."""


def frame(colours: bytes) -> bytes:
    """A frame with three bytes a lamp."""
    count = len(colours) // 3 - 1
    high, low = count >> 8, count & 0xFF
    return HEAD + bytes((high, low, high ^ low ^ 0x55)) + colours


class AdalightCodec:
    """A codec for one matrix. Its brightness is made here, by smaller numbers."""

    def __init__(self, *, columns: int, rows: int, colours: Colours, serpentine: bool = False) -> None:
        assert columns * rows <= LAMPS_MAX, "a frame counts no more lamps"
        self._serpentine = serpentine
        self._percent = 100
        self._shown: Picture | None = None
        self.caps = Caps(
            columns=columns,
            rows=rows,
            colours=colours,
            slots=0,
            brightness_steps=BRIGHTNESS_STEPS,
            line=SerialSettings(baud=115_200),
        )

    def encode(self, command: Command) -> tuple[Tx, ...]:
        """The bytes that say it."""
        match command:
            case Draw(picture=picture):
                self._shown = picture
                return (Tx(frame(self._lamps(picture)), GAP_S),)
            case Dim(percent=percent):
                self._percent = percent
                return () if self._shown is None else (Tx(frame(self._lamps(self._shown)), GAP_S),)
            case SetUp() | Settle():
                return ()
            case _:
                raise AssertionError(f"not in the caps of an Adalight matrix: {command}")

    def feed(self, received: bytes) -> Sequence[Reply]:
        """`Ada` comes once at its start, and says nothing of what it was sent."""
        return ()

    def forget(self) -> None:
        """There is nothing to forget."""

    def _lamps(self, picture: Picture) -> bytes:
        """R G B of each lamp in the string's order."""
        level = 255 * self._percent // 100
        rows = []
        for y in range(picture.height):
            row = self._row(picture, y, level)
            if self._serpentine and y % 2:
                row = b"".join(row[x : x + 3] for x in range(len(row) - 3, -1, -3))
            rows.append(row)
        return b"".join(rows)

    def _row(self, picture: Picture, y: int, level: int) -> bytes:
        cells = picture.row(y)
        if picture.colours is Colours.FULL:
            return cells.translate(bytes(code * level // 255 for code in range(256)))
        mono = picture.colours is Colours.MONO
        lit = [
            bytes(level if (RED if mono and code else code) & bit else 0 for bit in (RED, GREEN, BLUE))
            for code in range(8)
        ]
        return b"".join(lit[cell] for cell in cells)
