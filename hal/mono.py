"""Decoded audio of any form to mono at 48 kHz: what files and live streams share behind PyAV.

Facts about FFmpeg that this leans on: `aresample` mixes float stereo to mono at +3 dB unless
`rematrix_maxval` is 1, which makes it the mean; a resampler refuses frames whose form changed, so a
new one is made then; it costs more by the call than by the frame, and an MP3 has 38 frames a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import av
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hal.ports import Frames

RATE_HZ = 48_000
LENIENT: dict[str, Any] = {"metadata_errors": "ignore"} if int(av.__version__.split(".")[0]) < 19 else {}
"""For `av.open`: titles that are not UTF-8 are no reason to refuse a programme; since PyAV 19 they never are."""


class Mono:
    """Gathers decoded frames and resamples them together. Blocking; used on one thread at a time."""

    def __init__(self, piece_frames: int) -> None:
        """`piece_frames` (at 48 kHz) are gathered before they are resampled."""
        self.piece_frames = piece_frames
        self._gathered = av.AudioFifo()
        self._resampler: Any = None
        self._channels = 0

    def convert(self, frame: Any) -> Iterator[Frames]:
        """Take one decoded frame; gives what is ready. The arrays are views, good until the next call."""
        frame.pts = None  # a hole in the time stamps is no reason to invent or drop samples
        if frame.layout.nb_channels != self._channels:  # the FIFO would read past the frame's end
            yield from self.flush()
            self._channels = frame.layout.nb_channels
        try:
            self._gathered.write(frame)
        except ValueError:  # another rate or format
            yield from self.flush()
            self._gathered.write(frame)
        if self._gathered.samples * RATE_HZ >= self.piece_frames * frame.sample_rate:
            yield from self._resampled(self._gathered.read())

    def flush(self) -> Iterator[Frames]:
        """What was gathered and what the resampler still holds; what follows may have another form."""
        if self._gathered.samples:
            yield from self._resampled(self._gathered.read())
        if self._resampler is not None:
            yield from self._resampled(None)
            self._resampler = None
        self._gathered = av.AudioFifo()

    def _resampled(self, frame: Any) -> Iterator[Frames]:
        """Through the resampler; None flushes it."""
        if self._resampler is None:
            self._resampler = av.AudioResampler(
                format="flt", layout="mono", rate=RATE_HZ, options={"rematrix_maxval": "1.0"}
            )
        for out in self._resampler.resample(frame):
            if out is not None and out.samples:
                # A view (`to_ndarray` costs five times as much); who keeps it makes a new array.
                yield np.frombuffer(out.planes[0], np.float32, out.samples)
