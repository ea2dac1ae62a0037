"""An ESP32 matrix that takes Adalight frames, emulated (no I/O). It answers nothing.

Written from the protocol's public description; its constants are its own. A lamp is shown by the nearest of eight colours and
the frame's brightest value by `brightness`. A count of lamps that is not the matrix's own is minded, and drawn as far as
it goes, as the real ones do.
"""

from __future__ import annotations

from hal.sim.emulator import Emulator
from hal.sim.picture import Picture, beside, block, centred

MS = 1_000_000


class AdalightMatrix(Emulator):
    """One matrix, its lamps row by row from the top left."""

    def __init__(
        self, *, columns: int = 64, rows: int = 32, baud: int = 115_200, bits_per_byte: int = 10
    ) -> None:
        super().__init__(columns=columns, rows=rows, baud=baud, bits_per_byte=bits_per_byte)
        self._head = b""
        self._colours: bytearray | None = None
        self._wanted = 0
        self._image = self._nothing()
        self._frame = b""
        """The frame that is on the lamps, while nothing else is."""
        self.frames = 0
        self._shows(0, self._image, "run")

    def advance(self, at_ns: int) -> None:
        """Nothing happens by itself."""

    def power_cycle(self, at_ns: int, *, keeps_memory: bool = False) -> None:
        """It begins dark."""
        self._head, self._colours, self._frame = b"", None, b""
        self._image = self._nothing()
        self.deaf_until_ns = at_ns + 1_000 * MS
        self._shows(at_ns, self._image, "run")

    def foreign(self, at_ns: int, text: bytes) -> None:
        """Somebody's telephone shows something else."""
        self._frame = b""
        self._image = centred(beside([block(code) for code in text]), self.columns, self.rows)
        self._shows(at_ns, self._image, "run")

    def _hears(self, byte: int, quiet_ns: int, at_ns: int) -> bytes:
        if quiet_ns > 1_000 * MS and (self._head or self._colours is not None):
            self._head, self._colours = b"", None
            self._minds(at_ns, "cut", "the sender stopped in the middle of a frame")
        if self._colours is not None:
            self._colours.append(byte)
            if len(self._colours) == self._wanted:
                self._whole(bytes(self._colours), at_ns)
            return b""
        self._head += bytes([byte])
        if not b"Ada".startswith(self._head[:3]):
            if quiet_ns or not self.violations:
                self._minds(at_ns, "outside", f"byte {byte:02X} outside a frame")
            self._head = b"A" if byte == 0x41 else b""
        elif len(self._head) == 6:
            high, low, check = self._head[3:]
            self._head = b""
            if high ^ low ^ 0x55 != check:
                self._minds(at_ns, "bad_sum", "the head's check does not agree")
            else:
                self._colours, self._wanted = bytearray(), 3 * (256 * high + low + 1)
        return b""

    def _swallows(self, received: bytes, place: int) -> int:
        if self._colours is None:
            return 0
        many = min(len(received) - place, self._wanted - len(self._colours) - 1)
        self._colours += received[place : place + many]
        return many

    def _whole(self, colours: bytes, at_ns: int) -> None:
        self._colours = None
        if self.refuse_next:
            self.refuse_next -= 1
            return
        self.frames += 1
        lamps = self.columns * self.rows
        if len(colours) != 3 * lamps:
            self._minds(at_ns, "too_long", f"{len(colours) // 3} lamps for {lamps}")
            colours = colours[: 3 * lamps].ljust(3 * lamps, b"\0")
        if colours == self._frame:
            self._shows(at_ns, self._image, "run")
            return
        self._frame = colours
        most = max(colours)
        if most:
            self.brightness = round(most * 100 / 255)
        cells = bytes(
            sum(bit for place, bit in enumerate((1, 2, 4)) if 2 * colours[at + place] > most)
            for at in range(0, len(colours), 3)
        )
        image: Picture = tuple(cells[y * self.columns : (y + 1) * self.columns] for y in range(self.rows))
        self._image = image
        self._shows(at_ns, image, "run")
