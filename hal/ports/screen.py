"""The doors of a screen: an HDMI display, or an LED wall behind a sender card."""

from __future__ import annotations

from typing import Protocol


class Surface(Protocol):
    """An open screen. Pixels are R G B bytes, row by row from the top; drawing outside it is cut off."""

    width: int
    """Pixels of the whole screen."""
    height: int

    async def draw(self, pixels: bytes, *, x: int, y: int, width: int, height: int) -> None:
        """Put `width` x `height` pixels at (x, y) and have them seen at once. Returns when the display has been given
        them; never blocks the loop. Raises ScreenError when the display has gone or changed its size."""

    async def present(self) -> bool:
        """Whether a display that is awake hangs on the connector, as far as the system knows (True where it does
        not know)."""

    async def light(self, *, on: bool) -> None:
        """Wake the display, or let it sleep. Raises ScreenError."""

    def close(self) -> None:
        """Give the screen back as it was found. Idempotent, never raises."""


class Screen(Protocol):
    """A screen of configured connector."""

    async def open(self) -> Surface:
        """Open it. Raises ScreenError when there is no such screen, no display on it, or another program has it."""
