"""A line's way through a screen, a few seconds at a time, and no longer than until something else is asked for."""

from __future__ import annotations

import asyncio

from edge_agent.board.outlet import BoardOutlet
from edge_agent.board.scroll import Strip

ROLL_S = 5.0
"""So long a line runs before it is looked whether something else is due."""


async def roll(
    outlet: BoardOutlet, strip: Strip, *, from_s: float, most_s: float, news: asyncio.Event
) -> None:
    """Let it run on from where it was after `from_s`, for `most_s` and `ROLL_S` at most. Raises what `outlet` raises."""
    seconds = min(most_s, ROLL_S) if most_s > 0 else ROLL_S
    rolling = asyncio.create_task(outlet.scroll(strip, from_s=from_s, seconds=seconds), name="running line")
    waiting = asyncio.create_task(news.wait(), name="news for a running line")
    try:
        await asyncio.wait({rolling, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (rolling, waiting):
            task.cancel()
        await asyncio.wait({rolling, waiting})
    if not rolling.cancelled():
        rolling.result()
