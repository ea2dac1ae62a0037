"""The Alpha Sign Communications Protocol (form 9708-8061), as far as a picture board needs it.

Facts about Alpha signs:

- A frame is five or more NUL (the sign finds the baud rate in them), SOH, a type code ('Z' any sign),
  an address of two hex digits ('00' every sign), commands, EOT. A command is STX, a code, its
  text, and, where a checksum follows, ETX and the 16-bit sum of STX..ETX in four hex digits.
- A file must have been given memory (`E$`) before it can be written; only the priority file '0'
  is always there. `E$` goes alone, erases every file, and leaves the sign deaf for about 5 s.
- A SMALL DOTS picture has at most 31 rows and 255 columns. After its width the sign wants 100 ms
  to make room, and so after the STX of each of several commands in one frame.
- A picture is seen when a TEXT file calls it (14h, label). The priority file hides all others until
  it is written without any text: a bare `A0`. An empty text with a mode would leave the sign dark.
- The serial error register (`F*`) is 40h and one bit an error. `E4` clears it.
- A STRING file may be written while it is shown and does not darken the sign: our clock is a TEXT file that calls one (10h, label).
- A TEXT file runs at the times and on the days that its entries in two tables say (`E)`, `E2`); FF00 and 00 are always.
- `J` asks for a picture's dots; the answer has the form of the write. Not every model has it.
- Dimming (`E/`): two digits for the control register, two for the level: 00 full, 01 86 %, 02 72 %, 03 58 %, 04 44 %. Models differ;
  one that does not know it says so in its error register, and is left as it is.
- Everything is below 80h, so a line of 7 data bits carries it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from edge_agent.board.picture import Colours, Picture
from edge_agent.board.protocols import (
    AskErrors,
    AskPicture,
    AskPlan,
    Caps,
    ClockText,
    Command,
    Dim,
    Errors,
    ForgetErrors,
    Held,
    Plan,
    Release,
    Reply,
    SetClock,
    Settle,
    SetUp,
    Show,
    Store,
    TakeOver,
    Tx,
)

WAKE, SOH, STX, ETX, EOT, ESC = b"\x00" * 5, b"\x01", b"\x02", b"\x03", b"\x04", b"\x1b"
CALL_PICTURE = b"\x14"
MIDDLE, HOLD = b"\x20", b"b"
GAP_S = 0.15
"""The form says at least 100 ms; some boards' clocks are slow and a gap is cheap."""
SET_UP_DEAF_S = 6.0
"""The form says about 5 s after `E$`."""
RECEIVED_MAX_BYTES = 9000
"""A picture of 31 x 255 dots, and what is around it."""

TEXT_LABEL = b"A"
CLOCK_LABEL = b"B"
"""The TEXT file that calls the clock,"""
CLOCK_STRING = b"1"
"""and the STRING that it calls."""
CLOCK_BYTES = 8
CALL_STRING = b"\x10"
ALWAYS = b"FF00"
EVERY_DAY = b"00"
DIM_LEVELS = (100, 86, 72, 58, 44)
"""Percent, by the level's number."""
PRIORITY_LABEL = b"0"
PICTURE_LABELS = bytes(code for code in range(0x21, 0x7F) if chr(code) not in "0123456789?AB]^_")
"""Without the priority file, the counters, the wild card, our TEXT files, and the escapes of printable frames."""
TEXT_BYTES = 64
DEPTH = {Colours.MONO: b"1000", Colours.RED_GREEN: b"2000"}

ERROR_BITS = {
    0x20: "illegal command or file label",
    0x10: "checksum",
    0x08: "buffer overflow",
    0x04: "line time-out",
    0x02: "framing",
    0x01: "parity",
}

_DIGITS = bytes(0x30 + min(code, 8) for code in range(256))


def checksum(command: bytes) -> bytes:
    """SUM4 over STX, the command and ETX."""
    return b"%04X" % (sum(STX + command + ETX) & 0xFFFF)


def frame(*commands: bytes, address: bytes = b"Z00", with_sum: bool = True) -> bytes:
    """A frame as it stands on the line. Without sums, ETX stands only between commands."""
    if with_sum:
        body = b"".join(STX + command + ETX + checksum(command) for command in commands)
    else:
        body = ETX.join(STX + command for command in commands)
    return WAKE + SOH + address + body + EOT


def text_file(label: bytes, text: bytes) -> bytes:
    """Write a TEXT file that holds still in the middle."""
    return b"A" + label + ESC + MIDDLE + HOLD + text


def memory(*files: bytes) -> bytes:
    """Divide the memory; each file is label, type, lock, size, extra."""
    return b"E$" + b"".join(files)


def text_memory(label: bytes, size: int) -> bytes:
    """A TEXT file, open to the remote control (`U`), shown at all times (FF00)."""
    return label + b"AU%04XFF00" % size


def picture_memory(label: bytes, *, rows: int, columns: int, depth: bytes) -> bytes:
    """A SMALL DOTS picture, locked (`L`)."""
    return label + b"DL%02X%02X" % (rows, columns) + depth


