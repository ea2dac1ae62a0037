"""One page of what a board shows: finished dots, what they say, and how long they stand."""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.board.picture import Picture
from edge_agent.board.scroll import Strip


@dataclass(frozen=True, slots=True)
class Page:
    """One page, drawn."""

    text: str
    picture: Picture
    dwell_s: float
    strip: Strip | None = None
    """What runs through a screen in the page's place; `picture` is then one moment of it."""
