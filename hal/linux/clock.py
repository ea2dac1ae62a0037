"""Time from the kernel: CLOCK_BOOTTIME for durations, the system's wall clock for dates.

Facts about trust: systemd-timesyncd touches `/run/systemd/timesync/synchronized` each time it
has set the clock, and chrony's and our own units can do the same. /run is a tmpfs on a
normal system; where it is not, a file older than this boot says nothing. adjtimex(2), which our
unit leaves open for reading, tells how far the clock may be off. chrony keeps that up; systemd-timesyncd sets
both errors to 0 whenever it sets the clock, which is no bound, so an estimated error of 0 counts as not knowing.
"""

from __future__ import annotations

import ctypes
import time
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

NS = 1_000_000_000

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_SLACK_NS = 2 * NS
"""A file touched in the first instants of a boot must not look older than the boot."""


class SystemClock:
    """`hal.ports.Clock` on the running kernel.

    Args:
        trust_file: touched by whoever sets the wall clock; newer than this boot means synced.
        always_synced: believe the wall clock anyway (a node with a good RTC, or a desk).
        battery: where the kernel tells what the battery clock says.
        believe_kernel: also when the kernel knows the clock's error (chrony with `rtcsync` tells it).
    """

    def __init__(
        self,
        trust_file: str = "/run/systemd/timesync/synchronized",
        *,
        always_synced: bool = False,
        battery: Path = Path("/sys/class/rtc/rtc0/since_epoch"),
        believe_kernel: bool = True,
    ) -> None:
        self._trust_file = trust_file
        self._always_synced = always_synced
        self._battery = battery
        self._believe_kernel = believe_kernel
        self._boot_id = _BOOT_ID.read_text(encoding="ascii").strip()

    def monotonic_ns(self) -> int:
        """CLOCK_BOOTTIME."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def utc_now(self) -> datetime:
        """CLOCK_REALTIME."""
        return datetime.now(UTC)  # noqa: TID251 - this is the door where dates come in

    def wall_synced(self) -> bool:
        """Whether the trust file was touched in this boot, or the kernel knows the clock's error."""
        if self._always_synced or (self._believe_kernel and self.wall_error_ns() is not None):
            return True
        try:
            touched_ns = Path(self._trust_file).stat().st_mtime_ns
        except OSError:
            return False
        booted_ns = time.clock_gettime_ns(time.CLOCK_REALTIME) - self.monotonic_ns()
        return touched_ns >= booted_ns - _SLACK_NS

    def battery_now(self) -> datetime | None:
        """As the kernel tells it, to the second."""
        try:
            return datetime.fromtimestamp(int(self._battery.read_text(encoding="ascii")), UTC)
        except (OSError, ValueError, OverflowError):
            return None

    def boot_id(self) -> str:
        """The kernel's, read once."""
        return self._boot_id

    def wall_error_ns(self) -> int | None:
        """The kernel's maximum error (adjtimex(2), read only); it grows by itself until the time service sets it anew."""
        timex = _Timex()
        state = _libc().adjtimex(ctypes.byref(timex))
        if state < 0 or state == _TIME_ERROR or timex.maxerror >= _NEVER_SET_US or not timex.esterror:
            return None
        return int(timex.maxerror) * 1_000


_TIME_ERROR = 5
_NEVER_SET_US = 16_000_000


class _Timex(ctypes.Structure):
    """struct timex of Linux, as far as it is read; `modes` 0 reads."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("rest", ctypes.c_byte * 256),
    )


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
