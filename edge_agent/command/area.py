"""Where an alert holds, and whether this node stands there (pure).

CAP 1.2, section 3.2.4: an area is the union of its geocodes, polygons and circles. Pairs are
"latitude,longitude" in WGS 84 degrees; a polygon has at least four of them and ends where it
began; a circle is a pair and a radius in km. Height is left alone: a village lies on the ground.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Pair = tuple[float, float]
"""Latitude, longitude, degrees."""

POINTS_MAX = 2_000
"""More than any payload holds in practice; bounds the work of one polygon."""
EARTH_KM = 6371.0088
"""Mean radius (IUGG)."""
CIRCUMFERENCE_KM = 20_038.0

_PAIR = re.compile(r"([+-]?\d{1,3}(?:\.\d{1,20})?),([+-]?\d{1,3}(?:\.\d{1,20})?)")
_RADIUS = re.compile(r"\d{1,5}(?:\.\d{1,20})?")


@dataclass(frozen=True, slots=True)
class Circle:
    """All within `radius_km` of `centre`."""

    centre: Pair
    radius_km: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """One area block of an alert."""

    description: str = ""
    polygons: tuple[tuple[Pair, ...], ...] = ()
    circles: tuple[Circle, ...] = ()
    geocodes: tuple[tuple[str, str], ...] = ()
    """(name of the code, value)."""

    @property
    def bounded(self) -> bool:
        """Whether it says where it is, otherwise than in words."""
        return bool(self.polygons or self.circles or self.geocodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a node stands."""

    position: Pair | None
    geocodes: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, position: Pair | None, geocodes: Mapping[str, Iterable[str]]) -> Place:
        """From a position and, by the name of the code, the values that include the node."""
        pairs = ((name, value) for name, values in geocodes.items() for value in values)
        return cls(position=position, geocodes=frozenset(_folded(pair) for pair in pairs))


def covers(area: Area, place: Place) -> bool:
    """Whether the node stands in the area. The edge belongs to it."""
    if any(_folded(code) in place.geocodes for code in area.geocodes):
        return True
    where = place.position
    if where is None:
        return False
    return any(_in_polygon(polygon, where) for polygon in area.polygons) or any(
        _distance_km(circle.centre, where) <= circle.radius_km for circle in area.circles
    )


def polygon(text: str) -> tuple[Pair, ...]:
    """Read a polygon. Raises ValueError with a sentence."""
    words = text.split()
    if not 4 <= len(words) <= POINTS_MAX:
        raise ValueError(f"A polygon has 4 to {POINTS_MAX} points and this one has {len(words)}.")
    points = tuple(_pair(word) for word in words)
    if points[0] != points[-1]:
        raise ValueError("The polygon does not end at its first point.")
    return points


def circle(text: str) -> Circle:
    """Read a circle. Raises ValueError with a sentence."""
    words = text.split()
    if len(words) != 2 or not _RADIUS.fullmatch(words[1]) or float(words[1]) > CIRCUMFERENCE_KM:
        raise ValueError("A circle is `latitude,longitude` and a radius in km.")
    return Circle(_pair(words[0]), float(words[1]))


def _pair(word: str) -> Pair:
    found = _PAIR.fullmatch(word)
    if found is None:
        raise ValueError(f"{word[:40]!r} is not `latitude,longitude`.")
    latitude, longitude = float(found[1]), float(found[2])
    if abs(latitude) > 90 or abs(longitude) > 180:
        raise ValueError(f"{word[:40]!r} is not on Earth.")
    return latitude, longitude


def _folded(code: tuple[str, str]) -> tuple[str, str]:
    return code[0].strip().casefold(), code[1].strip().casefold()


def _in_polygon(points: tuple[Pair, ...], where: Pair) -> bool:
    """Even-odd rule on the plane of degrees. Longitudes run on over the date line from corner to corner, so
    a polygon may lie a whole turn away from the node's own longitude."""
    unrolled: list[Pair] = [points[0]]
    for latitude, longitude in points[1:]:
        before = unrolled[-1][1]
        unrolled.append((latitude, before + _turned(longitude - before)))
    return any(_holds(unrolled, where[0], where[1] + turn) for turn in (-360, 0, 360))


def _holds(points: list[Pair], latitude: float, longitude: float) -> bool:
    corners = [(y - latitude, x - longitude) for y, x in points]
    inside = False
    for (y1, x1), (y2, x2) in itertools.pairwise(corners):
        if _on_edge(y1, x1, y2, x2):
            return True
        if (y1 > 0) != (y2 > 0) and (x2 - x1) * -y1 / (y2 - y1) + x1 > 0:
            inside = not inside
    return inside


def _on_edge(y1: float, x1: float, y2: float, x2: float) -> bool:
    """Whether the origin lies on the edge, within a centimetre or so."""
    if min(x1, x2) > 0 or max(x1, x2) < 0 or min(y1, y2) > 0 or max(y1, y2) < 0:
        return False
    length = math.hypot(x2 - x1, y2 - y1)
    return abs(x1 * y2 - x2 * y1) <= 1e-7 * max(length, 1e-7)


def _turned(degrees: float) -> float:
    return (degrees + 180) % 360 - 180


def _distance_km(one: Pair, other: Pair) -> float:
    """On the sphere (haversine)."""
    a, b = math.radians(one[0]), math.radians(other[0])
    half = math.radians(other[1] - one[1]) / 2
    h = math.sin((b - a) / 2) ** 2 + math.cos(a) * math.cos(b) * math.sin(half) ** 2
    return 2 * EARTH_KM * math.asin(min(1.0, math.sqrt(h)))
