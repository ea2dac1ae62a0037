"""Keeps the stored emergency messages here and ready: fetched once, measured once, missed aloud.

A message is needed when nothing else works, so whether it is here is found out long before: at the
start, and every hour until it is. The cellar never evicts it (`Store.keep`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from edge_agent.command.alert_settings import StoredMessage
from edge_agent.errors import MediaRefused
from edge_agent.model import Digest
from edge_agent.playout.readiness import Readiness
from edge_agent.report.alerts import Alerts
from hal.errors import DatabaseError, DiskError

logger = logging.getLogger(__name__)

AGAIN_S = 3600.0
ALERT = "message_missing"


class StoredMessages:
    """Looks after them for as long as `life` runs."""

    def __init__(
        self, *, messages: Mapping[str, StoredMessage], readiness: Readiness, alerts: Alerts
    ) -> None:
        self._messages = dict(messages)
        self._readiness = readiness
        self._alerts = alerts

    async def life(self) -> None:
        """Look at once and every hour."""
        while True:
            try:
                await self.look()
            except (DatabaseError, DiskError) as error:
                logger.warning("The stored messages cannot be looked after. error=%s", error)
            await asyncio.sleep(AGAIN_S)

    async def look(self) -> None:
        """Make each one ready; raise or solve the alert. Raises DatabaseError, DiskError."""
        missing: dict[str, str] = {}
        for name, message in self._messages.items():
            digest = Digest(message.media)
            try:
                asset = await self._readiness.store.find(digest)
                await self._readiness.gain_db(digest, message.url, urgent=False, asset=asset)
            except MediaRefused as refusal:
                missing[name] = refusal.text
        if not missing:
            await self._alerts.solved(ALERT)
            return
        names = ", ".join(missing)
        why = next(iter(missing.values()))
        await self._alerts.raised(
            ALERT,
            f"Stored messages that are not ready: {names}. The first: {why} Give it a url, or put it here.",
        )
