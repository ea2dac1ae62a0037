"""The real MQTT driver over many connections: nothing is left behind, and a broker that was away is found again."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from hal.errors import BrokerError, BrokerLost
from hal.linux.broker import MqttBroker
from hal.ports import BrokerSession, Connect, Message
from tests.conftest import MosquittoMaker
from tests.mosquitto import Mosquitto

pytestmark = pytest.mark.realtime

NODE = Connect(client_id="node", keepalive_s=1)


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await main()

    asyncio.run(bounded())


async def session_until_lost(broker: MqttBroker) -> None:
    async with broker.session(NODE) as session:
        while True:
            await session.receive()


def test_nothing_is_left_open_or_running(mosquitto: Mosquitto) -> None:
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("no /proc here: open descriptors cannot be counted")

    def count() -> int:
        gc.collect()
        return len(list(descriptors.iterdir()))

    async def crash(session: BrokerSession) -> None:
        await session.publish(Message(topic="t", payload=b"1"))
        raise ZeroDivisionError

    async def main() -> None:
        broker = MqttBroker(mosquitto.url)

        async def lives() -> None:
            async with broker.session(NODE) as session:
                await session.publish(Message(topic="t", payload=b"1"))
            with contextlib.suppress(ZeroDivisionError):
                async with broker.session(NODE) as session:
                    await crash(session)
            for pause_s in (0.0, 0.001, 0.002):
                task = asyncio.ensure_future(session_until_lost(broker))
                await asyncio.sleep(pause_s)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            with contextlib.suppress(BrokerError):
                async with MqttBroker("mqtt://127.0.0.1:1").session(NODE):
                    pass

        await lives()
        before = count()
        for _ in range(10):
            await lives()
        assert count() <= before
        assert len(asyncio.all_tasks()) == 1

    run(main)


def test_a_broker_killed_and_started_again_is_found_again(make_mosquitto: MosquittoMaker) -> None:
    mosquitto = make_mosquitto(persistence=True)

    async def main() -> None:
        broker = MqttBroker(mosquitto.url)
        async with broker.session(NODE) as session:
            await session.subscribe("t")
        mosquitto.stop()
        mosquitto.start()
        async with broker.session(NODE) as session:
            assert session.session_present, "this one keeps its sessions"
            mosquitto.kill()
            with pytest.raises(BrokerLost):
                await session.receive()
        mosquitto.start()
        async with broker.session(NODE) as session:
            await session.publish(Message(topic="t", payload=b"1"))

    run(main)
