"""Arguments become intents, or a refusal that names the field."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from edge_agent.command.assessment import Heed
from edge_agent.command.messages import ARGS_OF_VERB, Timing, intent_of, read_ack, read_pending
from edge_agent.errors import OrderRefused
from edge_agent.model import (
    NS,
    BoardClear,
    BoardShow,
    Intent,
    Live,
    Ping,
    Play,
    Precedence,
    ReasonCode,
    Release,
    RtpOrigin,
    Say,
    SetVolume,
    Stop,
    Voice,
    WebOrigin,
)
from tests.command.scene import ARGS, MEDIA, an_order
from tests.entries import ident

TIMING = Timing(since_ns=5 * NS, deadline_ns=60 * NS)


def made(verb: str, **args: Any) -> Intent:
    return intent_of(an_order(1, verb, args=args), TIMING)


INTENT_OF_VERB: dict[str, type[Intent]] = {
    "play": Play,
    "say": Say,
    "live_start": Live,
    "stop": Stop,
    "release": Release,
    "volume": SetVolume,
    "board_show": BoardShow,
    "board_clear": BoardClear,
    "alert": Heed,  # the desk makes the Warn of it
    "ping": Ping,
}


@pytest.mark.parametrize("verb", sorted(ARGS_OF_VERB))
def test_every_verb_makes_its_intent(verb: str) -> None:
    intent = made(verb, **ARGS[verb])
    assert type(intent) is INTENT_OF_VERB[verb]
    assert (intent.id, intent.issuer, intent.deadline_ns) == (ident(1), "xa-vi-huong", TIMING.deadline_ns)


def test_a_play_carries_everything_it_was_given() -> None:
    play = made(
        "play",
        media=MEDIA,
        url="https://x.vn/a b".replace(" ", "%20"),
        volume=0,
        zones=["a"],
        title="Bản tin",
    )
    assert isinstance(play, Play)
    assert (play.media, play.url, play.volume, play.zones, play.title) == (
        MEDIA,
        "https://x.vn/a%20b",
        0,
        ("a",),
        "Bản tin",
    )


def test_a_live_order_says_where_its_sound_comes_from() -> None:
    key = base64.b64encode(bytes(range(30))).decode()
    rtp = {"relay": {"host": "r.vn", "port": 70}, "codec": "pcma", "red_type": None, "srtp": key}
    live = made("live_start", rtp=rtp, mode="group", delay_ms=800, standby={"say": "Xin chờ"})
    assert isinstance(live, Live)
    origin = live.origin
    assert isinstance(origin, RtpOrigin)
    assert (origin.port, origin.relay, origin.clock_hz, origin.red_type) == (0, ("r.vn", 70), 8_000, None)
    assert origin.srtp_key == bytes(range(30))
    assert key not in repr(live)
    assert str(origin.srtp_key) not in repr(live), "a key is in no log"
    assert live.standby.voice == Voice("Xin chờ", "vi")
    pull = made("live_start", stream={"url": "https://x/a", "pin": MEDIA})
    assert isinstance(pull, Live)
    assert pull.origin == WebOrigin(url="https://x/a", pin=MEDIA)


def test_a_stop_is_for_one_order_or_up_to_a_class_or_for_everything() -> None:
    for args, target, highest in (
        ({"order": ident(2)}, ident(2), Precedence.EMERGENCY),
        ({"class": "routine"}, None, Precedence.ROUTINE),
        ({}, None, Precedence.EMERGENCY),
    ):
        stop = made("stop", **args)
        assert isinstance(stop, Stop)
        assert (stop.target, stop.highest, stop.until_ns) == (target, highest, None)


def test_a_stop_may_last_for_so_long_or_until_a_moment() -> None:
    order = an_order(1, "stop", args={"class": "priority", "for_s": 600})
    stop = intent_of(order, TIMING)
    assert isinstance(stop, Stop)
    assert (stop.highest, stop.until_ns) == (Precedence.PRIORITY, 605 * NS)
    until = (order.issued_at + timedelta(hours=1)).isoformat()
    asked = {"order": ident(2), "until": until}
    by_issue = intent_of(an_order(1, "stop", args=asked), TIMING)
    assert isinstance(by_issue, Stop)
    assert (by_issue.target, by_issue.until_ns) == (ident(2), 3605 * NS), (
        "without a date of our own, the issuer's"
    )
    dated = replace(TIMING, since=order.issued_at + timedelta(minutes=50))
    late = intent_of(an_order(1, "stop", args=asked), dated)
    assert isinstance(late, Stop)
    assert late.until_ns == 605 * NS


@pytest.mark.parametrize(
    ("args", "word"),
    [
        ({"class": "routine", "until": "2026-11-24T00:00:00Z", "for_s": 5}, "not both"),
        ({"class": "routine", "order": ident(2)}, "not both"),
        ({"for_s": 5}, "says what it covers"),
        ({"class": "routine", "for_s": 30 * 86400 + 1}, "for_s"),
        ({"class": "routine", "for_s": -1}, "for_s"),
        ({"class": "routine", "until": "2126-11-24T00:00:00Z"}, "30 days"),
        ({"class": "routine", "until": "9999-12-31T23:59:59Z"}, "30 days"),
        ({"class": "routine", "until": "2026-11-24T00:00:00"}, "until"),
        ({"class": "routine", "until": "soon"}, "until"),
    ],
)
def test_a_stop_that_lasts_is_bounded_and_says_what_it_covers(args: dict[str, Any], word: str) -> None:
    with pytest.raises(OrderRefused, match=word) as refused:
        made("stop", **args)
    assert refused.value.code is ReasonCode.BAD_ARGS


def test_a_release_is_for_one_stop_or_all() -> None:
    one, everything = made("release", stop="button-1"), made("release")
    assert isinstance(one, Release)
    assert isinstance(everything, Release)
    assert (one.target, everything.target) == ("button-1", None)


def test_an_alert_is_a_cap_message_or_a_stored_one_or_both() -> None:
    text = ARGS["alert"]["cap"]
    both = made("alert", cap=text, message="lu-quet")
    assert isinstance(both, Heed)
    assert both.alert is not None
    assert (both.message, both.since_ns) == ("lu-quet", TIMING.since_ns)
    stored = made("alert", message="lu-quet")
    assert isinstance(stored, Heed)
    assert stored.alert is None
    for args, says in (
        ({}, "or both"),
        ({"message": "../x"}, "stored message's name"),
        ({"cap": "<a/>"}, "CAP 1.2"),
    ):
        with pytest.raises(OrderRefused) as caught:
            made("alert", **args)
        assert says in caught.value.text


def test_a_notice_counts_from_when_it_was_accepted() -> None:
    notice = made("board_show", text="Họp", ttl_s=10)
    assert isinstance(notice, BoardShow)
    assert notice.until_ns == 15 * NS
    hour = made("board_show", text="Họp")
    assert isinstance(hour, BoardShow)
    assert hour.until_ns == 3605 * NS


def test_the_rest() -> None:
    assert isinstance(made("ping"), Ping)
    volume = made("volume", volume=100)
    assert isinstance(volume, SetVolume)
    assert volume.volume == 100
    clear = made("board_clear", order=ident(9))
    assert isinstance(clear, BoardClear)
    assert clear.target == ident(9)


@pytest.mark.parametrize(
    ("verb", "args", "named"),
    [
        ("play", {}, "media"),
        ("play", {"media": "a" * 64}, "media"),
        ("play", {"media": MEDIA.upper()}, "media"),
        ("play", {"media": MEDIA + "\n"}, "media"),
        ("play", {"media": MEDIA, "url": "file:///etc/passwd"}, "url"),
        ("play", {"media": MEDIA, "url": "http://"}, "url"),
        ("play", {"media": MEDIA, "url": "http://x/\r\nHost: y"}, "url"),
        ("play", {"media": MEDIA, "url": "http://x/" + "a" * 2048}, "url"),
        ("play", {"media": MEDIA, "volume": 101}, "volume"),
        ("play", {"media": MEDIA, "volume": "70"}, "volume"),
        ("play", {"media": MEDIA, "zones": ["a"] * 17}, "zones"),
        ("play", {"media": MEDIA, "zone": "a"}, "zone"),
        ("play", {"media": MEDIA, "start_at": "2026-11-23T17:00:00"}, "start_at"),
        ("play", {"media": MEDIA, "start_at": "2031-11-23T17:00:00+07:00"}, "start_at"),
        ("say", {}, "text"),
        ("say", {"text": "a", "language": "vi; rm"}, "language"),
        ("say", {"text": "a", "times": 11}, "times"),
        ("live_start", {}, "rtp"),
        ("live_start", {"rtp": {"port": 5004}, "stream": {"url": "http://x/a"}}, "rtp"),
        ("live_start", {"rtp": {}}, "relay"),
        ("live_start", {"rtp": {"port": 80}}, "port"),
        ("live_start", {"rtp": {"port": 5004, "group": "10.0.0.1"}}, "group"),
        ("live_start", {"rtp": {"port": 5004, "codec": "mp3"}}, "codec"),
        ("live_start", {"rtp": {"port": 5004, "codec": "pcmu", "clock_hz": 48000}}, "clock_hz"),
        ("live_start", {"rtp": {"port": 5004, "payload_type": 97}}, "red_type"),
        ("live_start", {"rtp": {"port": 5004, "srtp": "short"}}, "srtp"),
        ("live_start", {"rtp": {"port": 5004}, "mode": "group"}, "delay_ms"),
        ("live_start", {"rtp": {"port": 5004}, "max_s": 30_000}, "max_s"),
        ("live_start", {"stream": {"url": "rtsp://x/a"}}, "url"),
        ("live_start", {"stream": {"url": "http://x/a", "pin": MEDIA}}, "https"),
        ("live_start", {"stream": {"url": "http://x/a"}, "mode": "group", "delay_ms": 500}, "stream"),
        ("live_start", {"rtp": {"port": 5004, "relay": {"host": "a b", "port": 1}}}, "host"),
        ("stop", {"order": ident(1), "class": "routine"}, "order"),
        ("stop", {"class": "all"}, "class"),
        ("board_show", {"text": ""}, "text"),
        ("board_show", {"text": "a", "ttl_s": 7 * 86400 + 1}, "ttl_s"),
        ("board_clear", {"order": 5}, "order"),
        ("volume", {}, "volume"),
        ("volume", {"volume": True}, "volume"),
        ("ping", {"loud": 1}, "loud"),
    ],
)
def test_wrong_arguments_are_refused_by_name(verb: str, args: dict[str, Any], named: str) -> None:
    with pytest.raises(OrderRefused) as caught:
        made(verb, **args)
    assert caught.value.code is ReasonCode.BAD_ARGS
    assert named in caught.value.text
    assert verb in caught.value.text
    assert "regex" not in caught.value.text, "nobody should have to read a pattern"


def test_an_acknowledgement_says_up_to_where() -> None:
    assert read_ack(b'{"upto": 17}').upto == 17
    assert read_ack(b'{"upto": 17, "log": "1a2b"}').log == "1a2b"
    for blob in (b"", b"17", b'{"upto": -1}', b'{"upto": "x"}', b"[" * 100):
        with pytest.raises(OrderRefused):
            read_ack(blob)


def test_pending_orders_come_as_whole_envelopes() -> None:
    envelopes = [{"payloadType": "x"}, {"payloadType": "y"}]
    blobs = read_pending(json.dumps({"orders": envelopes}).encode())
    assert [json.loads(blob) for blob in blobs] == envelopes
    for blob in (b"{}", b'{"orders": 1}', b'{"orders": [' + b"1," * 300 + b"1]}"):
        with pytest.raises(OrderRefused):
            read_pending(blob)
