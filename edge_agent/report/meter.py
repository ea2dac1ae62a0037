"""The byte meter: what the node has sent and received, by kind and local day, with a budget for the month.

Kinds: mqtt (framing included), media (files that were fetched), live (streams). Counted in memory, written every hour
and at the end; a power cut forgets an hour at most.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import defaultdict
from datetime import date
from typing import Final, Literal

from edge_agent.clocktrust import ClockTrust
from edge_agent.model import LOCAL_TIME
from hal.errors import DatabaseError, DiskError
from hal.ports import BrokerSession, Database

logger = logging.getLogger(__name__)

SCHEMA = """
CREATE TABLE IF NOT EXISTS meter (
    day      TEXT NOT NULL,              -- local date
    kind     TEXT NOT NULL,              -- mqtt, media, live
    sent     INTEGER NOT NULL,
    received INTEGER NOT NULL,
    PRIMARY KEY (day, kind)
) WITHOUT ROWID;
"""

Kind = Literal["mqtt", "media", "live"]
KEEP_S: Final = 3600.0
_LOOK_S: Final = 600.0
_DAYS_MAX: Final = 400


class Meter:
    """Counts. `life` writes; `watch` follows one connection to the broker."""

    def __init__(self, *, trust: ClockTrust, database: Database, budget_mib: int) -> None:
        self._trust = trust
        self._database = database
        self._budget_bytes = budget_mib << 20
        self._unwritten: dict[tuple[str, Kind], list[int]] = defaultdict(lambda: [0, 0])
        self._written: dict[tuple[str, str], tuple[int, int]] = {}

    async def open(self) -> None:
        """Read this month. Raises DatabaseError."""
        month = self._day()[:7]
        rows = await self._database.run(
            lambda connection: connection.execute(
                "SELECT day, kind, sent, received FROM meter WHERE day >= ?", (month,)
            ).fetchall()
        )
        self._written = {(day, kind): (sent, received) for day, kind, sent, received in rows}

    def add(self, kind: Kind, *, sent: int = 0, received: int = 0) -> None:
        """So many bytes more. Never blocks."""
        counts = self._unwritten[self._day(), kind]
        counts[0] += sent
        counts[1] += received

    def today(self) -> dict[str, tuple[int, int]]:
        """Sent and received bytes of this day by kind."""
        return self._sums(self._day())

    def month_bytes(self) -> int:
        """Both ways, all kinds, since the first of the month."""
        return sum(sent + received for sent, received in self._sums(self._day()[:7]).values())

    @property
    def spent(self) -> bool:
        """Whether the month's budget is used up: what can wait then does."""
        return bool(self._budget_bytes) and self.month_bytes() >= self._budget_bytes

    async def watch(self, session: BrokerSession) -> None:
        """Follow a connection until cancelled."""
        sent = received = 0
        try:
            while True:
                now_sent, now_received = session.traffic()
                self.add("mqtt", sent=now_sent - sent, received=now_received - received)
                sent, received = now_sent, now_received
                await asyncio.sleep(_LOOK_S)
        finally:
            now_sent, now_received = session.traffic()
            self.add("mqtt", sent=now_sent - sent, received=now_received - received)

    async def life(self) -> None:
        """Write every hour, and a last time."""
        keeping: asyncio.Task[None] | None = None
        try:
            while True:
                await asyncio.sleep(KEEP_S)
                keeping = asyncio.create_task(self._keep(), name="keep the meter")
                await asyncio.shield(keeping)
        finally:
            if keeping is not None:
                await asyncio.wait([keeping])  # handed to the database it is written: not to be counted twice
            await self._keep()

    async def _keep(self) -> None:
        """Add what was counted to the table; a failing disk is tried again."""
        unwritten = {key: tuple(counts) for key, counts in self._unwritten.items() if any(counts)}
        if not unwritten:
            return

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(
                "INSERT INTO meter VALUES (?, ?, ?, ?) ON CONFLICT (day, kind) DO UPDATE"
                " SET sent = sent + excluded.sent, received = received + excluded.received",
                [(day, kind, *counts) for (day, kind), counts in unwritten.items()],
            )
            connection.execute(
                "DELETE FROM meter WHERE day NOT IN (SELECT DISTINCT day FROM meter ORDER BY day DESC LIMIT ?)",
                (_DAYS_MAX,),
            )

        try:
            await self._database.run(work)
        except (DatabaseError, DiskError) as error:
            logger.debug("The byte meter cannot be written yet. error=%s", error)
            return
        for key, (sent, received) in unwritten.items():
            before = self._written.get(key, (0, 0))
            self._written[key] = (before[0] + sent, before[1] + received)
            counts = self._unwritten[key]
            counts[0] -= sent
            counts[1] -= received
        for old in sorted(self._written)[: -3 * _DAYS_MAX]:
            del self._written[old]
        self._unwritten = defaultdict(
            lambda: [0, 0], {key: counts for key, counts in self._unwritten.items() if any(counts)}
        )

    def _sums(self, prefix: str) -> dict[str, tuple[int, int]]:
        """By kind, of every day that begins so."""
        sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        both = [*self._written.items(), *((key, tuple(counts)) for key, counts in self._unwritten.items())]
        for (day, kind), (sent, received) in both:
            if day.startswith(prefix):
                sums[kind][0] += sent
                sums[kind][1] += received
        return {kind: (sent, received) for kind, (sent, received) in sorted(sums.items())}

    def _day(self) -> str:
        today: date = self._trust.look().now.astimezone(LOCAL_TIME).date()
        return today.isoformat()
