"""What the loudspeaker asks of whoever keeps the house rules, and the answer of a house without any."""

from __future__ import annotations

from typing import Protocol

from edge_agent.model import Intent, OrderId, Precedence, Reason


class Rules(Protocol):
    """Asked at every turn. Airtime: for how long the turn has had the live amplifier, ns."""

    gap_s: float
    """Least silence between two turns."""

    def allow(self, intent: Intent, now_ns: int) -> Reason | None:
        """Why a request may not begin, or go on after an interruption; None when it may."""

    def cuts(self, intent: Intent, airtime_ns: int) -> Reason | None:
        """Why the turn that sounds must end now; None when it may go on."""

    def good_for_s(self, intent: Intent, airtime_ns: int) -> float | None:
        """When to ask `cuts` again at the latest, seconds from now; None: never."""

    def volume_max(self, precedence: Precedence) -> int:
        """The loudest that a class may be, 0-100."""

    async def begin(self, intent: Intent) -> None:
        """A turn is about to sound: returns when that is durably noted, or cannot be. Never raises."""

    def charge(self, precedence: Precedence, airtime_ns: int) -> None:
        """So much airtime since the last charge. Never blocks."""

    def ended(self, order: OrderId) -> None:
        """It will not go on."""


class NoRules:
    """Everything may sound."""

    gap_s = 0.0

    def allow(self, intent: Intent, now_ns: int) -> Reason | None:
        return None

    def cuts(self, intent: Intent, airtime_ns: int) -> Reason | None:
        return None

    def good_for_s(self, intent: Intent, airtime_ns: int) -> float | None:
        return None

    def volume_max(self, precedence: Precedence) -> int:
        return 100

    async def begin(self, intent: Intent) -> None:
        """Nobody keeps an account."""

    def charge(self, precedence: Precedence, airtime_ns: int) -> None:
        """Nobody keeps an account."""

    def ended(self, order: OrderId) -> None:
        """Nobody keeps an account."""