def set_time(hour: int, minute: int) -> bytes:
    """Set the sign's clock."""
    return b"E %02d%02d" % (hour, minute)


def set_day(iso_weekday: int) -> bytes:
    """Set the sign's day of the week; 1 = Monday here, 1 = Sunday there."""
    return b"E&%d" % (iso_weekday % 7 + 1)


def set_date(month: int, day: int, year: int) -> bytes:
    """Set the sign's date, mmddyy."""
    return b"E;%02d%02d%02d" % (month, day, year % 100)


def dimming(level: int) -> bytes:
    """Set the brightness: a place in DIM_LEVELS, the control register at 00."""
    return b"E/00%02d" % level


def run_times(label: bytes, times: bytes = ALWAYS) -> bytes:
    """When a TEXT file runs: start and stop in ten minutes; FF00 = always."""
    return b"E)" + label + times


def run_days(label: bytes, days: bytes = EVERY_DAY) -> bytes:
    """On which days a TEXT file runs; 00 = daily."""
    return b"E2" + label + days + b"0"


def soft_reset() -> bytes:
    """Begin anew without forgetting anything."""
    return b"E,"


def string_file(label: bytes, text: bytes) -> bytes:
    """Write a STRING file."""
    return b"G" + label + text


def string_memory(label: bytes, size: int) -> bytes:
    """A STRING file, locked as it must be."""
    return label + b"BL%04X0000" % size


def run_sequence(labels: bytes) -> bytes:
    """Run these TEXT files in this order (`S`), unlocked (`U`)."""
    return b"E.SU" + labels


def picture_head(label: bytes, picture: Picture) -> bytes:
    """What comes before the pause of a SMALL DOTS write."""
    return b"I" + label + b"%02X%02X" % (picture.height, picture.width)


def picture_rows(picture: Picture) -> bytes:
    """What comes after the pause: each row's dots and CR. The digits 1 red, 2 green, 3 amber are our bits."""
    return b"".join(picture.row(y).translate(_DIGITS) + b"\r" for y in range(picture.height))


def paced(*commands: bytes, address: bytes = b"Z00") -> tuple[Tx, ...]:
    """A frame, cut where the sign wants a pause: after each STX when there are several commands."""
    whole = frame(*commands, address=address)
    if len(commands) == 1:
        return (Tx(whole, GAP_S),)
    parts = [part + STX for part in whole.split(STX)]
    return tuple(Tx(part, GAP_S) for part in [*parts[:-1], parts[-1][:-1]])


