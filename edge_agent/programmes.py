"""Makes the source of whatever asks for the loudspeaker: a recording, words, a live stream; at once, or at an instant.

Made ready before the turn is asked for is what takes long and may fail: fetching, measuring, speaking. Live streams
are opened when their turn has come.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from edge_agent.clocktrust import WallTime
from edge_agent.errors import MediaRefused, Refused
from edge_agent.model import Audible, Live, Play, Precedence, ReasonCode, Say
from edge_agent.playout.readiness import Readiness, library
from hal.errors import SpeechError

if TYPE_CHECKING:
    from edge_agent.cache.store import Asset
    from edge_agent.playout.source import Source

OpenSource = Callable[[], "Awaitable[Source]"]


class Studio(Protocol):
    """What this file asks of `stream.sessions`."""

    async def open(self, intent: Live) -> Source:
        """The order's sound, listening from now on. Raises MediaRefused."""


class Programmes:
    """Belongs to one event loop."""

    def __init__(self, *, readiness: Readiness, sessions: Studio, wall: WallTime) -> None:
        self._readiness = readiness
        self._sessions = sessions
        self._wall = wall

    async def ready(self, intent: Audible, asset: Asset | None) -> OpenSource:
        """What opens the source once the turn is granted. Raises MediaRefused, DatabaseError, DiskError."""
        match intent:
            case Play():
                open_source, starts_at = await self._recording(intent, asset), intent.starts_at
            case Say():
                open_source, starts_at = await self._words(intent), intent.starts_at
            case Live():
                return lambda: self._sessions.open(intent)
            case _:
                raise AssertionError(f"no programme for {type(intent).__name__}")
        return open_source if starts_at is None else lambda: self._appointed(open_source, starts_at)

    def begins_ns(self, intent: Audible) -> int | None:
        """The instant (CLOCK_BOOTTIME) at which it is to begin; None: it begins when its turn comes.

        Raises Refused(CLOCK_UNTRUSTED).
        """
        starts_at = intent.starts_at if isinstance(intent, Play | Say) else None
        if starts_at is None:
            return None
        begins_ns = self._wall.instant_ns(starts_at)
        if begins_ns is None:
            raise Refused(
                ReasonCode.CLOCK_UNTRUSTED,
                "This node does not know the time well enough to begin at an instant; see its network or time service.",
            )
        return begins_ns

    async def _recording(self, intent: Play, asset: Asset | None) -> OpenSource:
        urgent = intent.precedence is Precedence.EMERGENCY
        gain_db = await self._readiness.gain_db(intent.media, intent.url, urgent=urgent, asset=asset)

        async def open_source() -> Source:
            sources = await library("sources")
            source: Source = await sources.open_media(self._readiness.store.open_read(intent.media), gain_db)
            return source

        return open_source

    async def _words(self, intent: Say) -> OpenSource:
        try:
            part = await self._readiness.spoken(intent.voice)
        except SpeechError as error:
            raise MediaRefused(ReasonCode.NO_MEDIA, f"The text cannot be spoken: {error}") from error

        return lambda: self._readiness.announced(
            [part], precedence=intent.precedence, times=intent.times, gap_s=intent.gap_s
        )

    async def _appointed(self, open_source: OpenSource, starts_at: datetime) -> Source:
        appointment = await library("appointment")
        source: Source = appointment.Appointed(await open_source(), lambda: self._wall.instant_ns(starts_at))
        return source
