"""Live programmes are brought to the target loudness while they sound: a slow gain that nobody hears move.

A stored file is measured before it plays; a live voice cannot be. So its loudness is followed as EBU R 128
measures it: moments of 400 ms, one every 100 ms, those above the gate, the latest five seconds of
them, and of those what lies less than 10 LU under their mean. Pauses, breath and the hum of an
open microphone are under the gate and leave the gain where it is.

Two gains add up. The quick one moves at 3 dB/s up and 10 dB/s down within +-6 dB: the speaker who
turns away. What is left over after it is taken by the trim, at 1 dB/s up to the most that any programme
is raised or lowered: the studio that sends too quietly all evening.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.model import RATE_HZ
from edge_agent.playout.loud import CELL_FRAMES, lufs, power

if TYPE_CHECKING:
    from hal.ports import Frames

_WINDOW_MOMENTS = 50
_MOMENT_CELLS = 4
_RELATIVE_GATE_LU = 10.0
_CELL_S = CELL_FRAMES / RATE_HZ


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """How the loudness is followed; the numbers are dB, dB/s, LUFS."""

    target_lufs: float = -17.0
    gate_lufs: float = -40.0
    reach_db: float = 6.0
    up_db_per_s: float = 3.0
    down_db_per_s: float = 10.0
    trim_db_per_s: float = 1.0
    trim_db_max: float = 20.0


class Leveller:
    """Frames in, the same number out, `gain_db` louder. Keep one for the whole session."""

    def __init__(self, following: Following | None = None) -> None:
        self._following = following or Following()
        self._cells: deque[float] = deque(maxlen=_MOMENT_CELLS)
        self._window: deque[float] = deque(maxlen=_WINDOW_MOMENTS)
        self._cell = np.zeros(CELL_FRAMES, np.float32)
        self._filled = 0
        self._quick_db = 0.0
        self._trim_db = 0.0
        self._factor = 1.0

    @property
    def gain_db(self) -> float:
        """What is being added now."""
        return self._quick_db + self._trim_db

    def process(self, frames: Frames) -> Frames:
        """The frames with the gain, which moves evenly from where it was to where these frames want it."""
        heard = self._measure(frames)
        if heard:
            self._move(heard * _CELL_S)
        before, self._factor = self._factor, float(10 ** (self.gain_db / 20))
        if before == self._factor == 1.0:
            return frames
        if before == self._factor:
            return frames * np.float32(before)
        slope = np.linspace(before, self._factor, frames.size + 1, dtype=np.float32)[1:]
        return frames * slope

    def _measure(self, frames: Frames) -> int:
        """Fill cells with the frames; how many of those that became full ended a moment above the gate."""
        heard = 0
        at = 0
        while at < frames.size:
            count = min(CELL_FRAMES - self._filled, frames.size - at)
            self._cell[self._filled : self._filled + count] = frames[at : at + count]
            self._filled += count
            at += count
            if self._filled == CELL_FRAMES:
                self._filled = 0
                self._cells.append(power(self._cell))
                moment = sum(self._cells) / _MOMENT_CELLS
                if len(self._cells) == _MOMENT_CELLS and lufs(moment) > self._following.gate_lufs:
                    self._window.append(moment)
                    heard += 1
        return heard

    def _move(self, seconds: float) -> None:
        """Let both gains go on towards what the window asks for."""
        loudness = self._loudness()
        if loudness is None:
            return
        rule = self._following
        wanted = rule.target_lufs - loudness
        most = rule.trim_db_max
        left = max(-most, min(most, wanted)) - self._trim_db
        quick = max(-rule.reach_db, min(rule.reach_db, left))
        step = quick - self._quick_db
        self._quick_db += max(-rule.down_db_per_s * seconds, min(rule.up_db_per_s * seconds, step))
        # The trim takes over what the quick gain holds, so that this is free again for the next change.
        share = max(-rule.trim_db_per_s * seconds, min(rule.trim_db_per_s * seconds, left))
        share = max(-most - self._trim_db, min(most - self._trim_db, share))
        self._trim_db += share
        if abs(left) <= rule.reach_db:
            self._quick_db -= share

    def _loudness(self) -> float | None:
        """Of the window, gated; None before the first moment."""
        if not self._window:
            return None
        powers = np.array(self._window)
        gate = powers.mean() * 10 ** (-_RELATIVE_GATE_LU / 10)
        return lufs(float(powers[powers >= gate].mean()))
