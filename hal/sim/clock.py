"""Virtual time as a `hal.ports.Clock`: one counter, and a wall clock that may be wrong."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from hal.sim.loop import NS, Counter

_BIRTH = datetime(2026, 11, 23, 0, 0, tzinfo=UTC)
_BOOT_NS = 10 * NS
"""A node's kernel has been up this long when the agent starts."""


class VirtualClock:
    """Monotonic time is the counter, less what had passed before this boot. Wall time is the counter plus
    an offset curve: a base, a drift in ppm, a slow wander, and steps; `lose()` puts it at 1970 and unsynced, as a Pi
    without RTC wakes up."""

    def __init__(self, counter: Counter, *, wall: datetime = _BIRTH, drift_ppm: float = 0.0) -> None:
        self._counter = counter
        self._base_wall = self._birth = wall
        self.battery: float | None = None
        """How far its battery clock is off, s; None: it has none."""
        self._base_ns = self._birth_ns = counter.ns
        self._drift = drift_ppm / 1e6
        self._synced = True
        self._boot = 1
        self._boot_ns = 0
        self._wander: tuple[float, float, float] | None = None
        self.error_ns: int | None = 1_000_000
        """What it says of its own error."""

    def monotonic_ns(self) -> int:
        """The counter since boot."""
        return self._counter.ns - self._boot_ns

    def utc_now(self) -> datetime:
        """Base plus elapsed time, run fast or slow by the drift."""
        elapsed_ns = self._counter.ns - self._base_ns
        return self._base_wall + timedelta(
            microseconds=(elapsed_ns + elapsed_ns * self._drift + self._wandered_ns()) / 1000
        )

    def wall_synced(self) -> bool:
        """As set by `sync` and `lose`."""
        return self._synced

    def battery_now(self) -> datetime | None:
        """None, unless `battery` is set to what a battery clock is off by, s."""
        if self.battery is None:
            return None
        true = self._birth + timedelta(microseconds=(self._counter.ns - self._birth_ns) / 1000)
        return true + timedelta(seconds=self.battery)

    def boot_id(self) -> str:
        """Changes at `reboot`."""
        return f"boot-{self._boot}"

    def wall_error_ns(self) -> int | None:
        """As set, while it is synced."""
        return self.error_ns if self._synced else None

    def step(self, seconds: float) -> None:
        """Let the wall clock jump, forward or back."""
        self._rebase(self.utc_now() + timedelta(seconds=seconds))

    def drift(self, ppm: float) -> None:
        """From now on run fast (or slow) by so much."""
        self._rebase(self.utc_now())
        self._drift = ppm / 1e6

    def wander(self, amplitude_ns: float, *, period_s: float, phase: float = 0.0) -> None:
        """From now on swing to and fro by so much, beside everything else: a time daemon at work."""
        self._wander = (amplitude_ns, math.tau / (period_s * NS), phase)

    def sync(self, wall: datetime) -> None:
        """A time source sets the wall clock and vouches for it."""
        self._rebase(wall)
        self._synced = True

    def lose(self) -> None:
        """No time source and no RTC: 1970, unsynced."""
        self._rebase(datetime(1970, 1, 1, tzinfo=UTC))
        self._synced = False

    def reboot(self, *, dark_s: float = 5.0, battery: bool = True) -> None:
        """A new boot: `dark_s` pass unseen, monotonic time starts again and the boot id changes.

        Without a battery the wall clock goes on from where it stood when the light went out, and
        nobody vouches for it. The counter itself never goes back.
        """
        if not battery:
            wall = self.utc_now()
        self._counter.advance(int(dark_s * NS))
        if not battery:
            self._rebase(wall)
            self._synced = False
        self._boot += 1
        self._boot_ns = self._counter.ns - _BOOT_NS

    def _wandered_ns(self) -> float:
        if self._wander is None:
            return 0.0
        amplitude_ns, per_ns, phase = self._wander
        return amplitude_ns * math.sin(per_ns * self._counter.ns + phase)

    def _rebase(self, wall: datetime) -> None:
        self._base_wall = wall - timedelta(microseconds=self._wandered_ns() / 1000)
        self._base_ns = self._counter.ns
