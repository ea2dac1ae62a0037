"""How late packets come: against the fastest of the latest seconds, and what the next ones may need.

The base is the least (arrival - timestamp) of the last ten seconds: clocks drift 2 ms in that time at
200 ppm, and a route may change. The target is the larger of two ideas. A histogram of the largest
delay in each half second, slowly forgotten, whose high quantile is asked (after NetEQ): it learns what is
usual. And the largest delay of the last seconds, held (after Roc Toolkit): stalls come in company. The target rises at once; it falls only when it is far too high, and seldom,
because a change is heard when no pause hides it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from edge_agent.model import MS, NS


class WindowedExtreme:
    """The least value (or, for negated ones, the greatest) of a moving window: a monotone deque, O(1) a value.

    Values of one millisecond are one entry, so the window is bounded by its length.
    """

    def __init__(self, window_ns: int, step_ns: int = MS) -> None:
        self._window_ns = window_ns
        self._step_ns = step_ns
        self._values: deque[tuple[int, int]] = deque()

    def put(self, at_ns: int, value: int) -> int:
        """Take a value; the least of the window now."""
        values = self._values
        while values and values[-1][1] >= value:
            values.pop()
        if not values or at_ns - values[-1][0] >= self._step_ns:
            values.append((at_ns, value))
        while values[0][0] < at_ns - self._window_ns:
            values.popleft()
        return values[0][1]

    def least(self) -> int | None:
        """Of what is remembered; None before the first."""
        return self._values[0][1] if self._values else None

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSettings:
    """How the target is found; all in ms but the factors."""

    least_ms: float = 1_140.0
    """Nobody answers a loudspeaker: a second costs nothing, and most stalls of a mobile network fit in it."""
    most_ms: float = 3_000.0
    first_ms: float = 1_140.0
    """Before anything is known."""
    quantile: float = 0.98
    forget: float = 0.995
    """Of the histogram, each half second."""
    peak_factor: float = 1.0
    peak_s: float = 15.0
    lower_factor: float = 1.25
    """The target is lowered when it is so many times too high."""
    lower_every_s: float = 15.0
    settle_s: float = 20.0
    """Until so much was seen the target is not below `first_ms`."""


BUCKET_MS = 20
BUCKETS = 256
"""5.1 s: more than the cap; what is later falls into the last."""
_HALF_SECOND_NS = NS // 2


class Target:
    """The delay that the next packets may need, above the base."""

    def __init__(self, settings: TargetSettings, *, margin_ns: int) -> None:
        """`margin_ns` is added to what was measured: a packet, a period, the redundancy's span."""
        self._settings = settings
        self.margin_ns = margin_ns
        self._histogram = [0.0] * BUCKETS
        self._weight = 0.0
        self._half_ends_ns: int | None = None
        self._half_max_ns = 0
        self._peaks = WindowedExtreme(round(settings.peak_s * NS), step_ns=10 * MS)
        self._first_ns: int | None = None
        self._lowered_ns = 0
        self.ns = self._bounded(round(settings.first_ms * MS))

    def put(self, at_ns: int, late_ns: int) -> None:
        """A packet came `late_ns` after the base."""
        if self._first_ns is None:
            self._first_ns = self._lowered_ns = at_ns
        self._peaks.put(at_ns, -late_ns)
        self._half_max_ns = max(self._half_max_ns, late_ns)
        if self._half_ends_ns is None:
            self._half_ends_ns = at_ns + _HALF_SECOND_NS
        elif at_ns >= self._half_ends_ns:
            self._learn()
            self._half_ends_ns = at_ns + _HALF_SECOND_NS
            self._decide(at_ns)
        elif late_ns + self.margin_ns > self.ns:
            self._decide(at_ns)

    def _learn(self) -> None:
        forget = self._settings.forget
        self._histogram = [share * forget for share in self._histogram]
        self._weight = self._weight * forget + 1.0
        self._histogram[min(self._half_max_ns // (BUCKET_MS * MS), BUCKETS - 1)] += 1.0
        self._half_max_ns = 0

    def _usual_ns(self) -> int:
        """The quantile of the histogram, the upper edge of its bucket; the lowest before anything was learnt."""
        if not self._weight:
            return BUCKET_MS * MS
        left = self._weight * (1 - self._settings.quantile)
        for bucket in range(BUCKETS - 1, -1, -1):
            left -= self._histogram[bucket]
            if left < 0:
                return (bucket + 1) * BUCKET_MS * MS
        return 0

    def _decide(self, at_ns: int) -> None:
        settings = self._settings
        peak_ns = -(self._peaks.least() or 0)
        wanted = max(self._usual_ns(), round(peak_ns * settings.peak_factor)) + self.margin_ns
        assert self._first_ns is not None
        if at_ns - self._first_ns < settings.settle_s * NS:
            wanted = max(wanted, round(settings.first_ms * MS))
        wanted = self._bounded(wanted)
        if wanted > self.ns or (
            self.ns > settings.lower_factor * wanted
            and at_ns - self._lowered_ns >= settings.lower_every_s * NS
        ):
            self.ns = wanted
            self._lowered_ns = at_ns

    def _bounded(self, ns: int) -> int:
        return max(round(self._settings.least_ms * MS), min(ns, round(self._settings.most_ms * MS)))
