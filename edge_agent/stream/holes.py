"""What was missing, whose fault it was, and how long it was in a row: the jitter buffer's accounts.

A hole is the network's until its packet comes after all: then it was jitter, and no loss.
"""

from __future__ import annotations

from collections import deque

from edge_agent.stream.statistics import GAP_MS, OUTAGE_MS, Statistics

_REMEMBERED = 512
"""Holes that are remembered, in case their packets come after all."""


class Holes:
    """One session's holes."""

    def __init__(self, statistics: Statistics, clock_hz: int) -> None:
        self._statistics = statistics
        self._clock_hz = clock_hz
        self._holes: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)
        self._gap_ticks = 0
        self.held_ticks = 0
        """For how long the line stands still now."""

    def missing(self, position: int, ticks: int) -> None:
        """Concealed, and passed over."""
        self._holes.append((position, ticks))
        self._statistics.lost += 1
        self._statistics.concealed_ms["network"] += self._ms(ticks)
        self._gap_ticks += ticks

    def recovered(self, position: int, ticks: int) -> None:
        """The decoder found an in-band copy for it: no hole after all."""
        if (position, ticks) in self._holes:
            self._holes.remove((position, ticks))
            self._statistics.concealed_ms["network"] -= self._ms(ticks)
            self._statistics.lost -= 1
            self._statistics.fec_recovered += 1
            self._gap_ticks -= ticks
            self.end_gap()

    def came_late(self, position: int) -> None:
        """A packet for a place that has been rendered: a hole's, or a second one."""
        for hole in self._holes:
            if hole[0] <= position < hole[0] + hole[1]:
                self._holes.remove(hole)
                self._statistics.late += 1
                self._statistics.lost -= 1
                self._statistics.concealed_ms["network"] -= self._ms(hole[1])
                self._statistics.concealed_ms["jitter"] += self._ms(hole[1])
                return
        self._statistics.duplicate += 1

    def let_go(self, *, came: bool) -> None:
        """The line goes on: with the packet it waited for (that was jitter), or with a later one (the network's)."""
        if not self.held_ticks:
            return
        held_ms = self._ms(self.held_ticks)
        self._statistics.outage_ms += max(0, held_ms - OUTAGE_MS)
        self._statistics.concealed_ms["jitter" if came else "network"] += min(held_ms, OUTAGE_MS)
        self._statistics.late_used += came
        self._gap_ticks += self.held_ticks
        self.held_ticks = 0

    def end_gap(self) -> None:
        """Something was heard."""
        gap_ms = self._ms(self._gap_ticks)
        self._statistics.gaps += gap_ms > GAP_MS
        self._statistics.longest_gap_ms = max(self._statistics.longest_gap_ms, gap_ms)
        self._gap_ticks = 0

    def _ms(self, ticks: int) -> int:
        return ticks * 1_000 // self._clock_hz
