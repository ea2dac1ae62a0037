"""What has happened is stored, however long the disk refuses: it cannot be taken back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from hal.errors import DatabaseError, DiskError


async def until_stored(
    store: Callable[[], Awaitable[None]],
    *,
    what: str,
    log: logging.Logger,
    wait_s: float,
    most_s: float | None = None,
) -> None:
    """Store it, again and again, after `wait_s`, then twice as long each time up to `most_s` (None: always the same).

    The first failure is logged: `what` cannot be stored yet.
    """
    failing = False
    while True:
        try:
            await store()
        except (DatabaseError, DiskError) as error:
            if not failing:
                log.warning("%s cannot be stored yet. error=%s", what, error)
            failing = True
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, most_s or wait_s)
        else:
            return
