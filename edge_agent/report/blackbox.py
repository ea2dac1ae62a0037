"""The black box: the last five thousand lines of the node's own log, kept over power cuts.

journald is volatile on Raspberry Pi OS since 2025, to spare the SD card. So what the rooms log, from `info` on, is
kept here as well: written every fifteen minutes, a minute after a warning, at once after an error. A clean
stop writes the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections import deque
from dataclasses import dataclass
from typing import Final

from edge_agent.clocktrust import ClockTrust
from edge_agent.report.asrun import Timebase
from hal.errors import DatabaseError, DiskError
from hal.ports import Clock, Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS event (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    boot    TEXT NOT NULL,
    mono_ms INTEGER NOT NULL,            -- since boot
    wall    TEXT,                        -- RFC 3339, where the date was known when it was written
    level   TEXT NOT NULL,               -- info, warning, error, critical
    place   TEXT NOT NULL,               -- the room
    text    TEXT NOT NULL
);
"""

EVENTS_MAX: Final = 5_000
WAITING_MAX: Final = 1_000
"""So many lines wait to be written; beyond it the oldest go, counted."""
_TEXT_MAX: Final = 400
_CALM_S: Final = 900.0
_SOON_S: Final = 60.0
_ROOTS: Final = ("edge_agent", "hal")


@dataclass(frozen=True, slots=True)
class Event:
    """One line, as it was logged."""

    mono_ms: int
    level: str
    place: str
    text: str


class BlackBox(logging.Handler):
    """Listens to the log of all rooms while `life` runs."""

    def __init__(self, *, clock: Clock, trust: ClockTrust, database: Database) -> None:
        super().__init__(level=logging.INFO)
        self._clock = clock
        self._trust = trust
        self._database = database
        self._waiting: deque[Event] = deque(maxlen=WAITING_MAX)
        self._untold = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        """A warning or an error came."""
        self._urgent = asyncio.Event()
        """An error came."""

    def emit(self, record: logging.LogRecord) -> None:
        """Take one line down; from any thread, never raises."""
        try:
            event = Event(
                mono_ms=self._clock.monotonic_ns() // 1_000_000,
                level=record.levelname.lower(),
                place=record.name.removeprefix("edge_agent."),
                text=record.getMessage()[:_TEXT_MAX],
            )
        except Exception:  # noqa: BLE001 - a line that cannot be made is the logging module's to tell
            self.handleError(record)
            return
        self._untold += len(self._waiting) == WAITING_MAX
        self._waiting.append(event)
        if record.levelno >= logging.WARNING and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody writes any more
                self._loop.call_soon_threadsafe(self._stir, record.levelno >= logging.ERROR)

    def _stir(self, urgent: bool) -> None:  # noqa: FBT001 - `call_soon` hands on positions only
        self._wake.set()
        if urgent:
            self._urgent.set()

    async def life(self) -> None:
        """Listen, and write in batches, until cancelled; then write what is left."""
        self._loop = asyncio.get_running_loop()
        loggers = [logging.getLogger(root) for root in _ROOTS]
        for each in loggers:
            each.addHandler(self)
        try:
            while True:
                await self._rest()
                await self.write_out()
        finally:
            for each in loggers:
                each.removeHandler(self)
            await self.write_out()

    async def _rest(self) -> None:
        """A quarter of an hour; a minute after a warning; after an error only what else comes at once."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CALM_S):
                await self._wake.wait()
            async with asyncio.timeout(_SOON_S):
                await self._urgent.wait()

    async def write_out(self) -> None:
        """Write what waits; a database that fails is tried again."""
        events = list(self._waiting)
        self._wake.clear()
        self._urgent.clear()
        if not events:
            return
        if self._untold:
            events.append(
                Event(events[-1].mono_ms, "warning", "report.blackbox", f"{self._untold} lines were lost.")
            )
        base = Timebase.read(self._clock, self._trust.look())
        try:
            await self._database.run(lambda connection: write(connection, events, base))
        except (DatabaseError, DiskError):
            return  # the rooms that matter say so; the lines wait for a better time
        self._untold = 0
        for _ in range(min(len(events), len(self._waiting))):
            self._waiting.popleft()


def write(connection: sqlite3.Connection, events: list[Event], base: Timebase) -> None:
    """Lay events into the ring, in the caller's transaction."""
    connection.executemany(
        "INSERT INTO event (boot, mono_ms, wall, level, place, text) VALUES (?, ?, ?, ?, ?, ?)",
        [
            (
                base.boot,
                event.mono_ms,
                base.wall(event.mono_ms * 1_000_000),
                event.level,
                event.place,
                event.text,
            )
            for event in events
        ],
    )
    connection.execute("DELETE FROM event WHERE number <= (SELECT max(number) FROM event) - ?", (EVENTS_MAX,))


def read(connection: sqlite3.Connection, *, after: int, limit: int) -> list[dict[str, str | int | None]]:
    """Events with a number above `after`, oldest first, as people at the box get them."""
    names = ("number", "boot", "mono_ms", "wall", "level", "place", "text")
    rows = connection.execute(
        f"SELECT {', '.join(names)} FROM event WHERE number > ? ORDER BY number LIMIT ?",  # noqa: S608 - names from above
        (after, limit),
    )
    return [dict(zip(names, row, strict=True)) for row in rows]
