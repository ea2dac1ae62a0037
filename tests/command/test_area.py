"""Whether a node stands in an area: codes, polygons, circles, the date line, the edge."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.command import area
from edge_agent.command.area import Area, Circle, Place

HERE = (22.82, 104.98)
SQUARE = area.polygon("22,104 22,106 24,106 24,104 22,104")


def at(latitude: float, longitude: float) -> Place:
    return Place(position=(latitude, longitude), geocodes=frozenset())


def test_one_code_that_includes_us_is_enough() -> None:
    place = Place.of(None, {"ma-dvhc": ["00691", "02"]})
    assert area.covers(Area(geocodes=(("ma-dvhc", "79"), ("MA-DVHC", "02"))), place)
    assert not area.covers(Area(geocodes=(("same", "02"),)), place), "the same number of another list"
    assert not area.covers(Area(polygons=(SQUARE,)), place), "nobody knows where it stands"


@pytest.mark.parametrize(
    ("place", "inside"),
    [
        (HERE, True),
        ((21.99, 105), False),
        ((24.01, 105), False),
        ((23, 103.99), False),
        ((23, 106.01), False),
        ((22, 104), True),
        ((22, 105), True),
        ((23, 106), True),
        ((24, 106), True),
        ((23, -75), False),
    ],
)
def test_a_polygon_holds_what_is_in_it_and_its_edge(place: tuple[float, float], *, inside: bool) -> None:
    assert area.covers(Area(polygons=(SQUARE,)), at(*place)) is inside


def test_a_hollow_shape_does_not_hold_its_hollow() -> None:
    horseshoe = area.polygon("0,0 0,9 9,9 9,6 3,6 3,3 9,3 9,0 0,0")
    assert area.covers(Area(polygons=(horseshoe,)), at(1, 4))
    assert not area.covers(Area(polygons=(horseshoe,)), at(6, 4.5))


def test_the_date_line_is_no_edge() -> None:
    aleutians = Area(polygons=(area.polygon("50,170 50,-170 55,-170 55,170 50,170"),))
    assert area.covers(aleutians, at(52, 179))
    assert area.covers(aleutians, at(52, -179))
    assert not area.covers(aleutians, at(52, 0))
    assert not area.covers(aleutians, at(52, 160))


def test_a_circle_is_measured_in_kilometres() -> None:
    north_km = 111.19
    assert area.covers(Area(circles=(area.circle("23.82,104.98 111.3"),)), at(*HERE))
    assert not area.covers(Area(circles=(Circle((23.82, 104.98), north_km - 0.2),)), at(*HERE))
    assert area.covers(Area(circles=(Circle((0, 179.9), 30),)), at(0, -179.9)), "over the date line"
    assert area.covers(Area(circles=(Circle(HERE, 0),)), at(*HERE))


@pytest.mark.parametrize(
    "text",
    ["", "1,2", "1,2 -3", "1,2 x", "1;2 3", "1,2 3 4", "91,0 1", "0,181 1", "0,0 99999", "nan,0 1"],
)
def test_a_circle_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        area.circle(text)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    latitude=st.floats(-80, 80),
    longitude=st.floats(-180, 180),
    shift=st.floats(-180, 180),
)
def test_turning_the_globe_changes_nothing(latitude: float, longitude: float, shift: float) -> None:
    def turned(degrees: float) -> float:
        return (degrees + shift + 180) % 360 - 180

    here = area.covers(Area(polygons=(SQUARE,)), at(latitude, longitude))
    near_edge = min(abs(longitude - 104), abs(longitude - 106), abs(latitude - 22), abs(latitude - 24)) < 1e-6
    moved = tuple((y, turned(x)) for y, x in SQUARE)
    there = area.covers(Area(polygons=(moved,)), at(latitude, turned(longitude)))
    assert near_edge or here == there
