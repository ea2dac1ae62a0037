"""What stands above every request for the loudspeaker: the sticky stops and the governor, and their durable accounts.

The room's file that awaits; the decisions are `stops` and `governor`. Whoever orders what, by whichever
inlet, is asked here last: the arbiter asks before each turn, the channel while one sounds.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from edge_agent.clocktrust import ClockTrust
from edge_agent.errors import Refused
from edge_agent.model import NS, Intent, OrderId, Precedence, Reason, ReasonCode, Stop
from edge_agent.playout import daybook, stops
from edge_agent.playout.awaken import news_or
from edge_agent.playout.governor import Governor, Moment, Page
from edge_agent.playout.settings import GovernorSettings
from edge_agent.playout.stops import STOPS_MAX, Standing
from edge_agent.report.asrun import rfc3339
from edge_agent.report.status import Muted
from hal.errors import DatabaseError, DiskError
from hal.ports import Clock, Database

log = logging.getLogger(__name__)

SCHEMA: Final = stops.SCHEMA + daybook.SCHEMA

KEEP_EVERY_S: Final = 60.0
"""While something sounds its airtime is written so often (what a power cut may forget of it); and while a
stop stands, so often it is asked whether the date is known now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Today:
    """What the governor knows, for people."""

    quiet_hours: tuple[str, ...]
    quiet: bool | None
    """Whether it is quiet hours now; None while the time is not known."""
    used_s: int
    most_s: int
    emergency_used_s: int
    emergency_most_s: int


