"""How a live stream is kept in time: the modes, and what each means for its buffer."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from edge_agent.stream.delay import TargetSettings


class Mode(StrEnum):
    """How a stream is kept in time."""

    TALK = "talk"
    """A short delay, for a voice that answers."""
    SOLO = "solo"
    """Nothing missing, whatever delay that takes, up to the cap."""
    GROUP = "group"
    """Every pole at the same instant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferSettings:
    """How one session is buffered. Times in ms."""

    mode: Mode = Mode.SOLO
    clock_hz: int = 48_000
    cap_ms: int = 3_000
    """Nothing is delayed longer, and no more is kept."""
    ahead_ms: float = 100.0
    """How long before it sounds a piece is asked for: added to the target."""
    span_ms: int = 0
    """How much older than its packet a copy is expected to be: added to the target before the first one comes."""
    hold_ms: float = 200.0
    """How long concealment sounds before there is silence."""
    target: TargetSettings = field(default_factory=TargetSettings)

    @classmethod
    def of(cls, mode: Mode, *, clock_hz: int = 48_000, delay_ms: float | None = None) -> BufferSettings:
        """The settings of a mode; `delay_ms` pins the delay (a group's is stated by its order)."""
        if delay_ms is not None:
            fixed = TargetSettings(least_ms=delay_ms, most_ms=delay_ms, first_ms=delay_ms)
            return cls(mode=mode, clock_hz=clock_hz, target=fixed)
        if mode is Mode.TALK:
            talk = TargetSettings(least_ms=40.0, most_ms=250.0, first_ms=150.0, peak_s=20.0, quantile=0.97)
            return cls(mode=mode, clock_hz=clock_hz, target=talk)
        return cls(mode=mode, clock_hz=clock_hz)
