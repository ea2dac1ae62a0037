"""A whole node on the example broker over mutual TLS, in real time: from a power cut in the dark to a known date."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge_agent import agent
from edge_agent.command import inbox
from edge_agent.config import Settings, parse, with_state_dir
from edge_agent.doors import open_doors
from hal.ports import BrokerSession, Connect
from tests.certificates import EXPIRED, SERVER, VALID, Authority, Pair
from tests.hal.village import HOST, PASSPHRASE, Village
from tests.mosquitto import MISSING, PROGRAM, Mosquitto

pytestmark = pytest.mark.realtime

CONFIG = """
[node]
id = "thon-1"
[hardware]
sound = "sim"
gpio = "sim"
board = "none"
[broker]
url = "mqtts://{host}:{port}"
ca_file = "{village}/ca.pem"
cert_file = "{village}/thon-1.pem"
key_file = "{village}/thon-1.key"
backoff_min_s = 0.1
backoff_max_s = 1
[clock]
trust_file = "{trust_file}"
"""


class Stage:
    """A village with a broker, one node, and the central server."""

    def __init__(self, directory: Path) -> None:
        self.village = Village(directory / "village")
        for step in (1, 2, 3):
            self.village.step(step)
        self.village.enrol("thon-1")
        self.village.step(4)
        self.village.step(5)
        own = self.village.directory
        self.authority = Authority.of_files(
            directory / "ours", own / "ca.pem", own / "ca.key", PASSPHRASE.encode()
        )
        var = directory / "var"
        var.mkdir()
        self.broker = Mosquitto(var, config=self.village.config(var))
        self.trust_file = directory / "synchronized"
        facts = {"host": HOST, "port": self.broker.port, "village": own, "trust_file": self.trust_file}
        self.settings: Settings = with_state_dir(parse(CONFIG.format(**facts)), str(directory / "state"))

    def show(self, pair: Pair) -> None:
        """From the next start the broker shows this certificate."""
        shutil.copy(pair.cert, self.village.etc / "certs" / "broker.pem")
        shutil.copy(pair.key, self.village.etc / "certs" / "broker.key")

    @asynccontextmanager
    async def node(self) -> AsyncIterator[None]:
        stop = asyncio.Event()
        async with open_doors(self.settings, schemas=agent.SCHEMAS) as hardware:
            serving = asyncio.create_task(agent.serve(self.settings, hardware, stop=stop))
            try:
                yield
            finally:
                stop.set()
                await serving

    @asynccontextmanager
    async def server(self) -> AsyncIterator[BrokerSession]:
        """It lets dates be dates: this story is about the node's."""
        door = self.village.door(self.broker, self.village.pair("may-chu"))
        async with door.session(Connect(client_id="may-chu", clean_start=True, check_dates=False)) as session:
            await session.subscribe("pa/v1/thon-1/up/state")
            yield session


def open_ports() -> list[str]:
    """This process's own sockets that somebody could send to from outside: TCP that listens, UDP of any kind."""
    mine = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            mine.add(str(descriptor.readlink()))
    found = []
    for table in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6"):
        path = Path("/proc/self/net", table)
        for line in path.read_text(encoding="ascii").splitlines()[1:] if path.exists() else ():
            _, local, _, condition, *_, inode = line.split()[:10]
            if f"socket:[{inode}]" in mine and (condition == "0A" or not table.startswith("tcp")):
                found.append(f"{table} {local}")
    return found


async def state(server: BrokerSession) -> dict[str, Any]:
    delivery = await server.receive()
    server.acknowledge(delivery)
    said: dict[str, Any] = msgspec.json.decode(delivery.payload)
    return said


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    if PROGRAM is None:
        pytest.skip(MISSING)
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed (apt install openssl)")
    stage = Stage(tmp_path)
    yield stage
    stage.broker.kill()


def test_a_node_opens_no_port(stage: Stage) -> None:
    stage.broker.start()

    async def main() -> None:
        async with asyncio.timeout(60), stage.node(), stage.server() as server:
            while (await state(server))["state"] != "online":
                pass
            assert open_ports() == []
            listening = await asyncio.start_server(lambda _, __: None, "127.0.0.1", 0)
            assert len(open_ports()) == 1, "the test can see a port"
            listening.close()

    asyncio.run(main())


def test_the_technician_orders_over_the_same_broker_with_a_certificate_of_his_own(stage: Stage) -> None:
    stage.broker.start()
    stage.trust_file.touch()
    own, url = stage.village.directory, f"mqtts://{HOST}:{stage.broker.port}"
    ping = [
        sys.executable,
        "-m",
        "edge_agent",
        "order",
        "ping",
        "--broker",
        url,
        "--node",
        "thon-1",
        "--wait",
    ]
    files = [str(own / name) for name in ("ca.pem", "dieu-hanh.pem", "dieu-hanh.key")]
    ping += [
        part for pair in zip(("--ca-file", "--cert-file", "--key-file"), files, strict=True) for part in pair
    ]

    async def main() -> None:
        async with asyncio.timeout(60), stage.node():
            async with stage.server() as server:
                while (await state(server))["state"] != "online":
                    pass
            pipe = asyncio.subprocess.PIPE
            ordering = await asyncio.create_subprocess_exec(*ping, stdout=pipe, stderr=pipe)
            printed, complained = await ordering.communicate()
            assert ordering.returncode == 0, complained.decode()
            assert msgspec.json.decode(printed.splitlines()[-1])["state"] == "successful"

    asyncio.run(main())


def test_a_node_in_the_dark_reaches_its_broker_and_judges_it_once_it_knows_the_date(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "_LOOK_AT_DATE_EVERY_S", 0.05)
    stage.show(stage.authority.certify(HOST, lasts=EXPIRED, host=HOST, purpose=SERVER))
    stage.broker.start()

    async def main() -> None:
        async with asyncio.timeout(60), stage.node():
            async with stage.server() as server:
                while (said := await state(server))["state"] != "online":
                    pass
                assert said["clock"]["quality"] == "unknown"
                stage.trust_file.touch()
                said = await state(server)
                assert (said["state"], said["why"]) == ("offline", "clock_trusted")
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(1):
                        await state(server)
            stage.broker.stop()
            stage.show(stage.authority.certify(HOST, lasts=VALID, host=HOST, purpose=SERVER))
            stage.broker.start()
            async with stage.server() as server:
                while (said := await state(server))["state"] != "online":
                    assert said["why"] == "clock_trusted"
                assert said["clock"]["quality"] == "synced"

    asyncio.run(main())
