"""Waiting for news or for an instant, whichever comes first: how this room's threads of life rest."""

from __future__ import annotations

import asyncio

from edge_agent.model import NS
from hal.ports import Clock


async def news_or(due_ns: int | None, *, wake: asyncio.Event, clock: Clock) -> None:
    """Return when `wake` is set, or at `due_ns` (CLOCK_BOOTTIME; None: only news counts). Leaves `wake` as it is."""
    timeout_s = None if due_ns is None else max(0, due_ns - clock.monotonic_ns()) / NS
    try:
        async with asyncio.timeout(timeout_s):
            await wake.wait()
    except TimeoutError:
        pass