class AlphaCodec:
    """A codec for one sign. `slots` pictures of the sign's size and one TEXT file are what we use of it."""

    def __init__(
        self,
        *,
        columns: int,
        rows: int,
        slots: int,
        colours: Colours = Colours.MONO,
        address: bytes = b"Z00",
        answers: bool = True,
        reads_back: bool = False,
        flash: bool = False,
    ) -> None:
        assert 1 <= slots <= len(PICTURE_LABELS)
        assert colours in DEPTH, "a SMALL DOTS picture has one colour, or red and green"
        assert rows <= 31, "a SMALL DOTS picture has no more rows"
        assert columns <= 255, "a SMALL DOTS picture has no more columns"
        self.caps = Caps(
            columns=columns,
            rows=rows,
            colours=colours,
            slots=slots,
            takeover=True,
            answers=answers,
            keeps_errors=answers,
            tells_plan=answers,
            reads_back=answers and reads_back,
            brightness_steps=len(DIM_LEVELS),
            clock=True,
            clock_text=True,
            erases_on_set_up=True,
            storage="flash" if flash else "ram",
        )
        self._colours = colours
        self._address = address
        self._running = TEXT_LABEL
        """Which TEXT file the sign was told to run."""
        self._received = b""

    def encode(self, command: Command) -> tuple[Tx, ...]:  # noqa: C901, PLR0911, PLR0912 - one return a command
        """The bytes that say it, in order, with the pauses a sign needs."""
        match command:
            case SetUp():
                self._running = TEXT_LABEL
                (alone,) = self._one(memory(*self._files()))
                return (
                    Tx(alone.payload, SET_UP_DEAF_S),
                    *paced(
                        text_file(TEXT_LABEL, b" "),
                        text_file(CLOCK_LABEL, CALL_STRING + CLOCK_STRING),
                        run_times(TEXT_LABEL),
                        run_days(TEXT_LABEL),
                        run_sequence(TEXT_LABEL),
                        address=self._address,
                    ),
                )
            case Settle():
                self._running = TEXT_LABEL
                return self._one(run_sequence(TEXT_LABEL))
            case Store(slot=slot, picture=picture):
                return self._picture(slot, picture)
            case Show(slot=slot):
                text = b" " if slot is None else CALL_PICTURE + self._label(slot)
                return self._running_now(TEXT_LABEL, text_file(TEXT_LABEL, text))
            case TakeOver(what=int(slot)):
                return self._one(text_file(PRIORITY_LABEL, CALL_PICTURE + self._label(slot)))
            case Release():
                return self._one(b"A" + PRIORITY_LABEL)
            case ForgetErrors():
                return self._one(b"E4")
            case Dim(percent=percent):
                level = min(range(len(DIM_LEVELS)), key=lambda number: abs(DIM_LEVELS[number] - percent))
                return self._one(dimming(level))
            case SetClock(local=local):
                return paced(
                    set_time(local.hour, local.minute),
                    set_day(local.isoweekday()),
                    set_date(local.month, local.day, local.year),
                    address=self._address,
                )
            case ClockText(local=local):
                text = b"%02d:%02d" % (local.hour, local.minute)
                return self._running_now(CLOCK_LABEL, string_file(CLOCK_STRING, text))
            case AskPicture(slot=int(slot)) if self.caps.reads_back:
                (asked,) = self._one(b"J" + self._label(slot), expect=Held)
                return (replace(asked, reply_bytes=self.caps.rows * (self.caps.columns + 1) + 40),)
            case AskErrors():
                return self._one(b"F*", expect=Errors)
            case AskPlan():
                return self._one(b"F$", expect=Plan)
            case _:
                raise AssertionError(f"not in the caps of an Alpha sign: {command}")

    def feed(self, received: bytes) -> Sequence[Reply]:
        """Take received bytes, any split, garbage included; return the replies that became whole."""
        waiting = self._received + received
        replies: list[Reply] = []
        done = 0
        for found in _REPLY.finditer(waiting):
            done = found.end()
            if found[2] == checksum(found[1]):
                replies += self._understood(found[1])
        begun = waiting.rfind(SOH, done)
        self._received = waiting[begun:][-RECEIVED_MAX_BYTES:] if begun >= 0 else b""
        return replies

    def forget(self) -> None:
        """Throw away a reply received in part."""
        self._received = b""

    def _one(self, command: bytes, expect: type[Reply] | None = None) -> tuple[Tx, ...]:
        return (Tx(frame(command, address=self._address), GAP_S, expect),)

    def _running_now(self, label: bytes, write: bytes) -> tuple[Tx, ...]:
        """A write, and the run sequence with it when another TEXT file runs."""
        if self._running == label:
            return self._one(write)
        self._running = label
        return paced(write, run_sequence(label), address=self._address)

    def _label(self, slot: int) -> bytes:
        assert 0 <= slot < self.caps.slots
        return PICTURE_LABELS[slot : slot + 1]

    def _files(self) -> list[bytes]:
        """Our memory: the TEXT file, and a picture a slot."""
        pictures = (
            picture_memory(
                self._label(slot), rows=self.caps.rows, columns=self.caps.columns, depth=DEPTH[self._colours]
            )
            for slot in range(self.caps.slots)
        )
        texts = (text_memory(TEXT_LABEL, TEXT_BYTES), text_memory(CLOCK_LABEL, TEXT_BYTES))
        return [*texts, string_memory(CLOCK_STRING, CLOCK_BYTES), *pictures]

    def _picture(self, slot: int, picture: Picture) -> tuple[Tx, ...]:
        """One frame in two parts: the sign makes room after the width."""
        head = picture_head(self._label(slot), picture)
        whole = frame(head + picture_rows(picture), address=self._address)
        cut = whole.index(STX) + 1 + len(head)
        return Tx(whole[:cut], GAP_S), Tx(whole[cut:], GAP_S)

    def _understood(self, command: bytes) -> list[Reply]:
        """The reply in a sound frame, if it is one that we asked for."""
        if command[:2] == b"E*" and len(command) == 3:
            bits = command[2]
            found = tuple(name for bit, name in ERROR_BITS.items() if bits & bit)
            return [Errors(found, unknown_file=bool(bits & 0x20))]
        if command[:1] == b"I":
            return [Held(_picture_in(command[2:], self._colours))]
        if command[:2] == b"E$":
            held = {entry[:2]: entry for entry in re.findall(rb"[ -~][A-D][UL][0-9A-F]{8}", command[2:])}
            return [Plan(all(_serves(held.get(want[:2], b""), want) for want in self._files()))]
        return []


_REPLY = re.compile(rb"\x01[ -\x7f][0-9A-F?]{2}\x02([^\x01-\x04]*)\x03([0-9A-F]{4})\x04")


def _picture_in(answer: bytes, colours: Colours) -> Picture | None:
    """The picture in an answer to `J`: height, width, rows of digits and CR; None when it is not whole."""
    size = re.match(rb"([0-9A-F]{2})([0-9A-F]{2})", answer)
    if size is None:
        return None
    rows, columns = int(size[1], 16), int(size[2], 16)
    lines = answer[4:].split(b"\r")[:rows]
    if len(lines) < rows or any(len(line) != columns for line in lines):
        return None
    cells = bytes(digit - 0x30 for line in lines for digit in line)
    if columns < 1 or any(cell > 3 for cell in cells):
        return None
    return Picture(columns, rows, colours, cells)


def _serves(held: bytes, want: bytes) -> bool:
    """Whether a file that the sign reports will do: pictures of the very size, texts at least as long."""
    if not held:
        return False
    if want[1:2] == b"D":
        return held[3:7] == want[3:7]
    return int(held[3:7], 16) >= int(want[3:7], 16)
