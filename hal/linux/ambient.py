"""Light and warmth by sensors that the kernel drives: Industrial I/O (I2C light sensors), 1-wire thermometers.

Facts: an IIO light sensor has `in_illuminance_input` (lux), or `in_illuminance_raw` with a scale and an offset; a thermometer
`in_temp_input` (millidegrees). A DS18B20 takes 0.75 s to answer, so it is asked on a thread; 85000 is what it says
when it was never asked before, and no temperature.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from hal.linux.connectors import SYS, read

NEVER_ASKED = 85_000
COLDEST, WARMEST = -50.0, 80.0


class SysfsAmbient:
    """The first sensor of each kind that the kernel knows."""

    def __init__(self, sys: Path = SYS) -> None:
        self._iio = sys / "bus/iio/devices"
        self._onewire = sys / "bus/w1/devices"

    async def lux(self) -> float | None:
        return await asyncio.to_thread(self._lux)

    async def celsius(self) -> float | None:
        return await asyncio.to_thread(self._celsius)

    def _lux(self) -> float | None:
        for device in sorted(self._iio.glob("iio:device*")):
            ready = _number(device / "in_illuminance_input")
            if ready is not None:
                return max(0.0, ready)
            raw = _number(device / "in_illuminance_raw")
            if raw is not None:
                scale = _number(device / "in_illuminance_scale")
                offset = _number(device / "in_illuminance_offset") or 0.0
                return max(0.0, (raw + offset) * (1.0 if scale is None else scale))
        return None

    def _celsius(self) -> float | None:
        files = [
            *sorted(self._onewire.glob("28-*/temperature")),
            *sorted(self._iio.glob("iio:device*/in_temp_input")),
        ]
        for file in files:
            thousandths = _number(file)
            if (
                thousandths is not None
                and thousandths != NEVER_ASKED
                and COLDEST <= thousandths / 1000 <= WARMEST
            ):
                return thousandths / 1000
        return None


def _number(path: Path) -> float | None:
    try:
        return float(read(path))
    except ValueError:
        return None
