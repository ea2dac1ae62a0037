"""Keeps a source in time with a clock that is not the card's: a few ppm, never by leaving out samples.

A PI rule on the playout-time error. It corrects the rates of two crystals (tens of ppm each), so it is slow on
purpose: nobody hears 300 ppm, and the error it is given has the network's noise in it.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from edge_agent.model import NS

KP_PER_S = 0.02
KI_PER_S2 = 5e-5
FIRM_KP, FIRM_KI = 0.5, 0.06
"""Where the error is known, and not guessed from a noisy network: what two cards differ by is mended within seconds."""
RATIO_MAX = 300e-6
_REACH_NS = 20_000_000
"""More than this is not for steering; it counts as this much."""


class Punctuality:
    """How late the latest pieces sounded, by what the card says."""

    def __init__(self, pieces: int) -> None:
        self._late_ns: deque[int] = deque(maxlen=pieces)

    def put(self, late_ns: int) -> None:
        """One piece."""
        self._late_ns.append(late_ns)

    def report(self) -> dict[str, object]:
        """For the wire; nothing before the first piece."""
        if not self._late_ns:
            return {}
        p95 = np.percentile(np.abs(self._late_ns), 95)
        return {"sync_error_ms": {"p95": round(float(p95) / 1e6, 2)}}


class Steering:
    """From errors to a rate ratio: how many frames of the source fill one frame of the card."""

    def __init__(self, *, kp_per_s: float = KP_PER_S, ki_per_s2: float = KI_PER_S2) -> None:
        self._kp = kp_per_s
        self._ki = ki_per_s2
        self._sum = 0.0
        self._known: float | None = None
        self.ratio = 1.0

    @property
    def ppm(self) -> float:
        """What the crystals differ by, as learnt: positive when the source's runs faster than the card's."""
        return (self._sum + (self._known or 0.0)) * 1e6

    def know(self, ppm: float) -> None:
        """What the crystals differ by was measured: what was learnt from errors before is not needed any more."""
        if self._known is None:
            self._sum = 0.0
        self._known = max(-RATIO_MAX, min(RATIO_MAX, ppm / 1e6))

    def step(self, late_ns: int, elapsed_s: float, *, frozen: bool = False) -> float:
        """The ratio for the next frames, from how late the next frame of the source will sound.

        `frozen`: the error is not the clocks' (concealing, warming up): nothing is learnt from it.
        """
        known = self._known or 0.0
        error_s = max(-_REACH_NS, min(_REACH_NS, late_ns)) / NS
        push = 0.0 if frozen else self._kp * error_s
        if (
            not frozen and abs(known + self._sum + push) < RATIO_MAX
        ):  # at its limit the error is no measure of the rates
            learnt = self._sum + self._ki * error_s * elapsed_s
            self._sum = max(-RATIO_MAX, min(RATIO_MAX, learnt))
        self.ratio = 1.0 + max(-RATIO_MAX, min(RATIO_MAX, known + self._sum + push))
        return self.ratio
