"""Live sessions: opened from their orders, listed while they last, told of when what is heard is not what was ordered."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from edge_agent.errors import MediaRefused
from edge_agent.model import NS, Digest, Live, OrderId, Precedence, ReasonCode, RtpOrigin, Voice, WebOrigin
from edge_agent.playout.readiness import Readiness, library
from edge_agent.report.alerts import Alerts
from edge_agent.report.status import LiveNote
from edge_agent.stream.settings import LiveSettings
from hal.errors import DatagramError
from hal.ports import Clock, Datagrams, DatagramSocket, Webcasts

if TYPE_CHECKING:
    from edge_agent.clocktrust import WallTime
    from edge_agent.playout.source import Source
    from edge_agent.stream.chain import Chain
    from edge_agent.stream.rtp_stage import RtpStage
    from edge_agent.stream.stage import Stage

_LOOK_S = 1.0
_QUEUE_PACKETS = 1_024
_ANYWHERE, _ANYWHERE_V6 = "0.0.0.0", "::"  # noqa: S104 - an order says from whom packets count
_MESSAGE_TIMES, _MESSAGE_GAP_S = 10, 30.0
ALERT = "live_lost"
_ROOM = "stream"


@dataclass(frozen=True, slots=True)
class _Open:
    """One session."""

    intent: Live
    chain: Chain
    began_ns: int


class Sessions:
    """Opens live programmes. `life` raises and solves their alert."""

    def __init__(
        self,
        *,
        settings: LiveSettings,
        clock: Clock,
        wall: WallTime,
        datagrams: Datagrams,
        webcasts: Webcasts,
        readiness: Readiness,
        alerts: Alerts,
        rng: random.Random,
        received: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`received` is told how many bytes of live sound came."""
        self._settings = settings
        self._clock = clock
        self._wall = wall
        self._datagrams = datagrams
        self._webcasts = webcasts
        self._readiness = readiness
        self._alerts = alerts
        self._rng = rng
        self._received = received
        self._open: dict[OrderId, _Open] = {}
        self._wake = asyncio.Event()

    async def open(self, intent: Live) -> Source:
        """The order's sound, listening from now on. Raises MediaRefused."""
        origin, packets = intent.origin, None
        if isinstance(origin, WebOrigin):
            first: Stage = await self._pull("live", origin, delay_ms=intent.delay_ms)
        else:
            first = packets = await self._rtp(intent, origin)
        chain_module = await library("chain", room=_ROOM)
        chain: Chain = chain_module.Chain(
            [first, *await self._fallbacks(intent)],
            clock=self._clock,
            max_s=intent.max_s,
            lost_s=intent.lost_s,
            begin_s=self._settings.begin_s,
            packets=packets,
        )
        self._open[intent.id] = _Open(intent, chain, self._clock.monotonic_ns())
        self._wake.set()
        return chain

    def notes(self) -> tuple[LiveNote, ...]:
        """Every session, for health and for people at the box."""
        self._forget()
        now_ns = self._clock.monotonic_ns()
        return tuple(
            LiveNote(
                order=order,
                stage=session.chain.stage,
                since_s=(now_ns - session.began_ns) // NS,
                figures={name: figure for name, figure in session.chain.report().items() if name != "ended"},
            )
            for order, session in self._open.items()
        )

    async def life(self) -> None:
        """While a session is open, look each second whether it is the live sound that is heard."""
        while True:
            self._wake.clear()
            self._forget()
            text = next((text for text in map(_complaint, self._open.values()) if text is not None), None)
            if text is not None:
                await self._alerts.raised(ALERT, text)
            else:
                await self._alerts.solved(ALERT)
            if self._open:
                await asyncio.sleep(_LOOK_S)
            else:
                await self._wake.wait()

    def _forget(self) -> None:
        for order in [order for order, session in self._open.items() if session.chain.closed]:
            del self._open[order]

    # ------------------------------------------------------------ links

    async def _fallbacks(self, intent: Live) -> list[Stage]:
        standby, urgent = intent.standby, intent.precedence is Precedence.EMERGENCY
        stages: list[Stage] = []
        if standby.stream is not None:
            stages.append(await self._pull("standby", standby.stream))
        if (media := standby.media) is not None:
            stages.append(
                await self._stored("programme", lambda: self._recorded(media, standby.url, urgent=urgent))
            )
        if (voice := standby.voice) is not None:
            stages.append(await self._stored("message", lambda: self._said(voice, intent.precedence)))
        return stages

    async def _recorded(self, media: Digest, url: str | None, *, urgent: bool) -> Source:
        part = await self._readiness.recording(media, url, urgent=urgent)
        return await part.open()

    async def _said(self, voice: Voice, precedence: Precedence) -> Source:
        part = await self._readiness.spoken(voice)
        return await self._readiness.announced(
            [part], precedence=precedence, times=_MESSAGE_TIMES, gap_s=_MESSAGE_GAP_S
        )

    async def _stored(self, name: str, make: Callable[[], Awaitable[Source]]) -> Stage:
        stage: Stage = (await library("stage", room=_ROOM)).StoredStage(name, make)
        return stage

    async def _pull(self, name: str, origin: WebOrigin, *, delay_ms: int | None = None) -> Stage:
        pull = await library("pull", room=_ROOM)
        stage: Stage = pull.PullStage(
            name,
            origin,
            webcasts=self._webcasts,
            leveller=await self._leveller(),
            clock=self._clock,
            rng=self._rng,
            silent_s=self._settings.silent_s,
            delay_ms=delay_ms,
            received=self._received,
        )
        return stage

    async def _rtp(self, intent: Live, origin: RtpOrigin) -> RtpStage:
        try:
            relay = None if origin.relay is None else await self._datagrams.resolve(*origin.relay)
            source = None if origin.source is None else await self._datagrams.resolve(origin.source, 0)
            leveller, reception = await self._leveller(), await self._reception(intent, origin)
            socket = await self._socket(origin, relay)
        except DatagramError as error:
            _refuse(
                f"Live packets cannot be taken ({error}); see `rtp` in the order and [live] in the config."
            )
        rtp_stage = await library("rtp_stage", room=_ROOM)
        stage: RtpStage = rtp_stage.RtpStage(
            socket=socket,
            reception=reception,
            leveller=leveller,
            clock=self._clock,
            wall=self._wall if intent.mode == "group" else None,
            only_host=None if source is None else source[0],
            relay=relay,
            ssrc=self._rng.getrandbits(32),
            received=self._received,
        )
        return stage

    async def _socket(self, origin: RtpOrigin, relay: tuple[str, int] | None) -> DatagramSocket:
        v6 = ":" in (origin.group or (relay[0] if relay is not None else ""))
        anywhere = _ANYWHERE_V6 if v6 else _ANYWHERE
        interface = self._settings.interface
        return await self._datagrams.open(
            host=anywhere if origin.group is not None else interface or anywhere,
            port=origin.port,
            queue_packets=_QUEUE_PACKETS,
            group=origin.group,
            interface=interface or None if origin.group is not None else None,
        )

    async def _reception(self, intent: Live, origin: RtpOrigin) -> Any:
        """Raises MediaRefused: no libopus, no libsrtp."""
        reception, modes = await library("reception", room=_ROOM), await library("modes", room=_ROOM)
        mode = modes.Mode(intent.mode)
        delay_ms = None if mode is modes.Mode.GROUP else intent.delay_ms
        try:
            srtp = (
                None if origin.srtp_key is None else (await library("srtp", room=_ROOM)).Srtp(origin.srtp_key)
            )
            return reception.Reception(
                reception.ReceptionSettings(
                    codec=origin.codec,
                    clock_hz=origin.clock_hz,
                    payload_types=frozenset({origin.payload_type}),
                    red_types=frozenset() if origin.red_type is None else frozenset({origin.red_type}),
                    buffer=modes.BufferSettings.of(mode, clock_hz=origin.clock_hz, delay_ms=delay_ms),
                    group_delay_ms=intent.delay_ms or 0,
                    trim_ms=self._settings.trim_ms,
                    library=self._settings.opus_library or None,
                ),
                srtp=srtp,
            )
        except (ImportError, OSError, RuntimeError) as error:
            _refuse(
                f"Live sound cannot be decoded here ({error}); install libopus0 and the agent's packages."
            )

    async def _leveller(self) -> Any:
        leveller = await library("leveller")
        levels = self._readiness.levels
        return leveller.Leveller(
            leveller.Following(target_lufs=levels.target_lufs, trim_db_max=levels.gain_db_max)
        )


def _complaint(session: _Open) -> str | None:
    stage = session.chain.stage
    if stage == "live":
        return None
    return f"Order {session.intent.id}: the live stream is lost; what sounds in its place: {stage}. See its sender and the network."


def _refuse(text: str) -> NoReturn:
    raise MediaRefused(ReasonCode.NO_MEDIA, text)
