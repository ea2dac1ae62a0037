"""A screen through the kernel's framebuffer (/dev/fb0), with nothing but the standard library and numpy.

Facts: its geometry stands in /sys/class/graphics/fbN; a pixel is B G R X (32 bits) or 5-6-5 (16 bits), rows are `stride` bytes
apart. What is written is seen at once, over whatever the console shows; so what was there is kept when it is opened, and
put back when it is closed.
"""

from __future__ import annotations

import asyncio
import os
import threading
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hal.errors import ScreenError
from hal.linux import connectors

SIZE_MAX = 8192 * 8192 * 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """How the framebuffer lies in its file."""

    width: int
    height: int
    bits: int
    stride: int


class FramebufferScreen:
    """The framebuffer of `device`. `connector` is only asked whether a display hangs on it."""

    def __init__(self, device: str = "/dev/fb0", *, connector: str = "", sys: Path = connectors.SYS) -> None:
        self._device = device
        self._connector = connector
        self._sys = sys

    async def open(self) -> FramebufferSurface:
        return await asyncio.to_thread(self._open)

    def _open(self) -> FramebufferSurface:
        geometry = self._geometry()
        try:
            fd = os.open(self._device, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise ScreenError(
                f"The framebuffer {self._device} cannot be opened ({error}). May this user open it (group video), and does "
                "the boot loader's config have a display?"
            ) from error
        try:
            found = os.pread(fd, geometry.stride * geometry.height, 0)
        except OSError as error:
            os.close(fd)
            raise ScreenError(f"The framebuffer {self._device} cannot be read ({error}).") from error
        return FramebufferSurface(
            fd, geometry, zlib.compress(found, 1), self._blank_file(), (self._connector, self._sys)
        )

    def _geometry(self) -> Geometry:
        place = self._sys / "class/graphics" / Path(self._device).name
        try:
            width, height = map(int, connectors.read(place / "virtual_size").split(","))
            bits = int(connectors.read(place / "bits_per_pixel"))
            stride = int(connectors.read(place / "stride") or width * bits // 8)
        except ValueError as error:
            raise ScreenError(
                f'There is no framebuffer {self._device} (see {place}). Use board.surface = "kmsdrm" on this system.'
            ) from error
        if bits not in {16, 32} or not 0 < stride * height <= SIZE_MAX:
            raise ScreenError(f"The framebuffer {self._device} has {bits} bits a pixel; 16 and 32 are known.")
        return Geometry(width=width, height=height, bits=bits, stride=stride)

    def _blank_file(self) -> Path:
        return self._sys / "class/graphics" / Path(self._device).name / "blank"


class FramebufferSurface:
    """An open framebuffer."""

    def __init__(
        self, fd: int, geometry: Geometry, found: bytes, blank: Path, display: tuple[str, Path]
    ) -> None:
        self._fd = fd
        self._lock = threading.Lock()
        """A frame that is being drawn when its drawing is given up is drawn to its end; nothing else happens meanwhile."""
        self._geometry = geometry
        self._found = found
        """What was there before, compressed."""
        self._blank = blank
        self._display = display
        self.width, self.height = geometry.width, geometry.height

    async def draw(self, pixels: bytes, *, x: int, y: int, width: int, height: int) -> None:
        if self._fd < 0:
            raise ScreenError("The framebuffer is closed.")
        await asyncio.to_thread(self._alone, pixels, x, y, width, height)

    def _alone(self, pixels: bytes, x: int, y: int, width: int, height: int) -> None:
        with self._lock:
            if self._fd >= 0:
                self._draw(pixels, x, y, width, height)

    def _draw(self, pixels: bytes, x: int, y: int, width: int, height: int) -> None:
        geometry = self._geometry
        colours = np.frombuffer(pixels, dtype=np.uint8).reshape(height, width, 3)
        colours = colours[: max(0, geometry.height - y), : max(0, geometry.width - x)]
        rows, columns = colours.shape[:2]
        if not rows or not columns:
            return
        if geometry.bits == 32:
            packed = np.empty((rows, columns, 4), dtype=np.uint8)
            for place, channel in enumerate((2, 1, 0)):  # twice as fast as all three at once, backwards
                packed[..., place] = colours[..., channel]
            packed[..., 3] = 255
        else:
            red, green, blue = (colours[..., place].astype(np.uint16) for place in range(3))
            packed = ((red >> 3) << 11 | (green >> 2) << 5 | blue >> 3).astype("<u2")
        deep = geometry.bits // 8
        try:
            if columns * deep == geometry.stride and not x:
                os.pwrite(self._fd, packed.data, y * geometry.stride)
                return
            for row in range(rows):
                os.pwrite(self._fd, packed[row].data, (y + row) * geometry.stride + x * deep)
        except OSError as error:
            raise ScreenError(f"The framebuffer has failed ({error}). Has its mode changed?") from error

    async def present(self) -> bool:
        return await asyncio.to_thread(connectors.present, *self._display)

    async def light(self, *, on: bool) -> None:
        with suppress(OSError):  # a display that cannot sleep stays awake
            await asyncio.to_thread(self._blank.write_text, "0" if on else "4")

    def close(self) -> None:
        with self._lock:
            fd, self._fd = self._fd, -1
            if fd < 0:
                return
            with suppress(OSError):
                os.pwrite(fd, zlib.decompress(self._found), 0)
            os.close(fd)
