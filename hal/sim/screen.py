"""Virtual screens: one that remembers what was seen, in virtual time, and one that keeps PNG files for people."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from hal.errors import ScreenError
from hal.ports import Clock

KEPT = 2_000
PICTURES_MAX = 2_000
LINES_MAX = 200_000


@dataclass(frozen=True, slots=True)
class Seen:
    """From `at_ns` on the whole screen had this digest."""

    at_ns: int
    digest: str


class VirtualScreen:
    """A display on a connector. Faults are attributes: `connected`, `awake`; `resize` changes its mode."""

    def __init__(self, clock: Clock, *, width: int, height: int) -> None:
        self._clock = clock
        self.width, self.height = width, height
        self.connected = True
        self.awake = True
        self.lit = True
        self.pixels = bytearray(3 * width * height)
        self.seen: deque[Seen] = deque(maxlen=KEPT)
        self.opened = 0
        self.surface: VirtualSurface | None = None

    async def open(self) -> VirtualSurface:
        if not self.connected:
            raise ScreenError("No display hangs on the virtual connector: the test has unplugged it.")
        if self.surface is not None and not self.surface.closed:
            raise ScreenError("The virtual screen is held by someone else; close the other surface first.")
        self.opened += 1
        self.surface = VirtualSurface(self)
        return self.surface

    def resize(self, width: int, height: int) -> None:
        """Another display, of another size."""
        self.width, self.height = width, height
        self.pixels = bytearray(3 * width * height)

    def part(self, x: int, y: int, width: int, height: int) -> bytes:
        """The pixels of an area."""
        rows = (self.pixels[3 * ((y + row) * self.width + x) :][: 3 * width] for row in range(height))
        return b"".join(rows)

    def changed(self) -> None:
        """Note what is to be seen now, if it is something else."""
        digest = hashlib.sha256(self.pixels).hexdigest()
        if not self.seen or self.seen[-1].digest != digest:
            self.seen.append(Seen(self._clock.monotonic_ns(), digest))


class VirtualSurface:
    """An open virtual screen."""

    def __init__(self, screen: VirtualScreen) -> None:
        self._screen = screen
        self.width, self.height = screen.width, screen.height
        self._found = bytes(screen.pixels)
        self.closed = False

    async def draw(self, pixels: bytes, *, x: int, y: int, width: int, height: int) -> None:
        self._check()
        assert len(pixels) == 3 * width * height, "three bytes a pixel"
        await asyncio.sleep(0)
        screen = self._screen
        columns = min(width, screen.width - x)
        for row in range(min(height, screen.height - y)):
            if columns > 0:
                at = 3 * ((y + row) * screen.width + x)
                screen.pixels[at : at + 3 * columns] = pixels[3 * row * width :][: 3 * columns]
        screen.changed()

    async def present(self) -> bool:
        await asyncio.sleep(0)
        return self._screen.connected and self._screen.awake

    async def light(self, *, on: bool) -> None:
        self._check()
        self._screen.lit = on

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        if len(self._found) == len(self._screen.pixels):
            self._screen.pixels[:] = self._found
            self._screen.changed()

    def _check(self) -> None:
        screen = self._screen
        if self.closed:
            raise ScreenError("The virtual screen is closed.")
        if not screen.connected:
            raise ScreenError("The virtual display has gone: the test has unplugged it.")
        if (self.width, self.height) != (screen.width, screen.height):
            raise ScreenError("The virtual display has another size now; open it again.")


class PngScreen:
    """A screen that is a directory: each new sight a PNG, each change a line of screen.jsonl; after `PICTURES_MAX` none."""

    def __init__(self, directory: Path, clock: Clock, *, width: int, height: int) -> None:
        self.directory = directory
        self.clock = clock
        self.size = (width, height)

    async def open(self) -> PngSurface:
        try:
            await asyncio.to_thread(self.directory.mkdir, parents=True, exist_ok=True)
        except OSError as error:
            raise ScreenError(
                f"The directory {self.directory} for the screen's pictures cannot be made ({error})."
            ) from error
        return PngSurface(self)


class PngSurface:
    """An open directory."""

    def __init__(self, screen: PngScreen) -> None:
        self._screen = screen
        self.width, self.height = screen.size
        self._pixels = bytearray(3 * self.width * self.height)
        self._files: dict[str, str] = {}
        self._lines = 0
        self._open = True

    async def draw(self, pixels: bytes, *, x: int, y: int, width: int, height: int) -> None:
        if not self._open:
            raise ScreenError("The screen of pictures is closed.")
        columns = min(width, self.width - x)
        for row in range(min(height, self.height - y)):
            if columns > 0:
                at = 3 * ((y + row) * self.width + x)
                self._pixels[at : at + 3 * columns] = pixels[3 * row * width :][: 3 * columns]
        await asyncio.to_thread(self._keep, bytes(self._pixels))

    def _keep(self, pixels: bytes) -> None:
        digest = hashlib.sha256(pixels).hexdigest()
        try:
            name = self._files.get(digest) or self._drawn(pixels, digest)
            if self._lines < LINES_MAX:
                self._lines += 1
                line = {
                    "mono_ns": self._screen.clock.monotonic_ns(),
                    "file": name,
                    "digest": f"sha256:{digest}",
                }
                with (self._screen.directory / "screen.jsonl").open("a", encoding="utf-8") as journal:
                    journal.write(json.dumps(line) + "\n")
        except OSError as error:
            raise ScreenError(f"The screen's picture cannot be written ({error}).") from error

    def _drawn(self, pixels: bytes, digest: str) -> str:
        from PIL import Image

        if len(self._files) >= PICTURES_MAX:
            return ""
        name = f"{len(self._files) + 1:04d}.png"
        fresh = self._screen.directory / f".{name}.new"
        Image.frombytes("RGB", (self.width, self.height), pixels).save(fresh, "PNG")
        fresh.replace(self._screen.directory / name)
        self._files[digest] = name
        return name

    async def present(self) -> bool:
        return True

    async def light(self, *, on: bool) -> None:
        """Paper needs no light."""

    def close(self) -> None:
        self._open = False
