"""The real MQTT driver against hostile brokers, TLS and passwords."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hal.errors import BrokerError, BrokerLost, BrokerRefused, BrokerUnreachable
from hal.linux.broker import MqttBroker
from hal.ports import BrokerSession, Connect, Message
from tests.conftest import MosquittoMaker

pytestmark = pytest.mark.realtime

NODE = Connect(client_id="node", keepalive_s=1)
CONNACK = bytes.fromhex("20 03 00 00 00")


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await main()

    asyncio.run(bounded())


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def scripted(talk: Talk) -> AsyncIterator[MqttBroker]:
    """A broker that does what the script says after CONNECT has come."""
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read(65536)
            await talk(reader, writer)
            await over.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield MqttBroker(f"mqtt://127.0.0.1:{port}", connect_timeout_s=0.3, close_timeout_s=0.2)
    finally:
        over.set()
        server.close()
        await asyncio.sleep(0.01)


def saying(*packets: bytes) -> Talk:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for packet in packets:
            writer.write(packet)
            await writer.drain()

    return talk


async def until_lost(session: BrokerSession, *, match: str) -> list[bytes]:
    """Receive and acknowledge until the session ends; the payloads."""
    payloads: list[bytes] = []

    async def take_all() -> None:
        while True:
            delivery = await session.receive()
            payloads.append(delivery.payload)
            session.acknowledge(delivery)

    with pytest.raises(BrokerLost, match=match):
        await take_all()
    return payloads


def publish_packet(number: int, *, qos: int = 1, topic: bytes = b"t") -> bytes:
    body = len(topic).to_bytes(2, "big") + topic
    body += number.to_bytes(2, "big") if qos else b""
    body += b"\x00" + b"%d" % number
    return bytes([0x30 | qos << 1, len(body)]) + body


async def closing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def closing_after_connack(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(CONNACK)
    writer.close()


# ---------------------------------------------------------------- hostile brokers


@pytest.mark.parametrize(
    "talk",
    [
        closing,
        saying(),
        saying(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        saying(b"\x00" * 64),
        saying(b"\xff" * 64),
        saying(b"\x20\x03\x00\x00"),
        saying(b"\x20\x00"),
        saying(b"\x20\x06\x00\x00\x03\x21\x00"),
        saying(bytes.fromhex("20 02 00 05")),
    ],
)
def test_a_broker_that_speaks_badly_is_unreachable_in_time(talk: Talk) -> None:
    async def main() -> None:
        async with scripted(talk) as broker:
            began_s = time.perf_counter()
            with pytest.raises((BrokerUnreachable, BrokerRefused)):
                async with broker.session(NODE):
                    raise AssertionError
            assert time.perf_counter() - began_s < 1

    run(main)


@pytest.mark.parametrize(
    "packet",
    [
        b"\xff" * 64,
        b"\x30\xff\xff\xff\x7f" + bytes(1000),
        b"\x32\x02\x00\x09",
        b"\x30\x07\x00\x02\xff\xfe\x00ab",
        b"\x34\x07\x00\x01t\x00\x01\x00a" * 3 + b"\x62\x02\x00\x01",
        bytes.fromhex("e0 01 8b"),
        bytes.fromhex("30 09 00 01 74 04 7f 00 00 00 61"),
        publish_packet(1) * 2,
    ],
    ids=[
        "garbage",
        "256 MiB",
        "short",
        "bad UTF-8",
        "QoS 2",
        "shutdown",
        "bad property",
        "same id twice",
    ],
)
def test_a_session_ends_when_the_broker_breaks_the_rules(packet: bytes) -> None:
    async def main() -> None:
        async with scripted(saying(CONNACK, packet)) as broker:
            with pytest.raises(BrokerLost):
                await session_until_lost(broker)

    run(main)


async def session_until_lost(broker: MqttBroker) -> None:
    async with broker.session(NODE) as session:
        while True:
            await session.receive()


def test_a_broker_that_leaves_right_after_connack_is_lost() -> None:
    async def main() -> None:
        async with scripted(closing_after_connack) as broker:
            with pytest.raises(BrokerLost):
                await session_until_lost(broker)

    run(main)


def test_an_answer_to_no_question_is_ignored() -> None:
    strange = bytes.fromhex("40 02 00 63  90 04 00 63 00 01  d0 00")

    async def main() -> None:
        async with (
            scripted(saying(CONNACK, strange, publish_packet(5))) as broker,
            broker.session(NODE) as session,
        ):
            assert (await session.receive()).payload == b"5"

    run(main)


def test_a_flood_at_qos_0_is_dropped_and_memory_stays_bounded() -> None:
    flood = b"".join(publish_packet(1, qos=0) for _ in range(1000))

    async def main() -> None:
        async with (
            scripted(saying(CONNACK, flood, publish_packet(7))) as broker,
            broker.session(NODE) as session,
        ):
            while session.traffic()[1] < len(CONNACK + flood + publish_packet(7)):  # noqa: ASYNC110 - the driver tells nobody what it drops
                await asyncio.sleep(0.01)
            got = []
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    while True:
                        got.append((await session.receive()).qos)
            assert got == [0] * 64 + [1], "QoS 1 has a place of its own"

    run(main)


def test_what_a_broker_sends_beyond_all_measure_is_left_for_the_next_connection() -> None:
    async def main() -> None:
        flood = b"".join(publish_packet(number) for number in range(1, 3001))
        async with scripted(saying(CONNACK, flood)) as broker, broker.session(NODE) as session:
            await asyncio.sleep(0.2)
            held = [int(payload) for payload in await until_lost(session, match="comes again")]
            assert held == list(range(1, 2049)), "in order, with no hole, and the rest unacknowledged"

    run(main)


def test_large_messages_that_wait_are_bounded_too() -> None:
    async def main() -> None:
        async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(CONNACK)
            for number in range(1, 101):
                body = b"\x00\x01t" + number.to_bytes(2, "big") + b"\x00" + bytes(200_000 - 6)
                writer.write(b"\x32\xc0\x9a\x0c" + body)
                await writer.drain()

        async with scripted(talk) as broker, broker.session(NODE) as session:
            await asyncio.sleep(0.5)
            held = [len(payload) for payload in await until_lost(session, match="comes again")]
            assert 8_000_000 < sum(held) <= 8 << 20

    run(main)


def test_a_refused_subscription_is_raised() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CONNACK)
        packet = await reader.read(1000)
        writer.write(b"\x90\x05" + packet[2:4] + b"\x00\x01\x87")

    async def main() -> None:
        async with scripted(talk) as broker, broker.session(NODE) as session:
            with pytest.raises(BrokerRefused, match=r"t/b.*0x87") as refusal:
                await session.subscribe("t/a", "t/b")
            assert refusal.value.reason_code == 0x87

    run(main)


def test_a_refused_connection_is_raised_with_its_reason() -> None:
    async def main() -> None:
        async with scripted(saying(bytes.fromhex("20 03 00 8c 00"))) as broker:
            with pytest.raises(BrokerRefused) as refusal:
                async with broker.session(NODE):
                    raise AssertionError
            assert refusal.value.reason_code == 0x8C

    run(main)


def test_a_message_larger_than_the_broker_takes_is_refused_here() -> None:
    async def main() -> None:
        connack = bytes.fromhex("20 08 00 00 05 27 00 00 10 00")
        async with scripted(saying(connack)) as broker, broker.session(NODE) as session:
            with pytest.raises(BrokerRefused, match="4096") as refusal:
                await session.publish(Message(topic="t", payload=bytes(5000)))
            assert refusal.value.reason_code == 0x95

    run(main)


def test_the_brokers_own_receive_maximum_is_kept() -> None:
    seen = bytearray()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes.fromhex("20 06 00 00 03 21 00 02"))
        while payload := await reader.read(65536):
            seen.extend(payload)

    async def main() -> None:
        async with scripted(talk) as broker, broker.session(NODE) as session:
            tasks = [
                asyncio.ensure_future(session.publish(Message(topic="t", payload=b"mark"))) for _ in range(5)
            ]
            await asyncio.sleep(0.1)
            assert seen.count(b"mark") == 2
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    run(main)


def test_a_broker_that_falls_silent_does_not_hold_up_the_farewell() -> None:
    async def main() -> None:
        async with scripted(saying(CONNACK)) as broker:
            began_s = time.perf_counter()
            async with broker.session(NODE) as session:
                publishing = asyncio.ensure_future(session.publish(Message(topic="t", payload=b"1")))
                await asyncio.sleep(0.02)
            assert time.perf_counter() - began_s < 0.5
            with pytest.raises(BrokerLost):
                await publishing

    run(main)


# ---------------------------------------------------------------- names, passwords, TLS


def test_a_library_that_has_changed_is_noticed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from hal.linux import mqtt

    monkeypatch.setattr(mqtt, "_PAHO_NAMES", (*mqtt._PAHO_NAMES, "_renamed"))

    async def main() -> None:
        async with scripted(saying(CONNACK)) as broker:
            with pytest.raises(AssertionError, match=r"_renamed.*must be read again"):
                async with broker.session(NODE):
                    raise RuntimeError

    run(main)


def test_a_url_is_checked_and_carries_no_password() -> None:
    for url in ("http://a", "mqtt://", "a:1883", ""):
        with pytest.raises(ValueError, match="no broker URL"):
            MqttBroker(url)
    with pytest.raises(ValueError, match="no user name or password") as wrong:
        MqttBroker("mqtt://xa:bi-mat@broker")
    assert "bi-mat" not in str(wrong.value)


def test_a_password_file_is_read_for_each_connection(make_mosquitto: MosquittoMaker, tmp_path: Path) -> None:
    url = make_mosquitto(accounts={"node": "bi-mat"}).url
    file = tmp_path / "password"
    broker = MqttBroker(url, password_file=str(file))

    async def main() -> None:
        with pytest.raises(BrokerUnreachable, match=r"password .* cannot be read \(No such file"):
            async with broker.session(NODE):
                raise AssertionError
        file.write_bytes(b"\xff\xfe")
        with pytest.raises(BrokerUnreachable, match="not UTF-8"):
            async with broker.session(NODE):
                raise AssertionError
        file.write_text("bi-mat\n")
        async with broker.session(NODE) as session:
            await session.subscribe("t/#")

    run(main)


def test_passwords_open_the_door_and_are_told_to_nobody(
    make_mosquitto: MosquittoMaker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = make_mosquitto(accounts={"node": "bi-mat"}).url

    async def main() -> None:
        async with MqttBroker(url, username="node", password="bi-mat").session(NODE) as session:
            await session.publish(Message(topic="t", payload=b"1"))
        for password in ("bi-mat-sai", None):
            with pytest.raises(BrokerRefused) as refusal:
                async with MqttBroker(url, username="node", password=password).session(NODE):
                    raise AssertionError
            assert refusal.value.reason_code in (0x86, 0x87)
            assert "bi-mat" not in str(refusal.value)

    run(main)
    assert "bi-mat" not in caplog.text
    assert not [record for record in caplog.records if record.name != "asyncio"], "the library is silent"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An authority, a broker's certificate for 127.0.0.1, a node's certificate."""
    directory = tmp_path_factory.mktemp("pki")

    def openssl(command: str, *more: str) -> None:
        subprocess.run(["openssl", *command.split(), *more], check=True, capture_output=True, cwd=directory)

    key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    usage = [
        "-addext",
        "keyUsage=critical,keyCertSign,cRLSign",
        "-addext",
        "basicConstraints=critical,CA:true",
    ]
    openssl(f"req -x509 {key} -days 2 -subj /CN=authority -keyout ca.key -out ca.pem", *usage)
    for name, extension in (("broker", "subjectAltName=IP:127.0.0.1"), ("node", "keyUsage=digitalSignature")):
        (directory / "extension").write_text(f"{extension}\nauthorityKeyIdentifier=keyid\n")
        openssl(f"req {key} -subj /CN={name} -keyout {name}.key -out {name}.csr")
        openssl(
            f"x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out {name}.pem",
            "-extfile",
            "extension",
        )
    openssl(f"req -x509 {key} -days 2 -subj /CN=stranger -keyout other.key -out other.pem", *usage)
    return {path.name: path for path in directory.iterdir()}


