"""The shape of one link of the fallback chain, and the link that is a stored programme."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np

from edge_agent.errors import Refused
from hal.errors import HalError

if TYPE_CHECKING:
    from edge_agent.playout.source import Source
    from hal.ports import Frames

log = logging.getLogger(__name__)


class Stage(Protocol):
    """Something that can sound. It may be started, and stopped, any number of times."""

    name: str
    """live, standby, programme or message."""

    @property
    def ready(self) -> bool:
        """It would be heard if it were read now."""

    @property
    def hopeless(self) -> bool:
        """It will not become ready soon: nobody waits for it."""

    @property
    def present(self) -> bool:
        """In the last read there was something of it, or its sender is there and pauses."""

    @property
    def over(self) -> bool:
        """It has come to its own end."""

    def start(self) -> None:
        """Make ready. Idempotent, never blocks, never raises."""

    def stop(self) -> None:
        """It is not needed for now. Idempotent, never blocks."""

    async def read(self, frames: int, playout_ns: int) -> Frames:
        """Exactly so many frames, silence where there is nothing; the first sounds at `playout_ns`. Never raises."""

    async def close(self) -> None:
        """For good. Idempotent, never raises."""

    def report(self) -> dict[str, object]:
        """Its figures."""


class StoredStage:
    """A recording or a spoken message that waits until it is needed; it goes on where it was."""

    def __init__(self, name: str, make: Callable[[], Awaitable[Source]]) -> None:
        self.name = name
        self._make = make
        self._opening: asyncio.Task[Source | None] | None = None
        self._over = False
        self._present = False

    @property
    def ready(self) -> bool:
        return self._source is not None and not self._over

    @property
    def hopeless(self) -> bool:
        return self._over

    @property
    def present(self) -> bool:
        return self._present

    @property
    def over(self) -> bool:
        return self._over

    def start(self) -> None:
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(), name=f"open the {self.name}")

    def stop(self) -> None:
        self._present = False

    async def read(self, frames: int, playout_ns: int) -> Frames:
        parts: list[Frames] = []
        left, source = frames, self._source
        try:
            while left and source is not None and not self._over:
                part = await source.read(left, playout_ns)
                self._over = not part.size
                parts.append(part * np.float32(10 ** (source.gain_db / 20)))
                left -= part.size
        except Refused as refusal:
            log.warning("The %s broke off. error=%s", self.name, refusal.text)
            self._over = True
        self._present = left < frames
        parts.append(np.zeros(left, np.float32))
        return np.concatenate(parts)

    async def close(self) -> None:
        self._over = True
        opening, self._opening = self._opening, None
        if opening is None:
            return
        opening.cancel()
        await asyncio.wait([opening])
        source = None if opening.cancelled() else opening.result()
        if source is not None:
            await source.close()

    def report(self) -> dict[str, object]:
        return {}

    @property
    def _source(self) -> Source | None:
        opening = self._opening
        return (
            opening.result() if opening is not None and opening.done() and not opening.cancelled() else None
        )

    async def _open(self) -> Source | None:
        try:
            return await self._make()
        except (Refused, HalError) as error:
            log.warning("The %s cannot be had. error=%s", self.name, error)
            self._over = True
            return None
