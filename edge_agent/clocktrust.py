"""How far wall time may be believed: synced, holdover, estimated, unknown.

A Raspberry Pi has no battery clock: after a power cut it may believe any date. So dates are
believed in grades, and an order's dates are judged by the grade (PROTOCOL.md, "Acceptance"):

    synced     a time source vouches for the clock now: the system's time service, or the server's signed answer
    holdover   one did in this boot, not long ago; or a battery clock agrees
    estimated  none did lately, but the node once knew the time and kept it: the floor
    unknown    nothing is known but that it is later than the day this software was built

The decisions are pure (here and in `timekeeping`); `ClockTrust` holds the clock and keeps the floor.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge_agent import kept
from edge_agent.model import MS, NS, Reason, ReasonCode
from edge_agent.timekeeping import STEP_NS, Timekeeper
from hal.errors import DatabaseError, DiskError
from hal.ports import Clock, Database

logger = logging.getLogger(__name__)

BUILD_DATE = datetime(2026, 11, 1, tzinfo=UTC)
"""No honest clock is earlier than this; moved forward with each release."""
KEPT_FLOOR = "clock.floor"
KEEP_EVERY_S = 1800
"""So often the floor is written: what a node without a battery clock may be behind after a power cut."""
LATEST = timedelta(days=15 * 365)
"""No honest clock is so much later than the build date."""
LOOK_EVERY_S = 60
RTC_APART_S = 5
HEAL_NS = 86_400 * NS


class ClockSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What vouches for the wall clock."""

    trust: Annotated[
        Literal["auto", "rtc", "always"],
        Meta(
            description="auto: believe the clock when systemd-timesyncd or chrony set it; rtc: also while a battery clock (RTC) agrees; always: believe it anyway"
        ),
    ] = "auto"
    trust_file: Annotated[
        str,
        Meta(max_length=300, description="file that the time service touches whenever it has set the clock"),
    ] = "/run/systemd/timesync/synchronized"
    holdover_h: Annotated[
        int, Meta(ge=1, le=720, description="hours for which the clock is believed after its source was lost")
    ] = 48


