"""Two crystals: how fast they part is known within minutes, whatever the network does meanwhile."""

from __future__ import annotations

import random

import pytest

from edge_agent.model import MS, NS
from edge_agent.stream.drift import POINTS_LEAST, WINDOW_NS, Slope
from tests import networks


def fed(
    slope: Slope, ppm: float, minutes: float, *, model: str = "lan", seed: int = 1, begin_ns: int = 0
) -> None:
    """Packets of 20 ms from a sender whose crystal is fast by `ppm`, over a network."""
    network = getattr(networks, model)(seed=seed)
    for index in range(round(minutes * 60 * 50)):
        sent_ns = begin_ns + round(index * 20 * MS / (1 + ppm / 1e6))
        for arrival_ns in network(sent_ns):
            slope.put(arrival_ns, arrival_ns - index * 20 * MS)


@pytest.mark.parametrize("model", ["lan", "wifi", "mobile", "bad_mobile"])
@pytest.mark.parametrize("ppm", [-200.0, -50.0, 0.0, 50.0, 200.0])
def test_ten_minutes_tell_it_within_three_ppm(model: str, ppm: float) -> None:
    slope = Slope()
    fed(slope, ppm, 10, model=model, seed=5)
    assert slope.ppm == pytest.approx(-ppm, abs=3)


def test_nothing_is_said_in_the_first_two_minutes() -> None:
    slope = Slope()
    fed(slope, 100, 1.9)
    assert slope.ppm is None
    assert POINTS_LEAST * WINDOW_NS == 120 * NS


def test_a_new_route_begins_a_new_line() -> None:
    slope, rng = Slope(), random.Random(1)
    for index in range(40 * 60 * 10):
        at_ns = index * 100 * MS
        route_ns = (80 if index > 12_000 else 20) * MS
        slope.put(at_ns, route_ns + round(rng.expovariate(1 / 3) * MS) - at_ns // 10_000)
    assert slope.ppm == pytest.approx(-100, abs=1)


def test_what_was_learnt_stands_until_there_is_better() -> None:
    slope = Slope()
    fed(slope, 100, 3)
    before = slope.ppm
    slope.clear()
    fed(slope, -100, 1.9, begin_ns=200 * NS)
    assert slope.ppm == before
    fed(slope, -100, 3, begin_ns=400 * NS)
    assert slope.ppm == pytest.approx(100, abs=5)
