"""A screen as a board: a viewport of pixels on a display, brightness by smaller numbers, handed back as it was found."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import datetime

import numpy as np

from edge_agent.board import scroll
from edge_agent.board.grade import Grade
from edge_agent.board.link import BoardFault
from edge_agent.board.picture import BLUE, GREEN, RED, Colours, Picture, dark
from edge_agent.board.protocols import Caps, Status
from edge_agent.board.settings import BoardSettings
from edge_agent.model import NS
from hal.ports import Clock, Screen, Surface

WATCH_S = 5.0
"""So often it is looked whether the display is still there."""


class ScreenPanel:
    """One screen. Every method may raise ScreenError or BoardFault; then call `lost`."""

    def __init__(self, *, screen: Screen, settings: BoardSettings, clock: Clock) -> None:
        self._screen = screen
        self._clock = clock
        self._place = (settings.x, settings.y)
        self._scale = settings.scale
        self._surface: Surface | None = None
        self._seen: Picture | None = None
        """What was drawn last; None: nothing of ours."""
        self._percent = 100
        self.shown: Picture | None = None
        self.status = Status()
        self.found_dark: bool | None = False
        self.ready = False
        self.caps = Caps(
            columns=settings.columns,
            rows=settings.rows,
            colours=settings.colours,
            slots=0,
            hands_back=True,
            brightness_steps=100,
            scrolls=True,
            watch_s=WATCH_S,
            answers=True,
        )

    @property
    def grade(self) -> Grade:
        """A display that the system sees awake is as good as one that acknowledges; nobody has read its glass."""
        return Grade.NONE if self._seen is None else Grade.ACKED

    def doubts(self) -> list[str]:
        """A display that is smaller than what is to be seen on it."""
        surface = self._surface
        if surface is None:
            return []
        need = (
            self._place[0] + self.caps.columns * self._scale,
            self._place[1] + self.caps.rows * self._scale,
        )
        if need[0] <= surface.width and need[1] <= surface.height:
            return []
        text = (
            f"The display has {surface.width} x {surface.height} pixels and {need[0]} x {need[1]} are drawn: set board.columns, "
            "rows, x, y and scale by the display, or the display's mode."
        )
        return [text]

    def lost(self) -> None:
        """Close it; `assure` opens it again."""
        self.ready = False
        self._seen = self.shown = None
        surface, self._surface = self._surface, None
        if surface is not None:
            surface.close()

    def holds(self, picture: Picture) -> bool:
        """Whatever we have, it can show."""
        return True

    async def assure(self, *, alert: bool) -> None:
        """Open it, and make certain that a display hangs on it that is awake."""
        if self._surface is None:
            self._surface = await self._screen.open()
        await self._surface.light(on=True)
        if not await self._surface.present():
            raise BoardFault(
                "The display is switched off, asleep or unplugged. Switch it on (and off its power saving); it is looked for again."
            )
        self._seen = None
        self.ready = True

    async def look(self) -> None:
        """Whether the display is still there; if not, it is no longer `ready`."""
        if self._surface is not None and not await self._surface.present():
            self.ready = False

    async def store(self, picture: Picture, *, keep: Collection[Picture], urgent: bool) -> None:
        """Nothing is to be stored."""

    async def show(self, picture: Picture | None) -> bool:
        """Draw a picture, or darkness. Whether it was another before."""
        if self._seen is not None and self.shown == picture:
            return False
        await self._draw(picture)
        self.shown = picture
        return True

    async def take_over(self, picture: Picture, *, left_s: float) -> bool:
        """There is one place only."""
        return await self.show(picture)

    async def dim(self, percent: int | None) -> bool:
        """By smaller numbers. Whether anything was drawn."""
        wanted = 100 if percent is None else percent
        if wanted == self._percent:
            return False
        self._percent = wanted
        if self._seen is None:
            return False
        await self._draw(self.shown)
        return True

    async def scroll(self, strip: scroll.Strip, *, from_s: float, seconds: float) -> None:
        """Let a strip run for `seconds`, from where it was after `from_s`, at so many frames a second as one can see."""
        began_ns = self._clock.monotonic_ns()
        frame = 0
        while frame / scroll.FRAMES_PER_S < seconds:
            elapsed_s = (self._clock.monotonic_ns() - began_ns) / NS
            at = scroll.offset(strip, self.caps.columns, from_s + elapsed_s)
            if frame == 0:
                await self._draw(scroll.sight(strip, self.caps.columns, self.caps.rows, at))
            else:
                await self._draw(scroll.window(strip, self.caps.columns, at), top=strip.top)
            frame = max(frame + 1, int(elapsed_s * scroll.FRAMES_PER_S) + 1)
            next_ns = began_ns + round(frame / scroll.FRAMES_PER_S * NS)
            await asyncio.sleep(max(0.0, (next_ns - self._clock.monotonic_ns()) / NS))

    async def clock_text(self, local: datetime) -> bool:
        """It has no digits of its own."""
        raise AssertionError("not in the caps of a screen")

    async def set_clock(self, local: datetime) -> None:
        """It has no clock."""

    async def hand_back(self) -> None:
        """Closing puts back what was there."""
        self.lost()

    async def _draw(self, picture: Picture | None, *, top: int = 0) -> None:
        """The viewport's pixels from a row on, scaled and dimmed."""
        assert self._surface is not None, "assure comes first"
        drawn = picture or dark(self.caps.columns, self.caps.rows, self.caps.colours)
        pixels = _rgb(drawn, self._percent)
        if self._scale > 1:
            cells = np.frombuffer(pixels, dtype=np.uint8).reshape(drawn.height, drawn.width, 3)
            pixels = cells.repeat(self._scale, axis=0).repeat(self._scale, axis=1).tobytes()
        x, y = self._place
        await self._surface.draw(
            pixels,
            x=x,
            y=y + top * self._scale,
            width=drawn.width * self._scale,
            height=drawn.height * self._scale,
        )
        self._seen = drawn


def _rgb(picture: Picture, percent: int) -> bytes:
    """Three bytes a dot."""
    if picture.colours is Colours.FULL:
        if percent == 100:
            return picture.cells
        return picture.cells.translate(bytes(level * percent // 100 for level in range(256)))
    level = 255 * percent // 100
    mono = picture.colours is Colours.MONO
    palette = np.array(
        [
            [level if (RED if mono and code else code) & bit else 0 for bit in (RED, GREEN, BLUE)]
            for code in range(8)
        ],
        dtype=np.uint8,
    )
    return palette[np.frombuffer(picture.cells, dtype=np.uint8)].tobytes()
