"""An Alpha sign, emulated: bytes in, bytes out, and what a passer-by would see (no I/O).

Written from the protocol's form 9708-8061 alone; its constants are its own and are never
shared with the driver that they test. It polices what a PTY hides: the sign hears one byte
per byte time however fast bytes come, counts the silence between them, and is deaf while it
erases its memory. What it minds is in `violations`; what it showed, in `shown`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hal.sim.emulator import KEPT, Emulator
from hal.sim.picture import Picture, beside, block, centred
from hal.sim.sign_line import BAD_SUM, Command, Ended, Fault, FrameReader, Minded, sum_of

SECOND = 1_000_000_000

ERASE_NS = 5 * SECOND
START_NS = 3 * SECOND
TURN_NS = 4 * SECOND
"""How long the sign itself holds each of several texts."""
PRIORITY_BYTES = 125
STRING_BYTES = 125

DIMMING = {b"00": 100, b"01": 86, b"02": 72, b"03": 58, b"04": 44}
"""The form's five levels, percent of full."""

ILLEGAL = 0x20
QUIET = 0x40


@dataclass(slots=True)
class _File:
    """One allocated file."""

    kind: Literal["A", "B", "D"]
    entry: bytes
    size: int = 0
    rows: int = 0
    columns: int = 0
    content: bytes = b""
    picture: Picture = ()


