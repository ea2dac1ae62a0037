"""How loud a moment is: K-weighted power of short cells (ITU-R BS.1770-5), from their spectra.

The standard's two filters are applied as their gain at each frequency. A cell of 100 ms has a bin
every 10 Hz, which is fine enough: against FFmpeg's `ebur128` on speech the difference stays under
0.3 LU (tests/playout/test_leveller.py).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.model import RATE_HZ

if TYPE_CHECKING:
    import numpy.typing as npt

    from hal.ports import Frames

CELL_FRAMES = RATE_HZ // 10
"""100 ms: a quarter of the standard's momentary window, its step."""
_OFFSET_LU = -0.691
SILENCE_LUFS = -120.0


def _power_gains() -> npt.NDArray[np.float64]:
    """|H|^2 of the shelf and the high-pass at each bin of a cell (BS.1770-5, tables 1 and 2), times what
    turns one-sided bins into mean power."""
    z = np.exp(-2j * np.pi * np.fft.rfftfreq(CELL_FRAMES))
    shelf = (1.53512485958697 - 2.69169618940638 * z + 1.19839281085285 * z**2) / (
        1 - 1.69065929318241 * z + 0.73248077421585 * z**2
    )
    high_pass = (1 - 2 * z + z**2) / (1 - 1.99004745483398 * z + 0.99007225036621 * z**2)
    gains = np.abs(shelf * high_pass) ** 2 * 2 / CELL_FRAMES**2
    gains[-1] /= 2
    return np.asarray(gains, np.float64)


_GAINS = _power_gains()


def power(cell: Frames) -> float:
    """K-weighted mean power of one cell (exactly `CELL_FRAMES` frames); a full-scale sine at 1 kHz: about 0.5 x 1.17."""
    spectrum = np.fft.rfft(cell)
    return float(np.dot(spectrum.real**2 + spectrum.imag**2, _GAINS))


def lufs(mean_power: float) -> float:
    """A mean power as loudness."""
    return SILENCE_LUFS if mean_power <= 1e-12 else _OFFSET_LU + 10 * math.log10(mean_power)
