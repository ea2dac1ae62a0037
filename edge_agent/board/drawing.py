"""Text to finished pages, off the loop, the latest few remembered."""

from __future__ import annotations

import asyncio

from edge_agent.board import layout, raster, spelling
from edge_agent.board.notices import Page
from edge_agent.board.picture import coloured
from edge_agent.board.settings import BoardSettings
from edge_agent.model import Precedence

DRAWN_KEPT = 8


class DrawingTable:
    """Draws for one board. Pillow takes 100 ms to import, so even the first text is drawn on a thread."""

    def __init__(self, settings: BoardSettings) -> None:
        self._settings = settings
        self._font = raster.Unifont(settings.font)
        self._lock = asyncio.Lock()
        self._drawn: dict[tuple[str, bool], tuple[Page, ...]] = {}

    async def pages_of(self, text: str, precedence: Precedence) -> tuple[Page, ...]:
        """The pages that a text makes. Raises TextRefused when it cannot be shown whole and unchanged."""
        key = (spelling.clean(text), precedence is Precedence.EMERGENCY)
        async with self._lock:
            pages = self._drawn.pop(key, None)
            if pages is None:
                pages = await asyncio.to_thread(self._draw, *key)
            self._drawn[key] = pages
            if len(self._drawn) > DRAWN_KEPT:
                del self._drawn[next(iter(self._drawn))]
        return pages

    def _draw(self, text: str, emergency: bool) -> tuple[Page, ...]:  # noqa: FBT001 - part of a key
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
