"""A node under measurement: a real process on a real broker, its readiness taken from systemd's own protocol."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from edge_agent.catalogue import Language
from edge_agent.cli.posting import Address, make
from edge_agent.command.envelope import seal
from edge_agent.command.topics import order_topic
from edge_agent.model import TERMINAL, OrderState, Precedence
from hal.linux.broker import MqttBroker
from hal.linux.clock import SystemClock
from hal.ports import BrokerSession, Connect, Message
from tests.mosquitto import Mosquitto
from tests.process.node import Node

NODE = "bench-node"
CLOCK = SystemClock(always_synced=True)

CONFIG = f"""
[node]
id = "{NODE}"
[broker]
url = "mqtt://127.0.0.1:1"
[amplifier]
power = {{offset = 17}}
mute = {{offset = 27}}
"""


@contextlib.contextmanager
def running(
    *arguments: str, env: Mapping[str, str], broker: Mosquitto | None = None, recorded: bool = False
) -> Iterator[tuple[Node, str]]:
    """A node on a broker of its own (or a given one), in a directory of its own; yields it and the broker's URL.

    `recorded` has the virtual hardware write down what it did; a node that is measured does without.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        if broker is None:
            (directory / "broker").mkdir()
            broker = Mosquitto(directory / "broker")
            broker.start()
            stack.callback(broker.stop)
        node = Node(directory, broker.url, *arguments, config=CONFIG, env=env, recorded=recorded)
        yield stack.enter_context(node), broker.url


class Server:
    """The central server's side, on one session."""

    def __init__(self, session: BrokerSession) -> None:
        self._session = session

    async def order(
        self, verb: str, args: dict[str, Any], precedence: Precedence = Precedence.ROUTINE
    ) -> tuple[str, int]:
        """Publish an order; returns its id and the CLOCK_BOOTTIME ns just before it was published."""
        address = Address(
            broker="", node=NODE, group=None, root="pa/v1", issuer="bench", username=None, password_file=None,
            ca_file=None, cert_file=None, key_file=None, expires=timedelta(minutes=5), precedence=precedence,
            id=None, wait=False, wait_s=None, language=Language.EN,
        )  # fmt: skip
        order = make(verb, args, address, CLOCK.utc_now())
        message = Message(
            topic=order_topic("pa/v1", verb=verb, node=NODE, group=None), payload=seal(order), expiry_s=300
        )
        at_ns = CLOCK.monotonic_ns()
        await self._session.publish(message)
        return order.id, at_ns

    async def online(self) -> None:
        """Wait for the node's birth: before it, nobody may listen to our orders."""
        async with asyncio.timeout(30):
            while b'"state":"online"' not in (delivery := await self._session.receive()).payload:
                self._session.acknowledge(delivery)
            self._session.acknowledge(delivery)

    async def until(self, order: str, *wanted: OrderState) -> OrderState:
        """Wait until an order is in one of these states (none named: a final one)."""
        goals = frozenset(wanted) or TERMINAL
        async with asyncio.timeout(120):
            while True:
                delivery = await self._session.receive()
                self._session.acknowledge(delivery)
                said = msgspec.json.decode(delivery.payload, type=dict[str, Any])
                if said.get("id") == order and said["state"] in goals:
                    return OrderState(said["state"])


@contextlib.asynccontextmanager
async def server(url: str) -> AsyncIterator[Server]:
    """A session that follows the node's order states, once the node is online."""
    async with MqttBroker(url).session(Connect(client_id="bench-server", clean_start=True)) as session:
        await session.subscribe(f"pa/v1/{NODE}/up/cmd", f"pa/v1/{NODE}/up/state")
        ours = Server(session)
        await ours.online()
        yield ours
