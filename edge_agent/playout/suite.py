"""A programme of several parts as one `Source`: recordings and texts that lie here, stations and inputs that happen now.

A part that breaks off or cannot be opened is left out and remembered; the next one goes on. What the whole lacks
is said at its end, so that the as-run entry of a programme is never better than what was heard.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.errors import MediaRefused, Refused
from edge_agent.model import RATE_HZ, Reason, ReasonCode
from edge_agent.playout.source import STORED_FRAMES
from hal.errors import HalError

if TYPE_CHECKING:
    from edge_agent.playout.source import Source
    from hal.ports import Frames

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One part: what opens it, or why it cannot be had."""

    name: str
    make: Callable[[], Awaitable[Source]] | None
    lacking: Reason | None = None


class Suite:
    """Parts one after another; each is opened when its time has come."""

    gain_db = 0.0

    def __init__(self, items: Sequence[Item], *, most_frames: int | None = None) -> None:
        """`most_frames`: the whole is cut after so much."""
        self._items = list(items)
        self._place = 0
        self._left = most_frames
        self._current: Source | None = None
        self._factor = np.float32(1)
        self._lacking: list[tuple[int, Reason]] = []
        self._sounded: list[int] = [0] * len(self._items)
        self._reports: dict[int, dict[str, object]] = {}
        self._waited = 0
        self._begun = False
        """Something of it has sounded."""
        self._bad = 0
        self._closed = False

    @property
    def live(self) -> bool:
        return self._current is not None and self._current.live

    @property
    def block_frames(self) -> int:
        return STORED_FRAMES if self._current is None else self._current.block_frames

    @property
    def ahead_frames(self) -> int | None:
        return None if self._current is None else self._current.ahead_frames

    @property
    def waited_frames(self) -> int:
        """The parts' own waiting, as long as that is all there was."""
        if self._begun or self._current is None:
            return self._waited
        return self._waited + self._current.waited_frames

    async def read(self, frames: int, playout_ns: int | None = None) -> Frames:
        """From the part that sounds, else from the next one. Raises MediaRefused at the end if a part was lacking."""
        while not self._closed and self._place < len(self._items) and self._left != 0:
            try:
                block = await self._block(frames, playout_ns)
            except (Refused, HalError) as error:
                await self._lacks(error)
                continue
            if block.size:
                return self._counted(block)
            await self._next()
        await self._next()
        if self._lacking and not self._closed:
            self._closed = True
            raise MediaRefused(self._lacking[0][1].code, self._summary())
        self._closed = True
        return np.zeros(0, np.float32)

    async def close(self) -> None:
        """Let go of the part that is open."""
        self._closed = True
        await self._shut()

    def bad_packets(self) -> int:
        return self._bad + (0 if self._current is None else self._current.bad_packets())

    def paused(self, *, yes: bool) -> None:
        if self._current is not None:
            self._current.paused(yes=yes)

    def report(self) -> dict[str, object] | None:
        """What became of each part."""
        lacking = dict(self._lacking)
        parts: list[dict[str, object]] = []
        for place, item in enumerate(self._items):
            part: dict[str, object] = {
                "part": item.name,
                "sounded_ms": self._sounded[place] * 1_000 // RATE_HZ,
            }
            if place in lacking:
                part["code"] = lacking[place].code.value
                part["reason"] = lacking[place].text[:200]
            live = self._current.report() if self._current is not None and place == self._place else None
            if (live := live or self._reports.get(place)) is not None:
                part["live"] = live
            parts.append(part)
        return {"parts": parts}

    async def _block(self, frames: int, playout_ns: int | None) -> Frames:
        item = self._items[self._place]
        if self._current is None:
            if item.make is None:
                assert item.lacking is not None
                raise MediaRefused(item.lacking.code, item.lacking.text)
            self._current = await item.make()
            self._factor = np.float32(10 ** (self._current.gain_db / 20))
            frames = min(frames, self._current.block_frames)
        block = await self._current.read(frames, playout_ns)
        return block if self._factor == 1 else block * self._factor

    def _counted(self, block: Frames) -> Frames:
        if self._left is not None:
            block = block[: self._left]
            self._left -= block.size
        self._sounded[self._place] += block.size
        self._begin()
        return block

    def _begin(self) -> None:
        """What it waited is settled once anything but waiting was heard."""
        if not self._begun and self._current is not None:
            waited = self._current.waited_frames
            if self._sounded[self._place] > waited:
                self._waited += waited
                self._begun = True

    async def _lacks(self, error: Refused | HalError) -> None:
        refusal = error if isinstance(error, Refused) else None
        reason = (
            Reason(ReasonCode.NO_MEDIA, f"It cannot be read ({error}).")
            if refusal is None
            else Reason(refusal.code, refusal.text)
        )
        log.warning(
            "A part of a programme is left out. part=%s why=%s", self._items[self._place].name, reason.text
        )
        self._lacking.append((self._place, reason))
        await self._next()

    async def _next(self) -> None:
        await self._shut()
        self._place = min(self._place + 1, len(self._items))

    async def _shut(self) -> None:
        done, self._current = self._current, None
        if done is not None:
            self._bad += done.bad_packets()
            self._waited += 0 if self._begun else done.waited_frames
            report = done.report()
            if report is not None:
                self._reports[self._place] = report
            await done.close()

    def _summary(self) -> str:
        place, reason = self._lacking[0]
        return f"{len(self._lacking)} of {len(self._items)} parts did not sound whole; part {place + 1}: {reason.text}"
