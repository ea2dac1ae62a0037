"""Hanover's raw dots, as buses' flip-dot and LED signs take them on RS-485, 4800 8N1: a DIY bridge's natural language.

Facts about Hanover signs (as published by those who listened to them; pyflipdot's packets agree byte for byte):

- A frame is 02h, one hex digit of command, one of address, a payload in hex digits, 03h, and two digits that make the 8-bit
  sum of everything after 02h, 03h included, zero.
- Command 1 writes an image: the count of its bytes (its low eight bits, two digits), then the bytes, column by column from
  the left, each column from the top, eight rows a byte, the least significant bit on top.
- Commands 3 and 12, to address 0, begin and end the test pattern of every sign on the line.
- A sign answers nothing and remembers nothing: what it was sent last is what it shows, until its power goes.
"""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.board.picture import Colours, Picture
from edge_agent.board.protocols import Caps, Command, Draw, Reply, SelfTest, Settle, SetUp, Tx
from hal.ports import SerialSettings

STX, ETX = b"\x02", b"\x03"
WRITE_IMAGE, START_TEST, STOP_TEST = 1, 3, 12
EVERY_SIGN = 0
GAP_S = 0.05
"""Between frames, for signs that find the next one by the silence before it."""


def frame(command: int, address: int, payload: bytes = b"") -> bytes:
    """A frame as it stands on the line."""
    assert 0 <= command <= 15
    assert 0 <= address <= 15
    body = b"%X%X" % (command, address) + payload + ETX
    return STX + body + b"%02X" % (-sum(body) & 0xFF)


def image(picture: Picture) -> bytes:
    """The payload of an image: count and columns, in hex digits."""
    deep = (picture.height + 7) // 8
    columns = bytearray(deep * picture.width)
    for y in range(picture.height):
        bit, row = 1 << y % 8, picture.row(y)
        for x, lit in enumerate(row):
            if lit:
                columns[x * deep + y // 8] |= bit
    return (bytes([len(columns) & 0xFF]) + columns).hex().upper().encode("ascii")


class HanoverCodec:
    """A codec for one sign of `columns` x `rows` dots at `address` (0 = all)."""

    def __init__(self, *, columns: int, rows: int, address: int) -> None:
        self._address = address
        self.caps = Caps(
            columns=columns,
            rows=rows,
            colours=Colours.MONO,
            slots=0,
            tests_itself=True,
            line=SerialSettings(baud=4800),
        )

    def encode(self, command: Command) -> tuple[Tx, ...]:
        """The bytes that say it."""
        match command:
            case Draw(picture=picture):
                return (Tx(frame(WRITE_IMAGE, self._address, image(picture)), GAP_S),)
            case SelfTest(on=on):
                return (Tx(frame(START_TEST if on else STOP_TEST, EVERY_SIGN), GAP_S),)
            case SetUp() | Settle():
                return ()
            case _:
                raise AssertionError(f"not in the caps of a Hanover sign: {command}")

    def feed(self, received: bytes) -> Sequence[Reply]:
        """It answers nothing; what comes is somebody else's."""
        return ()

    def forget(self) -> None:
        """There is nothing to forget."""
