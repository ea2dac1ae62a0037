"""The status light: one glance, the worst thing first."""

from __future__ import annotations

from itertools import pairwise

import pytest

from edge_agent.sense.light import PATTERN, Condition, condition


@pytest.mark.parametrize(
    ("faults", "online", "sounding", "said"),
    [
        (0, True, False, Condition.WELL),
        (0, True, True, Condition.SOUNDING),
        (0, False, True, Condition.OFFLINE),
        (1, False, True, Condition.FAULT),
        (2, True, False, Condition.FAULT),
    ],
)
def test_the_worst_thing_is_said(*, faults: int, online: bool, sounding: bool, said: Condition) -> None:
    assert condition(faults=faults, online=online, sounding=sounding) is said


def test_every_condition_has_a_pattern_of_two_seconds() -> None:
    for said in Condition:
        assert sum(seconds for _, seconds in PATTERN[said]) == pytest.approx(2.0)


def test_no_two_conditions_look_alike() -> None:
    assert len(set(PATTERN.values())) == len(PATTERN)


def test_the_light_never_flashes_faster_than_four_times_a_second() -> None:
    for pattern in PATTERN.values():
        changes = sum(1 for (lit, _), (then, _) in pairwise(pattern) if lit != then)
        assert changes / 2 / 2.0 <= 4
