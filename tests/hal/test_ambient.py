"""Light and warmth from files that look like the kernel's."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hal.linux.ambient import SysfsAmbient


def sensor(root: Path, folder: str, **files: str) -> None:
    place = root / folder
    place.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (place / name).write_text(f"{text}\n")


def felt(root: Path) -> tuple[float | None, float | None]:
    async def story() -> tuple[float | None, float | None]:
        ambient = SysfsAmbient(root)
        return await ambient.lux(), await ambient.celsius()

    return asyncio.run(story())


def test_a_box_without_sensors_feels_nothing(tmp_path: Path) -> None:
    assert felt(tmp_path) == (None, None)


def test_a_light_sensor_that_tells_lux(tmp_path: Path) -> None:
    sensor(tmp_path, "bus/iio/devices/iio:device0", in_illuminance_input="1234.5")
    assert felt(tmp_path)[0] == 1234.5


def test_a_light_sensor_that_tells_raw_values(tmp_path: Path) -> None:
    sensor(tmp_path, "bus/iio/devices/iio:device0", name="bmp280", in_temp_input="24500")
    sensor(
        tmp_path,
        "bus/iio/devices/iio:device1",
        in_illuminance_raw="300",
        in_illuminance_scale="0.5",
        in_illuminance_offset="20",
    )
    assert felt(tmp_path) == (160.0, 24.5)


@pytest.mark.parametrize(
    ("text", "celsius"), [("27125", 27.125), ("-3500", -3.5), ("85000", None), ("abc", None), ("", None)]
)
def test_a_thermometer_on_one_wire(tmp_path: Path, text: str, celsius: float | None) -> None:
    sensor(tmp_path, "bus/w1/devices/28-00000a", temperature=text)
    assert felt(tmp_path)[1] == celsius
