"""The light and the warmth around the boards, as last felt."""

from __future__ import annotations

import asyncio

from hal.ports import Ambient

LOOK_EVERY_S = 30.0


class Air:
    """Asked at any time; felt anew every half minute while `life` runs. Without sensors nothing is known."""

    def __init__(self, ambient: Ambient | None) -> None:
        self._ambient = ambient
        self.lux: float | None = None
        self.celsius: float | None = None

    async def life(self) -> None:
        """Feel until cancelled."""
        while self._ambient is not None:
            self.lux = await self._ambient.lux()
            self.celsius = await self._ambient.celsius()
            await asyncio.sleep(LOOK_EVERY_S)
