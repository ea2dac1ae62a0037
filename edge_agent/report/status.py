"""What the node says of itself: birth, will, farewell, capabilities, health."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from edge_agent.clocktrust import ClockTrust, Quality
from edge_agent.model import NS, NodeId
from edge_agent.report import shelf
from edge_agent.report.alerts import Alerts
from edge_agent.report.asrun import rfc3339
from edge_agent.report.meter import Meter
from edge_agent.report.outbox import Outbox
from edge_agent.report.settings import ReportSettings
from hal.errors import BrokerRefused, DatabaseError, DiskError
from hal.ports import BrokerSession, Clock, Disk, Message

logger = logging.getLogger(__name__)

_MIB = 1 << 20


# ---------------------------------------------------------------- what is sent


class ClockNote(msgspec.Struct, frozen=True, kw_only=True):
    """What time the node has. `wall` is null while the clock is unknown; `mono_ms` is since boot."""

    quality: str
    wall: str | None
    mono_ms: int


class Muted(msgspec.Struct, frozen=True, kw_only=True):
    """A sticky stop that stands. `until` is null while nobody knows the date."""

    stop: str
    """The id by which it is released."""
    issuer: str
    order: str | None
    """What may not sound: one order,"""
    klass: str | None = msgspec.field(name="class")
    """or this class and lower."""
    until: str | None


class Muting(Protocol):
    """What is asked of whoever keeps the sticky stops."""

    def notes(self) -> tuple[Muted, ...]:
        """Those that stand now."""

    async def changed(self, since: tuple[Muted, ...]) -> tuple[Muted, ...]:
        """Wait until others stand than `since`; returns those."""


class NothingMuted:
    """No stop ever stands."""

    def notes(self) -> tuple[Muted, ...]:
        return ()

    async def changed(self, since: tuple[Muted, ...]) -> tuple[Muted, ...]:
        await asyncio.Event().wait()
        return ()


class LiveNote(msgspec.Struct, frozen=True, kw_only=True):
    """A live session that is open."""

    order: str
    stage: str
    """What is heard now: live, standby, programme, message or silence."""
    since_s: int
    figures: Mapping[str, Any]
    """What the network did to it, as in its as-run entry."""


class Listening(Protocol):
    """What is asked of whoever keeps the live sessions."""

    def notes(self) -> tuple[LiveNote, ...]:
        """Those that are open now."""


class NothingLive:
    """No session is ever open."""

    def notes(self) -> tuple[LiveNote, ...]:
        return ()


class BoardNote(msgspec.Struct, frozen=True, kw_only=True):
    """A board, as far as the node knows."""

    name: str
    state: str
    """ok, degraded, dark or unknown."""
    why: Sequence[str]
    showing: str | None
    """The order, or the item of the playlist, whose page stands."""
    page: str
    """What that page says."""
    grade: str
    """How well it is known that it stands: none, sent, acked, read_back, seen."""
    brightness: int | None
    """Percent; 0: dark by its hours; null: the board's own."""


class Seeing(Protocol):
    """What is asked of whoever keeps the boards."""

    def notes(self) -> tuple[BoardNote, ...]:
        """Each board now."""


class NothingSeen:
    """There is no board."""

    def notes(self) -> tuple[BoardNote, ...]:
        return ()


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A turn that the schedule has next. `at` is Vietnam's time."""

    at: str
    rule: str
    title: str
    klass: str = msgspec.field(name="class")
    parts: int


class Agenda:
    """What is to sound next, as the schedule has it; laid here by its room for whoever tells of it."""

    turns: tuple[Turn, ...] = ()


class Birth(msgspec.Struct, frozen=True, kw_only=True, tag_field="state", tag="online"):
    """`up/state`, retained, after each connect. A fresh order may echo `nonce` when the clock is not trusted."""

    session: str
    boot: str
    nonce: str
    agent: str
    have: Mapping[str, int]
    last: Mapping[str, int]
    clock: ClockNote
    muted: Sequence[Muted] = ()


