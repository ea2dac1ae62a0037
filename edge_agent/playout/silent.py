"""The channel of a node whose amplifier lines cannot be had: it refuses every turn and says why.

A node without its relays can still show notices, report and be diagnosed from afar; what it must
never do is feed an amplifier that it does not hold.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NoReturn

from edge_agent.errors import Refused
from edge_agent.model import Audible, OrderId, Precedence, ReasonCode
from edge_agent.playout.amplifier import State
from edge_agent.playout.channel import Snapshot

if TYPE_CHECKING:
    from edge_agent.playout.source import Source


class SilentChannel:
    """Stands where the `Channel` would, for as long as this run of the agent."""

    def __init__(self, *, why: str, volume: int) -> None:
        self._why = why
        self._volume = volume

    def request(self, intent: Audible, open_source: Callable[[], Awaitable[Source]]) -> NoReturn:
        """Refuse. Raises Refused(HARDWARE_FAULT)."""
        raise Refused(
            ReasonCode.HARDWARE_FAULT,
            f"The amplifier's lines cannot be had ({self._why}); check [amplifier] in the config and restart.",
        )

    def stop(self, *, target: OrderId | None = None, highest: Precedence = Precedence.EMERGENCY) -> int:
        """Nothing sounds, so nothing stops."""
        return 0

    def set_volume(self, volume: int) -> None:
        """Kept for the day the lines are back."""
        self._volume = volume

    @property
    def volume(self) -> int:
        """The node's volume."""
        return self._volume

    @property
    def sound_fault(self) -> None:
        """It is the amplifier that is missing."""
        return

    @property
    def sounding(self) -> bool:
        """Never."""
        return False

    def snapshot(self) -> Snapshot:
        """What it is doing now: nothing."""
        return Snapshot(current=None, waiting=0, suspended=0, volume=self._volume, amplifier=State.OFF)

    async def wind_up(self) -> None:
        """Nothing to end."""
