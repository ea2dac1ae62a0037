"""Virtual weather: what a test says it is."""

from __future__ import annotations


class VirtualAmbient:
    """Attributes are the weather; None: no such sensor."""

    def __init__(self, *, lux: float | None = None, celsius: float | None = None) -> None:
        self.light = lux
        self.warmth = celsius

    async def lux(self) -> float | None:
        return self.light

    async def celsius(self) -> float | None:
        return self.warmth
