"""Counts refused orders, and bounds how often they are logged, answered and made an alert of."""

from __future__ import annotations

import logging
from collections import Counter

from edge_agent.model import NS, Reason
from edge_agent.report.alerts import Alerts
from hal.ports import Clock

logger = logging.getLogger(__name__)

ALERT = "rejected_orders"
_LOG_EVERY_NS = 60 * NS
_ALERT_EVERY_NS = 600 * NS
QUIET_NS = 3600 * NS
"""So long without a refusal, and the alert is solved."""
_BURST = 20


class _Bucket:
    """Tokens: `_BURST` at once, then so many a minute."""

    def __init__(self, clock: Clock, per_minute: int) -> None:
        self.tokens = float(_BURST)
        self._clock = clock
        self._per_ns = per_minute / (60 * NS)
        self._filled_ns = clock.monotonic_ns()

    def take(self) -> bool:
        now_ns = self._clock.monotonic_ns()
        self.tokens = min(_BURST, self.tokens + (now_ns - self._filled_ns) * self._per_ns)
        self._filled_ns = now_ns
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Tally:
    """One for each inbox."""

    def __init__(self, *, clock: Clock, alerts: Alerts, answers_per_minute: int) -> None:
        self.counts: Counter[str] = Counter()
        """Refusals by code, since the agent started."""
        self._clock = clock
        self._alerts = alerts
        self._answers = _Bucket(clock, answers_per_minute)
        self._recalls = _Bucket(clock, answers_per_minute)
        self._documents = _Bucket(clock, answers_per_minute)
        self._last_ns: int | None = None
        self._logged_ns: int | None = None
        self._alerted_ns: int | None = None
        self._unlogged = 0

    def may_answer(self) -> bool:
        """Take one of the answers that refused and repeated orders get; False when there is none left."""
        return self._answers.take()

    def give_back(self) -> None:
        """The answer was not one of those."""
        self._answers.tokens += 1

    def may_recall(self) -> bool:
        """The same for orders that nobody proved: a flood of those costs the others nothing."""
        return self._recalls.take()

    def may_report(self) -> bool:
        """The same for keys documents that change nothing: whoever reaches the topic can make ever new ones."""
        return self._documents.take()

    async def refused(self, reason: Reason, *, order: str | None = None) -> None:
        """Count one; now and then say so."""
        now_ns = self._clock.monotonic_ns()
        self.counts[reason.code] += 1
        self._unlogged += 1
        self._last_ns = now_ns
        if self._logged_ns is None or now_ns - self._logged_ns >= _LOG_EVERY_NS:
            logger.warning(
                "An order was refused. code=%s id=%s since_last=%d reason=%s",
                reason.code,
                order,
                self._unlogged,
                reason.text,
            )
            self._logged_ns, self._unlogged = now_ns, 0
        if self._alerted_ns is None or now_ns - self._alerted_ns >= _ALERT_EVERY_NS:
            self._alerted_ns = now_ns
            counted = ", ".join(f"{code} {count}" for code, count in self.counts.most_common(6))
            await self._alerts.raised(
                ALERT,
                f"Orders are refused, {self.counts.total()} since the agent started ({counted}); "
                f"the latest: {reason.text}",
            )

    async def look(self) -> None:
        """Solve the alert when nothing was refused for long; also one that an earlier run left."""
        if self._last_ns is None or self._clock.monotonic_ns() - self._last_ns >= QUIET_NS:
            self._alerted_ns = None
            await self._alerts.solved(ALERT)
