"""What is wrong now, told once when it begins and once when it ends; kept over restarts."""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import Callable

import msgspec

from edge_agent.model import NodeId
from edge_agent.report import shelf
from edge_agent.report.asrun import rfc3339
from edge_agent.report.outbox import Outbox
from hal.errors import DatabaseError, DiskError
from hal.ports import Clock, Database

logger = logging.getLogger(__name__)

SCHEMA = """
CREATE TABLE IF NOT EXISTS alert (
    id TEXT PRIMARY KEY,
    text TEXT NOT NULL,
    payload BLOB NOT NULL                -- as it was published
) WITHOUT ROWID;
"""

_ALERT_ID = re.compile(r"[a-z0-9_]{1,40}")
_TEXT_MAX = 500


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """`up/alert/<id>`, retained until it is solved (an empty payload)."""

    id: str
    text: str
    raised: str | None
    mono_ms: int
    boot: str


class Alerts:
    """What is wrong now. Kept over restarts, so that what an earlier run raised can be solved by this one."""

    def __init__(self, *, database: Database, outbox: Outbox, clock: Clock, root: str, node: NodeId) -> None:
        self._database = database
        self._outbox = outbox
        self._clock = clock
        self._prefix = f"{root}/{node}/up/alert/"
        self._standing: dict[str, str] | None = None

    async def open(self) -> None:
        """Read what earlier runs raised. Raises DatabaseError. Without it, the first call does so."""
        rows = await self._database.run(
            lambda connection: connection.execute("SELECT id, text FROM alert").fetchall()
        )
        self._standing = dict(rows)

    @property
    def standing(self) -> tuple[str, ...]:
        """The ids of what is wrong now, sorted."""
        return tuple(sorted(self._standing or ()))

    async def raised(self, alert_id: str, text: str) -> bool:
        """Something is wrong. Saying it again with the same text does nothing and costs nothing.

        Returns whether it was news. Never raises for the disk's sake: an alert that cannot be stored is logged,
        and is news again at the next call.
        """
        assert _ALERT_ID.fullmatch(alert_id), alert_id
        text = text[:_TEXT_MAX]
        if self._standing is not None and self._standing.get(alert_id) == text:
            return False
        alert = Alert(
            id=alert_id,
            text=text,
            raised=rfc3339(self._clock.utc_now()) if self._clock.wall_synced() else None,
            mono_ms=self._clock.monotonic_ns() // 1_000_000,
            boot=self._clock.boot_id(),
        )
        payload = msgspec.json.encode(alert)

        def work(connection: sqlite3.Connection) -> bool:
            old = connection.execute("SELECT text FROM alert WHERE id = ?", (alert_id,)).fetchone()
            if old is not None and old[0] == text:
                return False
            connection.execute(
                "INSERT INTO alert VALUES (?, ?, ?) ON CONFLICT (id)"
                " DO UPDATE SET text = excluded.text, payload = excluded.payload",
                (alert_id, text, payload),
            )
            shelf.put(connection, topic=self._prefix + alert_id, payload=payload, kind="alert", retain=True)
            return True

        news = await self._change(alert_id, text, work)
        if news:
            logger.warning("Alert: %s id=%s", text, alert_id)
        return news

    async def solved(self, alert_id: str) -> bool:
        """It is no longer wrong. Returns whether it was news. Never raises for the disk's sake, as `raised`."""
        assert _ALERT_ID.fullmatch(alert_id), alert_id
        if self._standing is not None and alert_id not in self._standing:
            return False

        def work(connection: sqlite3.Connection) -> bool:
            if connection.execute("DELETE FROM alert WHERE id = ?", (alert_id,)).rowcount == 0:
                return False
            shelf.put(connection, topic=self._prefix + alert_id, payload=b"", kind="alert", retain=True)
            return True

        news = await self._change(alert_id, None, work)
        if news:
            logger.info("Alert solved. id=%s", alert_id)
        return news

    async def renew(self) -> int:
        """Publish every standing alert again: the broker did not remember us, perhaps nothing at all.

        Returns how many. Raises DatabaseError.
        """

        def work(connection: sqlite3.Connection) -> int:
            rows = connection.execute("SELECT id, payload FROM alert").fetchall()
            for alert_id, payload in rows:
                shelf.put(
                    connection, topic=self._prefix + alert_id, payload=payload, kind="alert", retain=True
                )
            return len(rows)

        count = await self._database.run(work)
        self._outbox.wake()
        return count

    async def _change(
        self, alert_id: str, text: str | None, work: Callable[[sqlite3.Connection], bool]
    ) -> bool:
        try:
            if self._standing is None:
                await self.open()
            news = await self._database.run(work)
        except (DatabaseError, DiskError) as error:
            logger.warning("An alert could not be stored. id=%s text=%s error=%s", alert_id, text, error)
            return False
        assert self._standing is not None
        if text is None:
            self._standing.pop(alert_id, None)
        else:
            self._standing[alert_id] = text
        if news:
            self._outbox.wake()
        return news
