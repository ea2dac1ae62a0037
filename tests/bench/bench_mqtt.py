"""How long a message takes through the real MQTT driver and a broker on this machine."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from pathlib import Path

from hal.linux.broker import MqttBroker
from hal.ports import Connect, Message
from tests.bench.measure import figure, seconds
from tests.mosquitto import Mosquitto

RUNS = 5
MESSAGES = 200


def main() -> None:
    """Print both latencies; some ms would mean that something waits for a timer."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        mosquitto = Mosquitto(Path(name))
        mosquitto.start()
        try:
            taken = [asyncio.run(_once(mosquitto.url)) for _ in range(RUNS)]
        finally:
            mosquitto.stop()
    figure("publish_to_puback", [puback for puback, _ in taken], "ms", messages=MESSAGES)
    figure("publish_to_receive", [arrival for _, arrival in taken], "ms", messages=MESSAGES)


async def _once(url: str) -> tuple[float, float]:
    """Medians of one run, ms."""
    broker = MqttBroker(url)
    puback, arrival = [], []
    async with (
        broker.session(Connect(client_id="node")) as node,
        broker.session(Connect(client_id="server", clean_start=True)) as server,
    ):
        await server.subscribe("t")
        for _ in range(MESSAGES):
            began = seconds()
            await node.publish(Message(topic="t", payload=bytes(500)))
            puback.append((seconds() - began) * 1000)
            server.acknowledge(await server.receive())
            arrival.append((seconds() - began) * 1000)
    return statistics.median(puback), statistics.median(arrival)
