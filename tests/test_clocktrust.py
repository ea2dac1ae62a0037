"""Wall time is believed in grades, and an order's dates by the grade."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from edge_agent import kept
from edge_agent.clocktrust import (
    ClockSettings,
    ClockTrust,
    Dates,
    Quality,
    Sight,
    deadline_ns,
    fresh,
    judge,
    time_left_s,
)
from edge_agent.model import NS, ReasonCode
from hal.sim.clock import VirtualClock
from hal.sim.database import VirtualDatabase
from hal.sim.loop import Counter, run

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
FLOOR = NOW - timedelta(days=2)
BUILD = datetime(2026, 11, 1, tzinfo=UTC)
HOUR_NS = 3600 * NS
MINUTE = timedelta(minutes=1)

DATES = Dates(issued_at=NOW - MINUTE, expires_at=NOW + MINUTE, nonce=None, makes_sound=True)


def sight(quality: Quality) -> Sight:
    return Sight(quality=quality, now=NOW, floor=FLOOR)


def code(quality: Quality, **changes: Any) -> ReasonCode | None:
    reason = fresh(replace(DATES, **changes), sight(quality), birth_nonce="born", skew_s=120)
    return None if reason is None else reason.code


@pytest.mark.parametrize(
    ("synced_now", "synced_ns", "saved", "quality"),
    [
        (True, None, None, Quality.SYNCED),
        (False, 0, None, Quality.HOLDOVER),
        (False, -1, FLOOR, Quality.ESTIMATED),
        (False, None, FLOOR, Quality.ESTIMATED),
        (False, None, None, Quality.UNKNOWN),
    ],
)
def test_the_grade(synced_now: bool, synced_ns: int | None, saved: datetime | None, quality: Quality) -> None:  # noqa: FBT001 - a table
    assert quality is judge(
        synced_now=synced_now, synced_ns=synced_ns, now_ns=48 * HOUR_NS, saved_floor=saved, holdover_h=48
    )


@pytest.mark.parametrize("quality", [Quality.SYNCED, Quality.HOLDOVER])
def test_a_trusted_clock_compares_the_dates_with_now(quality: Quality) -> None:
    assert code(quality) is None
    assert code(quality, nonce="any") is None
    assert code(quality, expires_at=NOW) is None
    assert code(quality, expires_at=NOW - timedelta(milliseconds=1)) is ReasonCode.EXPIRED
    assert code(quality, issued_at=NOW + timedelta(seconds=120)) is None
    assert code(quality, issued_at=NOW + timedelta(seconds=121)) is ReasonCode.CLOCK_UNTRUSTED


def test_an_estimated_clock_wants_the_nonce_for_what_sounds() -> None:
    quality = Quality.ESTIMATED
    assert code(quality) is ReasonCode.CLOCK_UNTRUSTED
    assert code(quality, nonce="old") is ReasonCode.CLOCK_UNTRUSTED
    assert code(quality, nonce="born") is None
    assert code(quality, makes_sound=False) is None
    assert code(quality, makes_sound=False, expires_at=FLOOR) is None
    before = FLOOR - timedelta(seconds=1)
    assert code(quality, nonce="born", expires_at=before) is ReasonCode.EXPIRED
    assert code(quality, makes_sound=False, expires_at=before) is ReasonCode.EXPIRED


def test_an_unknown_clock_believes_the_nonce_only() -> None:
    quality = Quality.UNKNOWN
    assert code(quality, nonce="born") is None
    assert code(quality, nonce="born", expires_at=FLOOR - MINUTE) is None
    assert code(quality, makes_sound=False) is ReasonCode.CLOCK_UNTRUSTED
    assert code(quality, nonce="") is ReasonCode.CLOCK_UNTRUSTED


def test_time_left_is_never_more_than_can_be_vouched_for() -> None:
    assert time_left_s(DATES, sight(Quality.SYNCED)) == 60
    assert time_left_s(replace(DATES, expires_at=NOW - MINUTE), sight(Quality.SYNCED)) == -60
    assert time_left_s(DATES, sight(Quality.ESTIMATED)) == 120, "the span that the issuer gave it"
    assert (
        time_left_s(replace(DATES, expires_at=FLOOR, issued_at=FLOOR - MINUTE), sight(Quality.ESTIMATED)) == 0
    )
    assert time_left_s(DATES, sight(Quality.UNKNOWN)) == 120
    assert deadline_ns(5, 1.5) == 5 + 1_500_000_000
    assert deadline_ns(0, 1e12) == 400 * 86400 * NS


# ---------------------------------------------------------------- the clock with what is known about it


def a_trust(clock: VirtualClock, database: VirtualDatabase, **settings: Any) -> ClockTrust:
    return ClockTrust(settings=ClockSettings(**settings), clock=clock, database=database, build_date=BUILD)


def test_a_sync_is_held_over_and_then_only_estimated() -> None:
    counter = Counter()
    clock = VirtualClock(counter, wall=NOW)

    async def main() -> None:
        trust = a_trust(clock, VirtualDatabase([kept.SCHEMA]), holdover_h=1)
        await trust.open()
        async with asyncio.TaskGroup() as group:
            life = group.create_task(trust.life())
            await asyncio.sleep(3600)
            assert trust.look().quality is Quality.SYNCED
            clock._synced = False
            await asyncio.sleep(3000)
            assert trust.look().quality is Quality.HOLDOVER
            await asyncio.sleep(700)
            assert trust.look().quality is Quality.ESTIMATED
            assert trust.look().floor >= NOW + timedelta(hours=1)
            life.cancel()

    run(main(), counter)


def test_after_a_power_cut_without_a_battery_clock_the_floor_is_what_was_kept() -> None:
    counter = Counter()
    clock = VirtualClock(counter, wall=NOW)
    database = VirtualDatabase([kept.SCHEMA])

    async def main() -> None:
        trust = a_trust(clock, database)
        await trust.open()
        async with asyncio.TaskGroup() as group:
            life = group.create_task(trust.life())
            await asyncio.sleep(45 * 60)
            life.cancel()
        clock.reboot()
        clock.lose()
        again = a_trust(clock, database)
        await again.open()
        seen = again.look()
        assert seen.quality is Quality.ESTIMATED
        assert timedelta(0) <= (NOW + timedelta(minutes=45)) - seen.floor <= timedelta(minutes=31)
        assert seen.now == seen.floor, "1970 is not believed"

    run(main(), counter)


def test_a_node_that_never_knew_the_time_knows_only_when_it_was_built() -> None:
    counter = Counter()
    clock = VirtualClock(counter)
    clock.lose()

    async def main() -> None:
        trust = a_trust(clock, VirtualDatabase([kept.SCHEMA]))
        await trust.open()
        assert trust.look() == Sight(quality=Quality.UNKNOWN, now=BUILD, floor=BUILD)
        clock.sync(NOW)
        assert trust.look().quality is Quality.SYNCED
        clock.sync(BUILD - MINUTE)
        assert trust.look().quality is not Quality.SYNCED, "no honest source says that"

    run(main(), counter)


def test_a_battery_clock_may_be_trusted_always() -> None:
    counter = Counter()
    clock = VirtualClock(counter, wall=NOW)
    clock._synced = False

    async def main() -> None:
        assert a_trust(clock, VirtualDatabase([kept.SCHEMA]), trust="always").look().quality is Quality.SYNCED
        assert a_trust(clock, VirtualDatabase([kept.SCHEMA])).look().quality is Quality.UNKNOWN

    run(main(), counter)


def test_a_full_disk_does_not_end_the_trust_and_is_tried_again() -> None:
    counter = Counter()
    clock = VirtualClock(counter, wall=NOW)
    database = VirtualDatabase([kept.SCHEMA])

    async def main() -> None:
        trust = a_trust(clock, database)
        database.fail("full", times=2)
        await trust.keep()
        await trust.keep()
        assert trust.look().floor == BUILD
        await trust.keep()
        assert trust.look().floor == NOW
        runs = database.runs
        await trust.keep()
        assert database.runs == runs, "kept every half hour, not at every look"

    run(main(), counter)


def test_an_unreadable_floor_is_no_floor() -> None:
    counter = Counter()
    database = VirtualDatabase([kept.SCHEMA])

    async def main() -> None:
        await database.run(lambda connection: kept.put(connection, "clock.floor", "yesterday"))
        trust = a_trust(VirtualClock(counter), database)
        await trust.open()
        assert trust.look().floor == BUILD

    run(main(), counter)
