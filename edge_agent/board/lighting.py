"""How bright a board is: by the time of day, by the light around it, and never too dark for an emergency (pure).

Without a time that is believed the schedule says nothing: the board is as bright as its brightest level, because a page
that blinds somebody at night does less harm than one that nobody can read by day.
"""

from __future__ import annotations

from datetime import datetime

from edge_agent.board.settings import BoardSettings
from edge_agent.hours import DAY_S, DayHours, minute_of

LEAST_SHARE = 1 / 3
"""In the dark."""
STEP = 0.15
"""The share follows the light in steps no finer than this: clouds, and headlamps, do not make it flicker."""
DARK = 0


class Lighting:
    """One board's light. Belongs to one presenter."""

    def __init__(self, settings: BoardSettings) -> None:
        self._levels = sorted((minute_of(level[:5]), int(level[6:])) for level in settings.brightness)
        self._blank = DayHours(settings.blank_hours)
        self._full_lux = settings.full_light_lux
        self._floor = settings.emergency_percent_min
        self._share = 1.0

    def percent(self, local: datetime | None, lux: float | None, *, emergency: bool) -> int | None:
        """The brightness now, 1-100; DARK: nothing is lit; None: the board's own, nobody has set any.

        Args:
            local: the local time, None where it is not believed.
            lux: the light around the board, None where nobody measures it.
            emergency: an emergency is shown: never dark, and no less than the floor.
        """
        if local is not None and self._blank.covers(local) and not emergency:
            return DARK
        self._follow(lux)
        if not self._levels and not self._full_lux:
            return None
        percent = max(1, round(self._scheduled(local) * self._share))
        return max(percent, self._floor) if emergency else percent

    def changes_in_s(self, local: datetime | None) -> float:
        """Seconds until the schedule may say something else."""
        if local is None:
            return DAY_S
        at = local.hour * 3600 + local.minute * 60 + local.second + local.microsecond / 1e6
        moments = [minute * 60 for minute, _ in self._levels] + list(self._blank.edges_s())
        return min(((moment - at) % DAY_S or DAY_S for moment in moments), default=DAY_S)

    def _scheduled(self, local: datetime | None) -> int:
        if not self._levels:
            return 100
        if local is None:
            return max(percent for _, percent in self._levels)
        minute = local.hour * 60 + local.minute
        before = [percent for since, percent in self._levels if since <= minute]
        return before[-1] if before else self._levels[-1][1]

    def _follow(self, lux: float | None) -> None:
        if not self._full_lux or lux is None:
            self._share = 1.0
            return
        share = LEAST_SHARE + (1 - LEAST_SHARE) * min(1.0, max(0.0, lux) / self._full_lux)
        at_an_end = share in (1.0, LEAST_SHARE)
        if abs(share - self._share) >= STEP or at_an_end:
            self._share = share
