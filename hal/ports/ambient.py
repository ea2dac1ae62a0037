"""The door to what the box can feel of the air around it."""

from __future__ import annotations

from typing import Protocol


class Ambient(Protocol):
    """Sensors of light and warmth. None: there is no such sensor, or it does not answer now; never raises."""

    async def lux(self) -> float | None:
        """How light it is."""

    async def celsius(self) -> float | None:
        """How warm it is outside."""
