"""Making an order, publishing it and following its states: the working part of `edge-agent order`.

It uses the agent's own door to the broker, because that one raises what aiomqtt hides: a refused publish.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from edge_agent import catalogue
from edge_agent.catalogue import Language
from edge_agent.cli import keyfile, speech
from edge_agent.cli.keyfile import KeyFile
from edge_agent.command.envelope import ID_PATTERN, Order, seal, worded
from edge_agent.command.messages import ARGS_OF_VERB, FORMS
from edge_agent.command.signing import Signer
from edge_agent.command.topics import order_topic
from edge_agent.model import TERMINAL, Issuer, OrderId, OrderState, Precedence
from hal.errors import BrokerError, BrokerLost, BrokerRefused
from hal.linux.broker import MqttBroker
from hal.linux.clock import SystemClock
from hal.ports import BrokerSession, Connect, Delivery, Message

NOT_SENT: Final = 3
UNSUCCESSFUL: Final = 4
NO_FINAL_STATE: Final = 5

WAIT_NODE_S: Final = 3600.0
WAIT_GROUP_S: Final = 60.0
LONGEST: Final = timedelta(days=30)

UNSIGNED: Final = "edge-agent-cli"
"""The issuer of orders that nobody signs."""

_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where an order goes, as whom, and for how long it is followed."""

    broker: str
    node: str | None
    group: str | None
    root: str
    issuer: str | None
    """None: whose the first key is."""
    username: str | None
    password_file: Path | None
    ca_file: Path | None
    cert_file: Path | None
    key_file: Path | None
    expires: timedelta
    precedence: Precedence
    id: str | None
    wait: bool
    wait_s: float | None
    language: Language
    keys: tuple[Path, ...] = ()
    """Private keys that sign it; the first is the issuer's."""
    nonce: str | None = None

    @property
    def audience(self) -> str:
        """The name in `aud`."""
        return f"n:{self.node}" if self.node is not None else f"g:{self.group}"

    @property
    def patience_s(self) -> float:
        """How long states are waited for."""
        if self.wait_s is not None:
            return self.wait_s
        return WAIT_NODE_S if self.node is not None else WAIT_GROUP_S


def post(verb: str, args: Mapping[str, Any], address: Address) -> int:
    """Make the order, sign it, publish it, follow it if asked; returns the exit code. Raises speech.Usage."""
    keys, now = keys_of(address), SystemClock(always_synced=True).utc_now()
    order = make(verb, args, replace(address, issuer=issuer_of(address, keys)), now)
    broker = broker_of(address)
    if keys:
        order = replace(order, seq=_number(keys, now))
    try:
        return asyncio.run(_Post(order, address, [key.signer for key in keys]).carry(broker))
    except BrokerRefused as error:
        return not_sent("broker_refused", address, error)
    except BrokerError as error:
        return not_sent("broker_unreachable", address, error)


def broker_of(address: Address) -> MqttBroker:
    """The way to the broker. Raises speech.Usage."""
    try:
        return MqttBroker(
            address.broker,
            username=address.username,
            password=_password(address),
            ca_file=_text(address.ca_file),
            cert_file=_text(address.cert_file),
            key_file=_text(address.key_file),
        )
    except ValueError:
        raise speech.Usage("bad_broker_url", url=address.broker) from None


def make(verb: str, args: Mapping[str, Any], address: Address, now: datetime) -> Order:
    """The order itself. Raises speech.Usage when the verb would not take such arguments."""
    if address.id is not None and re.search(ID_PATTERN, address.id) is None:
        raise speech.Usage("bad_order_id", text=address.id)
    try:
        msgspec.convert(args, ARGS_OF_VERB[verb])
    except msgspec.ValidationError as error:
        raise speech.Usage("bad_arguments", text=worded(error, FORMS)) from None
    microseconds = (now - datetime.fromtimestamp(0, now.tzinfo)) // timedelta(microseconds=1)
    return Order(
        id=OrderId(address.id or ulid(now)),
        issuer=Issuer(address.issuer or UNSIGNED),
        audience=(address.audience,),
        verb=verb,
        seq=microseconds,
        issued_at=now,
        expires_at=now + address.expires,
        precedence=address.precedence,
        args=dict(args),
        nonce=address.nonce,
    )


def ulid(now: datetime) -> str:
    """A new ULID: 48 bits of milliseconds since 1970, 80 random bits, in Crockford's base 32."""
    milliseconds = (now - datetime.fromtimestamp(0, now.tzinfo)) // timedelta(milliseconds=1)
    number = milliseconds << 80 | int.from_bytes(os.urandom(10))
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def duration(text: str) -> timedelta | None:
    """`90s`, `5m`, `2h`, `1d`; None when it is not that, or longer than `LONGEST`."""
    found = re.fullmatch(r"([0-9]{1,7})([smhd])", text)
    if found is None:
        return None
    span = timedelta(seconds=int(found[1]) * _UNITS[found[2]])
    return span if timedelta(0) < span <= LONGEST else None