class Quality(StrEnum):
    """How far wall time is believed; on the wire as it stands."""

    SYNCED = "synced"
    HOLDOVER = "holdover"
    ESTIMATED = "estimated"
    UNKNOWN = "unknown"

    @property
    def trusted(self) -> bool:
        """Whether "now" may be compared with an order's dates."""
        return self in {Quality.SYNCED, Quality.HOLDOVER}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What is known of wall time at one instant."""

    quality: Quality
    now: datetime
    """The best guess: the clock, but never before the floor when the clock is not trusted."""
    floor: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Dates:
    """What an order says of time, and whether carrying it out can be heard."""

    issued_at: datetime
    expires_at: datetime
    nonce: str | None
    makes_sound: bool


def judge(
    *,
    synced_now: bool,
    synced_ns: int | None,
    now_ns: int,
    saved_floor: datetime | None,
    holdover_h: int,
) -> Quality:
    """The grade, from whether the clock is vouched for now, when (CLOCK_BOOTTIME, this boot) it last
    was, and whether a trusted time was ever kept."""
    if synced_now:
        return Quality.SYNCED
    if synced_ns is not None and now_ns - synced_ns <= holdover_h * 3600 * NS:
        return Quality.HOLDOVER
    return Quality.UNKNOWN if saved_floor is None else Quality.ESTIMATED


def fresh(dates: Dates, sight: Sight, *, birth_nonce: str, skew_s: int) -> Reason | None:
    """Why an order is not fresh, or None when it is: the table of PROTOCOL.md, row by row.

    The middle row's "seq new" is the replay window's question, not ours.
    """
    echoed = dates.nonce is not None and dates.nonce == birth_nonce
    match sight.quality:
        case Quality.SYNCED | Quality.HOLDOVER:
            return _within(dates, sight.now, skew_s)
        case Quality.ESTIMATED:
            if dates.expires_at < sight.floor:
                return _expired(dates, sight.floor)
            return None if echoed or not dates.makes_sound else _untrusted("may be wrong")
        case Quality.UNKNOWN:
            return None if echoed else _untrusted("is not known")


def time_left_s(dates: Dates, sight: Sight) -> float:
    """For how long an order may still begin, from now: may be negative.

    Turned into CLOCK_BOOTTIME once, so that a step of the clock changes nothing. Without a trusted
    clock an order gets no more than the span its issuer gave it.
    """
    span = (dates.expires_at - dates.issued_at).total_seconds()
    match sight.quality:
        case Quality.SYNCED | Quality.HOLDOVER:
            return (dates.expires_at - sight.now).total_seconds()
        case Quality.ESTIMATED:
            return min(span, (dates.expires_at - sight.floor).total_seconds())
        case Quality.UNKNOWN:
            return span


def _within(dates: Dates, now: datetime, skew_s: int) -> Reason | None:
    ahead_s = (dates.issued_at - now).total_seconds()
    if ahead_s > skew_s:
        return Reason(
            ReasonCode.CLOCK_UNTRUSTED,
            f"The order was issued {ahead_s:.0f} s in the future; set the issuer's clock and send it again.",
        )
    return _expired(dates, now) if dates.expires_at < now else None


def _expired(dates: Dates, now: datetime) -> Reason:
    late_s = (now - dates.expires_at).total_seconds()
    return Reason(
        ReasonCode.EXPIRED, f"The order expired {late_s:.0f} s ago; send a new one if it is still meant."
    )


def _untrusted(how: str) -> Reason:
    return Reason(
        ReasonCode.CLOCK_UNTRUSTED,
        f"This node's clock {how}, so the order could be an old one; send it again with the nonce of up/state.",
    )


class ClockTrust:
    """The clock, with what is known about it. `life` keeps the floor; all else only looks."""

    def __init__(
        self, *, settings: ClockSettings, clock: Clock, database: Database, build_date: datetime = BUILD_DATE
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._database = database
        self._build_date = build_date
        self._saved_floor: datetime | None = None
        self._keeper = Timekeeper()
        self._began_ms = clock.monotonic_ns() // MS
        self._kept_ns: int | None = None
        self._below_ns: int | None = None
        """Since when the time is believed, and lies before the floor."""
        self._failing = False

    async def open(self) -> None:
        """Read the kept floor. Raises DatabaseError."""
        boot = self._clock.boot_id()
        text, offset_ms = await self._database.run(
            lambda connection: (kept.get(connection, KEPT_FLOOR), kept.offset_of(connection, boot))
        )
        if offset_ms is not None:
            self._keeper = Timekeeper(offset_ns=offset_ms * MS)
        try:
            self._saved_floor = None if text is None else datetime.fromisoformat(text).astimezone(UTC)
        except (ValueError, OverflowError):
            logger.warning("Kept time floor is unreadable and is ignored. value=%r", text)

    def look(self) -> Sight:
        """How far time may be believed now. Never blocks."""
        keeper, now_ns, wall = self._keeper, self._clock.monotonic_ns(), self._clock.utc_now()
        honest = self._build_date <= wall <= self._build_date + LATEST
        vouched = honest and (self._settings.trust == "always" or self._clock.wall_synced())
        keeper.take(now_ns=now_ns, wall_ns=wall_ns(wall), vouched=vouched)
        floor = max(self._build_date, self._saved_floor or self._build_date)
        quality = judge(
            synced_now=keeper.vouched_now(now_ns, by_system=vouched),
            synced_ns=keeper.vouched_at(),
            now_ns=now_ns,
            saved_floor=self._saved_floor,
            holdover_h=self._settings.holdover_h,
        )
        if keeper.doubt is not None and quality.trusted:
            quality = Quality.ESTIMATED if self._saved_floor is not None else Quality.UNKNOWN
        elif not quality.trusted and honest and wall >= floor and self._battery_agrees(wall):
            keeper.offset_ns = wall_ns(wall) - now_ns
            quality = Quality.HOLDOVER
        own = wall if keeper.offset_ns is None else moment(now_ns + keeper.offset_ns)
        return Sight(quality=quality, now=own if quality.trusted else max(own, wall, floor), floor=floor)

    def told(self, server_now: datetime, *, error_s: float) -> None:
        """The server's signed answer to our nonce: the date, now, no further off than `error_s`."""
        now_ns = self._clock.monotonic_ns()
        self._keeper.tell(now_ns=now_ns, wall_ns=wall_ns(server_now))
        logger.info("The server told the time. error_s=%.1f", error_s)

    def offset_ns(self) -> int | None:
        """What is believed of wall time (ns since 1970) less CLOCK_BOOTTIME; None: nothing yet in this boot."""
        return self._keeper.offset_ns

    def believed(self) -> datetime | None:
        """The date (UTC) by what a source of this boot has vouched for, though the clock be in doubt now, or the source long
        gone; None: none has in this boot. For what must end by a date, and must not begin before one."""
        self.look()
        offset_ns = self._keeper.offset_ns
        return None if offset_ns is None else moment(self._clock.monotonic_ns() + offset_ns)

    @property
    def doubtful(self) -> bool:
        """Whether a clock that is vouched for has jumped, and is not believed yet."""
        return self._keeper.doubt is not None

    def _battery_agrees(self, wall: datetime) -> bool:
        if self._settings.trust != "rtc":
            return False
        battery = self._clock.battery_now()
        return battery is not None and abs((battery - wall).total_seconds()) <= RTC_APART_S

    async def life(self) -> None:
        """Look every minute, and keep the floor every half hour, for as long as it lives."""
        while True:
            await self.keep()
            await asyncio.sleep(LOOK_EVERY_S)

    def _heal_floor(self, sight: Sight, now_ns: int) -> None:
        """A floor that a wrong source left in the future is given up when better ones have said otherwise for a day."""
        below = sight.quality.trusted and sight.now < sight.floor - timedelta(days=1)
        if not below:
            self._below_ns = None
        elif self._below_ns is None:
            self._below_ns = now_ns
        elif now_ns - self._below_ns >= HEAL_NS:
            logger.warning("The kept time floor lies in the future and is given up. floor=%s", sight.floor)
            self._saved_floor = None

    async def keep(self) -> None:
        """Keep the floor when it is time to. A full disk is logged once and tried again."""
        sight, now_ns = self.look(), self._clock.monotonic_ns()
        due = self._kept_ns is None or now_ns - self._kept_ns >= KEEP_EVERY_S * NS
        self._heal_floor(sight, now_ns)
        known = sight.quality.trusted and sight.now > sight.floor
        if not due or (sight.quality.trusted and not known):
            return
        text, boot, last_ms = sight.now.isoformat(), self._clock.boot_id(), now_ns // MS
        offset_ms = None if self._keeper.offset_ns is None else self._keeper.offset_ns // MS

        def work(connection: sqlite3.Connection) -> None:
            if known:
                kept.put(connection, KEPT_FLOOR, text)
            kept.note_run(connection, boot, began_ms=self._began_ms, offset_ms=offset_ms, last_ms=last_ms)

        try:
            await self._database.run(work)
        except (DatabaseError, DiskError) as error:
            if not self._failing:
                logger.warning("Time floor cannot be kept. error=%s", error)
            self._failing = True
            return
        if self._failing:
            logger.info("Time floor is kept again.")
        self._failing = False
        self._kept_ns = now_ns
        if known:
            self._saved_floor = sight.now


