"""How fast two clocks part: the slope of the least differences between them, over minutes.

One reading of a packet's arrival is off by the network's mood; the least of five seconds hardly is. A straight line
through such minima of up to twenty minutes tells some tenths of a ppm. A route that changes moves them all at once:
then the line begins anew.
"""

from __future__ import annotations

from collections import deque

from edge_agent.model import MS, NS

WINDOW_NS = 5 * NS
POINTS_MAX = 240
POINTS_LEAST = 24
"""Two minutes: before that nothing is said."""
_JUMP_NS = 5 * MS


class Slope:
    """Of one difference, fed with (time, difference), both ns. O(1) a value, and some sums each five seconds."""

    def __init__(self) -> None:
        self._points: deque[tuple[int, int]] = deque(maxlen=POINTS_MAX)
        self._ends_ns: int | None = None
        self._least: tuple[int, int] | None = None
        self.ppm: float | None = None
        """By how much the difference grows; None: not known yet."""

    def put(self, at_ns: int, apart_ns: int) -> bool:
        """Take a value; whether `ppm` is new."""
        if self._ends_ns is None:
            self._ends_ns = at_ns + WINDOW_NS
        if at_ns < self._ends_ns:
            if self._least is None or apart_ns < self._least[1]:
                self._least = (at_ns, apart_ns)
            return False
        point, self._least = self._least, (at_ns, apart_ns)
        self._ends_ns = at_ns + WINDOW_NS
        return point is not None and self._learn(point)

    def clear(self) -> None:
        """The clocks are others now; what was learnt stays until there is better."""
        self._points.clear()
        self._least = self._ends_ns = None

    def _learn(self, point: tuple[int, int]) -> bool:
        if self._points and abs(self._off(point)) > _JUMP_NS:
            self._points.clear()
        self._points.append(point)
        if len(self._points) < POINTS_LEAST:
            return False
        first_ns, first = self._points[0]
        times = [(at - first_ns) / NS for at, _ in self._points]
        values = [(apart - first) / NS for _, apart in self._points]
        mean_time, mean_value = sum(times) / len(times), sum(values) / len(values)
        spread = sum((time - mean_time) ** 2 for time in times)
        together = sum(
            (time - mean_time) * (value - mean_value) for time, value in zip(times, values, strict=True)
        )
        self.ppm = together / spread * 1e6
        return True

    def _off(self, point: tuple[int, int]) -> float:
        """How far a point lies from where the last one and the slope would have it."""
        last_ns, last = self._points[-1]
        return point[1] - last - (self.ppm or 0.0) * 1e-6 * (point[0] - last_ns)
