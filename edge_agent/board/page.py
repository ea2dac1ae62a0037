"""One page of what a board shows: finished dots, what they say, and how long they stand."""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.board.picture import Picture


@dataclass(frozen=True, slots=True)
class Page:
    """One page, drawn."""

    text: str
    picture: Picture
    dwell_s: float