def deadline_ns(now_ns: int, left_s: float) -> int:
    """The last CLOCK_BOOTTIME instant at which an order may begin, bounded to 400 days ahead."""
    return now_ns + round(min(left_s, 400 * 86400) * NS)


class WallTime:
    """Wall time for what must sound at an instant: its distance from CLOCK_BOOTTIME, while the clock is trusted."""

    def __init__(self, trust: ClockTrust, clock: Clock) -> None:
        self._trust = trust
        self._clock = clock
        self._trusted = False
        self._asked_ns: int | None = None

    def offset_ns(self) -> int | None:
        """Wall time (ns since 1970) less CLOCK_BOOTTIME, within some us; None while nobody vouches for the clock.

        Whether somebody does is asked once a second.
        """
        now_ns = self._clock.monotonic_ns()
        if self._asked_ns is None or now_ns - self._asked_ns >= NS:
            self._trusted, self._asked_ns = self._trust.look().quality.trusted, now_ns
        if not self._trusted:
            return None
        measured_ns, believed_ns = self._measured_ns(), self._trust.offset_ns()
        stepped = believed_ns is not None and abs(measured_ns - believed_ns) > STEP_NS
        return believed_ns if stepped else measured_ns

    def instant_ns(self, moment: datetime) -> int | None:
        """The CLOCK_BOOTTIME at which a date comes, or came; None while nobody vouches for the clock."""
        offset_ns = self.offset_ns()
        return None if offset_ns is None else wall_ns(moment) - offset_ns

    def error_ns(self) -> int | None:
        """The bound of its error that the system gives; None where it gives none."""
        return self._clock.wall_error_ns()

    def _measured_ns(self) -> int:
        """Both clocks at once: the tightest of some readings, for the process may be put aside between two."""
        best: tuple[int, int] | None = None
        for _ in range(_READINGS):
            before_ns = self._clock.monotonic_ns()
            now_ns = wall_ns(self._clock.utc_now())
            apart_ns = self._clock.monotonic_ns() - before_ns
            if best is None or apart_ns < best[0]:
                best = (apart_ns, now_ns - before_ns - apart_ns // 2)
            if apart_ns < _TIGHT_NS:
                break
        assert best is not None
        return best[1]


def moment(since_1970_ns: int) -> datetime:
    """Inverse of `wall_ns`, to the microsecond."""
    return _EPOCH + timedelta(microseconds=since_1970_ns // 1_000)


def wall_ns(moment: datetime) -> int:
    """A date as ns since 1970."""
    span = moment - _EPOCH
    return (span.days * 86_400 + span.seconds) * NS + span.microseconds * 1_000


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_READINGS = 5
_TIGHT_NS = 20_000
