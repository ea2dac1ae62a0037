"""What time is it? A node that does not know refuses what it cannot judge, and steps of the clock change nothing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from tests.flows.conftest import Programme
from tests.flows.scene import Village


def test_a_node_that_never_knew_the_time_takes_orders_with_its_birth_s_nonce_only(
    village: Village, short: Programme
) -> None:
    asset = short.on(village)

    async def story() -> None:
        village.world.clock.lose()
        village.start()
        await asyncio.sleep(2)
        birth = village.up("state")[-1]
        assert birth["clock"] == {"quality": "unknown", "wall": None, "mono_ms": birth["clock"]["mono_ms"]}
        bare, wrong = village.play(asset), village.play(asset, nonce="0" * 32)
        assert await village.ends(bare, wrong) == ["rejected", "rejected"]
        assert village.code(bare) == village.code(wrong) == "clock_untrusted"
        order = village.play(asset, nonce=birth["nonce"])
        assert await village.ends(order) == ["successful"]
        assert village.told(order)[-1]["wall"] is None
        await village.quiet()
        assert village.report(order)["started"] is None
        await village.until(lambda: village.up("alert/clock_unsynced"))

    village.tell(story, starts=False)


def test_an_old_nonce_is_no_use(village: Village, short: Programme) -> None:
    asset = short.on(village)

    async def story() -> None:
        village.world.clock.lose()
        village.start()
        await asyncio.sleep(2)
        old = village.up("state")[-1]["nonce"]
        village.world.broker.partition("lost")
        await asyncio.sleep(5)
        village.world.broker.heal()
        await village.until(lambda: village.up("state")[-1].get("nonce") not in {None, old})
        assert await village.ends(village.play(asset, nonce=old)) == ["rejected"]
        assert await village.ends(village.play(asset, nonce=village.up("state")[-1]["nonce"])) == [
            "successful"
        ]

    village.tell(story, starts=False)


def test_when_the_time_comes_everything_is_taken_again(village: Village, short: Programme) -> None:
    asset = short.on(village)

    async def story() -> None:
        village.world.clock.lose()
        village.start()
        await asyncio.sleep(100)
        village.world.clock.sync(village.world.outside.utc_now())
        assert await village.ends(village.play(asset)) == ["successful"]
        await village.until(lambda: village.up("alert/clock_unsynced")[-1] is None, within_s=60)

    village.tell(story, starts=False)


def test_after_a_power_cut_without_a_battery_sound_needs_the_nonce_and_the_rest_does_not(
    short: Programme,
) -> None:
    village = Village(battery=False)
    asset = short.on(village)

    async def story() -> None:
        await asyncio.sleep(20)
        await village.world.outage(dark_s=3_600)
        await asyncio.sleep(5)
        birth = village.up("state")[-1]
        assert birth["clock"]["quality"] == "estimated"
        sounding, silent = village.play(asset), village.order("ping")
        assert await village.ends(sounding, silent) == ["rejected", "successful"]
        assert await village.ends(village.play(asset, nonce=birth["nonce"])) == ["successful"]

    village.tell(story)


def test_a_clock_that_jumps_ends_no_order_early_and_lets_none_live_longer(
    village: Village, bulletin: Programme, short: Programme
) -> None:
    speaking, asset = bulletin.on(village), short.on(village)

    async def story() -> None:
        for step_s in (7_200, -7_200):
            first = village.play(speaking)
            await asyncio.sleep(3)
            waiting, late = village.play(asset, good_for_s=60), village.play(asset, good_for_s=4)
            await asyncio.sleep(1)
            village.world.clock.step(step_s)
            await asyncio.sleep(1)
            assert await village.ends(first, waiting, late) == ["successful", "successful", "expired"]
            village.world.clock.sync(village.world.outside.utc_now())

    village.tell(story)


def test_a_clock_that_has_jumped_is_in_doubt_and_believed_again_when_it_comes_back(
    village: Village, short: Programme
) -> None:
    asset = short.on(village)

    async def story() -> None:
        for step_s in (3_600, -3_600):
            village.world.clock.step(step_s)
            order = village.play(asset)
            assert await village.ends(order) == ["rejected"]
            assert village.code(order) == "clock_untrusted"
            village.world.clock.step(-step_s)
        assert await village.ends(village.play(asset)) == ["successful"]

    village.tell(story)


def test_a_notice_keeps_its_time_whatever_the_clock_says(village: Village) -> None:
    async def story() -> None:
        await village.ends(village.order("board_show", text="Họp 19h30", ttl_s=600))
        village.world.clock.step(86_400)
        await asyncio.sleep(300)
        village.world.clock.step(-2 * 86_400)
        assert village.world.sign.current.lit
        await asyncio.sleep(320)
        assert not village.world.sign.current.lit

    village.tell(story)


def test_dates_in_reports_are_those_of_a_trusted_clock(village: Village, short: Programme) -> None:
    asset = short.on(village)

    async def story() -> None:
        order = village.play(asset)
        await village.ends(order)
        await village.quiet()
        entry = village.report(order)
        wall = datetime.fromisoformat(entry["started"])
        boot = village.world.outside.utc_now().timestamp() - village.world.clock.monotonic_ns() / 1e9
        assert abs(wall.timestamp() - (boot + entry["started_ms"] / 1e3)) < 0.01
        assert wall.tzinfo is not None
        assert wall > datetime(2026, 11, 1, tzinfo=UTC)

    village.tell(story)
