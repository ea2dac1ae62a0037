"""One contract for `hal.ports.Broker`: held to the virtual broker and to a real Mosquitto."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Protocol

import pytest

from hal.errors import BrokerLost, BrokerRefused, BrokerUnreachable
from hal.ports import Broker, BrokerSession, Connect, Delivery, Message
from hal.sim.broker import VirtualBroker
from hal.sim.clock import VirtualClock
from hal.sim.loop import Counter, run
from tests.conftest import MosquittoMaker
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


@pytest.fixture(params=["virtual", pytest.param("mosquitto", marks=pytest.mark.realtime)])
def bench(request: pytest.FixtureRequest) -> Bench:
    if request.param == "virtual":
        return VirtualBench()
    make: MosquittoMaker = request.getfixturevalue("make_mosquitto")
    return MosquittoBench(make(acl=ACL))


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


# ---------------------------------------------------------------- messages


def test_a_message_arrives_whole(bench: Bench) -> None:
    async def main() -> None:
        async with bench.broker.session(node()) as session, bench.broker.session(SERVER) as server:
            await session.subscribe("t/cmd/+")
            await server.publish(
                Message(
                    topic="t/cmd/play",
                    payload="Thôn Đoài".encode(),
                    correlation=b"id-1",
                    expiry_s=60,
                    content_type="application/json",
                )
            )
            got = await session.receive()
            assert (got.topic, got.payload.decode(), got.qos) == ("t/cmd/play", "Thôn Đoài", 1)
            assert (got.retain, got.duplicate, got.correlation) == (False, False, b"id-1")
            assert got.expiry_s in (59, 60)
            assert got.packet_id > 0

    bench.run(main)


def test_64_kib_pass(bench: Bench) -> None:
    async def main() -> None:
        async with bench.broker.session(node()) as session:
            await session.subscribe("t/#")
            await session.publish(Message(topic="t/x", payload=bytes(65536)))
            assert (await session.receive()).payload == bytes(65536)
            sent, received = session.traffic()
            assert sent > 65536
            assert received > 65536

    bench.run(main)


@pytest.mark.parametrize(
    ("pattern", "heard"),
    [
        ("t/+/b", [1]),
        ("t/#", [1, 2, 3, 4]),
        ("t/a/#", [1, 2]),
        ("t", [4]),
        ("+/a/b", [1]),
        ("t/a", [2]),
        ("x/#", []),
    ],
)
def test_wildcards(bench: Bench, pattern: str, heard: list[int]) -> None:
    async def main() -> None:
        async with bench.broker.session(node()) as session:
            await session.subscribe(pattern, "t/end/of/all")
            for number, topic in enumerate(("t/a/b", "t/a", "t/b/c/d", "t"), start=1):
                await session.publish(order(number, topic=topic))
            await session.publish(order(0, topic="t/end/of/all"))
            assert numbers(await take(session, len(heard) + 1)) == [*heard, 0]

    bench.run(main)


def test_overlapping_subscriptions_deliver_once_each(bench: Bench) -> None:
    async def main() -> None:
        async with bench.broker.session(node()) as session:
            await session.subscribe("t/#", "t/+")
            await session.publish(order(1, topic="t/a"))
            await session.publish(order(2, topic="t/a"))
            assert numbers(await take(session, 4)) == [1, 1, 2, 2]

    bench.run(main)


def test_a_retained_message_greets_who_subscribes_until_it_is_cleared(bench: Bench) -> None:
    async def main() -> None:
        async with bench.broker.session(SERVER) as server, bench.broker.session(node()) as session:
            await server.publish(Message(topic="t/state", payload=b"7", retain=True))
            await session.subscribe("t/#")
            (greeting,) = await take(session, 1)
            assert (greeting.payload, greeting.retain) == (b"7", True)
            await server.publish(Message(topic="t/state", payload=b"8", retain=True))
            (live,) = await take(session, 1)
            assert (live.payload, live.retain) == (b"8", False)
            await server.publish(Message(topic="t/state", payload=b"", retain=True))
            await take(session, 1)
            await session.subscribe("t/#")
            assert await nothing_comes(session)

    bench.run(main)


def test_many_publishes_may_run_at_once(bench: Bench) -> None:
    async def main() -> None:
        async with bench.broker.session(node()) as session, bench.broker.session(SERVER) as server:
            await server.subscribe("t/#")
            async with asyncio.TaskGroup() as group:
                for number in range(60):
                    group.create_task(session.publish(order(number)))
                got = await take(server, 60)
            assert numbers(got) == list(range(60))

    bench.run(main)


def test_qos_0_needs_no_answer(bench: Bench) -> None:
    async def main() -> None:
        async with bench.broker.session(node()) as session, bench.broker.session(SERVER) as server:
            await server.subscribe("t/#")
            await session.publish(order(1, qos=0))
            (got,) = await take(server, 1)
            assert got.qos == 0

    bench.run(main)


# ---------------------------------------------------------------- the five cures


def test_nothing_is_acknowledged_before_the_application_says_so(bench: Bench) -> None:
    async def main() -> None:
        with contextlib.suppress(ZeroDivisionError):
            async with bench.broker.session(node()) as session:
                await session.subscribe("t/cmd")
                async with bench.broker.session(SERVER) as server:
                    for number in (1, 2, 3):
                        await server.publish(order(number))
                received = [await session.receive() for _ in range(3)]
                session.acknowledge(received[0])
                await session.publish(
                    order(0, topic="t/other")
                )  # the PUBACK is through when this is answered
                raise ZeroDivisionError  # the power fails before the journal has 2 and 3
        async with bench.broker.session(node()) as session:
            again = await take(session, 2)
            assert numbers(again) == [2, 3]
            assert all(delivery.duplicate for delivery in again)
        async with bench.broker.session(node()) as session:
            assert await nothing_comes(session)

    bench.run(main)


def test_a_slow_application_loses_nothing(bench: Bench) -> None:
    async def main() -> None:
        async with (
            bench.broker.session(node(receive_maximum=3)) as session,
            bench.broker.session(SERVER) as server,
        ):
            await session.subscribe("t/#")
            for number in range(40):
                await server.publish(order(number))
            held = [await session.receive() for _ in range(3)]
            assert await nothing_comes(session), "Receive Maximum is 3"
            for delivery in held:
                session.acknowledge(delivery)
            assert numbers(held + await take(session, 37)) == list(range(40))

    bench.run(main)


def test_a_refused_publish_is_raised_with_its_reason(bench: Bench) -> None:
    async def main() -> None:
        async with bench.broker.session(node()) as session:
            await session.subscribe("t/#")
            with pytest.raises(BrokerRefused, match=r"closed/door.*0x87") as refusal:
                await session.publish(order(1, topic="closed/door"))
            assert refusal.value.reason_code == NOT_AUTHORIZED
            await session.publish(order(2))
            assert numbers(await take(session, 1)) == [2], "the session goes on"

    bench.run(main)


def test_session_present_is_what_the_broker_says(bench: Bench) -> None:
    async def main() -> None:
        present: list[bool] = []
        for clean_start in (False, False, True, False):
            async with bench.broker.session(node(clean_start=clean_start)) as session:
                present.append(session.session_present)
        assert present == [False, True, False, True]
        async with bench.broker.session(node(session_expiry_s=0)) as session:
            assert session.session_present
        bench.restart()
        async with bench.broker.session(node()) as session:
            assert not session.session_present, "the broker has forgotten"

    bench.run(main)


def test_what_was_under_way_is_not_sent_again_on_the_next_connection(bench: Bench) -> None:
    async def main() -> None:
        async with bench.broker.session(SERVER) as server, bench.net() as net:
            await server.subscribe("t/#")
            with contextlib.suppress(ZeroDivisionError):
                async with net.broker.session(node()) as session:
                    net.freeze()
                    publishing = asyncio.ensure_future(_loses(session.publish(order(1))))
                    await asyncio.sleep(0.05)
                    net.lose()
                    raise ZeroDivisionError
            assert await publishing
            async with net.broker.session(node()) as session:
                assert session.session_present
                await session.publish(order(2))
                assert numbers(await take(server, 1)) == [2], (
                    "1 is the outbox's to send again, not the driver's"
                )
                assert await nothing_comes(server)

    bench.run(main)


# ---------------------------------------------------------------- sessions


def test_what_comes_while_the_node_is_away_waits_for_it(bench: Bench) -> None:
    async def main() -> None:
        async with bench.broker.session(node()) as session:
            await session.subscribe("t/#")
        async with bench.broker.session(SERVER) as server:
            for number in (1, 2, 3):
                await server.publish(order(number))
            await server.publish(order(4, qos=0))
        async with bench.broker.session(node()) as session:
            assert session.session_present
            got = await take(session, 3)
            assert numbers(got) == [1, 2, 3]
            assert not any(delivery.duplicate for delivery in got)
            assert await nothing_comes(session), "QoS 0 is not kept"

    bench.run(main)


def test_an_expired_message_is_not_delivered(bench: Bench) -> None:
    async def main() -> None:
        async with bench.broker.session(node()) as session:
            await session.subscribe("t/#")
        async with bench.broker.session(SERVER) as server:
            await server.publish(order(1, expiry_s=1))
            await server.publish(order(2, expiry_s=60))
        await asyncio.sleep(2.1)
        async with bench.broker.session(node()) as session:
            (got,) = await take(session, 1)
            assert int(got.payload) == 2
            assert got.expiry_s is not None
            assert 56 <= got.expiry_s <= 58, "it has waited for two seconds"

    bench.run(main)


def test_a_session_that_expires_is_forgotten(bench: Bench) -> None:
    async def main() -> None:
        async with bench.broker.session(node(session_expiry_s=0)) as session:
            await session.subscribe("t/#")
        async with bench.broker.session(node()) as session:
            assert not session.session_present

    bench.run(main)


def test_the_second_of_one_name_ends_the_first(bench: Bench) -> None:
    async def main() -> None:
        async with bench.broker.session(node()) as first:
            async with bench.broker.session(node()) as second:
                with pytest.raises(BrokerLost):
                    await first.receive()
                await second.publish(order(1))
            with pytest.raises(BrokerLost):
                await first.publish(order(2))

    bench.run(main)


# ---------------------------------------------------------------- wills


def test_a_crash_publishes_the_will_after_its_delay_and_a_farewell_does_not(bench: Bench) -> None:
    async def main() -> None:
        def willing(name: str) -> Connect:
            will = Message(topic=f"t/{name}", payload=b"0", retain=True, content_type="application/json")
            return node(client_id=name, will=will, will_delay_s=1)

        async with bench.broker.session(SERVER) as server:
            await server.subscribe("t/#")
            await drop(bench.broker, willing("crashed"))
            await drop(bench.broker, willing("returned"))
            async with bench.broker.session(willing("returned")):
                async with bench.broker.session(willing("parted")):
                    pass
                assert await nothing_comes(server, within_s=0.5)
                (got,) = await take(server, 1)
                assert got.topic == "t/crashed"
                assert await nothing_comes(server, within_s=1.2), "no will of who came back or said goodbye"

    bench.run(main)


def test_a_will_without_delay_is_published_at_once(bench: Bench) -> None:
    async def main() -> None:
        async with bench.broker.session(SERVER) as server:
            await server.subscribe("t/#")
            await drop(bench.broker, node(will=Message(topic="t/will", payload=b"9"), will_delay_s=0))
            async with asyncio.timeout(1):
                assert numbers(await take(server, 1)) == [9]

    bench.run(main)


# ---------------------------------------------------------------- losses


def test_nobody_there_is_unreachable(bench: Bench) -> None:
    async def main() -> None:
        bench.stop()
        with pytest.raises(BrokerUnreachable, match="No connection to the broker"):
            async with bench.broker.session(node()):
                raise AssertionError

    bench.run(main)


def test_a_silent_network_is_unreachable_in_time(bench: Bench) -> None:
    async def main() -> None:
        async with bench.net() as net:
            net.freeze()
            async with asyncio.timeout(15):
                with pytest.raises(BrokerUnreachable, match="within"):
                    async with net.broker.session(node()):
                        raise AssertionError

    bench.run(main)


def test_a_half_open_connection_is_lost_within_two_keepalives(bench: Bench) -> None:
    async def main() -> None:
        async with bench.net() as net:
            loop = asyncio.get_running_loop()
            async with net.broker.session(node(keepalive_s=1)) as session:
                net.freeze()
                frozen_s = loop.time()
                async with asyncio.TaskGroup() as group:
                    publishing = group.create_task(_loses(session.publish(order(1))))
                    receiving = group.create_task(_loses(session.receive()))
                assert publishing.result()
                assert receiving.result()
                assert loop.time() - frozen_s < 3.0

    bench.run(main)


async def _loses(call: Coroutine[Any, Any, object]) -> bool:
    try:
        await call
    except BrokerLost:
        return True
    return False


def test_an_idle_connection_is_kept_alive(bench: Bench) -> None:
    async def main() -> None:
        async with bench.broker.session(node(keepalive_s=1)) as session:
            await asyncio.sleep(2.0)  # the broker gives up after 1.5
            await session.publish(order(1))

    bench.run(main)


def test_a_broker_that_goes_away_ends_every_call(bench: Bench) -> None:
    async def main() -> None:
        async with bench.broker.session(node()) as session:
            await session.subscribe("t/#")
            receiving = asyncio.ensure_future(_loses(session.receive()))
            await asyncio.sleep(0)
            bench.stop()
            assert await receiving
            with pytest.raises(BrokerLost):
                await session.publish(order(1))
            with pytest.raises(BrokerLost):
                await session.publish(order(1, qos=0))
            with pytest.raises(BrokerLost):
                await session.subscribe("t/b")
            with pytest.raises(BrokerLost):
                await session.receive()

    bench.run(main)


def test_what_had_come_before_the_loss_is_still_handed_over(bench: Bench) -> None:
    async def main() -> None:
        async with bench.broker.session(node()) as session:
            await session.subscribe("t/#")
            for number in (1, 2, 3):
                await session.publish(order(number))
            first = await session.receive()
            await asyncio.sleep(0.1)
            bench.stop()
            await asyncio.sleep(0.1)
            rest = [await session.receive() for _ in range(2)]
            assert numbers([first, *rest]) == [1, 2, 3]
            with pytest.raises(BrokerLost):
                await session.receive()
            session.acknowledge(first)  # never raises; the broker will send it again

    bench.run(main)


def test_an_acknowledgement_is_for_its_own_session_only(bench: Bench) -> None:
    async def main() -> None:
        async with bench.broker.session(node()) as session:
            await session.subscribe("t/#")
            await session.publish(order(1))
            old = await session.receive()
        async with bench.broker.session(node()) as session:
            session.acknowledge(old)
            (again,) = await take(session, 1)
            assert again.duplicate
            session.acknowledge(again)  # twice is once

    bench.run(main)


# ---------------------------------------------------------------- cancellation


def test_whoever_gives_up_waiting_leaves_the_session_usable(bench: Bench) -> None:
    async def main() -> None:
        async with bench.broker.session(node()) as session:
            await session.subscribe("t/#")
            for waiting in (session.receive(), session.publish(order(1)), session.subscribe("t/+")):
                task: asyncio.Task[object] = asyncio.ensure_future(waiting)
                await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            await session.publish(order(2))
            got = await take(session, 2)
            assert numbers(got) == [1, 2], "a publish given up may still arrive, once"

    bench.run(main)


def test_a_session_cancelled_from_outside_leaves_nothing_behind(bench: Bench) -> None:
    async def main() -> None:
        async def live() -> None:
            async with bench.broker.session(node()) as session:
                await session.receive()

        for pause_s in (0.0, 0.001, 0.005, 0.05):
            task = asyncio.ensure_future(live())
            await asyncio.sleep(pause_s)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert len(asyncio.all_tasks()) == 1

    bench.run(main)
