"""JetFile II, the language of Chainzone's signs and of the many that are sold under other names (serial, TCP port 9520).

Facts about JetFile II (version 2.5.4 of its form; section numbers are its own; the public library jetfile-signage, written
against real signs, agrees where it is named):

- The second format: 55 A7, the 16-bit sum of all bytes from offset 4 on, the length of the data, our address (0), the sign's
  group and unit, a serial number, main and sub command, the length of the arguments in fours, a flag (0: answer), the
  arguments, the data. Numbers have their low byte first. The sign answers 55 A8 with the same serial number and command;
  flag 1: the arguments begin with a status code, flag 0: with what was asked for.
- The first format is like Alpha's: 01, `Z`, two digits of address, 02, a command, 04. A path is 0F, disk (`D` flash, `E` RAM),
  folder, two letters. Nothing is answered.
- Streaming (3.8): after 0801 the sign shows the dots that 0804 brings, and nothing else, until 0802; then it goes on with its
  own playlist. With format 0 a dot has two bits, red above green, four dots a byte from the left, rows padded to bytes.
- An emergency (3.2.9) is shown above everything for so many seconds; then the sign goes back by itself. Its text, at most
  1,024 bytes, may call a picture file (14, disk, label). Pictures are Windows bitmaps; on the RAM disk they cost no wear.
- Brightness (3.2.10), power (3.4), clock in BCD (3.5), status (3.1.11): mode, degrees (FF: no sensor), humidity.

Assumptions, where the form is silent or no public code shows it, each in one place here: a brightness of 255 is full; an
emergency of one second with no picture ends the one before; the answer to 1002 begins with the number of dead dots. If a
sign sees it otherwise it is this page that errs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from edge_agent.board.picture import GREEN, RED, Colours, Picture
from edge_agent.board.protocols import (
    Ack,
    AskDeadDots,
    AskPlan,
    AskStatus,
    Caps,
    Command,
    DeadDots,
    Dim,
    Draw,
    HandBack,
    Nak,
    Plan,
    Power,
    Release,
    Reply,
    SelfTest,
    SetClock,
    Settle,
    SetUp,
    Status,
    TakeOver,
    Tx,
)

REQUEST, REPLY = b"\x55\xa7", b"\x55\xa8"
HEAD_BYTES: Final = 16
CHUNK_BYTES: Final = 512
"""Data of one packet; the form recommends 512 or 1024."""
EMERGENCY_BYTES_MAX: Final = 1024
RECEIVED_MAX_BYTES: Final = 8192
GAP_S: Final = 0.02

PING, STATUS, PLAY_LOG = 0x0301, 0x010B, 0x0109
WRITE_TEXT, WRITE_PICTURE, WRITE_FILE = 0x0204, 0x0206, 0x0208
EMERGENCY, BRIGHTNESS = 0x0209, 0x020A
START_TEST, END_TEST = 0x0302, 0x0309
BLACK, END_BLACK, POWER_OFF, POWER_ON, POWER_STATUS = 0x0401, 0x0402, 0x0403, 0x0404, 0x0405
SET_CLOCK, SET_CLOCK_SECONDS = 0x0502, 0x0504
PLAY_FILE = 0x0606
START_STREAM, STOP_STREAM, STREAM_DATA = 0x0801, 0x0802, 0x0804
LOOK_FOR_DEAD_DOTS, DEAD_DOTS = 0x1001, 0x1002

MODE_EMERGENCY, MODE_BLACK, MODE_STREAM = 1, 2, 5
NO_SENSOR = 0xFF
RAM_DISK = b"E"
PICTURE_LABEL = b"N"
UTC_PLUS_7 = 0x13
"""The form's code of the time zone: hours east of UTC and 12 (appendix I)."""

