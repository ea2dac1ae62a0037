"""The door to time: monotonic, and what passes for the date."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Time, read but never waited for: rooms wait with `asyncio.sleep`."""

    def monotonic_ns(self) -> int:
        """Nanoseconds since boot, suspend included (CLOCK_BOOTTIME). Never goes back. Never blocks."""

    def utc_now(self) -> datetime:
        """What the system believes the date is, aware, UTC. May be wrong by years and may
        jump either way: ask `edge_agent.clocktrust` before believing it. Never blocks."""

    def wall_synced(self) -> bool:
        """Whether a time source has set the wall clock since boot and says it still holds: the time service by its
        file, or the kernel (as chrony has told it). Never raises."""

    def battery_now(self) -> datetime | None:
        """What a battery-backed clock (RTC) says, aware, UTC; None where there is none. Never raises."""

    def boot_id(self) -> str:
        """The kernel's id of this boot; two runs of the agent in one boot share it."""

    def wall_error_ns(self) -> int | None:
        """No more than this is the wall clock off, as the kernel reckons (root distance); None: it does not tell. Never blocks."""
