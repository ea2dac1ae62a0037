"""`edge-agent order` on a real Mosquitto: what is published, and how a node's answers are followed."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import queue
import re
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import pytest

from edge_agent.cli import carry_out, posting
from edge_agent.command.envelope import ID_PATTERN, Order, read, unwrap
from edge_agent.command.messages import ARGS_OF_VERB, Timing, intent_of
from edge_agent.model import Live, Play, Precedence, RtpOrigin, Say, Stop, WebOrigin
from hal.linux.broker import MqttBroker
from hal.ports import Connect, Delivery, Message
from tests.mosquitto import Mosquitto

DIGEST = "sha256:" + "ab" * 32


class Node(threading.Thread):
    """A node at the far end: hears the topics it is told, and answers each order with the given states."""

    def __init__(self, url: str, name: str, *, topics: tuple[str, ...], states: tuple[str, ...] = ()) -> None:
        super().__init__(name=name, daemon=True)
        self._url, self._topics, self._states = url, topics, states
        self._ready = threading.Event()
        self._over: Callable[[], object] = lambda: None
        self.heard: queue.Queue[Delivery] = queue.Queue()

    def run(self) -> None:
        asyncio.run(self._live())

    async def _live(self) -> None:
        async with MqttBroker(self._url).session(Connect(client_id=self.name, clean_start=True)) as session:
            await session.subscribe(*self._topics)
            loop = asyncio.get_running_loop()
            listening = asyncio.ensure_future(self._listen(session))
            self._over = lambda: loop.call_soon_threadsafe(listening.cancel)
            self._ready.set()
            with contextlib.suppress(asyncio.CancelledError):
                await listening

    async def _listen(self, session: Any) -> None:
        while True:
            delivery = await session.receive()
            session.acknowledge(delivery)
            order = read(unwrap(delivery.payload), verbs=ARGS_OF_VERB)
            noise = {"id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "state": "successful"}
            for said in (
                noise,
                *({"id": order.id, "state": state, "reason": None} for state in self._states),
            ):
                await session.publish(
                    Message(topic=f"pa/v1/{self.name}/up/cmd", payload=json.dumps(said).encode())
                )
            self.heard.put(delivery)

    def __enter__(self) -> Self:
        self.start()
        assert self._ready.wait(20), "the far end did not come up"
        return self

    def __exit__(self, *_: object) -> None:
        self._over()
        self.join(20)

    def order(self) -> tuple[Delivery, Order]:
        delivery = self.heard.get(timeout=20)
        return delivery, read(unwrap(delivery.payload), verbs=ARGS_OF_VERB)


@pytest.fixture
def url(mosquitto: Mosquitto) -> str:
    return mosquitto.url


@pytest.fixture
def thon_3(url: str) -> Iterator[Node]:
    with Node(url, "thon-3", topics=("pa/v1/thon-3/dn/cmd/#", "pa/v1/g/xa-1/dn/cmd/#")) as node:
        yield node


def send(url: str, *arguments: str) -> int:
    return carry_out(["order", *arguments, "--broker", url])


# ---------------------------------------------------------------- what is published


@pytest.mark.realtime
def test_live_orders_words_and_instants_are_what_the_node_takes(
    url: str, thon_3: Node, tmp_path: Path
) -> None:
    key = tmp_path / "khoa.txt"
    assert carry_out(["send", "--new-key", str(key)]) == 0
    to = ("--node", "thon-3")
    assert send(url, "live_start", *to, "--relay", "r.vn:7000", "--srtp-file", str(key), "--mode", "group", "--delay-ms", "800",
                "--max", "30m", "--standby-stream", "https://dai.vn/live", "--standby-say", "Xin chờ", "--red-type", "-1") == 0  # fmt: skip
    live = intent_of(thon_3.order()[1], Timing(since_ns=0, deadline_ns=1))
    assert isinstance(live, Live)
    assert isinstance(live.origin, RtpOrigin)
    assert (live.origin.relay, live.origin.red_type, live.max_s, live.delay_ms) == (
        ("r.vn", 7000),
        None,
        1800,
        800,
    )
    assert base64.b64encode(live.origin.srtp_key or b"").decode() == key.read_text().strip()
    assert live.standby.stream == WebOrigin(url="https://dai.vn/live")
    assert send(url, "live_start", *to, "--stream", "http://dai.vn/live") == 0
    assert isinstance(intent_of(thon_3.order()[1], Timing(since_ns=0, deadline_ns=1)), Live)
    assert send(url, "say", "Mời họp", *to, "--times", "2", "--start-at", "60s") == 0
    order = thon_3.order()[1]
    said = intent_of(order, Timing(since_ns=0, deadline_ns=1))
    assert isinstance(said, Say)
    assert said.starts_at is not None
    assert timedelta(seconds=50) < said.starts_at - order.issued_at <= timedelta(seconds=61)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("live_start",), "--stream"),
        (("live_start", "--port", "5004", "--stream", "http://x/a"), "--stream"),
        (("live_start", "--relay", "r.vn"), "HOST:PORT"),
        (("live_start", "--port", "5004", "--srtp-file", "no-such-file"), "no-such-file"),
        (("say", "a", "--start-at", "mai"), "mai"),
    ],
)
def test_live_options_that_contradict_are_said(
    words: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert send("mqtt://127.0.0.1:1", *words, "--node", "thon-3", "--lang", "en") == 2
    assert says in capsys.readouterr().err


@pytest.mark.realtime
def test_an_order_is_an_envelope_that_the_node_takes(
    url: str, thon_3: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    code = send(url, "play", "--node", "thon-3", "--media", DIGEST, "--url", "http://x/a.mp3", "--volume", "60",
                "--zone", "cho", "--zone", "truong", "--title", "Bản tin", "--class", "priority", "--expires", "10m")  # fmt: skip
    assert code == 0
    delivery, order = thon_3.order()
    assert delivery.topic == "pa/v1/thon-3/dn/cmd/play"
    assert (delivery.qos, delivery.retain) == (1, False)
    assert delivery.correlation == order.id.encode()
    assert delivery.expiry_s is not None
    assert 590 < delivery.expiry_s <= 600
    assert order.audience == ("n:thon-3",)
    assert order.precedence is Precedence.PRIORITY
    assert order.expires_at - order.issued_at == timedelta(minutes=10)
    assert json.loads(capsys.readouterr().out) == {"id": order.id}
    intent = intent_of(order, Timing(since_ns=0, deadline_ns=1))
    assert isinstance(intent, Play)
    assert (intent.media, intent.url, intent.volume) == (DIGEST, "http://x/a.mp3", 60)
    assert (intent.zones, intent.title) == (("cho", "truong"), "Bản tin")


@pytest.mark.realtime
def test_every_verb_makes_arguments_that_the_node_takes(url: str, thon_3: Node, tmp_path: Path) -> None:
    sound = tmp_path / "a.mp3"
    sound.write_bytes(b"sound")
    digest = "sha256:" + hashlib.sha256(b"sound").hexdigest()
    for arguments, verb, args in (
        (("play", "--file", str(sound)), "play", {"media": digest}),
        (("stop", "--order", "01ARZ3NDEKTSV4RRFFQ69G5FAV"), "stop", {"order": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}),
        (("stop", "--below", "priority"), "stop", {"class": "priority"}),
        (("board_show", "Chào bà con", "--ttl", "2h"), "board_show", {"text": "Chào bà con", "ttl_s": 7200}),
        (("board_clear",), "board_clear", {}),
        (("volume", "30"), "volume", {"volume": 30}),
        (("ping",), "ping", {}),
    ):
        assert send(url, *arguments, "--group", "xa-1") == 0
        delivery, order = thon_3.order()
        assert delivery.topic == f"pa/v1/g/xa-1/dn/cmd/{verb}"
        assert order.audience == ("g:xa-1",)
        assert order.args == args
        intent = intent_of(order, Timing(since_ns=0, deadline_ns=1))
        if isinstance(intent, Stop) and intent.target is None:
            assert intent.highest is Precedence.PRIORITY


@pytest.mark.realtime
def test_later_orders_have_greater_numbers_and_ids_of_their_own(url: str, thon_3: Node) -> None:
    for _ in range(3):
        assert send(url, "ping", "--node", "thon-3") == 0
    orders = [thon_3.order()[1] for _ in range(3)]
    assert orders[0].seq < orders[1].seq < orders[2].seq
    assert len({order.id for order in orders}) == 3


@pytest.mark.realtime
def test_an_id_of_ones_own_can_be_sent_again(url: str, thon_3: Node) -> None:
    for _ in range(2):
        assert send(url, "ping", "--node", "thon-3", "--id", "01ARZ3NDEKTSV4RRFFQ69G5FAV") == 0
        assert thon_3.order()[1].id == "01ARZ3NDEKTSV4RRFFQ69G5FAV"


def test_ids_are_ulids_in_the_order_of_time() -> None:
    now = datetime(2026, 11, 24, tzinfo=UTC)
    ids = [posting.ulid(now + timedelta(milliseconds=step)) for step in range(5)]
    assert all(re.search(ID_PATTERN, each) for each in ids)
    assert ids == sorted(ids)


# ---------------------------------------------------------------- --wait


@pytest.mark.realtime
@pytest.mark.parametrize(
    ("last", "code"), [("successful", 0), ("failed", 4), ("rejected", 4), ("expired", 4), ("interrupted", 4)]
)
def test_states_are_printed_until_one_is_final(
    url: str, last: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with Node(url, "thon-3", topics=("pa/v1/thon-3/dn/cmd/#",), states=("accepted", "executing", last)):
        assert send(url, "ping", "--node", "thon-3", "--wait", "--wait-s", "20") == code
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [state["state"] for state in said] == ["accepted", "executing", last]
    assert {state["node"] for state in said} == {"thon-3"}


@pytest.mark.realtime
def test_a_state_that_comes_twice_is_printed_once(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    states = ("accepted", "accepted", "executing", "executing", "successful")
    with Node(url, "thon-3", topics=("pa/v1/thon-3/dn/cmd/#",), states=states):
        assert send(url, "ping", "--node", "thon-3", "--wait", "--wait-s", "20") == 0
    said = [json.loads(line)["state"] for line in capsys.readouterr().out.splitlines()]
    assert said == ["accepted", "executing", "successful"]


@pytest.mark.realtime
def test_a_node_that_does_not_answer_is_code_5(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert send(url, "ping", "--node", "thon-9", "--wait", "--wait-s", "0.3") == 5
    said = capsys.readouterr()
    assert said.out == ""
    assert "0.3 giây" in said.err


@pytest.mark.realtime
def test_a_group_is_heard_until_patience_ends(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    group = ("pa/v1/g/xa-1/dn/cmd/#",)
    with (
        Node(url, "thon-1", topics=group, states=("accepted", "successful")),
        Node(url, "thon-2", topics=group, states=("accepted", "successful")),
    ):
        assert send(url, "ping", "--group", "xa-1", "--wait", "--wait-s", "1.5") == 0
    final = [
        said
        for said in map(json.loads, capsys.readouterr().out.splitlines())
        if said["state"] == "successful"
    ]
    assert {said["node"] for said in final} == {"thon-1", "thon-2"}


@pytest.mark.realtime
def test_one_node_of_a_group_that_fails_is_code_4_and_one_unfinished_code_5(url: str) -> None:
    group = ("pa/v1/g/xa-1/dn/cmd/#",)
    with (
        Node(url, "thon-1", topics=group, states=("successful",)),
        Node(url, "thon-2", topics=group, states=("failed",)),
    ):
        assert send(url, "ping", "--group", "xa-1", "--wait", "--wait-s", "1.5") == 4
    with Node(url, "thon-1", topics=group, states=("executing",)):
        assert send(url, "ping", "--group", "xa-1", "--wait", "--wait-s", "1.5") == 5


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.realtime
def test_a_broker_that_is_not_there_is_code_3(
    mosquitto: Mosquitto, capsys: pytest.CaptureFixture[str]
) -> None:
    mosquitto.stop()
    assert send(mosquitto.url, "ping", "--node", "thon-3") == 3
    assert capsys.readouterr().err.startswith(f"Không nối được với broker {mosquitto.url}")


@pytest.mark.realtime
def test_a_broker_that_wants_a_password(
    make_mosquitto: Callable[..., Mosquitto], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broker = make_mosquitto(accounts={"xa": "bi-mat"})
    assert send(broker.url, "ping", "--node", "thon-3", "--lang", "en") == 3
    assert "refused" in capsys.readouterr().err
    word = tmp_path / "word"
    word.write_text("bi-mat\n")
    assert send(broker.url, "ping", "--node", "thon-3", "--username", "xa", "--password-file", str(word)) == 0


@pytest.mark.realtime
def test_a_topic_that_the_broker_forbids_is_code_3(
    make_mosquitto: Callable[..., Mosquitto], capsys: pytest.CaptureFixture[str]
) -> None:
    broker = make_mosquitto(acl="topic write pa/v1/thon-3/dn/#\n")
    assert send(broker.url, "ping", "--node", "thon-3") == 0
    assert send(broker.url, "ping", "--node", "thon-4") == 3
    assert "ACL" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ping",), "--node"),
        (("ping", "--node", "thon-3", "--group", "xa-1"), "--group"),
        (("ping", "--node", "Thôn 3"), "Thôn 3"),
        (("ping", "--node", "thon-3", "--expires", "soon"), "soon"),
        (("ping", "--node", "thon-3", "--expires", "31d"), "31d"),
        (("ping", "--node", "thon-3", "--expires", "0s"), "0s"),
        (("ping", "--node", "thon-3", "--class", "loud"), "loud"),
        (("ping", "--node", "thon-3", "--id", "x"), "x"),
        (("ping", "--node", "thon-3", "--root", "a/#"), "a/#"),
        (("ping", "--node", "thon-3", "--issuer", "Xã Vi Hương"), "Xã Vi Hương"),
        (("stop", "--node", "thon-3", "--order", "x"), "ULID"),
        (("play", "--node", "thon-3"), "--media"),
        (("play", "--node", "thon-3", "--media", "md5:1"), "md5:1"),
        (("play", "--node", "thon-3", "--media", DIGEST, "--url", "ftp://x"), "http://"),
        (("play", "--node", "thon-3", "--file", "/nowhere/a.mp3"), "/nowhere/a.mp3"),
        (("stop", "--node", "thon-3"), "--below"),
        (("board_show", "", "--node", "thon-3"), "text"),
        (("board_show", "a", "--node", "thon-3", "--ttl", "30d"), "ttl_s"),
        (("ping", "--node", "thon-3", "--password-file", "/nowhere"), "/nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_what_makes_no_order_is_said_before_anything_is_sent(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert send("mqtt://127.0.0.1:1", *arguments) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("url", ["127.0.0.1:1883", "http://x", "mqtt://me:word@x", "mqtt://"])
def test_a_broker_url_that_is_none(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert send(url, "ping", "--node", "thon-3") == 2
    assert "mqtts://" in capsys.readouterr().err
