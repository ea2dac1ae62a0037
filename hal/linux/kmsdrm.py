"""A screen through SDL's KMSDRM driver (pygame-ce, the extra `screen`): pixels without a desktop, as a Raspberry Pi has them.

Facts: SDL wants all its calls on one thread, so it has one of its own; it would take SIGINT and SIGTERM and the sound card if it
were let; it takes the card whose number stands in SDL_KMSDRM_DEVICE_INDEX, which we find by the connector's name. When the
display is pulled out SDL says nothing: the kernel is asked (`connectors`). pygame is imported when a screen is opened: 30 MiB.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from hal.errors import ScreenError
from hal.linux import connectors

T = TypeVar("T")


class KmsScreen:
    """The display on a connector ("" = whichever has one). `driver` is SDL's: kmsdrm, or dummy where there is no screen."""

    def __init__(
        self,
        connector: str = "",
        *,
        driver: str = "kmsdrm",
        size: tuple[int, int] = (0, 0),
        sys: Path = connectors.SYS,
    ) -> None:
        """`size`: pixels; (0, 0) = the display's own."""
        self._connector = connector
        self._driver = driver
        self._size = size
        self._sys = sys
        self._held = False

    async def open(self) -> KmsSurface:
        if self._held:
            raise ScreenError("The screen is held by another part of this node; close that first.")
        display = await asyncio.to_thread(connectors.chosen, self._connector, self._sys)
        if self._driver == "kmsdrm" and (display is None or not display.connected):
            name = self._connector or "any connector"
            raise ScreenError(
                f"No display hangs on {name} (/sys/class/drm/*/status). Is it switched on, and is the cable in the connector "
                "that board.connector names? It is looked for again."
            )
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sdl")
        surface = KmsSurface(thread, (self._connector, self._sys), self._let_go)
        self._held = True
        try:
            number = 0 if display is None else display.card_number
            await surface.run(_begin, self._driver, number, self._size, surface)
        except BaseException:
            surface.close()
            raise
        return surface

    def _let_go(self) -> None:
        self._held = False


class KmsSurface:
    """An open screen."""

    def __init__(
        self, thread: ThreadPoolExecutor, display: tuple[str, Path], closed: Callable[[], None]
    ) -> None:
        self._thread = thread
        self._display = display
        self._closed: Callable[[], None] | None = closed
        self.screen: Any = None
        self.width = self.height = 0

    async def run(self, work: Callable[..., T], *args: object) -> T:
        """Do something on SDL's own thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *args)

    async def draw(self, pixels: bytes, *, x: int, y: int, width: int, height: int) -> None:
        if self._closed is None:
            raise ScreenError("The screen is closed.")
        await self.run(_draw, self.screen, pixels, (x, y), (width, height))

    async def present(self) -> bool:
        return await asyncio.to_thread(connectors.present, *self._display)

    async def light(self, *, on: bool) -> None:
        if not on and self._closed is not None:
            await self.draw(
                bytes(3 * self.width * self.height), x=0, y=0, width=self.width, height=self.height
            )

    def close(self) -> None:
        closed, self._closed = self._closed, None
        if closed is not None:
            self._thread.submit(_end)
            self._thread.shutdown(wait=True)
            closed()


def _begin(driver: str, card: int, size: tuple[int, int], surface: KmsSurface) -> None:
    os.environ.update(
        SDL_VIDEODRIVER=driver,
        SDL_AUDIODRIVER="dummy",
        SDL_KMSDRM_DEVICE_INDEX=str(card),
        SDL_NO_SIGNAL_HANDLERS="1",
        PYGAME_HIDE_SUPPORT_PROMPT="1",
    )
    try:
        import pygame
    except ImportError as error:
        raise ScreenError(
            'pygame-ce is not installed: install the package\'s extra `screen`, or set board.surface = "fbdev".'
        ) from error
    try:
        pygame.display.init()
        surface.screen = pygame.display.set_mode(size, pygame.FULLSCREEN if driver == "kmsdrm" else 0)
        pygame.mouse.set_visible(False)
    except pygame.error as error:
        raise ScreenError(
            f"The display cannot be opened ({error}). Does another program draw on it (a desktop), and may this user (groups "
            "video and render)?"
        ) from error
    surface.width, surface.height = surface.screen.get_size()


def _draw(screen: Any, pixels: bytes, place: tuple[int, int], size: tuple[int, int]) -> None:
    import pygame

    try:
        screen.blit(pygame.image.frombuffer(pixels, size, "RGB"), place)
        pygame.display.flip()
        pygame.event.pump()
    except pygame.error as error:
        raise ScreenError(f"The display has failed ({error}).") from error


def _end() -> None:
    with suppress(ImportError):
        import pygame

        pygame.display.quit()
