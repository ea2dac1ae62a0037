"""The inbox on a real Mosquitto, a real database and real time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge_agent.clocktrust import BUILD_DATE, ClockSettings, ClockTrust
from edge_agent.command import ledger
from edge_agent.command.inbox import Inbox
from edge_agent.command.keyring import Keyring
from edge_agent.command.settings import BrokerSettings, OrderSettings
from edge_agent.command.topics import Topics
from edge_agent.report.alerts import Alerts
from edge_agent.report.outbox import Outbox
from edge_agent.report.settings import ReportSettings
from edge_agent.report.status import Caps, Status
from hal.linux.broker import MqttBroker
from hal.linux.clock import SystemClock
from hal.linux.database import open_database
from hal.linux.disk import DirectoryDisk
from hal.ports import BrokerSession, Connect
from tests import desires
from tests.command.scene import NODE, ROOT, SCHEMAS, Room, an_order, at_real, published
from tests.entries import ident
from tests.mosquitto import Mosquitto

pytestmark = pytest.mark.realtime


@asynccontextmanager
async def a_node(directory: Path, url: str, room: Room) -> AsyncIterator[Inbox]:
    """An inbox with real doors, on whatever its directory holds."""
    clock = SystemClock(always_synced=True)
    database = await open_database(directory / "agent.db", SCHEMAS)
    trust = ClockTrust(
        settings=ClockSettings(trust="always"), clock=clock, database=database, build_date=BUILD_DATE
    )
    await trust.open()
    outbox = Outbox(database=database, clock=clock, settings=ReportSettings())
    alerts = Alerts(database=database, outbox=outbox, clock=clock, root=ROOT, node=NODE)
    status = Status(
        clock=clock,
        trust=trust,
        disk=DirectoryDisk(directory),
        outbox=outbox,
        alerts=alerts,
        settings=ReportSettings(),
        root=ROOT,
        node=NODE,
        caps=Caps(agent="0.1.0", verbs=[], schemas={}, hardware={}),
    )
    keyring = Keyring(
        database=database, alerts=alerts, topic=f"{ROOT}/{NODE}/up/reported/keys", unsigned=True
    )
    inbox = Inbox(
        settings=BrokerSettings(url=url, backoff_min_s=0.1, backoff_max_s=1),
        orders=OrderSettings(),
        node=NODE,
        groups=(),
        clock=clock,
        trust=trust,
        broker=MqttBroker(url),
        database=database,
        router=room,
        outbox=outbox,
        status=status,
        alerts=alerts,
        keyring=keyring,
        reconciler=desires.reconciler(
            database=database,
            trust=trust,
            keyring=keyring,
            topics=Topics(root=ROOT, node=NODE),
            outbox=outbox,
        ),
        rng=random.SystemRandom(),
    )
    life = asyncio.create_task(inbox.life())
    try:
        yield inbox
    finally:
        life.cancel()
        await asyncio.wait([life])
        await database.close()


async def heard(server: BrokerSession, what: str, **wanted: str) -> dict[str, Any]:
    """Wait until the server hears this on one of the node's topics."""
    async with asyncio.timeout(20):
        while True:
            delivery = await server.receive()
            server.acknowledge(delivery)
            if delivery.topic == f"{ROOT}/{NODE}/up/{what}" and delivery.payload:
                said: dict[str, Any] = msgspec.json.decode(delivery.payload)
                if wanted.items() <= said.items():
                    return said


@asynccontextmanager
async def a_server(url: str) -> AsyncIterator[BrokerSession]:
    async with MqttBroker(url).session(Connect(client_id="server", clean_start=True)) as session:
        await session.subscribe(f"{ROOT}/+/up/#")
        yield session


def test_an_order_is_played_once_over_a_killed_broker_and_a_restart(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    room = Room(lasts_s=0.05)
    now = at_real()
    first, second = (
        published(an_order(number, "play", issued_at=now, expires_at=at_real(300))) for number in (1, 2)
    )

    async def main() -> None:
        async with a_node(tmp_path, mosquitto.url, room) as inbox:
            async with a_server(mosquitto.url) as server:
                await heard(server, "state", state="online")
                await server.publish(first)
                await heard(server, "cmd", id=ident(1), state="successful")
                mosquitto.kill()
                while inbox.connected:  # noqa: ASYNC110 - the inbox tells nobody
                    await asyncio.sleep(0.01)
            mosquitto.start()
            async with a_server(mosquitto.url) as server:
                await heard(server, "state", state="online")
                await server.publish(first)
                await server.publish(second)
                await heard(server, "cmd", id=ident(2), state="successful")
                await server.publish(replace(first, payload=first.payload[:-5]))
        async with a_server(mosquitto.url) as server:
            assert (await heard(server, "state"))["state"] == "offline"
            async with a_node(tmp_path, mosquitto.url, room):
                await heard(server, "state", state="online")
                await server.publish(second)
                await heard(server, "cmd", id=ident(2), state="successful")
        database = await open_database(tmp_path / "agent.db", SCHEMAS)
        assert await database.run(ledger.unfinished) == []
        assert await database.run(ledger.count) == (0, 2)
        await database.close()

    asyncio.run(main())
    assert room.begun == [ident(1), ident(2)]