class Will(msgspec.Struct, frozen=True, kw_only=True, tag_field="state", tag="lost"):
    """`up/state`, published by the broker when it has lost us."""

    session: str


class Farewell(msgspec.Struct, frozen=True, kw_only=True, tag_field="state", tag="offline"):
    """`up/state`, when we leave on purpose."""

    session: str
    why: str


class Caps(msgspec.Struct, frozen=True, kw_only=True):
    """`up/caps`, retained: what this node can do."""

    agent: str
    verbs: Sequence[str]
    schemas: Mapping[str, int]
    hardware: Mapping[str, str]
    boards: Sequence[Mapping[str, str | int]] = ()


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of one kind."""

    sent: int
    received: int


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """`up/health`, QoS 0. Null: could not be found out."""

    mono_ms: int
    wall: str | None
    clock: str
    boot: str
    agent_s: int
    """How long the agent has run, s."""
    load_1m: float | None
    memory_free_mib: int | None
    peak_rss_mib: int | None
    disk_free_mib: int | None
    outbox_waiting: int | None
    outbox_unacknowledged: int | None
    outbox_dropped: int | None
    publishes_refused: int
    alerts: Sequence[str]
    muted: Sequence[Muted]
    live: Sequence[LiveNote]
    boards: Sequence[BoardNote]
    next: Sequence[Turn]
    """The next three turns of the schedule."""
    sent_bytes: int
    """By this connection."""
    received_bytes: int
    today_bytes: Mapping[str, Traffic]
    """Sent and received since local midnight, by kind: mqtt, media, live."""
    month_bytes: int
    """Both ways, since the first of the month."""


# ---------------------------------------------------------------- the node's own state


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """How the box is; None where the system does not tell."""

    load_1m: float | None
    memory_free_mib: int | None
    peak_rss_mib: int | None


def read_vitals() -> Vitals:
    """Ask the operating system; microseconds, no file is opened by us."""
    try:
        load_1m: float | None = round(os.getloadavg()[0], 2)
        free: int | None = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // _MIB
    except (OSError, ValueError):
        load_1m = free = None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return Vitals(load_1m=load_1m, memory_free_mib=free, peak_rss_mib=peak)


def _traffic(meter: Meter | None) -> dict[str, Traffic]:
    today = {} if meter is None else meter.today()
    return {kind: Traffic(sent=sent, received=received) for kind, (sent, received) in today.items()}


class Status:
    """Makes the messages that say how the node is, and publishes health while a session lasts."""

    def __init__(
        self,
        *,
        clock: Clock,
        trust: ClockTrust,
        disk: Disk,
        outbox: Outbox,
        alerts: Alerts,
        settings: ReportSettings,
        root: str,
        node: NodeId,
        caps: Caps,
        muting: Muting | None = None,
        live: Listening | None = None,
        seeing: Seeing | None = None,
        agenda: Agenda | None = None,
        meter: Meter | None = None,
        vitals: Callable[[], Vitals] = read_vitals,
    ) -> None:
        self._clock = clock
        self._trust = trust
        self._disk = disk
        self._outbox = outbox
        self._alerts = alerts
        self._period_ns = round(settings.health_period_s * NS)
        self._up = f"{root}/{node}/up/"
        self._caps = caps
        self._muting = muting or NothingMuted()
        self._live = live or NothingLive()
        self._seeing = seeing or NothingSeen()
        self._agenda = agenda or Agenda()
        self._meter = meter
        self._said: Birth | None = None
        """What `up/state` says of this session."""
        self._vitals = vitals
        self._started_ns = clock.monotonic_ns()
        self._due_ns = self._started_ns

    def birth(self, *, session: str, nonce: str, have: Mapping[str, int], last: Mapping[str, int]) -> Message:
        """`up/state`: we are here. `have`: versions of desired documents; `last`: highest seq of each issuer."""
        birth = Birth(
            session=session,
            boot=self._clock.boot_id(),
            nonce=nonce,
            agent=self._caps.agent,
            have=have,
            last=last,
            clock=self._clock_note(),
            muted=self._muting.notes(),
        )
        self._said = birth
        return self._retained("state", birth)

    def will(self, *, session: str) -> Message:
        """`up/state`: what the broker says when it has lost us."""
        return self._retained("state", Will(session=session))

    def farewell(self, *, session: str, why: str) -> Message:
        """`up/state`: we leave on purpose."""
        return self._retained("state", Farewell(session=session, why=why))

    def caps(self) -> Message:
        """`up/caps`."""
        return self._retained("caps", self._caps)

    async def health(self, session: BrokerSession) -> Message:
        """`up/health`, as it is now. What cannot be found out is null; never raises for the disk's sake."""
        note, vitals = self._clock_note(), self._vitals()
        counts: shelf.Counts | None = None
        disk_free_mib: int | None = None
        try:
            disk_free_mib = await self._disk.free_bytes() // _MIB
            counts = await self._outbox.counts()
        except (DatabaseError, DiskError) as error:
            logger.debug("Health could not be read whole. error=%s", error)
        sent, received = session.traffic()
        health = Health(
            mono_ms=note.mono_ms,
            wall=note.wall,
            clock=note.quality,
            boot=self._clock.boot_id(),
            agent_s=(self._clock.monotonic_ns() - self._started_ns) // NS,
            load_1m=vitals.load_1m,
            memory_free_mib=vitals.memory_free_mib,
            peak_rss_mib=vitals.peak_rss_mib,
            disk_free_mib=disk_free_mib,
            outbox_waiting=None if counts is None else counts.waiting,
            outbox_unacknowledged=None if counts is None else counts.unacknowledged,
            outbox_dropped=None if counts is None else counts.dropped,
            publishes_refused=self._outbox.refused,
            alerts=self._alerts.standing,
            muted=self._muting.notes(),
            live=self._live.notes(),
            boards=self._seeing.notes(),
            next=self._agenda.turns,
            sent_bytes=sent,
            received_bytes=received,
            today_bytes=_traffic(self._meter),
            month_bytes=0 if self._meter is None else self._meter.month_bytes(),
        )
        return Message(topic=self._up + "health", payload=msgspec.json.encode(health), qos=0)

    async def health_life(self, session: BrokerSession) -> None:
        """For as long as `session` lasts publish health every period, and the state again whenever other
        stops stand; never returns.

        The period runs on over connections, so a flapping line does not multiply it. Raises BrokerLost.
        """
        while True:
            left_ns = self._due_ns - self._clock.monotonic_ns()
            if left_ns > 0:
                message = await self._restated(within_s=left_ns / NS)
            else:
                message = await self.health(session)
                self._due_ns = self._clock.monotonic_ns() + self._period_ns
            if message is None:
                continue
            try:
                await session.publish(message)
            except BrokerRefused as error:
                logger.debug("The broker refused a message. topic=%s error=%s", message.topic, error)

    async def _restated(self, *, within_s: float) -> Message | None:
        """The birth again, once other stops stand than it said; None when that does not happen in time."""
        if self._said is None:
            await asyncio.sleep(within_s)
            return None
        try:
            async with asyncio.timeout(within_s):
                muted = await self._muting.changed(tuple(self._said.muted))
        except TimeoutError:
            return None
        self._said = msgspec.structs.replace(self._said, muted=muted, clock=self._clock_note())
        return self._retained("state", self._said)

    def _clock_note(self) -> ClockNote:
        sight = self._trust.look()
        return ClockNote(
            quality=sight.quality.value,
            wall=None if sight.quality is Quality.UNKNOWN else rfc3339(sight.now),
            mono_ms=self._clock.monotonic_ns() // 1_000_000,
        )

    def _retained(self, what: str, content: msgspec.Struct) -> Message:
        return Message(topic=self._up + what, payload=msgspec.json.encode(content), retain=True)
