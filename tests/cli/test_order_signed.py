"""`edge-agent order --key`: what it publishes holds before a node's own rules."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from edge_agent.cli import carry_out, posting
from edge_agent.clocktrust import Quality, Sight
from edge_agent.command import envelope, keys
from edge_agent.command.envelope import Order, Sealed
from edge_agent.command.messages import ARGS_OF_VERB
from edge_agent.command.ring import Ring
from hal.ports import Connect, Message

SCOPE = (
    "--verb",
    "ping",
    "--verb",
    "stop",
    "--verb",
    "alert",
    "--verb",
    "release",
    "--max-class",
    "emergency",
)


def stored() -> bytes:
    """The counter beside the first key."""
    path = Path("xa-1.seq")
    return path.read_bytes() if path.exists() else b""


class Wire:
    """A broker's place: keeps what is published, and counts what had been stored by then."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.counter: list[bytes] = []

    def __call__(self, url: str, **_: Any) -> Wire:
        return self

    @asynccontextmanager
    async def session(self, connect: Connect) -> AsyncIterator[Wire]:
        yield self

    async def publish(self, message: Message) -> None:
        self.sent.append(message)
        self.counter.append(stored())

    def order(self) -> tuple[Sealed, Order]:
        sealed = envelope.unwrap(self.sent[-1].payload)
        return sealed, envelope.read(sealed, verbs=ARGS_OF_VERB)


@pytest.fixture
def wire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wire:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGE_AGENT_LANG", "en")
    for line in (
        ("root", "goc-1"),
        ("authority", "xa-vi-huong", "--kid", "xa-1"),
        ("authority", "huyen", "--kid", "huyen-1"),
        ("make", "1.json", "--root", "goc-1.pub", "--authority", "xa-1.pub", *SCOPE, "--threshold", "emergency=2"),
        ("make", "1.json", "--from", "1.json", "--authority", "huyen-1.pub", *SCOPE),
        ("sign", "1.json", "--key", "goc-1.key"),
    ):  # fmt: skip
        assert carry_out(["keys", *line]) == 0
    wire = Wire()
    monkeypatch.setattr(posting, "MqttBroker", wire)
    return wire


def send(*arguments: str) -> int:
    return carry_out(["order", *arguments, "--node", "thon-3", "--broker", "mqtt://127.0.0.1:1"])


def proven(sealed: Sealed, order: Order) -> tuple[str, ...]:
    """The keys by which a node with that document takes it."""
    ring = Ring(keys.opened(Path("1.dsse").read_bytes()).document)
    now = order.issued_at + timedelta(seconds=1)
    return ring.prove(sealed, order.issuer, Sight(now=now, quality=Quality.SYNCED, floor=now)).kids


def test_a_signed_order_is_proven_and_its_issuer_is_whose_the_key_is(wire: Wire) -> None:
    assert send("ping", "--key", "xa-1.key") == 0
    sealed, order = wire.order()
    assert order.issuer == "xa-vi-huong"
    assert proven(sealed, order) == ("xa-1",)


def test_the_number_is_durable_before_the_order_leaves_and_grows_by_one(wire: Wire) -> None:
    for _ in range(3):
        assert send("ping", "--key", "xa-1.key") == 0
    numbers = [
        envelope.read(envelope.unwrap(message.payload), verbs=ARGS_OF_VERB).seq for message in wire.sent
    ]
    assert numbers == sorted(set(numbers))
    assert [int(text) for text in wire.counter] == numbers


def test_two_keys_sign_what_needs_two(wire: Wire) -> None:
    assert send("stop", "--below", "emergency", "--for", "30m", "--class", "emergency",
                "--key", "xa-1.key", "--key", "huyen-1.key") == 0  # fmt: skip
    sealed, order = wire.order()
    assert proven(sealed, order) == ("xa-1", "huyen-1")
    assert order.args == {"class": "emergency", "for_s": 1800}
    assert Path("xa-1.seq").read_bytes() == Path("huyen-1.seq").read_bytes()


def test_an_alert_a_release_and_a_nonce(wire: Wire) -> None:
    Path("bao.xml").write_text("<alert/>", encoding="utf-8")
    assert send("alert", "--cap", "bao.xml", "--message", "bao", "--key", "xa-1.key", "--nonce", "n1") == 0
    _, order = wire.order()
    assert order.args == {"cap": "<alert/>", "message": "bao"}
    assert order.nonce == "n1"
    assert send("release", "--stop", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "--key", "xa-1.key") == 0
    assert wire.order()[1].args == {"stop": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}
    assert send("alert", "--key", "xa-1.key") == 2


def test_without_a_key_nothing_is_signed_or_counted(wire: Wire) -> None:
    assert send("ping") == 0
    sealed, order = wire.order()
    assert sealed.signatures == ()
    assert order.issuer == "edge-agent-cli"
    assert list(Path().glob("*.seq")) == []


@pytest.mark.parametrize(
    ("keys_", "said"),
    [
        (("goc-1.key",), "--issuer"),
        (("xa-1.key", "xa-1.key"), "twice"),
        (("nowhere.key",), "nowhere.key"),
        (("xa-1.pub",), "no Ed25519 key"),
    ],
)
def test_a_key_that_cannot_sign_sends_nothing(
    wire: Wire, keys_: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("xa-1.pub").chmod(0o600)
    assert send("ping", *[word for name in keys_ for word in ("--key", name)]) == 2
    assert said in capsys.readouterr().err
    assert wire.sent == []
