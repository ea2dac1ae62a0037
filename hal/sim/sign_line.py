"""The line side of an emulated Alpha sign: bytes to commands, policing silences and sums (no I/O)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

MS = 1_000_000
SECOND = 1_000_000_000

GAP_NS = 100 * MS
CUT_NS = 1 * SECOND
"""A sender silent for so long in the middle of a frame has gone."""

BAD_SUM, TIME_OUT = 0x10, 0x04
"""Bits of the serial error register."""

Minded = Literal[
    "gap",
    "deaf",
    "unallocated",
    "too_long",
    "bad_sum",
    "wake",
    "cut",
    "eighth_bit",
    "erase_in_alert",
    "illegal",
]


@dataclass(frozen=True, slots=True)
class Command:
    """A whole command, its sum found right: code and text, without STX and ETX."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with what came; `bit` is set in the error register."""

    kind: Minded
    text: str
    bit: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """EOT: the frame is over; answers go out now."""


Heard = Command | Fault | Ended


class _Frame:
    """A frame as it comes in."""

    def __init__(self, *, escaped: bool) -> None:
        self.escaped = escaped
        self.address = b""
        self.body: bytearray | None = None
        """The command since STX, None before the first."""
        self.sum: bytearray | None = None
        """The four digits after ETX, None before ETX."""
        self.commands = 0
        self.first_gap_ns: int | None = None

    def wants_gap(self) -> bool:
        """Whether the byte just taken is one after which the sender must pause."""
        if self.body is None or self.sum is not None:
            return False
        after_width = self.body[:1] == b"I" and len(self.body) == 6
        return after_width or (self.commands > 1 and not self.body)


class FrameReader:
    """Takes a sign's bytes one by one, in the plain or in one of the two printable forms."""

    def __init__(self, *, address: bytes, seven_bit: bool) -> None:
        self._address = address
        self._seven_bit = seven_bit
        self.reset()

    def reset(self) -> None:
        """Forget a frame received in part."""
        self._frame: _Frame | None = None
        self._nuls = 0
        self._escape = b""

    def take(self, byte: int, quiet_ns: int) -> Iterator[Heard]:
        """One byte that came after `quiet_ns` of silence."""
        if byte >= 0x80 and self._seven_bit:
            yield Fault("eighth_bit", f"byte {byte:02X} on a line of 7 bits")
            byte &= 0x7F
        if self._frame is not None:
            yield from self._police(self._frame, quiet_ns)
        escaped_form = self._frame is None or self._frame.escaped
        if byte < 0x20:
            self._escape = b""  # no printable form has such a byte: what began was noise
        if not self._escape and not (escaped_form and byte in b"]_"):
            yield from self._taken(byte, escaped=False)
            return
        decoded = self._unescaped(byte)
        if decoded is not None:
            yield from self._taken(decoded, escaped=True)

    def swallow(self, byte: int) -> bool:
        """Whether this byte, which came without a pause, is plain content of a command or one more NUL before a
        frame: then it is taken."""
        frame = self._frame
        if frame is None and byte == 0:
            self._nuls += 1
            self._escape = b""
            return True
        if frame is None or not frame.body or frame.sum is not None or self._escape:
            return False
        if byte < 0x20 or byte >= 0x80 or (frame.escaped and byte in b"]_") or len(frame.body) == 6:
            return False
        self._nuls = 0
        frame.body.append(byte)
        return True

    def _police(self, frame: _Frame, quiet_ns: int) -> Iterator[Heard]:
        """Mind silences: too short after certain bytes, too long anywhere."""
        if quiet_ns > CUT_NS:
            self.reset()
            yield Fault("cut", "the sender stopped in the middle of a frame", TIME_OUT)
            return
        if frame.first_gap_ns is None and frame.commands == 1 and frame.body is not None and not frame.body:
            frame.first_gap_ns = quiet_ns
        if frame.wants_gap() and quiet_ns < GAP_NS:
            yield Fault("gap", f"{quiet_ns // MS} ms instead of 100 ms of silence")

    def _unescaped(self, byte: int) -> int | None:
        """The printable forms: `]` and a character 20h above, or `_` and two hex digits."""
        self._escape += bytes([byte])
        two_bytes = self._escape[0] == 0x5D
        if len(self._escape) < (2 if two_bytes else 3):
            return None
        escape, self._escape = self._escape, b""
        if two_bytes:
            return escape[1] - 0x20 if 0x20 <= escape[1] < 0x60 else None
        try:
            return int(escape[1:], 16)
        except ValueError:
            return None

    def _taken(self, byte: int, *, escaped: bool) -> Iterator[Heard]:
        """One byte of the protocol proper, freed of its printable form."""
        if byte == 0x00:
            self._nuls += 1
            if self._nuls == 5 and self._frame is not None:
                self._frame = None
                yield Fault("cut", "a new frame began inside another")
            return
        nuls, self._nuls = self._nuls, 0
        if byte == 0x01:
            if self._frame is not None:
                yield Fault("cut", "a new frame began inside another")
            self._frame = _Frame(escaped=escaped) if nuls >= 5 else None
            if nuls < 5:
                yield Fault("wake", f"{nuls} NUL before SOH; the sign needs 5 to find the baud rate")
        elif self._frame is not None:
            yield from self._inside(self._frame, byte)

    def _inside(self, frame: _Frame, byte: int) -> Iterator[Heard]:
        """One byte of a frame, after SOH."""
        if byte == 0x04:
            self._frame = None
            yield from self._closed(frame)
            yield Ended()
        elif len(frame.address) < 3:
            frame.address += bytes([byte])
        elif byte == 0x02:
            yield from self._closed(frame)
            frame.body, frame.sum = bytearray(), None
            frame.commands += 1
            if frame.commands == 2 and (frame.first_gap_ns or 0) < GAP_NS:
                yield Fault("gap", "no 100 ms after the first STX of several")
        elif byte == 0x03 and frame.body is not None and frame.sum is None:
            frame.sum = bytearray()
        elif frame.sum is not None:
            frame.sum.append(byte)
        elif frame.body is not None:
            frame.body.append(byte)

    def _closed(self, frame: _Frame) -> Iterator[Heard]:
        """A command is complete: check its sum and whether it is for this sign."""
        if frame.body is None or frame.address[1:] not in {b"00", b"??", self._address}:
            return
        body, given = bytes(frame.body), bytes(frame.sum or b"")
        frame.body = None
        if given and given != sum_of(body):
            yield Fault("bad_sum", f"sum {given!r} instead of {sum_of(body)!r}", BAD_SUM)
        else:
            yield Command(body)


def sum_of(body: bytes) -> bytes:
    """The four digits after ETX."""
    return b"%04X" % ((2 + sum(body) + 3) % 65536)
