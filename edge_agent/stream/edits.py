"""Where a voice may be shortened or stretched unheard: its quiet places, and its own pitch period."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hal.ports import Frames

_SILENT_RMS = 10 ** (-55 / 20)
_QUIET = 10 ** (-25 / 20)
"""A piece is quiet that lies so far under the voice."""
_FORGET = 0.995
_WINDOW = 240
_LAGS = (120, 600)
"""Pitch periods that are looked for: 2.5 to 12.5 ms."""
_LIKE = 0.5


def quiet(piece: Frames, level: float) -> tuple[float, bool]:
    """(the voice's level with this piece, whether it is quiet beside that)."""
    rms = float(np.sqrt(np.dot(piece, piece) / max(1, piece.size)))
    level = max(rms, level * _FORGET)
    return level, rms < _SILENT_RMS or rms < level * _QUIET


def splice(piece: Frames, *, longer: bool) -> Frames:
    """The piece one pitch period longer or shorter, joined where it is most like itself; or as it was."""
    if piece.size < _WINDOW + _LAGS[1]:
        return piece
    head = piece[:_WINDOW]
    windows = np.lib.stride_tricks.sliding_window_view(piece, _WINDOW)[_LAGS[0] : _LAGS[1]]
    powers = np.sqrt(np.einsum("ij,ij->i", windows, windows) * np.dot(head, head)) + 1e-9
    likeness = windows @ head / powers
    best = int(np.argmax(likeness))
    if likeness[best] < _LIKE:
        return piece
    lag = best + _LAGS[0]
    up = np.linspace(0, 1, _WINDOW, dtype=np.float32)
    if longer:  # at the end of the first period go back to its beginning
        seam = piece[lag : lag + _WINDOW] * (1 - up) + head * up
        return np.concatenate((piece[:lag], seam, piece[_WINDOW:]))
    seam = head * (1 - up) + piece[lag : lag + _WINDOW] * up
    return np.concatenate((seam, piece[lag + _WINDOW :]))