def moment(text: str) -> datetime | None:
    """RFC 3339 with a zone, or a `duration` from now; None when it is neither."""
    span = duration(text)
    if span is not None:
        return SystemClock(always_synced=True).utc_now() + span
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


class _Post:
    """One order on its way."""

    def __init__(self, order: Order, address: Address, signers: Sequence[Signer]) -> None:
        self._order = order
        self._address = address
        self._signers = signers
        self._last: dict[str, OrderState] = {}
        """The newest state by node."""
        self._printed: set[tuple[str, bytes]] = set()
        """What was said already: at QoS 1, and from an outbox, a state may come twice."""

    async def carry(self, broker: MqttBroker) -> int:
        address, order = self._address, self._order
        connect = Connect(client_id=f"order-{order.id}", clean_start=True, session_expiry_s=0)
        async with broker.session(connect) as session:
            if address.wait:
                await session.subscribe(f"{address.root}/{address.node or '+'}/up/cmd")
            await session.publish(
                Message(
                    topic=order_topic(address.root, verb=order.verb, node=address.node, group=address.group),
                    payload=seal(order, signers=self._signers),
                    expiry_s=max(1, int(address.expires.total_seconds())),
                    correlation=order.id.encode(),
                    content_type="application/json",
                )
            )
            if not address.wait:
                print(json.dumps({"id": order.id}), flush=True)
                return 0
            try:
                async with asyncio.timeout(address.patience_s):
                    return await self._follow(session)
            except TimeoutError:
                return self._out_of_patience()

    async def _follow(self, session: BrokerSession) -> int:
        """Print states until the node's is final; a group's are followed until patience ends."""
        while True:
            delivery = await session.receive()
            session.acknowledge(delivery)
            state = self._state(delivery)
            if state in TERMINAL and self._address.node is not None:
                return 0 if state is OrderState.SUCCESSFUL else UNSUCCESSFUL

    def _state(self, delivery: Delivery) -> OrderState | None:
        """The state in a delivery, printed, if it is our order's."""
        try:
            said = msgspec.json.decode(delivery.payload, type=dict[str, Any])
            state = OrderState(said.get("state", ""))
        except (msgspec.MsgspecError, ValueError):
            return None
        if said.get("id") != self._order.id:
            return None
        node = delivery.topic.removeprefix(f"{self._address.root}/").split("/")[0]
        if (node, delivery.payload) in self._printed:
            return state
        self._printed.add((node, delivery.payload))
        self._last[node] = state
        print(json.dumps({"node": node, **said}, ensure_ascii=False), flush=True)
        return state

    def _out_of_patience(self) -> int:
        states = set(self._last.values())
        if self._address.group is not None and states and states <= TERMINAL:
            return 0 if states == {OrderState.SUCCESSFUL} else UNSUCCESSFUL
        seconds = f"{self._address.patience_s:g}"
        text = catalogue.say("no_answer", self._address.language, seconds=seconds, id=self._order.id)
        speech.complain(text)
        return NO_FINAL_STATE


def keys_of(address: Address) -> list[KeyFile]:
    """The private keys that an address names. Raises speech.Usage."""
    keys: list[KeyFile] = []
    for path in address.keys:
        try:
            key = keyfile.read(path)
        except OSError as error:
            raise speech.Usage("file_unreadable", path=path, why=error.strerror or str(error)) from None
        if key.signer.kid in {other.signer.kid for other in keys}:
            raise speech.Usage("key_twice", name=key.signer.kid)
        keys.append(key)
    return keys


def issuer_of(address: Address, keys: Sequence[KeyFile]) -> str:
    """Who issues the order: as asked, else whose the first key is."""
    issuer = address.issuer or (keys[0].public.authority if keys else UNSIGNED)
    if issuer is None:
        raise speech.Usage("issuer_unknown", path=keys[0].path)
    return issuer


def _number(keys: Sequence[KeyFile], now: datetime) -> int:
    try:
        return keyfile.next_seq(keys, now)
    except OSError as error:
        facts = {"path": error.filename or keys[0].counter, "why": error.strerror or str(error)}
        raise speech.Usage("keys_file", **facts) from None


def _password(address: Address) -> str | None:
    if address.password_file is None:
        return None
    try:
        return address.password_file.read_text(encoding="utf-8").splitlines()[0]
    except (OSError, UnicodeDecodeError, IndexError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        facts = {"path": address.password_file, "why": why}
        raise speech.Usage("file_unreadable", **facts) from None


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def not_sent(code: str, address: Address, error: BrokerError) -> int:
    """Say why nothing was sent; the exit code."""
    if isinstance(error, BrokerLost):
        code = "broker_lost"
    speech.complain(catalogue.say(code, address.language, url=address.broker, why=str(error).rstrip(".")))
    return NOT_SENT
