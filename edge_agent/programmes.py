"""Makes the source of whatever asks for the loudspeaker: a recording, words, a live stream; at once, or at an instant.

Made ready before the turn is asked for is what takes long and may fail: fetching, measuring, speaking. Live streams
are opened when their turn has come.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from edge_agent.clocktrust import WallTime
from edge_agent.errors import MediaRefused, Refused
from edge_agent.model import (
    RATE_HZ,
    Audible,
    LineIn,
    Live,
    OrderId,
    Play,
    Precedence,
    Programme,
    Reason,
    ReasonCode,
    Recording,
    Relay,
    Say,
    Voice,
)
from edge_agent.model import Part as ProgrammePart
from edge_agent.playout.readiness import Readiness, library
from hal.errors import HalError, SpeechError

if TYPE_CHECKING:
    from edge_agent.cache.store import Asset
    from edge_agent.playout.source import Source
    from hal.ports import Clock, LineInput

RELAY_LOST_S: Final = 120
"""A station that is lost for so long, with nothing in its place, ends its part of a programme."""

OpenSource = Callable[[], "Awaitable[Source]"]


class Studio(Protocol):
    """What this file asks of `stream.sessions`."""

    async def open(self, intent: Live) -> Source:
        """The order's sound, listening from now on. Raises MediaRefused."""


class Programmes:
    """Belongs to one event loop."""

    def __init__(
        self,
        *,
        readiness: Readiness,
        sessions: Studio,
        wall: WallTime,
        clock: Clock,
        line_in: LineInput | None = None,
    ) -> None:
        """`line_in`: the node's input, if it has one."""
        self._readiness = readiness
        self._sessions = sessions
        self._wall = wall
        self._clock = clock
        self._line_in = line_in

    async def ready(self, intent: Audible, asset: Asset | None) -> OpenSource:
        """What opens the source once the turn is granted. Raises MediaRefused, DatabaseError, DiskError."""
        match intent:
            case Play():
                open_source, starts_at = await self._recording(intent, asset), intent.starts_at
            case Say():
                open_source, starts_at = await self._words(intent), intent.starts_at
            case Programme():
                open_source, starts_at = await self._suite(intent), intent.starts_at
            case Live():
                return lambda: self._sessions.open(intent)
            case _:
                raise AssertionError(f"no programme for {type(intent).__name__}")
        return open_source if starts_at is None else lambda: self._appointed(open_source, starts_at)

    def begins_ns(self, intent: Audible) -> int | None:
        """The instant (CLOCK_BOOTTIME) at which it is to begin; None: it begins when its turn comes.

        Raises Refused(CLOCK_UNTRUSTED).
        """
        starts_at = intent.starts_at if isinstance(intent, Play | Say | Programme) else None
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

    async def _suite(self, intent: Programme) -> OpenSource:
        """Its parts made ready, one after another; what cannot be had is left out. Raises MediaRefused when nothing is left."""
        suite = await library("suite")
        items = [await self._item(intent, place, part) for place, part in enumerate(intent.parts, start=1)]
        if all(item.make is None for item in items):
            lacking = items[0].lacking
            raise MediaRefused(lacking.code, lacking.text)
        most_frames = None if intent.max_s is None else intent.max_s * RATE_HZ

        async def open_source() -> Source:
            source: Source = suite.Suite(items, most_frames=most_frames)
            return source

        return open_source

    async def _item(self, intent: Programme, place: int, part: ProgrammePart) -> Any:
        suite = await library("suite")
        name = f"{place} {type(part).__name__.lower()}"
        try:
            return suite.Item(name=name, make=await self._maker(intent, place, part))
        except Refused as refusal:
            lacking = Reason(refusal.code, refusal.text)
        except HalError as error:
            lacking = Reason(ReasonCode.NO_MEDIA, f"The part cannot be had: {error}")
        return suite.Item(name=name, make=None, lacking=lacking)

    async def _maker(self, intent: Programme, place: int, part: ProgrammePart) -> OpenSource:
        urgent = intent.precedence is Precedence.EMERGENCY
        match part:
            case Recording():
                return (await self._readiness.recording(part.media, part.url, urgent=urgent)).open
            case Voice():
                return (await self._readiness.spoken(part)).open
            case Relay():
                live = Live(
                    id=OrderId(f"{intent.id}#{place}"), issuer=intent.issuer, precedence=intent.precedence,
                    deadline_ns=intent.deadline_ns, origin=part.origin, max_s=part.for_s, standby=part.standby,
                    lost_s=min(part.for_s, RELAY_LOST_S),
                )  # fmt: skip
                return lambda: self._sessions.open(live)
            case LineIn():
                return await self._input(part)

    async def _input(self, part: LineIn) -> OpenSource:
        """Only here is the node's input ever listened to. Raises MediaRefused."""
        device = self._line_in
        if device is None:
            raise MediaRefused(ReasonCode.UNSUPPORTED, "This node has no input.")
        line_in, leveller = await library("line_in"), await library("leveller")
        levels = self._readiness.levels

        async def open_source() -> Source:
            following = leveller.Following(target_lufs=levels.target_lufs, trim_db_max=levels.gain_db_max)
            source: Source = line_in.LineInSource(
                device, for_s=part.for_s, leveller=leveller.Leveller(following), clock=self._clock
            )
            return source

        return open_source

    async def _appointed(self, open_source: OpenSource, starts_at: datetime) -> Source:
        appointment = await library("appointment")
        source: Source = appointment.Appointed(await open_source(), lambda: self._wall.instant_ns(starts_at))
        return source
