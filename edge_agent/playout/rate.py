"""Changes the rate of a stream of frames by some ppm without a seam (soxr, variable rate).

Facts about soxr's variable rate that this leans on (1.1.0, measured): it keeps back 240 frames
whatever the pieces it is given, within one frame; its first frame out lies 1.7 frames before the first one in; its own
`delay()` says 100, which is something else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import soxr

from edge_agent.model import RATE_HZ

if TYPE_CHECKING:
    from hal.ports import Frames

_RATIO_MAX = 1.001
_SLEW_FRAMES = 960
"""A new ratio is reached over 20 ms."""
_KEPT_BACK = 240
_LAG = 1.7


def evenly(rate_hz: int) -> Any:
    """A stream from another rate to ours that gives out as evenly as it is given: soxr with a fixed ratio gives
    out blocks of up to 150 ms, its variable one keeps back 30 ms at most (8 kHz). Called by `resample_chunk`."""
    resampler: Any = soxr.ResampleStream(rate_hz, RATE_HZ, 1, dtype="float32", vr=True)
    resampler.set_io_ratio(rate_hz / RATE_HZ, 1.0, 0)
    return resampler


class Rate:
    """Frames in, about as many out, `delay_frames` later. One stream; not to be shared."""

    def __init__(self) -> None:
        # With vr the two rates say the largest ratio that will be asked for.
        self._soxr: Any = soxr.ResampleStream(_RATIO_MAX * RATE_HZ, RATE_HZ, 1, dtype="float32", vr=True)
        self._soxr.set_io_ratio(1.0, 1.0, 0)
        self._ratio = 1.0
        self._held = 0

    @property
    def delay_frames(self) -> float:
        """So many frames before the next one in lies the next one out."""
        return self._held + _LAG if self._held else 0.0

    def process(self, frames: Frames, ratio: float) -> Frames:
        """`ratio` frames of the source for each that comes out, 1 - 0.001 to 1 + 0.001."""
        if ratio != self._ratio:
            self._ratio = ratio
            self._soxr.set_io_ratio(ratio, 1.0, _SLEW_FRAMES)
        self._held = min(_KEPT_BACK, self._held + frames.size)
        out: Frames = self._soxr.resample_chunk(frames)
        return out
