"""The sound device, held open while somebody has the turn, and the patience for one that is not there.

A turn that is pre-empted hands the open device on, because the emergency must not wait for
it to be opened again; when nobody has the turn it is closed.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from edge_agent.model import NS, PERIOD_FRAMES, RATE_HZ, RING_FRAMES
from hal.errors import SoundMissing

if TYPE_CHECKING:
    from edge_agent.playout.settings import PlayoutSettings
    from hal.ports import Clock, SoundCard, SoundStream

log = logging.getLogger(__name__)

_REOPEN_EVERY_S = 0.5


class Deck:
    """One sound device. One turn at a time uses it."""

    def __init__(self, *, settings: PlayoutSettings, sound: SoundCard, clock: Clock) -> None:
        self._settings = settings
        self._sound = sound
        self._clock = clock
        self._stream: SoundStream | None = None
        self.fault: str | None = None
        """Why the latest turn that wanted the device did not get it; None when it did."""

    async def obtain(self) -> SoundStream:
        """The open stream; tries a few times to open it. Raises SoundMissing."""
        for attempt in range(1, self._settings.open_tries + 1):
            try:
                return await self._open()
            except SoundMissing as error:
                log.warning("The sound device cannot be opened. attempt=%d error=%s", attempt, error)
                if attempt == self._settings.open_tries:
                    self.fault = str(error)
                    raise
            await asyncio.sleep(self._settings.open_retry_s)
        raise AssertionError  # open_tries >= 1

    async def regain(self) -> SoundStream:
        """After SoundLost: close, and wait for the device to come back. Raises SoundMissing."""
        await self.close()
        until_ns = self._clock.monotonic_ns() + round(self._settings.reopen_within_s * NS)
        while True:
            try:
                return await self._open()
            except SoundMissing as error:
                if self._clock.monotonic_ns() >= until_ns:
                    self.fault = str(error)
                    raise
            await asyncio.sleep(_REOPEN_EVERY_S)

    async def close(self) -> None:
        """Close the device if it is open. Cancelled, call it again."""
        if self._stream is not None:
            await self._stream.close()
            self._stream = None

    async def _open(self) -> SoundStream:
        if self._stream is None:
            self._stream = await self._sound.open(
                rate_hz=RATE_HZ, period_frames=PERIOD_FRAMES, ring_frames=RING_FRAMES
            )
            self.fault = None
        return self._stream
