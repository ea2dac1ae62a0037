"""Orders as a stranger would send them: nonsense, repetitions, floods; the node answers or counts, and goes on."""

from __future__ import annotations

import base64
import json
import signal
from typing import Any

import pytest

from tests.playout.media import tone, wav
from tests.process.conftest import Outside, OutsideMaker
from tests.process.node import GROUP, NAME, ROOT, order, pause, seal

pytestmark = pytest.mark.realtime

TOPIC = f"{ROOT}/{NAME}/dn/cmd/ping"
DIGEST = "sha256:" + "ab" * 32


def envelope(inner: bytes, **changes: Any) -> bytes:
    said = {
        "payloadType": "application/vnd.pa.order+json",
        "payload": base64.b64encode(inner).decode(),
        "signatures": [],
    }
    return json.dumps(said | changes).encode()


JUNK = (
    b"",
    b"xin chao",
    b"x" * 65_537,
    b"x" * 10_000_000,
    b"\xff\xfe\x00",
    b"null",
    b"1e999",
    b"[" * 1000 + b"]" * 1000,
    envelope(b'{"a":' * 1000 + b"1" + b"}" * 1000),
    envelope(b'{"id":NaN}'),
    envelope(b"{}", payload="@@@"),
    envelope(b"{}", payload="e30"),
    envelope(b"{}", payloadType="text/plain"),
    envelope(b"{}", signatures=[{"keyid": "a", "sig": "b"}] * 1000),
    seal(order("ping", id="../../etc/passwd")),
    seal(order("ping", id="a/+/#")),
    seal(order("ping", id="01JDBZ7WK3Q0V0T4ZB1S9M8Y6E\n")),
    seal(order("ping", iss="Xã")),
    seal(order("ping", aud=[])),
)
"""What cannot even be told whose it is."""

REFUSED: tuple[tuple[str, str, Any, dict[str, Any]], ...] = (
    ("unsupported", "ping", {}, {"v": 2}),
    ("unsupported", "dance", {}, {}),
    ("bad_envelope", "ping", {}, {"class": "boss"}),
    ("bad_envelope", "ping", {}, {"seq": 10**30}),
    ("bad_envelope", "ping", {}, {"surprise": 1}),
    ("bad_envelope", "ping", [1], {}),
    ("wrong_audience", "ping", {}, {"aud": ["n:thon-khac"]}),
    ("expired", "ping", {}, {"iat": "2019-12-31T00:00:00Z", "exp": "2020-01-01T00:00:00Z"}),
    ("clock_untrusted", "ping", {}, {"iat": "2190-01-01T00:00:00Z", "exp": "2190-01-02T00:00:00Z"}),
    ("bad_args", "volume", {"volume": 101}, {}),
    ("bad_args", "volume", {"volume": -1}, {}),
    ("bad_args", "volume", {"volume": "70"}, {}),
    ("bad_args", "play", {"media": DIGEST.upper()}, {}),
    ("bad_args", "play", {"media": DIGEST, "url": "file:///etc/passwd"}, {}),
    ("bad_args", "play", {"media": DIGEST, "url": "ftp://x/y"}, {}),
    ("bad_args", "board_show", {"text": ""}, {}),
    ("bad_args", "stop", {"order": "x"}, {}),
)


def test_whatever_is_no_good_order_is_refused_with_its_reason_or_counted(outside: Outside) -> None:
    server = outside.server
    for blob in JUNK:
        server.publish(TOPIC, blob)
    server.state(server.order("ping"), "successful")
    assert "65536" in server.alerts()["rejected_orders"]["text"] or "JSON" in str(server.alerts())
    for code, verb, args, changes in REFUSED:
        refused = server.order(verb, args, **changes)
        state = server.state(refused, "rejected")
        assert state["reason"]["code"] == code, (verb, args, changes, state)
        assert state["reason"]["text"].endswith("."), "a sentence"
    server.state(server.order("ping"), "successful")


def test_a_retained_order_is_refused_at_once_and_an_order_on_another_verbs_topic(outside: Outside) -> None:
    server = outside.server
    retained, astray = order("ping"), order("ping")
    server.publish(TOPIC, seal(retained), retain=True)
    assert server.state(retained["id"])["state"] == "rejected"
    server.publish(f"{ROOT}/{NAME}/dn/cmd/stop", seal(astray))
    assert server.state(astray["id"])["reason"]["code"] == "bad_envelope"
    outside.node.end()
    outside.begin()
    server.state(server.order("ping"), "successful")
    assert {said["state"] for said in server.states(retained["id"])} == {"rejected"}, "nor at a reconnect"


def test_a_group_is_answered_and_a_dry_run_does_nothing(outside: Outside) -> None:
    server = outside.server
    body = order("volume", {"volume": 11}, aud=[f"g:{GROUP}"], dry=True)
    server.publish(f"{ROOT}/g/{GROUP}/dn/cmd/volume", seal(body))
    assert server.state(body["id"])["result"] == {"dry": True}
    assert server.state(server.order("ping"))["result"]["volume"] == 70


def test_a_flood_of_orders_is_answered_whole(make_outside: OutsideMaker) -> None:
    """Debian 12's Mosquitto disregards the Receive Maximum under such a flood; the node must not go deaf."""
    outside = make_outside("--set", "report.bytes_per_s=10000000")
    outside.begin()
    server = outside.server
    orders = [server.order("volume", {"volume": number % 100}) for number in range(300)]
    server.state(orders[-1], "successful", within_s=30)
    assert server.state(server.order("ping"), within_s=30)["result"]["volume"] == 299 % 100, "in their order"


def test_an_order_is_carried_out_once_however_often_it_comes(outside: Outside) -> None:
    """Also after a restart, and after a kill -9."""
    server, node = outside.server, outside.node
    once = order("volume", {"volume": 33})
    for _ in range(3):
        server.publish(f"{ROOT}/{NAME}/dn/cmd/volume", seal(once))
    server.state(once["id"], "successful")
    for how in (signal.SIGTERM, signal.SIGKILL):
        server.state(server.order("volume", {"volume": 44}), "successful")
        node.end(how)
        outside.begin()
        server.publish(f"{ROOT}/{NAME}/dn/cmd/volume", seal(once))
        assert server.state(server.order("ping"))["result"]["volume"] == 44, "the repetition did nothing"
    node.end()
    with node.database() as database:
        rows = database.execute("SELECT count(*) FROM asrun WHERE order_id = ?", (once["id"],)).fetchone()
    assert rows == (1,)


def test_a_stop_right_behind_a_play_always_stops_it(outside: Outside) -> None:
    """The programme is in the cache and measured, so that nothing holds it up on its way to the loudspeaker."""
    server = outside.server
    play = outside.put("bulletin.wav", wav(tone(20)))
    first = server.order("play", play)
    server.state(first, "executing")
    server.order("stop")
    server.state(first)
    for number in range(12):
        order = server.order("play", play)
        pause(0.002 * (number % 4))
        stop = server.order("stop", {"order": order} if number % 2 else {})
        assert server.state(stop)["result"]["orders"] == [order]
        assert server.state(order)["state"] == "cancelled"
