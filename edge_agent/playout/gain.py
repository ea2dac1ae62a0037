"""From programme to card: static gain, volume, ramps at every edge, and a true-peak limiter.

The limiter looks 5 ms ahead: the gain that a peak needs is spread by a moving minimum over the
look-ahead and smoothed by a moving mean of the same length, so it has arrived when the peak
does and never clicks. It lets go at a fixed number of dB a second, which in logarithms is a
running minimum of (gain - slope x time) and therefore one numpy call. Peaks between the samples
are found by 4x interpolation (ITU-R BS.1770-5, annex 2), and only where a sample is so high that
one may pass the ceiling; a block without such a peak is given out as it is.

Volume: 100 is 0 dB and each step below is 0.3 dB (50 = -15 dB, 1 = -29.7 dB); 0 is silence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_agent.model import RATE_HZ

if TYPE_CHECKING:
    import numpy.typing as npt

    from hal.ports import Frames

RAMP_FRAMES = RATE_HZ * 5 // 1000
"""Every edge: 5 ms of raised cosine."""
LOOK_AHEAD_FRAMES = RATE_HZ * 5 // 1000
VOLUME_RAMP_FRAMES = RATE_HZ // 20
"""A change of volume takes 50 ms."""
RELEASE_DB_PER_S = 60.0
_HALF = 12
"""Half the length of the interpolator: samples on either side of the gap that it fills."""
_SHAPE = 3.0
"""Of its Kaiser window: the smaller, the further up it is right (here to 20 kHz within 0.02 dB)."""
LATENCY_FRAMES = LOOK_AHEAD_FRAMES + _HALF
_CELL_FRAMES = RATE_HZ * 5 // 1000
"""What is looked at as one when peaks are sought."""


def _interpolators() -> list[npt.NDArray[np.float32]]:
    """Three windowed-sinc filters giving the value at 1/4, 2/4 and 3/4 between two samples."""
    taps = np.arange(-_HALF + 1, _HALF + 1)
    kernels = []
    for quarter in (1, 2, 3):
        at = taps - quarter / 4
        kernel = np.sinc(at) * np.i0(_SHAPE * np.sqrt(np.maximum(0, 1 - (at / _HALF) ** 2))) / np.i0(_SHAPE)
        kernels.append((kernel / kernel.sum()).astype(np.float32)[::-1])
    return kernels


_KERNELS = _interpolators()
_REACH = 1 / max(float(np.sum(np.abs(kernel))) for kernel in _KERNELS)
"""What is below this part of the ceiling has no interpolated peak above it (here -8.1 dB)."""


def rise(count: int) -> Frames:
    """Half a raised cosine over so many frames, 0 to 1: the edge at a start; backwards, at an end."""
    ramp: Frames = (0.5 - 0.5 * np.cos(np.pi * (np.arange(count) + 0.5) / count)).astype(np.float32)
    return ramp


RISE = rise(RAMP_FRAMES)
"""The edge at a start; backwards, at an end."""


def risen(frames: Frames) -> Frames:
    """A copy with the edge of a start."""
    return _edged(frames, slice(None, min(RAMP_FRAMES, frames.size)), RISE[: frames.size])


def fallen(frames: Frames) -> Frames:
    """A copy with the edge of an end."""
    edge = min(RAMP_FRAMES, frames.size)
    return _edged(frames, slice(frames.size - edge, None), RISE[:edge][::-1])


def _edged(frames: Frames, where: slice, ramp: Frames) -> Frames:
    out = frames.copy()
    out[where] *= ramp
    return out


def volume_factor(volume: int) -> float:
    """The factor for a volume of 0-100 (see the module's first lines)."""
    return 0.0 if volume <= 0 else float(10 ** (-0.3 * (100 - min(volume, 100)) / 20))


def true_peaks(frames: Frames) -> Frames:
    """For each gap between samples i and i+1, inside the interpolator's reach, the highest |value| in it.

    Length: `frames.size - 2 * _HALF + 1`; element j belongs to the gap after sample j + _HALF - 1, and
    covers both its samples.
    """
    first = _HALF - 1
    inner = np.abs(frames[first : frames.size - _HALF + 1])
    peaks = np.maximum(inner[:-1], inner[1:])
    for kernel in _KERNELS:
        np.maximum(peaks, np.abs(np.convolve(frames, kernel, "valid")), out=peaks)
    return peaks


class GainStage:
    """Frames in, frames out `LATENCY_FRAMES` later; after `finish` exactly as many came out as went in.

    A new one is made for every edge: start, resumption, return of the device.
    """

    def __init__(self, *, gain_db: float, volume: int, ceiling_dbtp: float) -> None:
        self._gain = float(10 ** (gain_db / 20))
        self._ceiling = float(10 ** (ceiling_dbtp / 20))
        self._factor = self._gain * volume_factor(volume)
        self._target = self._factor
        self._ramp_left = 0
        self._limiter = _Limiter(self._ceiling)
        self._pending = np.zeros(0, np.float32)
        self._rise = RISE

    @property
    def held_frames(self) -> int:
        """Frames that were taken and have not come out."""
        return self._limiter.held_frames

    def set_volume(self, volume: int) -> None:
        """A new volume, reached over 50 ms."""
        self._target = self._gain * volume_factor(volume)
        self._ramp_left = VOLUME_RAMP_FRAMES if self._target != self._factor else 0

    def process(self, frames: Frames) -> Frames:
        """Take frames; return those that are finished (fewer at first, by the latency)."""
        return self._limiter.process(self._scaled(frames))

    def finish(self) -> Frames:
        """The rest, with the ramp of an end."""
        return fallen(self._limiter.process(np.zeros(LATENCY_FRAMES, np.float32)))

    def _scaled(self, frames: Frames) -> Frames:
        """Gain and volume, and the ramp of a start. A fresh array."""
        if self._ramp_left:
            done = min(self._ramp_left, frames.size)
            steps = np.arange(1, done + 1, dtype=np.float32) / self._ramp_left
            factors = np.full(frames.size, self._target, np.float32)
            factors[:done] = self._factor + (self._target - self._factor) * steps
            self._factor = float(factors[done - 1]) if done else self._factor
            self._ramp_left -= done
            if not self._ramp_left:
                self._factor = self._target
            out = frames * factors
        else:
            out = frames * np.float32(self._factor)
        rising = min(self._rise.size, out.size)
        if rising:
            out[:rising] *= self._rise[:rising]
            self._rise = self._rise[rising:]
        return out


class _Limiter:
    """The look-ahead limiter. State is what lies within the latency, and the gain's own past."""

    def __init__(self, ceiling: float) -> None:
        self._ceiling = ceiling
        self._ceiling_db = 20 * float(np.log10(ceiling))
        self._delay = np.zeros(2 * _HALF - 1 + LOOK_AHEAD_FRAMES, np.float32)
        """The last frames taken: those not yet given out, and those the interpolator still needs."""
        self._skip = LATENCY_FRAMES
        self._gains = np.zeros(2 * LOOK_AHEAD_FRAMES, np.float64)
        """The released gain of the last frames, dB."""
        self._slope = RELEASE_DB_PER_S / RATE_HZ

    @property
    def held_frames(self) -> int:
        """Frames that were taken and have not come out."""
        return LATENCY_FRAMES - self._skip

    def process(self, frames: Frames) -> Frames:
        """As many frames as were given, those of `LATENCY_FRAMES` earlier, without the very first silence."""
        count = frames.size
        if not count:
            return frames
        line = np.concatenate((self._delay, frames))
        self._delay = line[count:]
        first = self._delay.size - LATENCY_FRAMES
        out = line[first : first + count]
        gains = self._gain_for(line[LOOK_AHEAD_FRAMES:], count)
        if gains is not None:
            out = out * gains
        if self._skip:
            skipped = min(self._skip, count)
            self._skip -= skipped
            out = out[skipped:]
        return out

    def _gain_for(self, line: Frames, count: int) -> Frames | None:
        """The factor for each frame given out (None: 1); `line` is the new frames and 2*_HALF-1 before them."""
        peaks = self._peaks(line, count)
        hot = None if peaks is None else np.flatnonzero(peaks > self._ceiling)
        if (hot is None or not hot.size) and not self._gains.any():
            return None
        needed = np.zeros(count)
        if peaks is not None and hot is not None:
            needed[hot] = self._ceiling_db - 20 * np.log10(peaks[hot])
        ramp = self._slope * np.arange(1, count + 1)
        released = np.minimum.accumulate(np.minimum(needed - ramp, self._gains[-1])) + ramp
        released = np.minimum(released, 0.0)
        gains = np.concatenate((self._gains, released))
        self._gains = gains[-2 * LOOK_AHEAD_FRAMES :]
        held = _moving_minimum(gains, LOOK_AHEAD_FRAMES + 1)
        factors = 10 ** (held / 20)
        sums = np.cumsum(np.concatenate(((0.0,), factors)))
        window = LOOK_AHEAD_FRAMES + 1
        means: Frames = ((sums[window:] - sums[:-window]) / window)[-count:].astype(np.float32)
        return means

    def _peaks(self, line: Frames, count: int) -> Frames | None:
        """The true peak of each gap that may pass the ceiling, 0 of the others; None when no gap may."""
        threshold = self._ceiling * _REACH
        if max(float(line.max()), -float(line.min())) < threshold:
            return None
        cells = -(-line.size // _CELL_FRAMES)
        highest = np.zeros((cells + 1) * _CELL_FRAMES, np.float32)
        np.abs(line, out=highest[: line.size])
        loud = highest.reshape(cells + 1, _CELL_FRAMES).max(axis=1) >= threshold
        near = np.concatenate(((False,), loud[:-1] | loud[1:], (False,)))  # a gap reaches into the next cell
        edges = np.flatnonzero(near[1:] != near[:-1]) * _CELL_FRAMES
        peaks = np.zeros(count, np.float32)
        for begin, end in edges.reshape(-1, 2).clip(max=count):
            if begin < end:
                peaks[begin:end] = true_peaks(line[begin : end + 2 * _HALF - 1])
        return peaks


def _moving_minimum(values: npt.NDArray[np.float64], window: int) -> npt.NDArray[np.float64]:
    """The minimum of each `window` values in a row; log2(window) passes of doubling."""
    reach = 1
    while reach * 2 <= window:
        values = np.minimum(values[:-reach], values[reach:])
        reach *= 2
    if window > reach:
        rest = window - reach
        values = np.minimum(values[:-rest], values[rest:])
    return values
