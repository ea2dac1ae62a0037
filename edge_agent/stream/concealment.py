"""The ladder: each piece of the line made into sound, and what is missing hidden as far as that goes.

Packet or copy, in-band copy, what the decoder makes up (100 ms), a fade (100 ms), silence. Every edge is soft: what
comes back after silence rises over 5 ms; where the decoder begins anew the old one's made-up end is cross-faded
with the new one's beginning over 10 ms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.errors import PacketRefused
from edge_agent.model import RATE_HZ
from edge_agent.playout.gain import rise, risen
from edge_agent.stream.decoder import Decoder
from edge_agent.stream.pieces import Conceal, Pause, Piece, Play, Recover, Restart, Wait

if TYPE_CHECKING:
    from edge_agent.stream.statistics import Statistics
    from hal.ports import Frames

MADE_UP_FRAMES = RATE_HZ // 10
FADE_FRAMES = RATE_HZ // 10
SEAM_FRAMES = RATE_HZ // 100


_SEAM = rise(SEAM_FRAMES)
_FALL = rise(FADE_FRAMES)[::-1]


class Ladder:
    """One session's renderer. `make` gives a decoder that knows nothing yet."""

    def __init__(self, make: Callable[[], Decoder], *, clock_hz: int, statistics: Statistics) -> None:
        self._make = make
        self._decoder = make()
        self._clock_hz = clock_hz
        self._statistics = statistics
        self._made_up = MADE_UP_FRAMES + FADE_FRAMES
        """Frames made up since the last real ones; at the start as if all had faded."""
        self._seam: Frames | None = None

    @property
    def silent(self) -> bool:
        """The last frames were silence, or so faded that they are."""
        return self._made_up >= MADE_UP_FRAMES + FADE_FRAMES

    def ticks_of(self, payload: bytes) -> int:
        """How long a payload lasts, in ticks of its clock. Raises PacketRefused."""
        return self._decoder.ticks_of(payload)

    def render(self, piece: Piece) -> tuple[Frames, bool]:
        """The piece as frames at 48 kHz, and whether they are the sender's and not made up. `Restart` has none."""
        match piece:
            case Play():
                return self._decoded(lambda: (self._decoder.decode(piece.payload), True), piece.ticks)
            case Recover():
                missing = self._frames(piece.ticks)
                return self._decoded(lambda: self._decoder.recover(piece.following, missing), piece.ticks)
            case Restart():
                self._restart()
                return np.zeros(0, np.float32), False
            case Conceal() | Pause() | Wait():
                return self._missing(self._frames(piece.ticks)), False

    def _decoded(self, decode: Callable[[], tuple[Frames, bool]], ticks: int) -> tuple[Frames, bool]:
        try:
            frames, real = decode()
        except PacketRefused as refusal:
            self._statistics.refused[refusal.code] += 1
            return self._missing(self._frames(ticks)), False
        if not real:
            return self._shaped(frames.copy()), False
        frames = risen(frames) if self._made_up > MADE_UP_FRAMES else frames.copy()
        self._made_up = 0
        return self._joined(frames), True

    def _missing(self, count: int) -> Frames:
        if self.silent:
            self._made_up += count
            return self._joined(np.zeros(count, np.float32))
        return self._shaped(self._decoder.conceal(count).copy())

    def _shaped(self, frames: Frames) -> Frames:
        """Made-up frames under the fade."""
        begin = self._made_up
        self._made_up = end = begin + frames.size
        if end > MADE_UP_FRAMES:
            at = np.arange(begin, end) - MADE_UP_FRAMES
            factors = np.where(at < 0, 1.0, _FALL[np.clip(at, 0, FADE_FRAMES - 1)])
            factors[at >= FADE_FRAMES] = 0.0
            frames = frames * factors.astype(np.float32)
        return self._joined(frames)

    def _restart(self) -> None:
        """What the old decoder would have gone on with is kept for the seam."""
        if not self.silent:
            self._seam = self._decoder.conceal(SEAM_FRAMES)[:SEAM_FRAMES].copy()
        self._decoder = self._make()
        self._made_up = 0

    def _joined(self, frames: Frames) -> Frames:
        seam, self._seam = self._seam, None
        if seam is not None:
            count = min(seam.size, frames.size, SEAM_FRAMES)
            up = _SEAM[:count]
            frames[:count] = frames[:count] * up + seam[:count] * (1 - up)
        return frames

    def _frames(self, ticks: int) -> int:
        return ticks * RATE_HZ // self._clock_hz
