"""How often a day a board that keeps its pictures in flash is written to (pure)."""

from __future__ import annotations

from edge_agent.model import NS
from hal.ports import Clock

DAY_NS = 86_400 * NS


class Wear:
    """The writes of one board. A day is 24 hours of CLOCK_BOOTTIME: it needs no date; a restart begins a new one, which is
    why an agent that restarts in a circle is stopped by systemd's growing delays and not here."""

    def __init__(self, *, clock: Clock, most: int) -> None:
        self._clock = clock
        self.most = most
        self.spent = 0
        self._since_ns = clock.monotonic_ns()

    def spend(self, *, urgent: bool) -> bool:
        """One write more; whether it may be. An emergency's always may."""
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._since_ns >= DAY_NS:
            self._since_ns, self.spent = now_ns, 0
        if self.spent >= self.most and not urgent:
            return False
        self.spent += 1
        return True
