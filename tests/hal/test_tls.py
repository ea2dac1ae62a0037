"""TLS to a real Mosquitto: whom a node believes, whom a broker lets in, and what a node does with its own files."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from hal.errors import BrokerError, BrokerUnreachable
from hal.linux.broker import MqttBroker
from hal.linux.tls import NO_CHECK_TIME, TlsFiles, spoken_alert
from hal.ports import Broker, Connect, Message
from hal.sim.broker import VirtualBroker
from hal.sim.clock import VirtualClock
from hal.sim.link import Certificate
from hal.sim.loop import Counter
from hal.sim.loop import run as run_virtual
from tests.certificates import CLIENT, EXPIRED, NOT_YET, SERVER, VALID, Authority, Pair, Span
from tests.conftest import MosquittoMaker
from tests.mosquitto import Mosquitto

HERE = "127.0.0.1"
MUTUAL = ("require_certificate true", "use_identity_as_username true")
DATED = Connect(client_id="node", keepalive_s=5)
UNDATED = Connect(client_id="node", keepalive_s=5, check_dates=False)

realtime = pytest.mark.realtime


@pytest.fixture(scope="module")
def village(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.new(tmp_path_factory.mktemp("pki") / "village")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.new(tmp_path_factory.mktemp("pki") / "stranger")


@pytest.fixture(scope="module")
def node(village: Authority) -> Pair:
    return village.certify("node")


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await main()

    asyncio.run(bounded())


def broker_of(url: str, authority: Authority | None, own: Pair | None) -> MqttBroker:
    return MqttBroker(
        url,
        ca_file=None if authority is None else str(authority.pem),
        cert_file=None if own is None else str(own.cert),
        key_file=None if own is None else str(own.key),
    )


async def believes(broker: Broker, connect: Connect = DATED) -> bool:
    """Whether a session comes about that carries a message; asserts that it knows about its dates."""
    try:
        async with broker.session(connect) as session:
            await session.publish(Message(topic="t", payload=b"1"))
            assert session.dates_checked == connect.check_dates
            return True
    except BrokerError:
        return False


async def refusal(broker: Broker, connect: Connect = DATED) -> str:
    """Why no session comes about."""
    with pytest.raises(BrokerError) as raised:
        async with broker.session(connect) as session:
            await session.publish(Message(topic="t", payload=b"1"))
    return str(raised.value)


# ---------------------------------------------------------------- dates, on the virtual broker and the real one


class DateBench:
    """A broker whose certificate lasts from one day to another."""

    broker: Broker

    def __init__(self, request: pytest.FixtureRequest, kind: str, lasts: Span) -> None:
        self._counter = Counter()
        self._real = kind == "mosquitto"
        if self._real:
            village: Authority = request.getfixturevalue("village")
            make: MosquittoMaker = request.getfixturevalue("make_mosquitto")
            shown = village.certify("broker", lasts=lasts, host=HERE, purpose=SERVER)
            url = make(tls=(village.pem, shown.cert, shown.key), extra=MUTUAL).url
            self.broker = broker_of(url, village, request.getfixturevalue("node"))
        else:
            clock = VirtualClock(self._counter)
            now = clock.utc_now()
            virtual = VirtualBroker(clock, random.Random(1))
            virtual.certificate = Certificate(not_before=now + lasts[0], not_after=now + lasts[1])
            self.broker = virtual

    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if self._real:
            run(main)
        else:
            run_virtual(main(), self._counter)


@pytest.mark.parametrize("kind", ["virtual", pytest.param("mosquitto", marks=realtime)])
@pytest.mark.parametrize(
    ("lasts", "dated"),
    [
        pytest.param(VALID, True, id="valid"),
        pytest.param(EXPIRED, False, id="expired"),
        pytest.param(NOT_YET, False, id="not yet valid"),
    ],
)
def test_dates_are_looked_at_unless_the_node_does_not_know_the_date(
    request: pytest.FixtureRequest, kind: str, lasts: Span, *, dated: bool
) -> None:
    bench = DateBench(request, kind, lasts)

    async def main() -> None:
        assert await believes(bench.broker, UNDATED)
        assert await believes(bench.broker, DATED) is dated
        if not dated:
            assert "not believed" in await refusal(bench.broker, DATED)

    bench.run(main)


# ---------------------------------------------------------------- whom a node believes


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A certificate that a broker shows."""

    lasts: Span = VALID
    host: str | None = HERE
    name: str = "broker"
    purpose: Any = SERVER
    by_stranger: bool = False
    why: str = field(default="", compare=False)


