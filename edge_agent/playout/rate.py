"""Changes the rate of a stream of frames by some ppm without a seam (soxr, variable rate)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import soxr

from edge_agent.model import RATE_HZ

if TYPE_CHECKING:
    from hal.ports import Frames

_RATIO_MAX = 1.001
_SLEW_FRAMES = 960
"""A new ratio is reached over 20 ms."""


class Rate:
    """Frames in, about as many out, `delay_frames` later. One stream; not to be shared."""

    def __init__(self) -> None:
        # With vr the two rates say the largest ratio that will be asked for.
        self._soxr: Any = soxr.ResampleStream(_RATIO_MAX * RATE_HZ, RATE_HZ, 1, dtype="float32", vr=True)
        self._soxr.set_io_ratio(1.0, 1.0, 0)
        self._ratio = 1.0

    @property
    def delay_frames(self) -> float:
        """Frames that were taken and have not come out."""
        return float(self._soxr.delay())

    def process(self, frames: Frames, ratio: float) -> Frames:
        """`ratio` frames of the source for each that comes out, 1 - 0.001 to 1 + 0.001."""
        if ratio != self._ratio:
            self._ratio = ratio
            self._soxr.set_io_ratio(ratio, 1.0, _SLEW_FRAMES)
        out: Frames = self._soxr.resample_chunk(frames)
        return out
