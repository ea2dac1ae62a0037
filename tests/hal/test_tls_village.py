"""The example broker of config/mosquitto: its README's commands carried out, its very files run by a real Mosquitto."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from hal.errors import BrokerError, BrokerRefused
from hal.linux.broker import MqttBroker
from hal.ports import BrokerSession, Connect, Message
from tests.certificates import EXPIRED, SERVER, Authority
from tests.hal.broker_scenes import NOT_AUTHORIZED, nothing_comes
from tests.hal.village import HOST, PASSPHRASE, Village
from tests.mosquitto import MISSING, PROGRAM, Mosquitto

pytestmark = pytest.mark.realtime

NODES = ("thon-1", "thon-2")


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await main()

    asyncio.run(bounded())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Village:
    """Steps 1 to 5 for two nodes; tests work on a copy."""
    for name in ("openssl", "bash", "awk"):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed (apt install {name})")
    village = Village(tmp_path_factory.mktemp("pki") / "village")
    for step in (1, 2, 3):
        village.step(step)
    for node in NODES:
        village.enrol(node)
        village.step(4, node=node)
    village.step(5)
    return village


@pytest.fixture
def village(made: Village, tmp_path: Path) -> Village:
    copy = Village(tmp_path / "village")
    shutil.copytree(made.directory, copy.directory, dirs_exist_ok=True)
    return copy


@pytest.fixture
def broker(village: Village, tmp_path: Path) -> Iterator[Mosquitto]:
    if PROGRAM is None:
        pytest.skip(MISSING)
    directory = tmp_path / "var"
    directory.mkdir()
    started = Mosquitto(directory, config=village.config(directory))
    started.start()
    yield started
    started.kill()


def me(client_id: str, **changes: Any) -> Connect:
    return Connect(client_id=client_id, keepalive_s=5, session_expiry_s=60, **changes)


def to(topic: str, payload: bytes = b"1", **changes: Any) -> Message:
    return Message(topic=f"pa/v1/{topic}", payload=payload, **changes)


async def heard(session: BrokerSession) -> tuple[str, bytes]:
    delivery = await session.receive()
    session.acknowledge(delivery)
    return delivery.topic.removeprefix("pa/v1/"), delivery.payload


async def comes_in(door: MqttBroker, connect: Connect) -> bool:
    try:
        async with door.session(connect):
            return True
    except BrokerError:
        return False


async def is_refused(session: BrokerSession, message: Message) -> bool:
    with pytest.raises(BrokerRefused) as refusal:
        await session.publish(message)
    return refusal.value.reason_code == NOT_AUTHORIZED


def test_nodes_and_server_talk_each_where_it_may(village: Village, broker: Mosquitto) -> None:
    async def main() -> None:
        async with (
            village.door(broker, village.pair("may-chu")).session(me("may-chu")) as server,
            village.door(broker, village.pair("thon-1")).session(me("thon-1")) as one,
            village.door(broker, village.pair("thon-2")).session(me("thon-2")) as two,
        ):
            await server.subscribe("pa/v1/+/up/#")
            for name, node in (("thon-1", one), ("thon-2", two)):
                await node.subscribe(f"pa/v1/{name}/dn/cmd/#", "pa/v1/g/xa-vi-huong/dn/cmd/#")
                await node.publish(to(f"{name}/up/state", b"online", retain=True))
                assert await heard(server) == (f"{name}/up/state", b"online")
                await server.publish(to(f"{name}/dn/cmd/ping", name.encode()))
                assert await heard(node) == (f"{name}/dn/cmd/ping", name.encode())
            await server.publish(to("g/xa-vi-huong/dn/cmd/ping"))
            assert await heard(one) == await heard(two) == ("g/xa-vi-huong/dn/cmd/ping", b"1")
            await server.publish(to("thon-1/dn/desired/keys", b"keys", retain=True))
            await one.subscribe("pa/v1/thon-1/dn/desired/keys")
            assert await heard(one) == ("thon-1/dn/desired/keys", b"keys")

    run(main)


@pytest.mark.parametrize(
    "topic",
    [
        "thon-2/up/state",
        "thon-2/up/cmd",
        "thon-2/dn/cmd/stop",
        "thon-1/dn/cmd/play",
        "g/xa-vi-huong/dn/cmd/play",
        "thon-2/dn/desired/keys",
        "other",
    ],
)
def test_a_node_writes_nowhere_but_on_its_own_reports(
    village: Village, broker: Mosquitto, topic: str
) -> None:
    async def main() -> None:
        async with village.door(broker, village.pair("thon-1")).session(me("thon-1")) as one:
            assert await is_refused(one, to(topic))
            await one.publish(to("thon-1/up/state"))
        testament = me("thon-1", will=to(topic), will_delay_s=0)
        with contextlib.suppress(BrokerError, ZeroDivisionError):
            async with village.door(broker, village.pair("thon-1")).session(testament):
                raise ZeroDivisionError
        async with village.door(broker, village.pair("may-chu")).session(me("may-chu")) as server:
            await server.subscribe("pa/v1/+/up/#")
            await server.publish(to("thon-1/dn/cmd/ping"))
            assert await nothing_comes(server), "neither the message nor the will"

    run(main)


def test_a_node_hears_nothing_that_is_for_another(village: Village, broker: Mosquitto) -> None:
    async def main() -> None:
        async with (
            village.door(broker, village.pair("may-chu")).session(me("may-chu")) as server,
            village.door(broker, village.pair("thon-2")).session(me("thon-2")) as two,
            village.door(broker, village.pair("thon-1")).session(me("thon-1")) as one,
        ):
            await server.publish(to("thon-2/dn/desired/schedule", b"retained", retain=True))
            await two.publish(to("thon-2/up/state", b"retained", retain=True))
            for pattern in ("#", "pa/v1/#", "pa/v1/+/dn/#", "pa/v1/thon-2/#", "pa/v1/+/up/#", "$SYS/#"):
                with contextlib.suppress(BrokerRefused):  # Mosquitto 2.0 grants, and delivers nothing
                    await one.subscribe(pattern)
            await server.publish(to("thon-2/dn/cmd/live_start", b"secret"))
            await server.publish(to("g/xa-khac/dn/cmd/play", b"secret"))
            await two.publish(to("thon-2/up/cmd", b"secret"))
            assert await nothing_comes(one, within_s=0.5)

    run(main)


def test_a_node_cannot_take_over_another_nodes_session(village: Village, broker: Mosquitto) -> None:
    async def main() -> None:
        two_door = village.door(broker, village.pair("thon-2"))
        async with (
            village.door(broker, village.pair("may-chu")).session(me("may-chu")) as server,
            two_door.session(me("thon-2")) as two,
        ):
            await two.subscribe("pa/v1/thon-2/dn/cmd/#")
            async with village.door(broker, village.pair("thon-1")).session(me("thon-2")) as thief:
                assert not thief.session_present
                await server.publish(to("thon-2/dn/cmd/ping", b"for two"))
                assert await heard(two) == ("thon-2/dn/cmd/ping", b"for two")
                assert await nothing_comes(thief)

    run(main)


def test_who_has_no_certificate_of_ours_stays_outside(
    village: Village, broker: Mosquitto, tmp_path: Path
) -> None:
    strangers = Authority.new(tmp_path / "strangers")
    ours = Authority.of_files(
        tmp_path / "ours", village.directory / "ca.pem", village.directory / "ca.key", PASSPHRASE.encode()
    )

    async def main() -> None:
        assert await comes_in(village.door(broker, village.pair("thon-1")), me("thon-1"))
        for own in (None, strangers.certify("thon-1"), ours.certify("thon-1", lasts=EXPIRED)):
            assert not await comes_in(village.door(broker, own), me("thon-1"))
        assert not await comes_in(village.door(broker, village.pair("broker")), me(HOST))
        named = MqttBroker(
            f"mqtts://{HOST}:{broker.port}",
            username="thon-1",
            password="doan-mo",
            ca_file=str(village.directory / "ca.pem"),
        )
        assert not await comes_in(named, me("thon-1"))
        assert not await comes_in(MqttBroker(f"mqtt://{HOST}:{broker.port}"), me("thon-1"))

    run(main)


def test_a_node_believes_this_broker_only_by_its_name_and_its_authority(
    village: Village, broker: Mosquitto, tmp_path: Path
) -> None:
    strangers = Authority.new(tmp_path / "strangers")
    own = village.pair("thon-1")

    async def main() -> None:
        for connect in (me("thon-1"), me("thon-1", check_dates=False)):
            assert await comes_in(village.door(broker, own), connect)
            assert not await comes_in(village.door(broker, own, ca_file=strangers.pem), connect)
            by_address = MqttBroker(
                f"mqtts://127.0.0.1:{broker.port}",
                ca_file=str(village.directory / "ca.pem"),
                cert_file=str(own.cert),
                key_file=str(own.key),
            )
            assert not await comes_in(by_address, connect)

    run(main)


def test_an_expired_broker_is_believed_only_by_a_node_that_does_not_know_the_date(
    village: Village, broker: Mosquitto, tmp_path: Path
) -> None:
    ours = Authority.of_files(
        tmp_path / "ours", village.directory / "ca.pem", village.directory / "ca.key", PASSPHRASE.encode()
    )
    strangers = Authority.new(tmp_path / "strangers")
    expired = ours.certify(HOST, lasts=EXPIRED, host=HOST, purpose=SERVER)
    certs = village.etc / "certs"
    shutil.copy(expired.cert, certs / "broker.pem")
    shutil.copy(expired.key, certs / "broker.key")
    broker.stop()
    broker.start()
    own = village.pair("thon-1")

    async def main() -> None:
        undated = me("thon-1", check_dates=False)
        assert await comes_in(village.door(broker, own), undated)
        assert not await comes_in(village.door(broker, own), me("thon-1"))
        assert not await comes_in(village.door(broker, own, ca_file=strangers.pem), undated)

    run(main)


def test_the_technician_may_order_and_follow_but_leave_no_documents(
    village: Village, broker: Mosquitto
) -> None:
    async def main() -> None:
        async with (
            village.door(broker, village.pair("dieu-hanh")).session(me("order-01")) as technician,
            village.door(broker, village.pair("thon-1")).session(me("thon-1")) as one,
        ):
            await one.subscribe("pa/v1/thon-1/dn/cmd/#")
            await technician.subscribe("pa/v1/thon-1/up/cmd", "pa/v1/+/up/report")
            await technician.publish(to("thon-1/dn/cmd/ping"))
            await heard(one)
            await one.publish(to("thon-1/up/report", b"not for him"))
            await one.publish(to("thon-1/up/cmd", b"successful"))
            assert await heard(technician) == ("thon-1/up/cmd", b"successful")
            for topic in ("thon-1/dn/desired/keys", "thon-1/dn/ack", "thon-1/up/state"):
                assert await is_refused(technician, to(topic))

    run(main)


def test_a_request_cannot_choose_its_name_and_its_fingerprint_is_the_nodes(village: Village) -> None:
    fingerprint = village.enrol("thon-9", calls_itself="may-chu")
    printed = village.step(4, node="thon-9")
    assert fingerprint in printed
    assert "may-chu" in printed, "who certifies is shown what was asked for"
    certificate = x509.load_pem_x509_certificate((village.directory / "thon-9.pem").read_bytes())
    (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert (name.value, len(list(certificate.subject))) == ("thon-9", 1)


def test_a_certificate_taken_back_opens_nothing(village: Village, broker: Mosquitto) -> None:
    doors = {node: village.door(broker, village.pair(node)) for node in NODES}

    async def main() -> None:
        for node, door in doors.items():
            assert await comes_in(door, me(node))
        await asyncio.to_thread(village.step, 7, node="thon-2")
        broker.stop()
        broker.start()
        assert await comes_in(doors["thon-1"], me("thon-1"))
        assert not await comes_in(doors["thon-2"], me("thon-2"))

    run(main)


def test_groups_are_granted_from_a_list_without_cutting_anybody_off(
    village: Village, broker: Mosquitto
) -> None:
    (village.directory / "groups.txt").write_text("# nhóm nút\nxa-khac thon-1\nxa-vi-huong thon-1\n")

    async def main() -> None:
        async with (
            village.door(broker, village.pair("may-chu")).session(me("may-chu")) as server,
            village.door(broker, village.pair("thon-1")).session(me("thon-1")) as one,
            village.door(broker, village.pair("thon-2")).session(me("thon-2")) as two,
        ):
            for node in (one, two):
                await node.subscribe("pa/v1/g/xa-khac/dn/cmd/#", "pa/v1/g/xa-vi-huong/dn/cmd/#")
            await asyncio.to_thread(village.step, 6)
            broker.reload()
            for number in range(100):
                await server.publish(to("g/xa-khac/dn/cmd/ping", b"%d" % number))
                if not await nothing_comes(one):
                    break
            else:
                raise AssertionError("thon-1 never came into its group")
            await server.publish(to("g/xa-vi-huong/dn/cmd/ping", b"both"))
            while (await heard(one))[1] != b"both":
                pass
            assert await nothing_comes(two), "it is in no group any more"

    run(main)


def test_the_list_of_ends_names_everybody(village: Village) -> None:
    lines = village.step(8).splitlines()
    assert {line.split("/CN=")[1] for line in lines} == {HOST, "may-chu", "dieu-hanh", *NODES}
    assert all(line[:6].isdigit() for line in lines)
    assert lines == sorted(lines)


def test_keys_are_for_their_owners_eyes(village: Village) -> None:
    keys = [*village.directory.glob("*.key"), village.etc / "certs" / "broker.key"]
    assert len(keys) == 7
    for key in keys:
        assert key.stat().st_mode & 0o077 == 0, key
