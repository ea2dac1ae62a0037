"""A whole node under its house rules: quiet hours, sticky stops, the button, the technician at the box."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec
import pytest

from edge_agent.model import NS
from edge_agent.playout.settings import GovernorSettings
from edge_agent.sense.settings import InputLineSettings, Meaning, SenseSettings
from tests.flows.conftest import Programme
from tests.flows.scene import DISTRICT, SETTINGS, Asset, Village

BUTTON = SenseSettings(inputs={"nut-dung": InputLineSettings(meaning=Meaning.STOP_BUTTON, offset=23)})


def village_with(*, governor: GovernorSettings | None = None, **world: Any) -> Village:
    changed = msgspec.structs.replace(SETTINGS, sense=BUTTON, governor=governor or SETTINGS.governor)
    return Village(settings=changed, **world)


def muted(village: Village) -> list[dict[str, Any]]:
    """What the retained state says is muted now."""
    state = village.up("state")[-1]
    assert state["state"] == "online"
    listed: list[dict[str, Any]] = state["muted"]
    return listed


async def at_the_box(village: Village, **asked: Any) -> dict[str, Any]:
    """What the technician's command line does."""
    answer: dict[str, Any] = json.loads(await village.world.control.say(json.dumps(asked).encode() + b"\n"))
    return answer


async def it_becomes(village: Village, moment: datetime) -> None:
    """All clocks are set so that it is then once the node believes the jump."""
    believed_after_s = 660
    for clock in (village.world.clock, village.world.outside):
        clock.sync(moment - timedelta(seconds=believed_after_s))
    await asyncio.sleep(believed_after_s)


async def plays(
    village: Village, asset: Asset, klass: str = "routine", **more: Any
) -> tuple[str, str | None]:
    """Order it and wait: (state, code)."""
    order = village.play(asset, klass, **more)
    (state,) = await village.ends(order)
    return state, village.code(order)


# ---------------------------------------------------------------- quiet hours


def test_at_night_only_an_emergency_sounds_and_in_the_morning_everything_does(
    notice: Programme, alarm: Programme
) -> None:
    village = village_with(governor=GovernorSettings())
    asset, urgent = notice.on(village), alarm.on(village)

    async def story() -> None:
        assert await plays(village, asset) == ("successful", None)
        await it_becomes(village, datetime(2026, 11, 23, 20, 15, tzinfo=UTC))
        assert await plays(village, asset) == ("failed", "quiet_hours")
        assert await plays(village, asset, "priority") == ("failed", "quiet_hours")
        assert await plays(village, urgent, "emergency") == ("successful", None)
        await asyncio.sleep(2 * 3600)
        assert await plays(village, asset) == ("successful", None)
        await village.quiet()
        outcomes = [(entry["outcome"], entry["code"]) for entry in village.reports()]
        assert outcomes.count(("REFUSED", "quiet_hours")) == 2

    village.tell(story)


def test_an_order_of_the_evening_that_waits_into_the_night_is_refused_then(
    bulletin: Programme, notice: Programme
) -> None:
    village = village_with(governor=GovernorSettings())
    long, short = bulletin.on(village), notice.on(village)

    async def story() -> None:
        await village.ends(village.play(long), village.play(short))
        evening = datetime(2026, 11, 23, 14, 29, 52, tzinfo=UTC)
        await it_becomes(village, evening)
        sounding, waiting = village.play(long, "priority"), village.play(short)
        assert await village.ends(sounding, waiting) == ["failed", "failed"]
        await village.quiet()
        assert [village.report(order)["outcome"] for order in (sounding, waiting)] == ["PARTIAL", "REFUSED"]
        assert {village.code(sounding), village.code(waiting)} == {"quiet_hours"}

    village.tell(story)


def test_the_days_account_survives_the_power(notice: Programme) -> None:
    village = village_with(governor=GovernorSettings(repeats_a_day=2))
    asset = notice.on(village)

    async def story() -> None:
        for _ in range(2):
            assert await plays(village, asset) == ("successful", None)
            await village.world.outage()
            await asyncio.sleep(30)
        assert await plays(village, asset) == ("failed", "governor")
        assert await plays(village, asset, "emergency") == ("successful", None)

    village.tell(story)


# ---------------------------------------------------------------- sticky stops


def test_a_stop_lasts_is_seen_and_is_released(village: Village, notice: Programme, alarm: Programme) -> None:
    asset, urgent = notice.on(village), alarm.on(village)

    async def story() -> None:
        await village.ends(village.play(asset), village.play(urgent))
        stop = village.order("stop", issuer=DISTRICT, for_s=3600, **{"class": "priority"})
        assert await village.ends(stop) == ["successful"]
        assert village.told(stop)[-1]["result"]["until"] is not None
        assert await plays(village, asset, "priority") == ("failed", "muted")
        assert await plays(village, urgent, "emergency") == ("successful", None)
        assert await village.ends(village.order("board_show", text="Họp thôn", ttl_s=5)) == ["successful"]
        (standing,) = muted(village)
        assert (standing["stop"], standing["issuer"], standing["class"]) == (stop, DISTRICT, "priority")
        await asyncio.sleep(301)
        assert village.up("health")[-1]["muted"] == [standing]
        release = village.order("release", stop=stop)
        assert await village.ends(release) == ["successful"]
        assert village.told(release)[-1]["result"] == {"released": [stop]}
        await asyncio.sleep(1)
        assert muted(village) == []
        assert await plays(village, asset) == ("successful", None)

    village.tell(story)