class _Refused(Exception):
    """A command that the sign does not carry out."""

    def __init__(self, kind: Minded, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class AlphaSign(Emulator):
    """One sign."""

    def __init__(
        self,
        *,
        columns: int = 96,
        rows: int = 16,
        baud: int = 9600,
        bits_per_byte: int = 10,
        seven_bit: bool = False,
        address: bytes = b"01",
        pool_bytes: int = 64_000,
    ) -> None:
        super().__init__(columns=columns, rows=rows, baud=baud, bits_per_byte=bits_per_byte)
        self._reader = FrameReader(address=address, seven_bit=seven_bit)
        self._answer = b""
        self._pool = pool_bytes
        self.frames = 0
        """Frames carried out."""
        self.pictures_written = 0
        self.clock = ""
        """HHMM, as it was set last."""
        self.day = ""
        self.date = ""
        self.run_times: dict[bytes, bytes] = {}
        """Start and stop of each TEXT file, as they were set."""
        self._register = QUIET
        self._files: dict[bytes, _File] = {}
        self._sequence = b""
        self._priority: bytes | None = None
        self._since_ns = 0
        self._erasing_until = 0
        self._refresh(0)

    # ------------------------------------------------------------ what happens to it

    def advance(self, at_ns: int) -> None:
        """Let time pass: with several texts to show, the sign turns the pages itself."""
        program = self._program()
        if len(program) > 1:
            turn = max(self._since_ns, at_ns - KEPT * TURN_NS)
            turn -= (turn - self._since_ns) % TURN_NS
            while turn + TURN_NS <= at_ns:
                turn += TURN_NS
                self._refresh(turn)

    def power_cycle(self, at_ns: int, *, keeps_memory: bool = False) -> None:
        """Mains gone and back. Without its battery the sign has forgotten everything."""
        self._reader.reset()
        self.deaf_until_ns = at_ns + START_NS
        if not keeps_memory:
            self._forget()
        self._changed(at_ns)

    def foreign(self, at_ns: int, text: bytes) -> None:
        """Someone with a telephone app takes the sign and writes on it."""
        self._forget()
        self._set_memory(b"XAU0100FF00", at_ns)
        self._files[b"X"].content = text
        self._sequence = b"X"
        self._changed(at_ns)

    @property
    def errors(self) -> int:
        """The serial error register."""
        return self._register

    # ------------------------------------------------------------ bytes to frames

    def _hears(self, byte: int, quiet_ns: int, at_ns: int) -> bytes:
        """One byte, after `quiet_ns` of silence, whole at `at_ns`; returns the answer it completes."""
        if not quiet_ns and at_ns > self._erasing_until and self._reader.swallow(byte):
            return b""
        if at_ns <= self._erasing_until:
            if not self.violations or self.violations[-1].kind != "deaf":
                self._minds(at_ns, "deaf", "bytes came while the sign erased its memory")
            return b""
        answer = b""
        for event in self._reader.take(byte, quiet_ns):
            match event:
                case Command(body=body):
                    self._answer += self._obeyed(body, at_ns)
                case Fault(kind=kind, text=text, bit=bit):
                    self._register |= bit
                    self._minds(at_ns, kind, text)
                case Ended():
                    self.frames += 1
                    answer, self._answer = self._answer, b""
        return answer

    def _obeyed(self, body: bytes, at_ns: int) -> bytes:
        if self.refuse_next:
            self.refuse_next -= 1
            self._register |= BAD_SUM
            return b""
        try:
            return self._carry_out(body[:1], body[1:], at_ns)
        except _Refused as refused:
            self._register |= ILLEGAL
            self._minds(at_ns, refused.kind, str(refused))
            return b""

    # ------------------------------------------------------------ commands

    def _carry_out(self, code: bytes, rest: bytes, at_ns: int) -> bytes:
        match code:
            case b"A":
                self._write_text(rest[:1], rest[1:])
            case b"E":
                self._write_special(rest[:1], rest[1:], at_ns)
            case b"F":
                return self._read_special(rest[:1])
            case b"B" | b"H" | b"J":
                return self._read_file(code, rest[:1])
            case b"G":
                self._write_string(rest[:1], rest[1:])
            case b"I":
                self._write_picture(rest[:1], rest[1:])
            case _:
                raise _Refused("illegal", f"no command {code!r}")
        self._changed(at_ns)
        return b""

    def _write_text(self, label: bytes, text: bytes) -> None:
        if label == b"0":
            if len(text) > PRIORITY_BYTES:
                raise _Refused("too_long", f"{len(text)} bytes for the priority file of {PRIORITY_BYTES}")
            self._priority = text or None
            return
        file = self._file(label, "A")
        if len(text) > file.size:
            raise _Refused("too_long", f"{len(text)} bytes for TEXT {label!r} of {file.size}")
        file.content = text

    def _write_string(self, label: bytes, text: bytes) -> None:
        file = self._file(label, "B")
        if len(text) > min(STRING_BYTES, file.size):
            raise _Refused("too_long", f"{len(text)} bytes for STRING {label!r}")
        file.content = text

    def _write_picture(self, label: bytes, rest: bytes) -> None:
        file = self._file(label, "D")
        try:
            rows, columns = int(rest[:2], 16), int(rest[2:4], 16)
        except ValueError:
            raise _Refused("illegal", f"picture of size {rest[:4]!r}") from None
        if (rows, columns) != (file.rows, file.columns):
            raise _Refused(
                "too_long", f"picture {label!r} is {columns}x{rows}, memory {file.columns}x{file.rows}"
            )
        lines = rest[4:].split(b"\r")[:rows]
        if any(dot not in b"012345678" for line in lines for dot in line):
            raise _Refused("illegal", f"picture {label!r} has a dot of no colour")
        cells = [bytes(_CELL[dot] for dot in line[:columns].ljust(columns, b"0")) for line in lines]
        self.pictures_written += 1
        file.picture = tuple(cells + [bytes(columns)] * (rows - len(cells)))

    def _write_special(self, label: bytes, rest: bytes, at_ns: int) -> None:  # noqa: C901, PLR0912 - one case a function
        match label:
            case b"$":
                if self._priority is not None:
                    self._minds(
                        at_ns, "erase_in_alert", "memory was erased while the priority file was shown"
                    )
                self._set_memory(rest, at_ns)
            case b".":
                for name in (rest[index : index + 1] for index in range(2, len(rest))):
                    self._file(name, "A")
                self._sequence = rest[2:]
            case b"4":
                self._register = QUIET
            case b",":
                self._reader.reset()
            case b" ":
                self.clock = rest.decode("latin-1")
            case b"&":
                self.day = rest.decode("latin-1")
            case b";":
                self.date = rest.decode("latin-1")
            case b"/":
                self.brightness = DIMMING.get(rest[2:4], 100)
            case b")":
                self.run_times[rest[:1]] = rest[1:5]
            case b"2" | b"(" | b"'":
                pass
            case _:
                raise _Refused("illegal", f"no special function {label!r}")

    def _read_file(self, code: bytes, label: bytes) -> bytes:
        """What a file holds: B a TEXT, H a STRING, J a picture."""
        if code == b"J":
            file = self._file(label, "D")
            rows = [
                bytes(0x30 + (dot if dot < 4 else dot - 4) for dot in row) + b"\r" for row in file.picture
            ]
            return _answer(b"I" + label + b"%02X%02X" % (file.rows, file.columns) + b"".join(rows))
        file = self._file(label, "A" if code == b"B" else "B")
        return _answer((b"A" if code == b"B" else b"G") + label + file.content)

    def _read_special(self, label: bytes) -> bytes:
        match label:
            case b"*":
                return _answer(b"E*" + bytes([self._register]))
            case b"$":
                return _answer(b"E$" + b"".join(file.entry for file in self._files.values()))
            case b"#":
                used = sum(file.size for file in self._files.values())
                return _answer(b"E#%04X,%04X" % (self._pool, self._pool - used))
            case _:
                raise _Refused("illegal", f"no special function {label!r} to read")

    def _set_memory(self, entries: bytes, at_ns: int) -> None:
        """Erase everything and allocate anew; deaf meanwhile."""
        self._forget_files()
        self._erasing_until = at_ns + ERASE_NS
        for entry in (entries[index : index + 11] for index in range(0, len(entries), 11)):
            try:
                kind, high, low = entry[1:2].decode(), int(entry[3:5], 16), int(entry[5:7], 16)
            except ValueError:
                raise _Refused("illegal", f"memory entry {entry!r}") from None
            if len(entry) != 11 or entry[:1] in b"0?" or entry[2:3] not in b"UL":
                raise _Refused("illegal", f"memory entry {entry!r}")
            match kind:
                case "A" | "B":
                    self._files[entry[:1]] = _File(kind, entry, size=high << 8 | low)
                case "D":
                    if high > 31:
                        raise _Refused("illegal", f"picture of {high} rows")
                    bits = {b"1000": 1, b"2000": 2, b"4000": 4}.get(entry[7:11], 4)
                    size = (high * low * bits + 7) // 8
                    self._files[entry[:1]] = _File("D", entry, size=size, rows=high, columns=low)
                case _:
                    raise _Refused("illegal", f"file type {kind!r}")
        if sum(file.size for file in self._files.values()) > self._pool:
            self._forget_files()
            raise _Refused("too_long", f"more memory than the pool of {self._pool} bytes")
        self._sequence = b"".join(label for label, file in self._files.items() if file.kind == "A")

    def _file(self, label: bytes, kind: str) -> _File:
        file = self._files.get(label)
        if file is None or file.kind != kind:
            raise _Refused("unallocated", f"no file {label!r} of type {kind}")
        return file

    # ------------------------------------------------------------ what is seen

    def _forget(self) -> None:
        self._register = QUIET
        self._forget_files()

    def _forget_files(self) -> None:
        self._files = {}
        self._sequence = b""
        self._priority = None

    def _program(self) -> list[bytes]:
        """The texts that are shown in turn, each without its mode."""
        if self._priority is not None:
            return _segments(self._priority) or [b""]
        files = (
            self._files[label] for label in (bytes([code]) for code in self._sequence) if label in self._files
        )
        return [segment for file in files for segment in _segments(file.content)]

    def _changed(self, at_ns: int) -> None:
        self._since_ns = at_ns
        self._refresh(at_ns)

    def _refresh(self, at_ns: int) -> None:
        """Draw what is to be seen at `at_ns`; keep it if it is another sight."""
        program = self._program()
        canvas: Picture = tuple(bytes(self.columns) for _ in range(self.rows))
        if program:
            canvas = self._drawn(program[(at_ns - self._since_ns) // TURN_NS % len(program)])
        self._shows(at_ns, canvas, "priority" if self._priority is not None else "run")

    def _drawn(self, text: bytes) -> Picture:
        """A text on the sign's dots: pictures as they are, letters as blocks, side by side, centred."""
        parts: list[Picture] = []
        index = 0
        while index < len(text):
            code = text[index]
            index += 1
            if code == 0x14:
                file = self._files.get(text[index : index + 1])
                index += 1
                if file is not None and file.picture:
                    parts.append(file.picture)
            elif code == 0x10:
                called = self._files.get(text[index : index + 1])
                index += 1
                if called is not None and called.kind == "B":
                    parts += [block(letter) for letter in called.content if letter >= 0x20]
            elif code in (0x1A, 0x1C, 0x1E, 0x08):
                index += 1
            elif code >= 0x20:
                parts.append(block(code))
        return centred(beside(parts), self.columns, self.rows)


_CELL = {0x30 + digit: digit if digit < 4 else digit + 4 for digit in range(9)}
"""Colours 4-8 are the form's own; the numbers 4-7 are blue and its sums in a `Picture`."""


def _answer(body: bytes) -> bytes:
    """A frame from the sign: type '0', address '00'."""
    return b"\x00" * 20 + b"\x01000\x02" + body + b"\x03" + sum_of(body) + b"\x04"


def _segments(content: bytes) -> list[bytes]:
    """A text's parts, each begun by ESC, position, mode (and the special's letter after `n`)."""
    if not content:
        return []
    parts = content.split(b"\x1b")
    plain = [parts[0]] if parts[0] else []
    return plain + [part[3:] if part[1:2] == b"n" else part[2:] for part in parts[1:]]
