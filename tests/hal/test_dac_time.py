"""The line through what a device says of its delay."""

from __future__ import annotations

import random

import pytest

from hal.linux.dac_time import NS, DacTime

PERIOD = 2_400
RATE_HZ = 48_000


def follow(
    line: DacTime, *, periods: int, ppm: float, jitter_ms: float, begin: int = 0, shift_ns: int = 0
) -> float:
    """Let a card say when each period sounds; the largest error of the last fifth, ms."""
    rng = random.Random(3)
    worst = 0.0
    for index in range(begin, begin + periods):
        truth_ns = 7 * NS + index * PERIOD * NS / RATE_HZ / (1 + ppm / 1e6) + shift_ns
        line.take(round(truth_ns + rng.uniform(-jitter_ms, jitter_ms) * 1e6), PERIOD)
        said_ns = line.at_ns(0)
        assert said_ns is not None
        error_ms = abs(said_ns - truth_ns - PERIOD * NS / RATE_HZ / (1 + ppm / 1e6)) / 1e6
        if index > begin + periods * 4 // 5:
            worst = max(worst, error_ms)
    return worst


def test_nothing_is_foretold_before_the_device_has_spoken() -> None:
    assert DacTime(RATE_HZ).at_ns(0) is None


@pytest.mark.parametrize("ppm", [-200, -50, 0, 50, 200])
def test_a_device_that_wavers_by_milliseconds_is_read_within_half_a_millisecond(ppm: float) -> None:
    line = DacTime(RATE_HZ)
    assert follow(line, periods=2_400, ppm=ppm, jitter_ms=3.0) < 0.5
    assert line.ppm == pytest.approx(ppm, abs=40)


def test_one_wild_saying_changes_nothing_and_a_new_beginning_is_followed_at_once() -> None:
    line = DacTime(RATE_HZ)
    follow(line, periods=400, ppm=0, jitter_ms=0)
    before = line.at_ns(0)
    assert before is not None
    line.take(before + NS, PERIOD)
    assert line.at_ns(0) == pytest.approx(before + PERIOD * NS / RATE_HZ, abs=10)
    assert follow(line, periods=20, ppm=0, jitter_ms=0, begin=401, shift_ns=NS // 10) < 0.001
