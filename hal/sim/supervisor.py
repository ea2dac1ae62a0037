"""A virtual supervisor: nobody is killed, but everything said to it is kept with its time."""

from __future__ import annotations

from collections import deque

from hal.ports import Clock
from hal.sim.loop import NS

_KEPT = 1_000


class VirtualSupervisor:
    """`hal.ports.Supervisor` that remembers. `watchdog_s` None means that nobody watches."""

    def __init__(self, *, clock: Clock, watchdog_s: float | None = 60.0) -> None:
        self._clock = clock
        self._watchdog_s = watchdog_s
        self.ready_ns: int | None = None
        self.stopping_ns: int | None = None
        self.beats = 0
        self.longest_silence_s = 0.0
        """The longest time between two beats, or between `ready` and the first one."""
        self.statuses: deque[tuple[int, str]] = deque(maxlen=_KEPT)
        self._last_ns: int | None = None

    def ready(self) -> None:
        """Remember when; the watchdog runs from here."""
        self.ready_ns = self._last_ns = self._clock.monotonic_ns()

    def beat(self) -> None:
        """Count it and measure the silence before it."""
        self.beats += 1
        self._measure()
        if self.stopping_ns is None:
            self._last_ns = self._clock.monotonic_ns()

    def status(self, text: str) -> None:
        """Keep it with its time."""
        self.statuses.append((self._clock.monotonic_ns(), " ".join(text.split())))

    def stopping(self) -> None:
        """Remember when; the watchdog has no claim any more."""
        self._measure()
        self.stopping_ns = self._clock.monotonic_ns()
        self._last_ns = None

    def beat_period_s(self) -> float | None:
        """Half of `watchdog_s`."""
        return None if self._watchdog_s is None else self._watchdog_s / 2

    def would_have_killed(self) -> bool:
        """Whether systemd would have lost patience by now."""
        self._measure()
        return self._watchdog_s is not None and self.longest_silence_s > self._watchdog_s

    def _measure(self) -> None:
        if self._last_ns is not None:
            silence_s = (self._clock.monotonic_ns() - self._last_ns) / NS
            self.longest_silence_s = max(self.longest_silence_s, silence_s)
