"""A clock at 1970, at 2099, or set by hand: nothing sounds at a wrong hour, and everything is well again afterwards."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from tests.flows.conftest import Programme
from tests.flows.scene import Village
from tests.flows.test_schedule import in_minutes, local, rule, turns


@pytest.mark.parametrize("year", [1970, 1999, 2025, 2060, 2099])
def test_a_vouched_clock_of_another_age_is_not_believed(
    village: Village, short: Programme, year: int
) -> None:
    asset = short.on(village)

    async def story() -> None:
        await village.applied("schedule", {"rules": [rule("gio", in_minutes(village, 30), asset)]})
        village.world.clock.sync(datetime(year, 6, 1, 22, 29, tzinfo=UTC))
        await asyncio.sleep(3_600)
        assert {entry["outcome"] for entry in turns(village).values()} <= {"MISSED", "AIRED"}
        assert all(entry["planned"][:4] == "2026" for entry in turns(village).values())
        village.world.clock.sync(village.world.outside.utc_now())
        await asyncio.sleep(700)
        await village.applied("schedule", {"rules": [rule("sau", in_minutes(village, 5), asset)]})
        await asyncio.sleep(600)
        assert turns(village)["sau"]["outcome"] == "AIRED"
        order = village.play(asset)
        assert await village.ends(order) == ["successful"]

    village.tell(story)


def test_a_date_that_is_set_by_hand_in_holdover_moves_no_turn(village: Village, short: Programme) -> None:
    asset = short.on(village)

    async def story() -> None:
        await village.applied("schedule", {"rules": [rule("dung-gio", in_minutes(village, 60), asset)]})
        village.world.clock._synced = False
        await asyncio.sleep(600)
        village.world.clock.step(-5 * 3600)
        due = local(village).replace(second=0, microsecond=0) + timedelta(minutes=49)
        await asyncio.sleep((due - local(village)).total_seconds() + 120)
        entry = turns(village)["dung-gio"]
        assert entry["outcome"] == "AIRED"
        assert entry["clock"] == "holdover"

    village.tell(story)


@pytest.mark.parametrize("apart_s", [0.5, 40.0])
def test_a_battery_clock_carries_the_schedule_over_a_power_cut(short: Programme, apart_s: float) -> None:
    import msgspec

    from tests.flows.scene import SETTINGS

    clock = msgspec.structs.replace(SETTINGS.clock, trust="rtc")
    village = Village(battery=False, settings=msgspec.structs.replace(SETTINGS, clock=clock))
    asset = short.on(village)

    async def story() -> None:
        await village.applied("schedule", {"rules": [rule("pin", in_minutes(village, 30), asset)]})
        await asyncio.sleep(1_200)
        village.world.broker.partition("lost")
        await village.world.outage(dark_s=120)
        village.world.clock.battery = apart_s
        village.world.clock.step(
            (village.world.outside.utc_now() - village.world.clock.utc_now()).total_seconds()
        )
        await asyncio.sleep(1_200)
        aired = "pin" in turns(village) and turns(village)["pin"]["outcome"] == "AIRED"
        assert aired is (apart_s < 5)

    village.tell(story)


def test_what_happened_before_the_date_was_known_is_dated_afterwards(
    village: Village, short: Programme
) -> None:
    asset = short.on(village)

    async def story() -> None:
        village.world.clock.lose()
        village.start()
        await asyncio.sleep(2)
        order = village.play(asset, nonce=village.up("state")[-1]["nonce"])
        assert await village.ends(order) == ["successful"]
        (entry,) = village.stored()
        assert entry["started"] is None
        village.world.clock.sync(village.world.outside.utc_now())
        await asyncio.sleep(2_000)
        ((offset_ms,),) = village.world.database.rows("SELECT offset_ms FROM run")
        dated = datetime.fromtimestamp((int(str(offset_ms)) + entry["started_ms"]) / 1000, UTC)
        assert abs((dated - village.world.outside.utc_now()).total_seconds()) < 2_100

    village.tell(story, starts=False)
