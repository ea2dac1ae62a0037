"""The watchdog against dangerous noise: it knows what no programme ever is, and stops it within a second.

A decoder that lost its place, a wrong sample format, a gateway that passes garbage: what comes out
is loud, flat noise, a rail, or a square. Speech, music and sirens are none of these: their spectra have
shape (noise has none), they swing about zero (a rail does not), and they touch full scale only now
and then. Each fault must last, so that a cymbal or a burst of applause passes.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.model import RATE_HZ
from edge_agent.playout.loud import CELL_FRAMES

if TYPE_CHECKING:
    from hal.ports import Frames

LAST_CELLS = 8
"""So many of the latest ten cells (of 100 ms) must be at fault."""
OF_CELLS = 10
_LOUD_DBFS = -12.0
"""RMS from which noise is dangerous; the target loudness of a voice is 5 dB and more below it."""
_FLAT = 0.4
"""Geometric over arithmetic mean of the power spectrum, 300 Hz to 12 kHz in bands: 1 is white. Speech and music
stay under 0.2."""
_RAIL = 0.25
"""Mean of a cell: no programme has so much direct current."""
_AT_FULL_SCALE = 0.3
"""Share of the frames at full scale in a cell: a square, or overdriven beyond being understood."""
_FULL_SCALE = 0.98
_BANDS = 32


class Fault(StrEnum):
    """What it was."""

    NOISE = "noise"
    RAIL = "rail"
    SQUARE = "square"


class NoiseWatch:
    """Looks at what a source gives. One for each source; `take` after it has tripped says so again."""

    def __init__(self) -> None:
        self._left = np.zeros(0, np.float32)
        self._seen: list[Fault | None] = []
        self._fault: Fault | None = None

    def take(self, frames: Frames) -> Fault | None:
        """Look at the next frames; the fault once it has lasted (0.8 s of one second), else None."""
        whole = np.concatenate((self._left, frames)) if self._left.size else frames
        at = 0
        while self._fault is None and whole.size - at >= CELL_FRAMES:
            self._seen.append(_fault(whole[at : at + CELL_FRAMES]))
            del self._seen[:-OF_CELLS]
            at += CELL_FRAMES
            faults = [fault for fault in self._seen if fault is not None]
            if len(faults) >= LAST_CELLS:
                self._fault = faults[-1]
        self._left = whole[at:].copy() if self._fault is None else self._left[:0]
        return self._fault


def _fault(cell: Frames) -> Fault | None:
    """What is wrong with one cell."""
    mean_power = float(np.dot(cell, cell)) / cell.size
    if 10 * np.log10(mean_power + 1e-12) < _LOUD_DBFS:
        return None
    if abs(float(cell.mean())) > _RAIL:
        return Fault.RAIL
    if float(np.mean(np.abs(cell) >= _FULL_SCALE)) > _AT_FULL_SCALE:
        return Fault.SQUARE
    return Fault.NOISE if _flatness(cell) > _FLAT else None


def _flatness(cell: Frames) -> float:
    """Of the spectrum in bands of equal width: averaged bins, so that white noise comes near 1."""
    spectrum = np.fft.rfft(cell * _WINDOW)
    powers = spectrum.real**2 + spectrum.imag**2
    bands = powers[_FROM : _FROM + _BANDS * _WIDTH].reshape(_BANDS, _WIDTH).mean(axis=1) + 1e-12
    return float(np.exp(np.mean(np.log(bands))) / bands.mean())


_BIN_HZ = RATE_HZ / CELL_FRAMES
_FROM = round(300 / _BIN_HZ)
_WIDTH = round((12_000 - 300) / _BIN_HZ / _BANDS)
_WINDOW = np.hanning(CELL_FRAMES).astype(np.float32)
