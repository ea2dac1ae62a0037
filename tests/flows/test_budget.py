"""An idle day costs at most 1 MB on the wire and 2 MB on the card: virtual time, but real MQTT sizes, real SQLite, a real disk."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

from edge_agent import agent
from hal.linux.database import open_database
from hal.linux.disk import DirectoryDisk
from hal.ports import Hardware
from hal.sim.broker import Received
from tests.flows.scene import NODE, Village

DAY_S = 86_400
TCP_IP, TLS, TCP_ACK = 52, 22, 52
"""IPv4 20 and TCP 32 with timestamps; a TLS 1.3 record's head, type and tag; an empty segment that acknowledges."""
PING_BYTES = 2


@dataclass(frozen=True)
class Day:
    """What an idle day came to, bytes."""

    mqtt: int
    wire: int
    written: int
    written_by_kernel: int


def publish_bytes(received: Received) -> int:
    """An MQTT 5 PUBLISH with its fixed header, and at QoS 1 its PUBACK (MQTT 5, 3.3 and 3.4)."""
    message = received.message
    properties = 0
    if message.expiry_s is not None:
        properties += 5
    if message.correlation is not None:
        properties += 3 + len(message.correlation)
    rest = 2 + len(message.topic.encode()) + (2 if message.qos else 0) + 1 + properties + len(message.payload)
    length = 1 + (rest >= 128) + (rest >= 16_384)
    return 1 + length + rest + (4 if message.qos else 0)


def a_day(directory: Path) -> Day:
    """The whole node, in virtual time, on a real disk."""
    village = Village(7)
    counted: list[tuple[int, int]] = []

    async def node(hardware: Hardware) -> None:
        database = await open_database(directory / "node.sqlite3", agent.SCHEMAS)
        try:
            await Village.node(village, replace(hardware, database=database, disk=DirectoryDisk(directory)))
        finally:
            await database.close()

    async def story() -> None:
        village.world.start(node)
        await asyncio.sleep(600)
        before = written()
        since_ns = village.world.outside.monotonic_ns()
        await asyncio.sleep(DAY_S)
        after = written()
        counted.append((after[0] - before[0], after[1] - before[1]))
        counted.append((since_ns, village.world.outside.monotonic_ns()))

    village.tell(story, starts=False, judge=False)
    (by_node, by_kernel), (since_ns, until_ns) = counted
    sent = [
        one
        for one in village.world.broker.server_received
        if since_ns <= one.at_ns < until_ns and one.client_id == NODE
    ]
    pings = DAY_S // village.settings.broker.keepalive_s
    mqtt = sum(publish_bytes(one) for one in sent) + pings * 2 * PING_BYTES
    segments = sum(2 if one.message.qos else 1 for one in sent) + 2 * pings
    village.world.close()
    return Day(mqtt, mqtt + segments * (TCP_IP + TLS + TCP_ACK), by_node, by_kernel)


def written() -> tuple[int, int]:
    """Of this process: bytes handed to write(2), and bytes that it made the kernel send to a disk."""
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["wchar"]), int(lines["write_bytes"])


def test_an_idle_day_stays_within_its_budgets(tmp_path: Path) -> None:
    day = a_day(tmp_path)
    assert 100_000 < day.mqtt < 1_000_000, day
    assert day.wire < 1_000_000, day
    assert 100_000 < day.written < 2_000_000, day
    assert day.written_by_kernel < 2_000_000, day
