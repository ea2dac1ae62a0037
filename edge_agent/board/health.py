"""How a board is, in one word, and why (pure)."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.board.outlet import BoardOutlet


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
