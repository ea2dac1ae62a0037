"""Settings of the inputs and the status light, as they stand in the config file."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from hal.ports import LineSpec


class Meaning(StrEnum):
    """What an input line tells."""

    STOP_BUTTON = "stop_button"
    MAINS = "mains"
    TAMPER = "tamper"
    AMP_FAULT = "amp_fault"


class InputLineSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One input: which line, and what it means when it is ACTIVE."""

    meaning: Annotated[
        Meaning, Meta(description="stop_button | mains (active = power present) | tamper | amp_fault")
    ]
    chip: Annotated[int, Meta(ge=0, le=63, description="GPIO chip number")] = 0
    offset: Annotated[
        int, Meta(ge=0, le=511, description="line offset on the chip (the GPIO number on a Pi)")
    ]
    active_low: Annotated[bool, Meta(description="the line is active when its voltage is low")] = True
    pull: Annotated[str, Meta(pattern="^(up|down|none)$", description="pull resistor")] = "up"

    def spec(self, name: str) -> LineSpec:
        """The line as the GPIO door wants it."""
        return LineSpec(
            name=name, chip=self.chip, offset=self.offset, active_low=self.active_low, pull=self.pull
        )


class StatusLightSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The status LED's line."""

    chip: Annotated[int, Meta(ge=0, le=63, description="GPIO chip number")] = 0
    offset: Annotated[
        int, Meta(ge=0, le=511, description="line offset on the chip (the GPIO number on a Pi)")
    ]
    active_low: Annotated[bool, Meta(description="the LED is lit when the voltage is low")] = False

    def spec(self, name: str) -> LineSpec:
        """The line as the GPIO door wants it."""
        return LineSpec(name=name, chip=self.chip, offset=self.offset, active_low=self.active_low)


class SenseSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Inputs by name, the status LED, and how long a level must hold to count."""

    debounce_ms: Annotated[
        int, Meta(ge=0, le=2000, description="a level counts after it held this long, ms")
    ] = 50
    button_stop_s: Annotated[
        int,
        Meta(
            ge=0,
            le=86400,
            description="how long a stop button keeps routine and priority silent, seconds; 0 = stops once",
        ),
    ] = 600
    status_led: StatusLightSettings | None = None
    inputs: dict[str, InputLineSettings] = {}