def test_tls_believes_only_its_authority_and_its_host(
    make_mosquitto: MosquittoMaker, pki: dict[str, Path]
) -> None:
    tls = (pki["ca.pem"], pki["broker.pem"], pki["broker.key"])
    url = make_mosquitto(tls=tls, extra=("require_certificate true", "use_identity_as_username true")).url

    def broker_at(url: str, ca_file: str | None, *, own: bool = True) -> MqttBroker:
        cert_file, key_file = (str(pki["node.pem"]), str(pki["node.key"])) if own else (None, None)
        return MqttBroker(url, ca_file=ca_file, cert_file=cert_file, key_file=key_file)

    ca_file = str(pki["ca.pem"])

    async def main() -> None:
        broker = broker_at(url, ca_file)
        async with broker.session(NODE) as session:
            await session.subscribe("t/#")
            for size in (0, 1000, 200_000):
                await session.publish(Message(topic="t/x", payload=bytes(size)))
                got = await session.receive()
                session.acknowledge(got)
                assert len(got.payload) == size
        for stranger in (
            broker_at(url, str(pki["other.pem"])),
            broker_at(url.replace("127.0.0.1", "localhost"), ca_file),
            broker_at(url, None),
        ):
            with pytest.raises(BrokerUnreachable, match="not believed"):
                async with stranger.session(NODE):
                    raise AssertionError
        with pytest.raises(BrokerError):
            async with broker_at(url, ca_file, own=False).session(NODE):
                raise AssertionError
        with pytest.raises(BrokerUnreachable):
            async with MqttBroker(url.replace("mqtts", "mqtt")).session(NODE):
                raise AssertionError
        broker_pem = str(pki["broker.pem"])
        for given, named in (
            (MqttBroker(url, ca_file="/nowhere/ca.pem"), "ca_file /nowhere/ca.pem cannot be used"),
            (MqttBroker(url, ca_file=str(pki["ca.key"])), "ca_file .*ca.key cannot be used"),
            (
                MqttBroker(url, cert_file=broker_pem, key_file=broker_pem),
                "cert_file .* with key_file .* cannot be used",
            ),
        ):
            with pytest.raises(BrokerUnreachable, match=named):
                async with given.session(NODE):
                    raise AssertionError

    run(main)


def test_tls_to_a_mute_server_is_given_up_in_time() -> None:
    async def main() -> None:
        async with scripted(saying()) as plain:
            mute = MqttBroker(f"mqtts://127.0.0.1:{plain._port}", connect_timeout_s=0.3)
            with pytest.raises(BrokerUnreachable, match="within"):
                async with mute.session(NODE):
                    raise AssertionError

    run(main)