class Guard:
    """Stops, rules and accounts of one loudspeaker. Implements `playout.rules.Rules`."""

    def __init__(
        self, *, settings: GovernorSettings, clock: Clock, trust: ClockTrust, database: Database
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._trust = trust
        self._database = database
        self._stops: dict[OrderId, Standing] = {}
        self._governor = Governor(settings)
        self._unwritten: set[daybook.Line] = set()
        self._written = (0, 0, 0)
        self._changed = asyncio.Event()
        self._wake = asyncio.Event()
        self._failing = False
        self.gap_s = settings.gap_s

    async def open(self) -> None:
        """Read what stood and what had sounded. Raises DatabaseError."""
        kept, page = await self._database.run(
            lambda connection: (stops.read(connection), daybook.read(connection))
        )
        self._stops = {stop.id: stop for stop in kept}
        self._governor = Governor(self._settings, page)
        self._written = _sums(self._governor.page)
        await self._settle()
        for stop in self.standing():
            log.info("A stop stands. id=%s issuer=%s until=%s", stop.id, stop.issuer, stop.until)

    async def life(self) -> None:
        """Keep the accounts and let stops end, until cancelled; then write a last time."""
        try:
            while True:
                await self._settle()
                await self._keep()
                await self._until_due()
        finally:
            await self._keep()

    # ------------------------------------------------------------ what may sound

    def allow(self, intent: Intent, now_ns: int) -> Reason | None:
        """See `playout.rules`. The stops first, then the governor."""
        return self.muted(intent) or self._governor.refuses(intent, self._moment(now_ns))

    def muted(self, intent: Intent) -> Reason | None:
        """The stop that covers a request, as a reason; None when none does."""
        for stop in self.standing():
            if stop.covers(intent):
                until = "it is released" if stop.until is None else f"{stop.until:%Y-%m-%d %H:%M:%S} UTC"
                return Reason(
                    ReasonCode.MUTED,
                    f"Stop {stop.id} of {stop.issuer} stands until {until}; release it (verb release) or wait.",
                )
        return None

    def cuts(self, intent: Intent, airtime_ns: int) -> Reason | None:
        """See `playout.rules`."""
        return self._governor.cuts(intent, airtime_ns, self._moment())

    def good_for_s(self, intent: Intent, airtime_ns: int) -> float | None:
        """See `playout.rules`. Never longer than a minute, because the clock may jump."""
        return min(KEEP_EVERY_S, self._governor.good_for_ns(intent, airtime_ns, self._moment()) / NS)

    def volume_max(self, precedence: Precedence) -> int:
        """See `playout.rules`."""
        return self._governor.volume_max(precedence)

    async def begin(self, intent: Intent) -> None:
        """See `playout.rules`."""
        self._governor.look(self._moment())
        if self._governor.begin(intent):
            self._unwritten |= self._lines_of(intent)
            await self._keep()

    def charge(self, precedence: Precedence, airtime_ns: int) -> None:
        """See `playout.rules`."""
        self._governor.charge(precedence, airtime_ns)
        self._wake.set()

    def ended(self, order: OrderId) -> None:
        """See `playout.rules`."""
        self._governor.ended(order)
        self._wake.set()

    def today(self) -> Today:
        """The rules and the day's account, as they are now."""
        moment = self._moment()
        self._governor.look(moment)
        airtime_ns = self._governor.page.airtime_ns
        return Today(
            quiet_hours=self._settings.quiet_hours,
            quiet=self._governor.quiet(moment),
            used_s=airtime_ns.get(False, 0) // NS,
            most_s=self._settings.minutes_a_day * 60,
            emergency_used_s=airtime_ns.get(True, 0) // NS,
            emergency_most_s=self._settings.emergency_minutes_a_day * 60,
        )

    # ------------------------------------------------------------ sticky stops

    def standing(self) -> tuple[Standing, ...]:
        """The stops that stand now, the oldest first."""
        now_ns = self._clock.monotonic_ns()
        return tuple(stop for stop in self._stops.values() if not stop.over(now_ns))

    def notes(self) -> tuple[Muted, ...]:
        """The same for people and servers."""
        return tuple(
            Muted(
                stop=stop.id,
                issuer=stop.issuer,
                order=stop.target,
                klass=stop.highest.wire if stop.target is None else None,
                until=None if stop.until is None else rfc3339(stop.until),
            )
            for stop in self.standing()
        )

    async def changed(self, since: tuple[Muted, ...]) -> tuple[Muted, ...]:
        """Wait until other stops stand than `since`; returns those."""
        while (now := self.notes()) == since:
            await self._changed.wait()
        return now

    def mute(self, stop: Stop) -> None:
        """From now on a sticky stop holds; `store` makes it durable. Raises Refused(BUSY). Never blocks."""
        moment = self._moment()
        standing = stops.standing(stop, boot=moment.boot, now_ns=moment.at_ns, utc=moment.utc)
        if standing.over(moment.at_ns):
            return
        others = [other for other in self.standing() if other.id != stop.id]
        if len(others) >= STOPS_MAX:
            raise Refused(
                ReasonCode.BUSY, f"{STOPS_MAX} stops stand already; release some, then send it again."
            )
        self._stops[stop.id] = standing
        log.info("A stop stands. id=%s issuer=%s until=%s", stop.id, stop.issuer, standing.until)
        self._tell()

    async def store(self, order: OrderId) -> datetime | None:
        """Make a stop durable; until when it stands, where that is known.

        Raises DatabaseError, DiskError; it holds in this run anyhow.
        """
        stop = self._stops.get(order)
        if stop is None:
            return None
        await self._database.run(lambda connection: stops.write(connection, stop))
        return stop.until

    async def release(self, target: OrderId | None) -> list[OrderId]:
        """End the stop of that order, or every one; which. Raises DatabaseError, DiskError: then they stand."""
        gone = [stop.id for stop in self.standing() if target in {None, stop.id}]
        await self._forget(gone)
        if gone:
            log.info("Stops were released. ids=%s", ",".join(gone))
        return gone

    # ------------------------------------------------------------ within

    def _moment(self, now_ns: int | None = None) -> Moment:
        sight = self._trust.look()
        return Moment(
            at_ns=self._clock.monotonic_ns() if now_ns is None else now_ns,
            boot=self._clock.boot_id(),
            utc=sight.now if sight.quality.trusted else None,
        )

    async def _settle(self) -> None:
        """Understand every stop in this boot and by what is known of the date, and forget those that are over."""
        moment = self._moment()
        learnt = []
        for order, stop in self._stops.items():
            understood = stops.settled(stop, boot=moment.boot, now_ns=moment.at_ns, utc=moment.utc)
            if understood != stop:
                self._stops[order] = understood
                if understood.until_ns is not None and not understood.over(moment.at_ns):
                    learnt.append(understood)
        over = [order for order, stop in self._stops.items() if stop.over(moment.at_ns)]
        try:
            for stop in learnt:
                await self.store(stop.id)
            if over:
                await self._forget(over)
        except (DatabaseError, DiskError) as error:
            log.warning("What became of a stop cannot be stored. error=%s", error)
        if learnt:
            self._tell()

    async def _forget(self, orders: list[OrderId]) -> None:
        def work(connection: sqlite3.Connection) -> None:
            for order in orders:
                stops.forget(connection, order)

        await self._database.run(work)
        for order in orders:
            self._stops.pop(order, None)
        self._tell()

    async def _keep(self) -> None:
        """Write what has changed of the day's account; a full disk is logged once, and tried again."""
        page = self._governor.page
        sums, lines = _sums(page), self._unwritten
        if not lines and sums == self._written:
            return
        self._unwritten = set()
        changed = {line: page.begun[line] for line in lines if line in page.begun}
        try:
            await self._database.run(lambda connection: daybook.write(connection, page, changed))
        except (DatabaseError, DiskError) as error:
            self._unwritten |= lines
            if not self._failing:
                log.warning("The day's account cannot be stored. error=%s", error)
            self._failing = True
            return
        self._written, self._failing = sums, False

    @staticmethod
    def _lines_of(intent: Intent) -> set[daybook.Line]:
        media = getattr(intent, "media", None)
        return set() if media is None else {(media, intent.precedence is Precedence.EMERGENCY)}

    async def _until_due(self) -> None:
        """Until something has sounded; with a stop that stands also for at most a minute, and until it ends."""
        now_ns = self._clock.monotonic_ns()
        ends = [stop.until_ns for stop in self._stops.values() if stop.until_ns is not None]
        soon_ns = now_ns + round(KEEP_EVERY_S * NS)
        due_ns = min([soon_ns, *(end for end in ends if end > now_ns)]) if self._stops else None
        await news_or(due_ns, wake=self._wake, clock=self._clock)
        self._wake.clear()

    def _tell(self) -> None:
        """Whoever waits in `changed` looks again."""
        self._changed.set()
        self._changed = asyncio.Event()
        self._wake.set()


def _sums(page: Page) -> tuple[int, int, int]:
    return page.number, page.airtime_ns.get(False, 0), page.airtime_ns.get(True, 0)
