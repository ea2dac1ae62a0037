"""Time: the same promises from the kernel and from the counter."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hal.linux.clock import SystemClock
from hal.ports import Clock
from hal.sim.clock import VirtualClock
from hal.sim.loop import NS, Counter


@pytest.fixture(params=["virtual", "linux"])
def clock(request: pytest.FixtureRequest) -> Clock:
    return VirtualClock(Counter()) if request.param == "virtual" else SystemClock()


def test_monotonic_time_is_an_int_of_nanoseconds_and_never_goes_back(clock: Clock) -> None:
    readings = [clock.monotonic_ns() for _ in range(1_000)]

    assert all(isinstance(reading, int) for reading in readings)
    assert readings == sorted(readings)
    assert readings[0] > 0


def test_wall_time_is_aware_and_utc(clock: Clock) -> None:
    assert clock.utc_now().utcoffset() == timedelta(0)


def test_the_boot_id_stays(clock: Clock) -> None:
    assert clock.boot_id()
    assert clock.boot_id() == clock.boot_id()


def test_synced_is_a_plain_answer(clock: Clock) -> None:
    assert clock.wall_synced() in {True, False}


def test_two_clocks_of_one_boot_agree() -> None:
    one, other = SystemClock(), SystemClock()

    assert one.boot_id() == other.boot_id()
    assert abs(one.monotonic_ns() - other.monotonic_ns()) < NS


def test_real_time_counts_suspend() -> None:
    assert abs(SystemClock().monotonic_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)) < NS


def test_a_trust_file_touched_in_this_boot_means_synced(tmp_path: Path) -> None:
    trust = tmp_path / "synchronized"
    clock = SystemClock(str(trust), believe_kernel=False)
    assert not clock.wall_synced()

    trust.touch()

    assert clock.wall_synced()


def test_a_trust_file_of_an_earlier_boot_means_nothing(tmp_path: Path) -> None:
    trust = tmp_path / "synchronized"
    trust.touch()
    booted_ns = time.clock_gettime_ns(time.CLOCK_REALTIME) - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    os.utime(trust, ns=(booted_ns - 60 * NS, booted_ns - 60 * NS))

    assert not SystemClock(str(trust), believe_kernel=False).wall_synced()


def test_a_node_may_be_told_to_believe_its_clock(tmp_path: Path) -> None:
    assert SystemClock(str(tmp_path / "none"), always_synced=True).wall_synced()


def test_virtual_wall_time_follows_the_counter_with_its_drift() -> None:
    counter = Counter()
    clock = VirtualClock(counter, drift_ppm=100)
    before = clock.utc_now()

    counter.advance(10_000 * NS)

    assert clock.utc_now() - before == timedelta(seconds=10_001)


def test_a_drift_that_changes_does_not_move_the_past() -> None:
    counter = Counter()
    clock = VirtualClock(counter)
    counter.advance(1_000 * NS)
    now = clock.utc_now()

    clock.drift(200)

    assert clock.utc_now() == now
    counter.advance(10_000 * NS)
    assert clock.utc_now() - now == timedelta(seconds=10_002)


def test_a_step_moves_the_wall_and_not_the_counter() -> None:
    counter = Counter()
    clock = VirtualClock(counter)
    wall, monotonic_ns = clock.utc_now(), clock.monotonic_ns()

    clock.step(-3_600)

    assert clock.utc_now() == wall - timedelta(hours=1)
    assert clock.monotonic_ns() == monotonic_ns


def test_a_node_without_a_clock_wakes_in_1970_and_a_time_source_puts_it_right() -> None:
    clock = VirtualClock(Counter())
    clock.lose()
    assert clock.utc_now().year == 1970
    assert not clock.wall_synced()

    clock.sync(datetime(2026, 11, 23, 5, 30, tzinfo=UTC))

    assert clock.utc_now() == datetime(2026, 11, 23, 5, 30, tzinfo=UTC)
    assert clock.wall_synced()


def test_a_reboot_starts_monotonic_time_again_while_the_world_goes_on() -> None:
    counter = Counter()
    clock = VirtualClock(counter)
    counter.advance(86_400 * NS)
    wall, boot, at_ns = clock.utc_now(), clock.boot_id(), counter.ns

    clock.reboot(dark_s=30)

    assert clock.boot_id() != boot
    assert clock.monotonic_ns() == 10 * NS
    assert counter.ns == at_ns + 30 * NS
    assert clock.utc_now() == wall + timedelta(seconds=30)
    assert clock.wall_synced()


def test_without_a_battery_the_wall_clock_stands_still_in_the_dark() -> None:
    counter = Counter()
    clock = VirtualClock(counter)
    wall = clock.utc_now()

    clock.reboot(dark_s=3_600, battery=False)

    assert clock.utc_now() == wall
    assert not clock.wall_synced()