@realtime
@pytest.mark.parametrize(
    "shown",
    [
        pytest.param(Shown(by_stranger=True, why="local issuer"), id="wrong authority"),
        pytest.param(
            Shown(by_stranger=True, lasts=EXPIRED, why="local issuer"), id="wrong authority, expired"
        ),
        pytest.param(Shown(host="10.1.2.3", why="IP address"), id="wrong address"),
        pytest.param(Shown(host="mqtt.example", why="IP address"), id="wrong host name"),
        pytest.param(Shown(host=None, name=HERE, why="IP address"), id="host only in the common name"),
        pytest.param(Shown(host="10.1.2.3", lasts=EXPIRED, why="IP address"), id="wrong address, expired"),
        pytest.param(Shown(purpose=CLIENT, why="purpose"), id="a node's certificate"),
    ],
)
def test_who_is_no_broker_of_ours_is_not_believed_whatever_the_date(
    make_mosquitto: MosquittoMaker, village: Authority, stranger: Authority, node: Pair, shown: Shown
) -> None:
    by = stranger if shown.by_stranger else village
    pair = by.certify(shown.name, lasts=shown.lasts, host=shown.host, purpose=shown.purpose)
    url = make_mosquitto(tls=(village.pem, pair.cert, pair.key), extra=MUTUAL).url

    async def main() -> None:
        broker = broker_of(url, village, node)
        for connect in (DATED, UNDATED):
            why = await refusal(broker, connect)
            assert "not believed" in why
            if connect is UNDATED or shown.lasts is VALID:
                assert shown.why in why

    run(main)


@realtime
def test_an_expired_authority_counts_as_its_certificates_do(
    make_mosquitto: MosquittoMaker, tmp_path: Path
) -> None:
    old = Authority.new(tmp_path / "old", lasts=EXPIRED)
    pair, own = old.certify("broker", host=HERE, purpose=SERVER), old.certify("node")
    url = make_mosquitto(
        tls=(old.pem, pair.cert, pair.key)
    ).url  # a broker that asks nobody for a certificate

    async def main() -> None:
        assert not await believes(broker_of(url, old, own), DATED)
        assert await believes(broker_of(url, old, own), UNDATED)

    run(main)


@realtime
def test_without_a_pinned_authority_dates_count_always(
    make_mosquitto: MosquittoMaker, village: Authority, node: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(village.pem))  # as if it were one of the system's
    pairs = [village.certify("broker", lasts=lasts, host=HERE, purpose=SERVER) for lasts in (VALID, EXPIRED)]
    good, expired = (
        make_mosquitto(tls=(village.pem, pair.cert, pair.key), extra=MUTUAL).url for pair in pairs
    )

    async def main() -> None:
        async with broker_of(good, None, node).session(UNDATED) as session:
            assert session.dates_checked
        assert "expired" in await refusal(broker_of(expired, None, node), UNDATED)

    run(main)


@realtime
def test_only_the_pinned_authority_is_believed_not_the_systems(
    make_mosquitto: MosquittoMaker,
    village: Authority,
    stranger: Authority,
    node: Pair,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(stranger.pem))
    pair = stranger.certify("broker", host=HERE, purpose=SERVER)
    url = make_mosquitto(tls=(village.pem, pair.cert, pair.key), extra=MUTUAL).url

    async def main() -> None:
        assert await believes(broker_of(url, None, node))
        assert not await believes(broker_of(url, village, node))
        assert not await believes(broker_of(url, village, node), UNDATED)

    run(main)


def test_what_every_connection_insists_on(village: Authority) -> None:
    for check_dates in (True, False):
        context = TlsFiles(ca_file=str(village.pem)).context(check_dates=check_dates)
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert context.check_hostname
        assert not context.hostname_checks_common_name
        assert context.verify_flags & ssl.VerifyFlags.VERIFY_X509_STRICT
        assert bool(context.verify_flags & NO_CHECK_TIME) is not check_dates
        assert len(context.get_ca_certs()) == 1
    assert not TlsFiles().context(check_dates=False).verify_flags & NO_CHECK_TIME


@realtime
def test_a_large_message_passes_both_ways(
    make_mosquitto: MosquittoMaker, village: Authority, node: Pair
) -> None:
    pair = village.certify("broker", host=HERE, purpose=SERVER)
    url = make_mosquitto(tls=(village.pem, pair.cert, pair.key), extra=MUTUAL).url

    async def main() -> None:
        async with broker_of(url, village, node).session(DATED) as session:
            await session.subscribe("t/#")
            for size in (0, 1000, 200_000):
                await session.publish(Message(topic="t/x", payload=bytes(size)))
                got = await session.receive()
                session.acknowledge(got)
                assert len(got.payload) == size

    run(main)


# ---------------------------------------------------------------- whom a broker lets in


@pytest.fixture
def strict(make_mosquitto: MosquittoMaker, village: Authority) -> Mosquitto:
    """A broker that lets in only who has a certificate of the village's authority."""
    pair = village.certify("broker", host=HERE, purpose=SERVER)
    return make_mosquitto(tls=(village.pem, pair.cert, pair.key), extra=MUTUAL)


