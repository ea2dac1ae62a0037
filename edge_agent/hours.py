"""Hours of the local day as a config has them, such as 21:30-05:00: whether a moment lies in them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

DAY_S: Final = 86_400


def minute_of(text: str) -> int:
    """The minute of the day (0-1440) that HH:MM means."""
    return int(text[:2]) * 60 + int(text[3:])


class DayHours:
    """Spans of the day, each HH:MM-HH:MM, over midnight when it ends before it begins; none are no hours at all."""

    def __init__(self, spans: Sequence[str]) -> None:
        self._spans = [(minute_of(span[:5]) * 60, minute_of(span[6:]) * 60) for span in spans]

    def __bool__(self) -> bool:
        return bool(self._spans)

    def covers(self, local: datetime) -> bool:
        """Whether a moment lies in them. The first second of a span is in it, the last minute's end is not."""
        at = _second_of_day(local)
        return any(
            start <= at < end if start <= end else at >= start or at < end for start, end in self._spans
        )

    def begins_in_s(self, local: datetime) -> float | None:
        """Seconds until the next span begins; None without any."""
        at = _second_of_day(local)
        return min(((start - at) % DAY_S for start, _ in self._spans), default=None)

    def edges_s(self) -> list[int]:
        """The seconds of the day at which a span begins or ends."""
        return [edge % DAY_S for span in self._spans for edge in span]


def _second_of_day(local: datetime) -> float:
    return local.hour * 3600 + local.minute * 60 + local.second + local.microsecond / 1e6
