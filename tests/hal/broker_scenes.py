"""Where the contract of the broker is tried: a virtual one and a Mosquitto, each with a network that can fail."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Protocol

from hal.errors import BrokerLost
from hal.ports import Broker, BrokerSession, Connect, Delivery, Message
from hal.sim.broker import VirtualBroker
from hal.sim.clock import VirtualClock
from hal.sim.loop import Counter, run
from tests.mosquitto import Mosquitto

ACL = "topic readwrite t/#\ntopic read closed/#\n"
NOT_AUTHORIZED = 0x87


class Net(Protocol):
    """A network that can fail, with the broker at its far end."""

    @property
    def broker(self) -> Broker: ...

    def freeze(self) -> None: ...
    def lose(self) -> None: ...


class Bench(Protocol):
    """Where the contract is tried."""

    @property
    def broker(self) -> Broker: ...

    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None: ...
    def net(self) -> contextlib.AbstractAsyncContextManager[Net]: ...
    def stop(self) -> None: ...
    def restart(self) -> None: ...


class VirtualBench:
    def __init__(self) -> None:
        self.counter = Counter()
        self.broker = VirtualBroker(VirtualClock(self.counter), random.Random(1), jitter_s=0.005)
        self.broker.faults.refuse_publish.append(("closed/#", NOT_AUTHORIZED))

    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        run(main(), self.counter)

    @asynccontextmanager
    async def net(self) -> AsyncIterator[Net]:
        yield self
        self.broker.heal()

    def freeze(self) -> None:
        self.broker.partition("silent", client_id="node")

    def lose(self) -> None:
        self.broker.partition("lost", client_id="node")
        self.broker.heal(client_id="node")

    def stop(self) -> None:
        self.broker.stop()

    def restart(self) -> None:
        self.broker.stop()
        self.broker.forget_sessions(retained=True)
        self.broker.heal()


class Tunnel:
    """A TCP relay to the real broker that can stop carrying bytes without closing anything."""

    def __init__(self, target: int) -> None:
        self.broker: Broker
        self._target = target
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._writers: list[asyncio.StreamWriter] = []

    def freeze(self) -> None:
        self._flowing.clear()

    def lose(self) -> None:
        """What is under way is lost, every connection with it; new ones work."""
        for writer in self._writers:
            writer.transport.abort()
        self._flowing.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        away_reader, away_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers += (writer, away_writer)
        with contextlib.suppress(ConnectionError):
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry(reader, away_writer))
                group.create_task(self._carry(away_reader, writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while payload := await reader.read(65536):
                await self._flowing.wait()
                writer.write(payload)
        finally:
            writer.close()


class MosquittoBench:
    def __init__(self, mosquitto: Mosquitto) -> None:
        self._mosquitto = mosquitto
        self.broker = self._broker(mosquitto.url)

    def _broker(self, url: str) -> Broker:
        from hal.linux.broker import MqttBroker

        return MqttBroker(url, connect_timeout_s=1.0)

    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(30):
                await main()

        asyncio.run(bounded())

    @asynccontextmanager
    async def net(self) -> AsyncIterator[Net]:
        tunnel = Tunnel(self._mosquitto.port)
        server = await asyncio.start_server(tunnel.serve, "127.0.0.1", 0)
        tunnel.broker = self._broker(f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        try:
            yield tunnel
        finally:
            tunnel.lose()
            server.close()

    def stop(self) -> None:
        self._mosquitto.stop()

    def restart(self) -> None:
        self._mosquitto.stop()
        self._mosquitto.start()


def node(**keywords: Any) -> Connect:
    keywords.setdefault("client_id", "node")
    return Connect(**keywords)


SERVER = Connect(client_id="server", clean_start=True, session_expiry_s=0)


def order(number: int, *, topic: str = "t/cmd", qos: int = 1, expiry_s: int | None = None) -> Message:
    return Message(topic=topic, payload=b"%d" % number, qos=qos, expiry_s=expiry_s)


async def take(session: BrokerSession, count: int) -> list[Delivery]:
    """Receive and acknowledge."""
    taken: list[Delivery] = []
    for _ in range(count):
        taken.append(await session.receive())
        session.acknowledge(taken[-1])
    return taken


def numbers(deliveries: list[Delivery]) -> list[int]:
    return [int(delivery.payload) for delivery in deliveries]


async def nothing_comes(session: BrokerSession, *, within_s: float = 0.15) -> bool:
    try:
        async with asyncio.timeout(within_s):
            await session.receive()
    except TimeoutError:
        return True
    return False


async def drop(broker: Broker, connect: Connect) -> None:
    """Connect, and leave as a crash does."""
    with contextlib.suppress(ZeroDivisionError):
        async with broker.session(connect):
            raise ZeroDivisionError


async def loses(call: Coroutine[Any, Any, object]) -> bool:
    """Whether a call ends in BrokerLost."""
    try:
        await call
    except BrokerLost:
        return True
    return False