@realtime
def test_a_broker_lets_in_nobody_without_a_good_certificate(
    strict: Mosquitto, village: Authority, stranger: Authority, node: Pair
) -> None:
    async def main() -> None:
        assert await believes(broker_of(strict.url, village, node))
        for own, verdict in (
            (None, "certificate required"),
            (stranger.certify("node"), "unknown ca"),
            (village.certify("node", lasts=EXPIRED), "certificate expired"),
            (village.certify("node", lasts=NOT_YET), "bad certificate"),
            (village.certify("node", purpose=SERVER), "unsupported certificate"),
        ):
            why = await refusal(broker_of(strict.url, village, own))
            # A broker that closes at once resets the connection, and the reset may overtake the verdict.
            assert f"does not accept this node's side of TLS ({verdict})" in why or "closed or reset" in why
        assert not await believes(MqttBroker(strict.url.replace("mqtts", "mqtt")))

    run(main)


def test_the_brokers_verdict_is_told_in_words(village: Authority) -> None:
    pair = village.certify("broker", host="broker", purpose=SERVER)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(village.pem))
    context.load_cert_chain(pair.cert, pair.key)
    context.verify_mode = ssl.CERT_REQUIRED
    down, up = ssl.MemoryBIO(), ssl.MemoryBIO()
    broker = context.wrap_bio(up, down, server_side=True)
    node = TlsFiles(ca_file=str(village.pem)).context(check_dates=True)
    nodes_end = node.wrap_bio(down, up, server_hostname="broker")
    for end in (nodes_end, broker):
        with pytest.raises(ssl.SSLWantReadError):
            end.do_handshake()
    nodes_end.do_handshake()
    with pytest.raises(ssl.SSLError):
        broker.do_handshake()
    with pytest.raises(ssl.SSLError) as verdict:
        nodes_end.read(1)
    assert spoken_alert(verdict.value).startswith(
        "the broker does not accept this node's side of TLS (certificate required)"
    )
    assert spoken_alert(ssl.SSLError(1, "nonsense")) == "TLS failed (nonsense)"


# ---------------------------------------------------------------- the node's own files


def changed(pair: Pair, directory: Path, *, key: bytes | None = None, mode: int = 0o600) -> Pair:
    """A copy, with another key or mode."""
    directory.mkdir(exist_ok=True)
    copy = Pair(cert=directory / "cert.pem", key=directory / "key.pem")
    copy.cert.write_bytes(pair.cert.read_bytes())
    copy.key.write_bytes(pair.key.read_bytes() if key is None else key)
    copy.key.chmod(mode)
    return copy


@realtime
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_can_read_is_not_used(
    strict: Mosquitto,
    village: Authority,
    node: Pair,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    mode: int,
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    own = changed(node, tmp_path / "open", mode=mode)

    async def main() -> None:
        why = await refusal(broker_of(strict.url, village, own))
        assert why == f"The private key {own.key} can be read by others; run: chmod 600 {own.key}"
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "elsewhere"))
        assert not await believes(broker_of(strict.url, village, own))
        monkeypatch.setenv(
            "CREDENTIALS_DIRECTORY", str(tmp_path / "open")
        )  # systemd's own, whatever its mode
        assert await believes(broker_of(strict.url, village, own))
        monkeypatch.delenv("CREDENTIALS_DIRECTORY")
        own.key.chmod(0o400)
        assert await believes(broker_of(strict.url, village, own))

    run(main)


@realtime
def test_a_file_that_cannot_be_used_is_named(
    strict: Mosquitto, village: Authority, stranger: Authority, node: Pair, tmp_path: Path
) -> None:
    encrypted = load_pem_private_key(node.key.read_bytes(), None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"bi-mat")
    )
    nowhere = tmp_path / "nowhere.pem"

    async def main() -> None:
        for own, hint in (
            (changed(node, tmp_path / "encrypted", key=encrypted), "passphrase"),
            (changed(node, tmp_path / "no-key", key=b"no key"), "key_file"),
            (Pair(cert=node.cert, key=stranger.certify("node").key), "mismatch"),
            (Pair(cert=nowhere, key=node.key), "No such file"),
            (Pair(cert=node.cert, key=nowhere), "No such file"),
        ):
            async with asyncio.timeout(2):  # nobody is asked at a terminal
                why = await refusal(broker_of(strict.url, village, own))
            assert hint in why
            assert str(own.cert) in why
            assert str(own.key) in why
        no_authority = MqttBroker(strict.url, ca_file=str(nowhere))
        assert str(nowhere) in await refusal(no_authority)
        with pytest.raises(BrokerUnreachable, match="check ca_file"):
            async with MqttBroker(strict.url, ca_file=str(node.key)).session(DATED):
                raise AssertionError

    run(main)


@realtime
def test_a_renewed_certificate_counts_from_the_next_connection(
    strict: Mosquitto, village: Authority, tmp_path: Path
) -> None:
    own = changed(village.certify("node", lasts=EXPIRED), tmp_path / "own")
    fresh = village.certify("node")

    async def main() -> None:
        broker = broker_of(strict.url, village, own)
        assert not await believes(broker)
        changed(fresh, tmp_path / "own")
        assert await believes(broker)

    run(main)
