"""When frames reach the converter: the device's own sayings about its delay, smoothed into one steady line. Pure.

Facts: what a sound server says of its delay jumps by milliseconds from one callback to the next, around the truth; the
card's crystal is off by some tens of ppm, the same ones for hours. So the line follows what is said
slowly, learns the crystal's rate, ignores a saying that is far off, and begins anew when three in a row are
(the device ran dry, or was stopped and went on).
"""

from __future__ import annotations

NS = 1_000_000_000
_FOLLOW = 0.02
"""Of a difference is believed in each callback, once many were seen; before that the mean of all."""
_LEARN = _FOLLOW**2 / 4
"""Of a difference is the crystal's: critically damped."""
_LEARN_AFTER = 100
_FAR_NS = 20_000_000
_FAR_MOST = 3
_OFF_MOST = 500e-6


class DacTime:
    """One stream's line: the time of the frame after the last that the device has taken."""

    def __init__(self, rate_hz: int) -> None:
        self._nominal_ns = NS / rate_hz
        self._frame_ns = self._nominal_ns
        self._next_ns = 0.0
        self._seen = 0
        self._far = 0

    @property
    def known(self) -> bool:
        """Whether the device has said anything yet."""
        return self._seen > 0

    @property
    def ppm(self) -> float:
        """How much faster than its name the card runs, by our clock."""
        return (self._nominal_ns / self._frame_ns - 1) * 1e6

    def take(self, at_ns: int, frames: int) -> None:
        """The device takes a period, whose first frame sounds at `at_ns`, it says."""
        off_ns = at_ns - self._next_ns
        if self._seen and abs(off_ns) > _FAR_NS:
            self._far += 1
            off_ns = 0.0
        else:
            self._far = 0
        if not self._seen or self._far >= _FAR_MOST:
            self._next_ns, self._seen, self._far = float(at_ns), 1, 0
        else:
            self._seen += 1
            self._next_ns += off_ns * max(_FOLLOW, 1 / self._seen)
            if self._seen > _LEARN_AFTER:
                most_ns = self._nominal_ns * _OFF_MOST
                frame_ns = self._frame_ns + _LEARN * off_ns / frames
                low, high = self._nominal_ns - most_ns, self._nominal_ns + most_ns
                self._frame_ns = max(low, min(high, frame_ns))
        self._next_ns += frames * self._frame_ns

    def at_ns(self, frames: int) -> int | None:
        """When the frame that comes so many after the last one taken will sound; None before anything is known."""
        return round(self._next_ns + frames * self._frame_ns) if self._seen else None
