"""A JetFile II sign, emulated: bytes in, bytes out, and what a passer-by would see (no I/O).

Written from the protocol's form (JetFile II 2.5.4) and BOARD.md's list of commands, not from the codec that it tests; its
constants are its own. Commands are told by their four hex digits, as the form has them.

Assumptions, where the form is silent: an emergency takes the place of one before it; what an emergency calls that is not on the
RAM disk is dark; the stream's mode outlives an emergency; after power the sign shows its own playlist, which here is dark, or
what a stranger has put there.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from hal.sim.emulator import SECOND, Emulator
from hal.sim.picture import Picture, beside, block, centred

MS = 1_000_000
PACKET_MAX = 4096
CUT_NS = 1 * SECOND
KEPT_FILES = 64
PLAY_LOG_LINES = 100

MODES = {"schedule": 0, "emergency": 1, "black": 2, "test": 4, "stream": 5}


@dataclass(slots=True)
class _Upload:
    """A file, or a picture of the stream, that comes in several packets."""

    parts: list[bytes] = field(default_factory=list)


class JetfileSign(Emulator):
    """One sign with a group and a unit."""

    def __init__(
        self,
        *,
        columns: int = 96,
        rows: int = 16,
        baud: int = 9600,
        bits_per_byte: int = 10,
        address: tuple[int, int] = (1, 1),
        celsius: int = 31,
    ) -> None:
        super().__init__(columns=columns, rows=rows, baud=baud, bits_per_byte=bits_per_byte)
        self._address = address
        self.celsius = celsius
        self._heard = bytearray()
        self.ram: dict[str, bytes] = {}
        """The RAM disk, by label."""
        self.flash_writes = 0
        self._uploads: dict[str, _Upload] = {}
        self._streaming = False
        self._streamed = self._nothing()
        self._black = False
        self._testing = False
        self._emergency: bytes | None = None
        self._until_ns: int | None = None
        self._schedule = self._nothing()
        self.clock = ""
        """The date and time as it was set last, in the form's order."""
        self.play_log: deque[str] = deque(maxlen=PLAY_LOG_LINES)
        self.frames = 0
        self._refresh(0)

    # ------------------------------------------------------------ what happens to it

    def advance(self, at_ns: int) -> None:
        """An emergency ends with its time."""
        if self._emergency is not None and self._until_ns is not None and at_ns >= self._until_ns:
            ended = self._until_ns
            self._emergency = self._until_ns = None
            self._refresh(ended)

    def power_cycle(self, at_ns: int, *, keeps_memory: bool = False) -> None:
        """The RAM disk, the stream and the emergency are gone; what lies in flash stays."""
        self._heard.clear()
        self.deaf_until_ns = at_ns + 2 * SECOND
        if not keeps_memory:
            self.ram, self._uploads = {}, {}
            self._streaming = self._black = self._testing = False
            self._emergency = self._until_ns = None
            self._streamed = self._nothing()
        self._refresh(at_ns)

    def foreign(self, at_ns: int, text: bytes) -> None:
        """Its owner's software ends the stream and plays something of its own."""
        self._streaming = False
        self._schedule = centred(beside([block(code) for code in text]), self.columns, self.rows)
        self._refresh(at_ns)

    def switch_off(self, at_ns: int) -> None:
        """Somebody switches its dots off with its remote control; an emergency is not seen on it, either."""
        self._black = True
        self._refresh(at_ns)

    def switch_on(self, at_ns: int) -> None:
        """And on again."""
        self._black = False
        self._refresh(at_ns)

    def streams(self) -> bool:
        """Whether somebody's stream hides what its owner has put on it."""
        return self._streaming

    def owner_plays(self, at_ns: int, text: bytes) -> None:
        """What its own playlist shows from now on, seen or not."""
        self._schedule = centred(beside([block(code) for code in text]), self.columns, self.rows)
        self._refresh(at_ns)

    # ------------------------------------------------------------ bytes to packets

    def _hears(self, byte: int, quiet_ns: int, at_ns: int) -> bytes:
        self.advance(at_ns)
        heard = self._heard
        if heard and quiet_ns > CUT_NS:
            heard.clear()
            self._minds(at_ns, "cut", "the sender stopped in the middle of a packet")
        heard.append(byte)
        if heard[0] == 0x01:
            return self._first_format(at_ns)
        if heard[0] != 0x55 or (len(heard) > 1 and heard[1] != 0xA7):
            if not self.violations or self.violations[-1].kind != "outside" or quiet_ns:
                self._minds(at_ns, "outside", f"byte {byte:02X} outside a packet")
            del heard[:-1]
            if heard[0] not in {0x55, 0x01}:
                heard.clear()
            return b""
        if len(heard) < 16:
            return b""
        length = self._length()
        if length > PACKET_MAX:
            heard.clear()
            self._minds(at_ns, "too_long", f"a packet of {length} bytes")
            return b""
        if len(heard) < length:
            return b""
        whole = bytes(heard)
        heard.clear()
        return self._packet(whole, at_ns)

    def _swallows(self, received: bytes, place: int) -> int:
        """The arguments and the data of a packet whose head is whole, but for its last byte."""
        heard = self._heard
        if len(heard) < 16 or heard[0] != 0x55:
            return 0
        many = max(0, min(len(received) - place, self._length() - len(heard) - 1))
        heard += received[place : place + many]
        return many

    def _length(self) -> int:
        """Of the packet whose head is whole."""
        heard = self._heard
        return 16 + 4 * heard[14] + heard[4] + 256 * heard[5]

    def _first_format(self, at_ns: int) -> bytes:
        """01 Z 00 02 A 0F disk folder label 06 text 04: stored, nothing answered."""
        heard = self._heard
        if heard[-1] == 0x04:
            whole = bytes(heard)
            heard.clear()
            if whole[1:2] != b"Z" or whole[4:6] != b"\x02A":
                self._minds(at_ns, "illegal", f"frame {whole[:12]!r}")
            elif whole[6:7] == b"\x0f":
                self._write(whole[7:8], "T" + whole[9:11].decode("latin-1"), whole[12:-1])
        elif len(heard) > PACKET_MAX:
            heard.clear()
            self._minds(at_ns, "too_long", "a frame without end")
        return b""

    def _packet(self, whole: bytes, at_ns: int) -> bytes:
        given = whole[2] + 256 * whole[3]
        if whole[8:10] not in {b"\0\0", bytes(self._address)}:
            return b""
        command = whole[12:14].hex()
        if given != sum(whole[4:]) % 65536:
            self._minds(at_ns, "bad_sum", f"sum {given:04X} instead of {sum(whole[4:]) % 65536:04X}")
            return self._coded(whole, 0x9002)
        if self.refuse_next:
            self.refuse_next -= 1
            return self._coded(whole, 0x9002)
        self.frames += 1
        args, data = whole[16 : 16 + 4 * whole[14]], whole[16 + 4 * whole[14] :]
        answer = self._obeyed(command, args, data, at_ns)
        self._refresh(at_ns)
        if whole[15] == 1:
            return b""
        return self._coded(whole, answer) if isinstance(answer, int) else self._told(whole, answer)

    def _coded(self, whole: bytes, code: int) -> bytes:
        return _reply(whole, bytes((code % 256, code // 256, 0, 0)), flag=1)

    def _told(self, whole: bytes, args: bytes) -> bytes:
        return _reply(whole, args, flag=0)

    # ------------------------------------------------------------ commands

    def _obeyed(self, command: str, args: bytes, data: bytes, at_ns: int) -> int | bytes:  # noqa: C901, PLR0911, PLR0912 - one case a command
        """Do it; a status code, or the arguments of the answer."""
        match command:
            case "0301":
                return bytes((0, 3, 0, 3, 49, 10, 254, 169, *self._address, 0, 0))
            case "010b":
                return bytes((self._mode(), self.celsius % 256, 0xFF, 0, 0xFF, 0, 0, 0))
            case "0109":
                return "\n".join(self.play_log).encode()[:200].ljust(4, b"\0")
            case "0204" | "0206":
                label = ("T" if command == "0204" else "P") + args[2:14].rstrip(b"\0").decode("latin-1")
                return self._take(label, args[:1], args[14:24], data, at_ns)
            case "0208":
                label = args[10:].rstrip(b"\0").decode("latin-1")
                return self._take(label, label[:1].encode(), args[:10], data, at_ns)
            case "0209":
                return self._warn(args, data, at_ns)
            case "020a":
                self.brightness = round(args[4] * 100 / 255)
                return 0x9000
            case "0401" | "0402":
                self._black = command == "0401"
                return 0x9000
            case "0403" | "0404":
                self._black = command == "0403"
                return 0x9000
            case "0405":
                return bytes((2 if self._black else 0, 0, 0, 0))
            case "0502" | "0504":
                self.clock = args.hex()
                return 0x9000
            case "0606":
                label = args[1:2].decode("latin-1") + args[2:14].rstrip(b"\0").decode("latin-1")
                return 0x9000 if label in self.ram else 0x9008
            case "0302" | "0303" | "0309":
                self._testing = command != "0309"
                return 0x9000
            case "0801" | "0802":
                self._streaming = command == "0801"
                return 0x9000
            case "0804":
                return self._stream(args, data, at_ns)
            case "1001":
                return 0x9000
            case "1002":
                return len(self.dead_dots).to_bytes(4, "little")
            case _:
                self._minds(at_ns, "illegal", f"command {command}")
                return 0x9004

    def _take(self, label: str, disk: bytes, sizes: bytes, data: bytes, at_ns: int) -> int:
        """One packet of a file: its size, that of the packets, their count, which."""
        total = int.from_bytes(sizes[:4], "little")
        count, number = int.from_bytes(sizes[6:8], "little"), int.from_bytes(sizes[8:10], "little")
        upload = self._uploads.setdefault(label, _Upload())
        if number == 1:
            upload.parts.clear()
        if number != len(upload.parts) + 1:
            self._minds(at_ns, "illegal", f"packet {number} of {label} out of order")
            return 0x9014
        upload.parts.append(data)
        if number < count:
            return 0x9000
        del self._uploads[label]
        content = b"".join(upload.parts)
        if len(content) != total:
            self._minds(at_ns, "too_long", f"{len(content)} bytes for a file of {total}")
            return 0x9006
        return self._write(disk, label, content)

    def _write(self, disk: bytes, label: str, content: bytes) -> int:
        if disk != b"E":
            self.flash_writes += 1
        if len(self.ram) >= KEPT_FILES and label not in self.ram:
            return 0x2102
        self.ram[label] = content
        return 0x9000

    def _warn(self, args: bytes, data: bytes, at_ns: int) -> int:
        if len(data) > 1024:
            self._minds(at_ns, "too_long", f"an emergency of {len(data)} bytes")
            return 0x2901
        seconds = args[0] + 256 * args[1]
        self._emergency = data
        self._until_ns = at_ns + seconds * SECOND if seconds else None
        self.play_log.append(f"emergency {seconds} s")
        return 0x9000

    def _stream(self, args: bytes, data: bytes, at_ns: int) -> int:
        """Dots of two bits, red above green, rows padded to whole bytes."""
        if not self._streaming:
            self._minds(at_ns, "unallocated", "dots without a stream")
            return 0x8305
        count, number = args[2] + 256 * args[3], args[4] + 256 * args[5]
        upload = self._uploads.setdefault("stream", _Upload())
        if number == 1:
            upload.parts.clear()
        if number != len(upload.parts) + 1:
            return 0x9014
        upload.parts.append(data)
        if number < count:
            return 0x9000
        dots = b"".join(upload.parts)
        upload.parts.clear()
        stride = -(-self.columns // 4)
        if len(dots) != stride * self.rows:
            self._minds(at_ns, "too_long", f"{len(dots)} bytes of dots for {stride * self.rows}")
            return 0x8306
        self._streamed = tuple(
            bytes(_CELL[dots[y * stride + x // 4] >> 6 - 2 * (x % 4) & 3] for x in range(self.columns))
            for y in range(self.rows)
        )
        return 0x9000

    # ------------------------------------------------------------ what is seen

    def _mode(self) -> int:
        for name, holds in (
            ("black", self._black),
            ("emergency", self._emergency is not None),
            ("test", self._testing),
            ("stream", self._streaming),
        ):
            if holds:
                return MODES[name]
        return MODES["schedule"]

    def _refresh(self, at_ns: int) -> None:
        kind: Literal["run", "priority"] = "run"
        if self._black:
            dots = self._nothing()
        elif self._emergency is not None:
            dots, kind = self._called(self._emergency), "priority"
            if not any(map(any, dots)):
                dots, kind = (self._streamed if self._streaming else self._schedule), "run"
        elif self._testing:
            dots = tuple(bytes([1]) * self.columns for _ in range(self.rows))
        else:
            dots = self._streamed if self._streaming else self._schedule
        self._shows(at_ns, dots, kind)

    def _called(self, text: bytes) -> Picture:
        """The picture that an emergency's text calls."""
        at = text.find(b"\x14")
        if at < 0:
            return self._nothing()
        return self._bitmap(self.ram.get("P" + text[at + 2 : at + 3].decode("latin-1"), b""))

    def _bitmap(self, blob: bytes) -> Picture:
        """A Windows bitmap of four bits a dot, bottom row first."""
        if blob[:2] != b"BM" or int.from_bytes(blob[28:30], "little") != 4:
            return self._nothing()
        begin = int.from_bytes(blob[10:14], "little")
        width, height = int.from_bytes(blob[18:22], "little"), int.from_bytes(blob[22:26], "little")
        inks = [
            (1 if blob[at + 2] > 127 else 0) | (2 if blob[at + 1] > 127 else 0) | (4 if blob[at] > 127 else 0)
            for at in range(54, begin, 4)
        ]
        stride = -(-width // 8) * 4
        if len(blob) < begin + stride * height:
            return self._nothing()
        rows = []
        for y in range(height):
            line = blob[begin + (height - 1 - y) * stride :]
            rows.append(bytes(inks[line[x // 2] >> (0 if x % 2 else 4) & 15] for x in range(width)))
        return centred(tuple(rows), self.columns, self.rows)


_CELL = {0: 0, 1: 2, 2: 1, 3: 3}
"""Two bits of the stream, red above green, as a cell of a `Picture`."""


def _reply(asked: bytes, args: bytes, *, flag: int) -> bytes:
    """A packet from the sign: the same serial number and command."""
    args += bytes(-len(args) % 4)
    rest = bytes(2) + asked[8:10] + b"\0\0" + asked[10:14] + bytes((len(args) // 4, flag)) + args
    total = sum(rest) % 65536
    return b"\x55\xa8" + bytes((total % 256, total // 256)) + rest