def test_a_stop_of_an_order_that_is_still_to_come(village: Village, notice: Programme) -> None:
    asset = notice.on(village)

    async def story() -> None:
        later = village.make_order("play", media=asset.digest, url=asset.url)
        until = (village.world.outside.utc_now() + timedelta(hours=1)).isoformat()
        assert await village.ends(village.order("stop", order=later.id, until=until)) == ["successful"]
        assert await village.ends(village.publish(later)) == ["failed"]
        assert village.code(later.id) == "muted"
        assert await plays(village, asset) == ("successful", None)

    village.tell(story)


@pytest.mark.parametrize("how", ["restart", "crash", "outage"])
def test_a_stop_survives_and_ends_at_its_time(
    village: Village, notice: Programme, how: Literal["restart", "crash", "outage"]
) -> None:
    asset = notice.on(village)

    async def story() -> None:
        await village.ends(village.play(asset))
        stop = village.order("stop", for_s=1800, **{"class": "emergency"})
        assert await village.ends(stop) == ["successful"]
        await (village.restart() if how == "restart" else getattr(village.world, how)())
        await asyncio.sleep(60)
        assert await plays(village, asset, "emergency") == ("failed", "muted")
        assert [each["stop"] for each in muted(village)] == [stop]
        await village.until(lambda: "emergency_muted" in village.up("health")[-1]["alerts"], within_s=700)
        await asyncio.sleep(1800)
        assert muted(village) == []
        assert await plays(village, asset, "emergency") == ("successful", None)

    village.tell(story)


@pytest.mark.parametrize("moment", ["before", "inside", "after"])
@pytest.mark.parametrize("number", range(5))
def test_a_stop_that_was_told_to_be_done_stands_whenever_the_power_goes(
    notice: Programme, number: int, moment: Literal["before", "inside", "after"]
) -> None:
    """The power goes at each of the writes around a stop; afterwards it stands, or its order was never acknowledged."""
    village = village_with(seed=number)
    asset = notice.on(village)

    async def story() -> None:
        await village.ends(village.play(asset))
        args: dict[str, Any] = {"for_s": 3600, "class": "emergency"}
        stop = village.make_order("stop", "priority", **args)
        village.world.database.cut_at(village.world.database.runs + number, moment)
        village.publish(stop)
        await asyncio.sleep(2)
        await village.world.outage(dark_s=20)
        await village.ends(stop.id)
        assert [each["stop"] for each in muted(village)] == [stop.id]
        assert await plays(village, asset, "emergency") == ("failed", "muted")

    village.tell(story)


def test_a_stop_needs_to_say_what_it_covers_and_for_no_longer_than_a_month(village: Village) -> None:
    async def story() -> None:
        forever = (village.world.outside.utc_now() + timedelta(days=31)).isoformat()
        asked: tuple[dict[str, Any], ...] = (
            {"for_s": 60},
            {"class": "routine", "until": forever},
            {"class": "routine", "for_s": 31 * 86400},
        )
        for args in asked:
            stop = village.order("stop", **args)
            assert await village.ends(stop) == ["rejected"]
            assert village.code(stop) == "bad_args"
        assert muted(village) == []

    village.tell(story)


# ---------------------------------------------------------------- at the box


def test_the_button_keeps_silence_for_ten_minutes_but_not_from_a_new_emergency(
    bulletin: Programme, alarm: Programme
) -> None:
    village = village_with()
    asset, urgent = bulletin.on(village), alarm.on(village)

    async def story() -> None:
        await village.ends(village.play(asset), village.play(urgent))
        sounding = village.play(asset, "emergency")
        await asyncio.sleep(6)
        await village.world.lines.press("nut-dung", held_s=0.3)
        assert await village.ends(sounding) == ["cancelled"]
        assert await plays(village, asset, "priority") == ("failed", "muted")
        assert await plays(village, urgent, "emergency") == ("successful", None)
        (standing,) = muted(village)
        assert (standing["issuer"], standing["class"]) == ("local-button", "priority")
        await village.world.outage(dark_s=60)
        await asyncio.sleep(30)
        assert await plays(village, asset) == ("failed", "muted")
        await asyncio.sleep(600)
        assert muted(village) == []
        assert await plays(village, asset) == ("successful", None)

    village.tell(story)


def test_the_technician_stops_looks_and_releases_without_any_network(
    bulletin: Programme, notice: Programme
) -> None:
    village = village_with()
    asset, other = bulletin.on(village), notice.on(village)

    async def story() -> None:
        await village.ends(village.play(asset), village.play(other))
        order = village.play(asset, "priority")
        await asyncio.sleep(6)
        village.world.broker.partition("lost")
        status = await at_the_box(village, do="status")
        assert (status["ok"], status["sounding"], status["amplifier"]) == (True, order, "live")
        began_ns = village.world.clock.monotonic_ns()
        stopped = await at_the_box(village, do="stop", for_s=1800)
        assert (stopped["ok"], stopped["orders"]) == (True, [order])
        assert (village.world.lives()[-1].loud[-1][1] - began_ns) / NS < 0.15
        status = await at_the_box(village, do="status")
        assert [each["stop"] for each in status["muted"]] == [stopped["stop"]]
        assert status["sounding"] is None
        village.world.broker.heal()
        await asyncio.sleep(400)
        assert [each["issuer"] for each in muted(village)] == ["local-console"]
        assert await plays(village, other) == ("failed", "muted")
        assert await at_the_box(village, do="release") == {"ok": True, "released": [stopped["stop"]]}
        assert await plays(village, other) == ("successful", None)

    village.tell(story)
