"""How a board is, in one word, and why (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.board.grade import Grade
from edge_agent.board.notices import Showing
from edge_agent.board.outlet import BoardOutlet
from edge_agent.board.picture import Picture
from edge_agent.model import OrderId, Precedence

VAIN = (
    "The board answers, but does not take what it is to show. Do its model, size and address agree with the config? "
    "Switch it off and on; then try edge-agent board test."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardState:
    """The board at a glance."""

    order: OrderId | None
    """The order, or the item of the playlist, that is shown."""
    precedence: Precedence | None
    page: int
    pages: int
    text: str
    picture: Picture | None
    fault: str | None
    grade: Grade
    brightness: int | None
    """Percent; 0: dark by its hours; None: the board's own."""


def glance(top: Showing | None, outlet: BoardOutlet, *, fault: str | None, percent: int | None) -> BoardState:
    """The board at a glance, where `top` is what is to be seen."""
    drawn = top is not None and bool(top.pages)
    return BoardState(
        order=top.key if top else None,
        precedence=top.precedence if top else None,
        page=top.index + 1 if top and drawn else 0,
        pages=len(top.pages) if top else 0,
        text=top.page.text if top and drawn else "",
        picture=outlet.shown,
        fault=fault,
        grade=outlet.grade,
        brightness=percent,
    )


def of(outlet: BoardOutlet, *, fault: str | None, faults: Sequence[str], ours: bool) -> tuple[str, list[str]]:
    """ok, degraded, dark or unknown, and the sentences that say why.

    Args:
        outlet: the board.
        fault: why it cannot be reached, or None.
        faults: what cannot be shown on it, although it works.
        ours: it is this node's, or lent to it now.
    """
    if not ours:
        return "ok", ["It is somebody else's board, and not lent now."]
    if fault is not None:
        return "dark", [fault]
    if not outlet.ready:
        return "unknown", ["It has not been reached yet."]
    why = [*outlet.doubts(), *faults]
    if why:
        return "degraded", why
    if not outlet.caps.answers:
        return "unknown", ["The line runs one way: what is sent is not known to be seen."]
    return "ok", []
