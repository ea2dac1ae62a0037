"""Content to finished pages, off the loop, the latest few remembered."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime

from edge_agent.board import clockface, layout, raster, spelling
from edge_agent.board.page import Page
from edge_agent.board.picture import coloured
from edge_agent.board.settings import BoardSettings
from edge_agent.model import Digest

DRAWN_KEPT = 8


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
        self._settings = settings
        self._font = raster.Unifont(settings.font)
        self._lock = asyncio.Lock()
        self._drawn: dict[Job, tuple[Page, ...]] = {}

    async def draw(self, job: Job) -> tuple[Page, ...]:
        """The pages of a job. Raises TextRefused when it cannot be shown whole and unchanged."""
        if isinstance(job, TextJob):
            job = TextJob(text=spelling.clean(job.text), emergency=job.emergency, scroll=job.scroll)
        async with self._lock:
            pages = self._drawn.pop(job, None)
            if pages is None:
                pages = await asyncio.to_thread(self._draw, job)
            self._drawn[job] = pages
            if len(self._drawn) > DRAWN_KEPT:
                del self._drawn[next(iter(self._drawn))]
        return pages

    def _draw(self, job: Job) -> tuple[Page, ...]:
        match job:
            case TextJob():
                return self._text(job.text, emergency=job.emergency)
            case ClockJob():
                texts = clockface.texts(job.local, job.celsius, job.place)
                return tuple(
                    page for text in texts for page in self._text(spelling.clean(text), emergency=False)
                )
            case HeadlinesJob(lines=lines):
                return tuple(
                    page for line in lines for page in self._text(spelling.clean(line), emergency=False)
                )
            case _:
                raise NotImplementedError

    def _text(self, text: str, *, emergency: bool) -> tuple[Page, ...]:
        settings = self._settings
        texts = layout.pages_of(
            text,
            measure=self._font.width,
            width=settings.columns,
            lines_per_page=settings.text_lines,
            pages_max=settings.pages_max,
            reading=layout.Reading(
                page_least_s=settings.page_least_s,
                characters_per_s=settings.characters_per_s,
                emergency=emergency,
            ),
        )
        pages: list[Page] = []
        for page in texts:
            lines = [self._font.line(line) for line in page.lines]
            dots = raster.page(lines, columns=settings.columns, rows=settings.rows)
            raster.refuse_too_bright(dots, settings.lit_percent_max)
            pages.append(Page(page.text, coloured(dots, settings.colours, settings.colour), page.dwell_s))
        return tuple(pages)
