"""Every kind of board on a line: its codec, and its emulator at the far end, in one hand and without a loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st

from edge_agent.board.picture import Colours, Picture
from edge_agent.board.protocols import Codec, Command, Reply
from edge_agent.board.protocols.adalight import AdalightCodec
from edge_agent.board.protocols.alpha import AlphaCodec
from edge_agent.board.protocols.hanover import HanoverCodec
from edge_agent.board.protocols.jetfile import JetfileCodec
from hal.sim.adalight import AdalightMatrix
from hal.sim.emulator import Emulator
from hal.sim.hanover import HanoverSign
from hal.sim.jetfile import JetfileSign
from hal.sim.sign import AlphaSign

NS = 1_000_000_000
BAUD = {"alpha": 9600, "jetfile": 9600, "hanover": 4800, "adalight": 115_200}
COLOURS = {
    "alpha": (Colours.MONO, Colours.RED_GREEN),
    "jetfile": (Colours.MONO, Colours.RED_GREEN),
    "hanover": (Colours.MONO,),
    "adalight": (Colours.MONO, Colours.RED_GREEN, Colours.RGB),
}
PROTOCOLS = tuple(BAUD)


def codec(protocol: str, *, columns: int = 96, rows: int = 16, colours: Colours = Colours.MONO) -> Codec:
    match protocol:
        case "alpha":
            return AlphaCodec(columns=columns, rows=rows, slots=6, colours=colours)
        case "jetfile":
            return JetfileCodec(columns=columns, rows=rows, colours=colours, address=b"\x01\x01")
        case "hanover":
            return HanoverCodec(columns=columns, rows=rows, address=1)
        case _:
            return AdalightCodec(columns=columns, rows=rows, colours=colours)


def emulator(protocol: str, *, columns: int = 96, rows: int = 16) -> Emulator:
    match protocol:
        case "alpha":
            return AlphaSign(columns=columns, rows=rows)
        case "jetfile":
            return JetfileSign(columns=columns, rows=rows)
        case "hanover":
            return HanoverSign(columns=columns, rows=rows)
        case _:
            return AdalightMatrix(columns=columns, rows=rows)


@dataclass
class Wire:
    """A codec that says things to an emulator, each byte and each pause taking its time."""

    codec: Codec
    board: Emulator
    baud: int
    now_ns: int = 0
    sent: bytearray = field(default_factory=bytearray)

    @classmethod
    def of(cls, protocol: str, *, columns: int = 96, rows: int = 16, colours: Colours = Colours.MONO) -> Wire:
        return cls(
            codec(protocol, columns=columns, rows=rows, colours=colours),
            emulator(protocol, columns=columns, rows=rows),
            BAUD[protocol],
        )

    def say(self, command: Command) -> list[Reply]:
        replies: list[Reply] = []
        for tx in self.codec.encode(command):
            answer = self.hear(tx.payload)
            self.now_ns += round(tx.gap_after_s * NS)
            replies += self.codec.feed(answer)
        return replies

    def hear(self, payload: bytes) -> bytes:
        """Bytes on the line, whoever sends them."""
        self.sent += payload
        answer = self.board.feed(payload, self.now_ns)
        self.now_ns += len(payload) * 10 * NS // self.baud
        return answer

    def seen(self, colours: Colours = Colours.MONO) -> Picture:
        """What the emulator shows, as a picture of these colours."""
        dots = self.board.current.dots
        cells = b"".join(dots)
        if colours is Colours.MONO:
            cells = bytes(bool(cell) for cell in cells)
        return Picture(len(dots[0]), len(dots), colours, cells)

    def minded(self) -> list[str]:
        return [f"{one.kind}: {one.text}" for one in self.board.violations]


@st.composite
def pictures(draw: st.DrawFn, protocol: str, *, columns: int = 40, rows: int = 31) -> Picture:
    """Any picture that a board of this kind can show."""
    colours = draw(st.sampled_from(COLOURS[protocol]))
    width, height = draw(st.integers(1, columns)), draw(st.integers(1, rows))
    most = {Colours.MONO: 1, Colours.RED_GREEN: 3}.get(colours, 7)
    cells = draw(st.lists(st.integers(0, most), min_size=width * height, max_size=width * height))
    return Picture(width, height, colours, bytes(cells))


def split(whole: bytes, cuts: Sequence[int]) -> list[bytes]:
    """The bytes cut at these places."""
    places = sorted({cut % (len(whole) + 1) for cut in cuts})
    return [whole[a:b] for a, b in zip([0, *places], [*places, len(whole)], strict=True)]
