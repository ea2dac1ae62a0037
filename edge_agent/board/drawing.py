"""Content to finished pages, off the loop, the latest few remembered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from edge_agent.board import clockface, spelling
from edge_agent.board.page import Page
from edge_agent.board.painter import Painter
from edge_agent.board.settings import BoardSettings
from edge_agent.errors import TextRefused
from edge_agent.model import Digest

DRAWN_KEPT = 16
BYTES_KEPT = 24 * 1024 * 1024
"""Four pages of a screen of 1080 rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextJob:
    """A text to be laid out on pages."""

    text: str
    emergency: bool = False
    scroll: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageJob:
    """A picture file."""

    digest: Digest
    blob: bytes = field(compare=False, repr=False)
    caption: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QrJob:
    """Something to scan."""

    text: str
    caption: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockJob:
    """The time of one minute."""

    local: datetime
    celsius: float | None = None
    place: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadlinesJob:
    """Headlines, one after the other."""

    lines: tuple[str, ...]


Job = TextJob | ImageJob | QrJob | ClockJob | HeadlinesJob


class DrawingTable:
    """Draws for one board. Pillow takes 100 ms to import, so even the first text is drawn on a thread."""

    def __init__(self, settings: BoardSettings) -> None:
        self._painter = Painter(settings)
        self._lock = asyncio.Lock()
        self._drawn: dict[Job, tuple[Page, ...]] = {}

    async def draw(self, job: Job) -> tuple[Page, ...]:
        """The pages of a job. Raises TextRefused when it cannot be shown whole and unchanged."""
        if isinstance(job, TextJob):
            job = replace(job, text=spelling.clean(job.text))
        async with self._lock:
            pages = self._drawn.pop(job, None)
            if pages is None:
                pages = await asyncio.to_thread(self.draw_now, job)
            self._drawn[job] = pages
            while len(self._drawn) > 1 and (len(self._drawn) > DRAWN_KEPT or self._bytes() > BYTES_KEPT):
                del self._drawn[next(iter(self._drawn))]
        return pages

    async def fitting(self, texts: Sequence[str], *, emergency: bool) -> tuple[str, tuple[Page, ...]]:
        """The first of the texts that the board can show, and its pages. Raises the first's TextRefused."""
        refusal: TextRefused | None = None
        for text in texts:
            try:
                return text, await self.draw(TextJob(text=text, emergency=emergency))
            except TextRefused as refused:
                refusal = refusal or refused
        assert refusal is not None
        raise refusal

    def draw_now(self, job: Job) -> tuple[Page, ...]:
        """As `draw`, at once and here: where nothing waits for the loop. A text must be clean. Raises TextRefused."""
        match job:
            case TextJob(text=text, emergency=emergency, scroll=rolls):
                return self._painter.text(text, emergency=emergency, rolls=rolls)
            case ImageJob(blob=blob, caption=caption):
                return self._painter.image(blob, caption)
            case QrJob(text=text, caption=caption):
                return self._painter.code(text, caption)
            case ClockJob(local=local, celsius=celsius, place=place):
                texts = clockface.texts(local, celsius, place)
                return self._painter.several([spelling.clean(text) for text in texts])
            case HeadlinesJob(lines=lines):
                return self._headlines(lines)

    def _headlines(self, lines: Sequence[str]) -> tuple[Page, ...]:
        """Those that can be drawn; nobody who has written them knew this board. Raises TextRefused where none can."""
        pages: list[Page] = []
        refusal: TextRefused | None = None
        for line in lines:
            try:
                pages += self._painter.text(spelling.clean(line), emergency=False)
            except TextRefused as refused:
                refusal = refused
        if not pages and refusal is not None:
            raise refusal
        return tuple(pages)

    def _bytes(self) -> int:
        return sum(
            len(page.picture.cells) + (len(page.strip.picture.cells) if page.strip else 0)
            for pages in self._drawn.values()
            for page in pages
        )
