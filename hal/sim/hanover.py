"""A Hanover sign, or a bridge that speaks like one, emulated (no I/O).

Written from what is published of the protocol, not from the codec that it tests; its constants are its own. It answers nothing.

Assumptions: a sign ignores a frame whose count of bytes is not that of its dots, and goes on showing what it showed; its
test pattern is every dot lit.
"""

from __future__ import annotations

from hal.sim.emulator import Emulator
from hal.sim.picture import Picture, beside, block, centred

MS = 1_000_000
FRAME_MAX = 20_000
_DIGITS = b"0123456789ABCDEF"


class HanoverSign(Emulator):
    """One sign of `columns` x `rows` dots at an address of one hex digit."""

    def __init__(
        self,
        *,
        columns: int = 96,
        rows: int = 16,
        baud: int = 4800,
        bits_per_byte: int = 10,
        address: int = 1,
    ) -> None:
        super().__init__(columns=columns, rows=rows, baud=baud, bits_per_byte=bits_per_byte)
        self._address = address
        self._frame: bytearray | None = None
        self._closing = 0
        """Digits of the sum that are still to come."""
        self._image = self._nothing()
        self._testing = False
        self.frames = 0
        self._shows(0, self._image, "run")

    def advance(self, at_ns: int) -> None:
        """Nothing happens by itself."""

    def power_cycle(self, at_ns: int, *, keeps_memory: bool = False) -> None:
        """It remembers nothing, whatever the asker hopes."""
        self._frame, self._testing = None, False
        self._image = self._nothing()
        self.deaf_until_ns = at_ns + 500 * MS
        self._refresh(at_ns)

    def foreign(self, at_ns: int, text: bytes) -> None:
        """Another controller on the line writes on it."""
        self._image = centred(beside([block(code) for code in text]), self.columns, self.rows)
        self._refresh(at_ns)

    def _hears(self, byte: int, quiet_ns: int, at_ns: int) -> bytes:
        if byte == 0x02:
            if self._frame:
                self._minds(at_ns, "cut", "a new frame began inside another")
            self._frame, self._closing = bytearray(), 0
        elif self._frame is None:
            if not self.violations or self.violations[-1].kind != "outside" or quiet_ns > 100 * MS:
                self._minds(at_ns, "outside", f"byte {byte:02X} outside a frame")
        else:
            self._inside(self._frame, byte, at_ns)
        return b""

    def _inside(self, frame: bytearray, byte: int, at_ns: int) -> None:
        frame.append(byte)
        if byte == 0x03 and not self._closing:
            self._closing = 2
        elif self._closing:
            self._closing -= 1
            if not self._closing:
                self._frame = None
                self._whole(bytes(frame), at_ns)
                return
        elif byte not in _DIGITS:
            self._frame = None
            self._minds(at_ns, "illegal", f"byte {byte:02X} is no hex digit")
            return
        if len(frame) > FRAME_MAX:
            self._frame = None
            self._minds(at_ns, "too_long", "a frame without end")

    def _whole(self, frame: bytes, at_ns: int) -> None:
        """A frame after STX, its two digits of sum included."""
        body, digits = frame[:-2], frame[-2:]
        if digits != b"%02X" % ((256 - sum(body) % 256) % 256) or self.refuse_next:
            self.refuse_next = max(0, self.refuse_next - 1)
            self._minds(at_ns, "bad_sum", f"sum {digits!r}")
            return
        if len(body) < 3:
            self._minds(at_ns, "illegal", f"frame {frame!r}")
            return
        command, address = int(body[:1], 16), int(body[1:2], 16)
        if address not in {0, self._address}:
            return
        self.frames += 1
        match command:
            case 1:
                self._draw(body[2:-1], at_ns)
            case 3 | 12:
                self._testing = command == 3
            case _:
                self._minds(at_ns, "illegal", f"command {command}")
        self._refresh(at_ns)

    def _draw(self, payload: bytes, at_ns: int) -> None:
        if not payload:
            return
        deep = -(-self.rows // 8)
        wanted = deep * self.columns
        if len(payload) != 2 + 2 * wanted or int(payload[:2], 16) != wanted % 256:
            self._minds(at_ns, "too_long", f"{(len(payload) - 2) // 2} bytes of dots for {wanted}")
            return
        columns = bytes.fromhex(payload[2:].decode("ascii"))
        self._image = tuple(
            bytes(columns[x * deep + y // 8] >> y % 8 & 1 for x in range(self.columns))
            for y in range(self.rows)
        )

    def _refresh(self, at_ns: int) -> None:
        image: Picture = self._image
        if self._testing:
            image = tuple(bytes([1]) * self.columns for _ in range(self.rows))
        self._shows(at_ns, image, "run")
