"""What is wrong with the node without any line saying so: its clock, its disk, its sound device, its board.

Looked at every minute; each becomes an alert once, and is solved once.
"""

from __future__ import annotations

import asyncio
import logging

from edge_agent.board.boards import Boards
from edge_agent.cache.steward import Steward
from edge_agent.clocktrust import ClockTrust, Sight
from edge_agent.model import Precedence
from edge_agent.playout.channel import Channel
from edge_agent.playout.guard import Guard
from edge_agent.playout.silent import SilentChannel
from edge_agent.report.alerts import Alerts
from edge_agent.report.meter import Meter
from hal.errors import DiskError
from hal.ports import Disk

log = logging.getLogger(__name__)

LOOK_EVERY_S = 60.0
_MIB = 1024 * 1024


class Conditions:
    """Compares what is with what should be, and says so by alerts."""

    def __init__(
        self,
        *,
        alerts: Alerts,
        trust: ClockTrust,
        disk: Disk,
        reserve_mib: int,
        channel: Channel | SilentChannel,
        boards: Boards | None,
        guard: Guard | None = None,
        steward: Steward | None = None,
        meter: Meter | None = None,
    ) -> None:
        self._alerts = alerts
        self._trust = trust
        self._disk = disk
        self._reserve_mib = reserve_mib
        self._channel = channel
        self._boards = boards
        self._guard = guard
        self._steward = steward
        self._meter = meter

    async def watch(self) -> None:
        """Look for ever."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Look once."""
        sight = self._trust.look()
        await self._tell(
            "clock_unsynced",
            self._clock_text(sight),
        )
        await self._tell("disk_low", await self._disk_low())
        await self._tell("sound_missing", self._sound_missing())
        if self._guard is not None:
            await self._tell("emergency_muted", _muted_for_emergencies(self._guard))
        if self._steward is not None:
            await self._tell("cache_short", _cache_short(self._steward))
            await self._tell("media_missing", _media_missing(self._steward))
        if self._meter is not None:
            await self._tell("data_spent", _data_spent(self._meter))
        if self._boards is not None:
            await self._tell("board_dark", _boards_dark(self._boards))

    def _clock_text(self, sight: Sight) -> str | None:
        if sight.quality.trusted:
            return None
        if self._trust.doubtful:
            return (
                "The clock has jumped by more than two minutes; until it has stood for eight, scheduled turns wait and "
                "orders need the birth's nonce. Check the time service."
            )
        return (
            f"The clock is {sight.quality}: scheduled turns wait, orders need the birth's nonce. Check the network, or "
            "the time service."
        )

    async def _disk_low(self) -> str | None:
        try:
            free_mib = await self._disk.free_bytes() // _MIB
        except DiskError as error:
            return f"The disk cannot be asked: {error}"
        # Half the reserve: downloads stop at the reserve, so below this it is not the cache that fills the disk.
        if free_mib >= self._reserve_mib // 2:
            return None
        return (
            f"Only {free_mib // 10 * 10} MiB are free. Something other than the media cache fills the disk."
        )

    def _sound_missing(self) -> str | None:
        fault = self._channel.sound_fault
        return None if fault is None else f"Nothing can be played: {fault}"

    async def _tell(self, alert: str, text: str | None) -> None:
        if text is None:
            await self._alerts.solved(alert)
        else:
            await self._alerts.raised(alert, text)


def _cache_short(steward: Steward) -> str | None:
    if steward.surplus_mib <= 0:
        return None
    return (
        f"The documents want files of {steward.surplus_mib} MiB more than the cache may hold; raise "
        "cache.quota_mib, or list fewer."
    )


def _media_missing(steward: Steward) -> str | None:
    lacking = steward.lacking
    if not lacking:
        return None
    return (
        f"{len(lacking)} file(s) for today's turns, or for emergencies, are not here yet, the first {lacking[0][:23]}. See the "
        "network, the server, and the addresses in the documents."
    )


def _data_spent(meter: Meter) -> str | None:
    if not meter.spent:
        return None
    return (
        "The month's data is used up (report.data_mib_a_month): nothing is fetched ahead; orders still are."
    )


def _boards_dark(boards: Boards) -> str | None:
    return " ".join(f"Board {name}: {fault}" for name, fault in boards.faults.items()) or None


def _muted_for_emergencies(guard: Guard) -> str | None:
    """A village that would not hear its flood warning must not be forgotten."""
    for stop in guard.standing():
        if stop.target is None and stop.highest is Precedence.EMERGENCY:
            until = "somebody releases it" if stop.until is None else f"{stop.until:%Y-%m-%d %H:%M} UTC"
            return f"Stop {stop.id} of {stop.issuer} keeps even emergencies silent until {until}."
    return None