OK_CODES = {0x9000, 0x4B4F, 0x8301, 0x8302, 0x8303}
"""Well; `OK`; and the three states of the stream's buffers."""
CODES = {
    0x9002: "checksum",
    0x9003: "address",
    0x9004: "unknown main command",
    0x9005: "unknown sub command",
    0x9006: "packet length",
    0x9008: "file not found",
    0x9010: "file cannot be opened",
    0x9011: "not supported by this sign",
    0x9012: "file cannot be written",
    0x9013: "packet too large",
    0x9014: "packets out of order",
    0x9015: "file in use",
    0x9030: "a password is wanted",
    0x2101: "file too large",
    0x2102: "disk full",
    0x2901: "emergency too large",
    0x5201: "clock cannot be set",
    0x8305: "not streaming",
    0x8306: "stream buffer overrun",
    0x8307: "dot format not supported",
}
LOST_CODES = {0x8305, 0x9008}
"""It is no longer as it was set up."""


# ---------------------------------------------------------------- frames


def packet(
    command: int,
    args: bytes = b"",
    data: bytes = b"",
    *,
    serial: int,
    address: bytes = b"\x00\x00",
    answer: bool = True,
) -> bytes:
    """A packet of the second format."""
    args += bytes(-len(args) % 4)
    rest = (
        struct.pack("<HH", len(data), 0)
        + address
        + struct.pack("<H", serial)
        + command.to_bytes(2, "big")
        + bytes((len(args) // 4, 0 if answer else 1))
        + args
        + data
    )
    return REQUEST + struct.pack("<H", sum(rest) & 0xFFFF) + rest


def text_frame(path: bytes, text: bytes, *, address: bytes = b"00") -> bytes:
    """A frame of the first format that writes a text file; `path` is disk, folder, two letters."""
    return b"\x01Z" + address + b"\x02A\x0f" + path + b"\x06" + text + b"\x04"


def text_file(text: bytes) -> bytes:
    """A text file as it is stored, and as an emergency carries it."""
    return b"\x01Z00\x02A0" + text + b"\x04"


def file_args(label: bytes, total: int, count: int, number: int) -> bytes:
    """The arguments of 0204 and 0206: disk, buzzer, label, size of the file and of its packets, their count, which."""
    return RAM_DISK + b"\0" + label.ljust(12, b"\0") + struct.pack("<IHHH", total, CHUNK_BYTES, count, number)


def path_args(path: bytes, total: int, count: int, number: int) -> bytes:
    """The arguments of 0208: as above, and a path in full."""
    return struct.pack("<IHHH", total, CHUNK_BYTES, count, number) + path + b"\0"


def play_args(folder: bytes, label: bytes) -> bytes:
    """The arguments of 0606: disk, folder, label."""
    return RAM_DISK + folder + label.ljust(12, b"\0") + bytes(2)


def clock_args(local: datetime) -> bytes:
    """The arguments of 0504: date and time in BCD, weekday (1 = Sunday), time zone."""
    bcd = [
        int(f"{part:02d}", 16)
        for part in (
            local.year % 100,
            local.year // 100,
            local.month,
            local.day,
            local.hour,
            local.minute,
            local.second,
        )
    ]
    return bytes([*bcd, local.isoweekday() % 7 + 1, UTC_PLUS_7, 0, 0, 0])


def stream_dots(picture: Picture) -> bytes:
    """Two bits a dot, red above green."""
    mono = picture.colours is Colours.MONO
    pairs = [
        (2 if code and (mono or code & RED) else 0) | (1 if not mono and code & GREEN else 0)
        for code in range(8)
    ]
    rows = []
    for y in range(picture.height):
        cells = [pairs[cell] for cell in picture.row(y)] + [0] * (-picture.width % 4)
        rows.append(
            bytes(
                cells[x] << 6 | cells[x + 1] << 4 | cells[x + 2] << 2 | cells[x + 3]
                for x in range(0, len(cells), 4)
            )
        )
    return b"".join(rows)


def bitmap(picture: Picture) -> bytes:
    """A Windows bitmap of sixteen colours, the least that keeps red, green and amber apart."""
    mono = picture.colours is Colours.MONO
    palette = b"".join(
        bytes((0, 255 * bool(code & GREEN) * (not mono), 255 * bool(code & RED if not mono else code), 0))
        for code in range(16)
    )
    stride = (picture.width + 7) // 8 * 4
    rows = []
    for y in reversed(range(picture.height)):
        cells = picture.row(y).ljust(stride * 2, b"\0")
        rows.append(bytes(cells[x] << 4 | cells[x + 1] for x in range(0, len(cells), 2)))
    dots = b"".join(rows)
    offset = 14 + 40 + len(palette)
    head = b"BM" + struct.pack("<IHHI", offset + len(dots), 0, 0, offset)
    info = struct.pack(
        "<IiiHHIIiiII", 40, picture.width, picture.height, 1, 4, 0, len(dots), 2835, 2835, 16, 0
    )
    return head + info + palette + dots


# ---------------------------------------------------------------- the codec


_Args = Callable[[int, int, int], bytes]
"""Bytes of the whole, count of packets, which: the arguments of one packet."""


class JetfileCodec:
    """A codec for one sign. The ordinary place is the stream of dots; a takeover is an emergency with a picture on the RAM
    disk, which the sign ends by itself."""

    def __init__(
        self, *, columns: int, rows: int, colours: Colours, address: bytes = b"\x00\x00", answers: bool = True
    ) -> None:
        assert colours in {Colours.MONO, Colours.RED_GREEN}, (
            "the form's stream of more colours is not in hand"
        )
        self._address = address
        self._answers = answers
        self._serial = 0
        self._first = 0
        """Serial number of the first packet of what was said last; older answers are late, and answer nothing any more."""
        self._received = b""
        self.caps = Caps(
            columns=columns,
            rows=rows,
            colours=colours,
            slots=0,
            takeover=True,
            takeover_ends=True,
            hands_back=True,
            answers=answers,
            acknowledges=answers,
            tells_plan=answers,
            tells_status=answers,
            finds_dead_dots=answers,
            tests_itself=True,
            brightness_steps=16,
            switches=True,
            clock=True,
        )

    def encode(self, command: Command) -> tuple[Tx, ...]:  # noqa: C901, PLR0911, PLR0912 - one return a command
        """The bytes that say it, in order."""
        self._first = self._serial % 0xFFFF + 1
        match command:
            case SetUp():
                return (self._say(START_STREAM, b"\x00\x00\x00\x00"),)
            case Settle():
                return ()
            case Draw(picture=picture):
                return self._in_packets(STREAM_DATA, stream_dots(picture), _stream_args)
            case TakeOver(what=Picture() as picture, left_s=left_s):
                return self._emergency(picture, left_s)
            case Release():
                return (self._say(EMERGENCY, struct.pack("<HBx", 1, 0), text_file(b" ")),)
            case HandBack():
                return (self._say(STOP_STREAM),)
            case Dim(percent=percent):
                level = round(percent * 255 / 100)
                area = struct.pack("<HH", self.caps.columns, self.caps.rows)
                return (self._say(BRIGHTNESS, struct.pack("<HHBBB", 0, 0, level, level, level) + area),)
            case Power(on=on):
                return (self._say(END_BLACK if on else BLACK),)
            case SetClock(local=local):
                return (self._say(SET_CLOCK_SECONDS, clock_args(local)),)
            case SelfTest(on=on):
                return (self._say(START_TEST if on else END_TEST),)
            case AskStatus():
                return (self._say(STATUS, expect=Status),)
            case AskPlan():
                return (self._say(STATUS, expect=Plan),)
            case AskDeadDots():
                return (self._say(LOOK_FOR_DEAD_DOTS), self._say(DEAD_DOTS, expect=DeadDots))
            case _:
                raise AssertionError(f"not in the caps of a JetFile sign: {command}")

    def feed(self, received: bytes) -> Sequence[Reply]:
        """Take received bytes, any split, garbage included; return the replies that became whole."""
        waiting = (self._received + received)[-RECEIVED_MAX_BYTES:]
        replies: list[Reply] = []
        while (begun := waiting.find(REPLY)) >= 0:
            whole = _length(waiting[begun:])
            if whole is None or len(waiting) < begun + whole:
                waiting = waiting[begun:]
                break
            found = waiting[begun : begun + whole]
            if struct.unpack_from("<H", found, 2)[0] != sum(found[4:]) & 0xFFFF:
                waiting = waiting[begun + 1 :]
                continue
            replies += self._understood(found)
            waiting = waiting[begun + whole :]
        else:
            waiting = waiting[-1:] if waiting.endswith(REPLY[:1]) else b""
        self._received = waiting
        return replies

    def forget(self) -> None:
        """Throw away a reply received in part."""
        self._received = b""

    def _emergency(self, picture: Picture, left_s: float) -> tuple[Tx, ...]:
        """The picture onto the RAM disk, then an emergency that calls it."""
        stored = self._in_packets(WRITE_PICTURE, bitmap(picture), _picture_args)
        text = text_file(b"\x14" + RAM_DISK + PICTURE_LABEL)
        seconds = max(1, min(0xFFFF, round(left_s)))
        return (*stored, self._say(EMERGENCY, struct.pack("<HBx", seconds, 0), text))

    def _in_packets(self, command: int, whole: bytes, args: _Args) -> tuple[Tx, ...]:
        pieces = [whole[at : at + CHUNK_BYTES] for at in range(0, len(whole), CHUNK_BYTES)]
        return tuple(
            self._say(command, args(len(whole), len(pieces), number), piece)
            for number, piece in enumerate(pieces, start=1)
        )

    def _say(self, command: int, args: bytes = b"", data: bytes = b"", expect: type[Reply] = Ack) -> Tx:
        self._serial = self._serial % 0xFFFF + 1
        sent = packet(command, args, data, serial=self._serial, address=self._address, answer=self._answers)
        return Tx(sent, GAP_S, expect if self._answers else None)

    def _understood(self, found: bytes) -> list[Reply]:
        """What a sound packet says: every reading of it, since one answer serves several questions."""
        serial = int(struct.unpack_from("<H", found, 10)[0])
        if not self._first <= serial <= self._serial and self._first <= self._serial:
            return []
        command = int.from_bytes(found[12:14], "big")
        args = found[HEAD_BYTES : HEAD_BYTES + 4 * found[14]]
        if found[15] == 1:
            code = struct.unpack_from("<H", args)[0] if len(args) >= 2 else 0
            if code in OK_CODES:
                return [Ack()]
            return [Nak(f"{code:04X} {CODES.get(code, 'unknown code')}", lost=code in LOST_CODES)]
        if command == STATUS and len(args) >= 5:
            mode, cabinet, _, _, humidity = args[:5]
            celsius = None if cabinet == NO_SENSOR else float(cabinet - 256 if cabinet > 127 else cabinet)
            status = Status(
                dark=mode == MODE_BLACK,
                takeover=mode == MODE_EMERGENCY,
                celsius=celsius,
                humidity=None if humidity == NO_SENSOR else float(humidity),
            )
            return [status, Plan(mode in {MODE_STREAM, MODE_EMERGENCY, MODE_BLACK})]
        if command == DEAD_DOTS and len(args) >= 2:
            return [DeadDots(struct.unpack_from("<H", args)[0])]
        return [Ack()]


def _length(begun: bytes) -> int | None:
    """How long the packet is that begins here; None: its head is not whole yet."""
    if len(begun) < HEAD_BYTES:
        return None
    return HEAD_BYTES + 4 * begun[14] + int(struct.unpack_from("<H", begun, 4)[0])


def _stream_args(_total: int, count: int, number: int) -> bytes:
    """The arguments of 0804: size of a packet, their count, which."""
    return struct.pack("<HHHxx", CHUNK_BYTES, count, number)


def _picture_args(total: int, count: int, number: int) -> bytes:
    return file_args(PICTURE_LABEL, total, count, number)
