"""How bright a board is by the clock and by the light around it, and that an emergency can always be read."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.board.lighting import DARK, Lighting
from edge_agent.board.settings import BoardSettings
from edge_agent.model import LOCAL_TIME


def light(**said: Any) -> Lighting:
    return Lighting(msgspec.convert(said, BoardSettings))


def at(text: str) -> datetime:
    return datetime(2026, 11, 24, int(text[:2]), int(text[3:]), tzinfo=LOCAL_TIME)


DAY = ("06:00 100", "18:30 40", "22:00 10")


@pytest.mark.parametrize(
    ("time", "percent"),
    [("05:59", 10), ("06:00", 100), ("18:29", 100), ("18:30", 40), ("22:00", 10), ("00:00", 10)],
)
def test_the_level_holds_until_the_next_one(time: str, percent: int) -> None:
    assert light(brightness=DAY).percent(at(time), None, emergency=False) == percent


def test_who_says_nothing_leaves_it_to_the_board() -> None:
    assert light().percent(at("12:00"), None, emergency=False) is None


def test_an_emergency_is_never_dark_and_never_below_its_floor() -> None:
    night = light(brightness=DAY, blank_hours=("22:30-04:30",), emergency_percent_min=70)
    assert night.percent(at("23:00"), None, emergency=False) == DARK
    assert night.percent(at("23:00"), None, emergency=True) == 70
    assert night.percent(at("12:00"), None, emergency=True) == 100


def test_without_a_time_it_is_as_bright_as_it_gets_and_never_dark() -> None:
    night = light(brightness=DAY, blank_hours=("00:00-23:59",))
    assert night.percent(None, None, emergency=False) == 100


def test_it_follows_the_light_but_not_every_cloud() -> None:
    board = light(full_light_lux=10_000)
    assert board.percent(at("12:00"), 20_000, emergency=False) == 100
    assert board.percent(at("12:00"), 9_000, emergency=False) == 100, "a cloud"
    assert board.percent(at("12:00"), 5_000, emergency=False) == 67
    assert board.percent(at("12:00"), 5_500, emergency=False) == 67
    assert board.percent(at("12:00"), 0, emergency=False) == 33
    assert board.percent(at("12:00"), None, emergency=False) == 100, "the sensor is gone"


def test_it_knows_when_its_schedule_says_something_else() -> None:
    board = light(brightness=DAY, blank_hours=("22:30-04:30",))
    assert board.changes_in_s(at("18:00")) == 1800
    assert board.changes_in_s(at("22:00")) == 1800
    assert board.changes_in_s(at("22:30")) == 6 * 3600


@settings(derandomize=True, max_examples=300)
@given(
    st.lists(st.tuples(st.integers(0, 1439), st.integers(1, 100)), max_size=6),
    st.integers(0, 1439),
    st.none() | st.floats(0, 1e6),
    st.tuples(st.integers(0, 100_000), st.integers(1, 100)),
)
def test_it_stays_within_its_bounds(
    levels: list[tuple[int, int]], minute: int, lux: float | None, bounds: tuple[int, int]
) -> None:
    full, floor = bounds
    said = tuple(f"{one // 60:02d}:{one % 60:02d} {percent}" for one, percent in levels)
    board = light(brightness=said, full_light_lux=full, emergency_percent_min=floor)
    moment = at(f"{minute // 60:02d}:{minute % 60:02d}")
    for emergency in (False, True):
        percent = board.percent(moment, lux, emergency=emergency)
        if not levels and not full:
            assert percent is None
        else:
            assert percent is not None
            assert (floor if emergency else 1) <= percent <= 100
