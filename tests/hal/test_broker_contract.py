"""One contract for `hal.ports.Broker`, held to the virtual broker and to a real Mosquitto: messages, the five cures."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from hal.errors import BrokerRefused
from hal.ports import Message
from tests.hal.broker_scenes import (
    NOT_AUTHORIZED,
    SERVER,
    Bench,
    loses,
    node,
    nothing_comes,
    numbers,
    order,
    take,
)

# ---------------------------------------------------------------- messages


def test_a_message_arrives_whole(broker_bench: Bench) -> None:
    async def main() -> None:
        async with (
            broker_bench.broker.session(node()) as session,
            broker_bench.broker.session(SERVER) as server,
        ):
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

    broker_bench.run(main)


def test_64_kib_pass(broker_bench: Bench) -> None:
    async def main() -> None:
        async with broker_bench.broker.session(node()) as session:
            await session.subscribe("t/#")
            await session.publish(Message(topic="t/x", payload=bytes(65536)))
            assert (await session.receive()).payload == bytes(65536)
            sent, received = session.traffic()
            assert sent > 65536
            assert received > 65536

    broker_bench.run(main)


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
def test_wildcards(broker_bench: Bench, pattern: str, heard: list[int]) -> None:
    async def main() -> None:
        async with broker_bench.broker.session(node()) as session:
            await session.subscribe(pattern, "t/end/of/all")
            for number, topic in enumerate(("t/a/b", "t/a", "t/b/c/d", "t"), start=1):
                await session.publish(order(number, topic=topic))
            await session.publish(order(0, topic="t/end/of/all"))
            assert numbers(await take(session, len(heard) + 1)) == [*heard, 0]

    broker_bench.run(main)


def test_overlapping_subscriptions_deliver_once_each(broker_bench: Bench) -> None:
    async def main() -> None:
        async with broker_bench.broker.session(node()) as session:
            await session.subscribe("t/#", "t/+")
            await session.publish(order(1, topic="t/a"))
            await session.publish(order(2, topic="t/a"))
            assert numbers(await take(session, 4)) == [1, 1, 2, 2]

    broker_bench.run(main)


def test_a_retained_message_greets_who_subscribes_until_it_is_cleared(broker_bench: Bench) -> None:
    async def main() -> None:
        async with (
            broker_bench.broker.session(SERVER) as server,
            broker_bench.broker.session(node()) as session,
        ):
            await server.publish(Message(topic="t/state", payload=b"7", retain=True))
            await session.subscribe("t/#")
            (greeting,) = await take(session, 1)
            assert (greeting.payload, greeting.retain) == (b"7", True)
            await server.publish(Message(topic="t/state", payload=b"8", retain=True))
            (live,) = await take(session, 1)
            assert (live.payload, live.retain) == (b"8", True), "retained, although it comes at once"
            await server.publish(Message(topic="t/state", payload=b"9"))
            (passing,) = await take(session, 1)
            assert (passing.payload, passing.retain) == (b"9", False)
            await server.publish(Message(topic="t/state", payload=b"", retain=True))
            (cleared,) = await take(session, 1)
            assert (cleared.payload, cleared.retain) == (b"", True)
            await session.subscribe("t/#")
            assert await nothing_comes(session)

    broker_bench.run(main)


def test_many_publishes_may_run_at_once(broker_bench: Bench) -> None:
    async def main() -> None:
        async with (
            broker_bench.broker.session(node()) as session,
            broker_bench.broker.session(SERVER) as server,
        ):
            await server.subscribe("t/#")
            async with asyncio.TaskGroup() as group:
                for number in range(60):
                    group.create_task(session.publish(order(number)))
                got = await take(server, 60)
            assert numbers(got) == list(range(60))

    broker_bench.run(main)


def test_qos_0_needs_no_answer(broker_bench: Bench) -> None:
    async def main() -> None:
        async with (
            broker_bench.broker.session(node()) as session,
            broker_bench.broker.session(SERVER) as server,
        ):
            await server.subscribe("t/#")
            await session.publish(order(1, qos=0))
            (got,) = await take(server, 1)
            assert got.qos == 0

    broker_bench.run(main)


# ---------------------------------------------------------------- the five cures


def test_nothing_is_acknowledged_before_the_application_says_so(broker_bench: Bench) -> None:
    async def main() -> None:
        with contextlib.suppress(ZeroDivisionError):
            async with broker_bench.broker.session(node()) as session:
                await session.subscribe("t/cmd")
                async with broker_bench.broker.session(SERVER) as server:
                    for number in (1, 2, 3):
                        await server.publish(order(number))
                received = [await session.receive() for _ in range(3)]
                session.acknowledge(received[0])
                await session.publish(
                    order(0, topic="t/other")
                )  # the PUBACK is through when this is answered
                raise ZeroDivisionError  # the power fails before the journal has 2 and 3
        async with broker_bench.broker.session(node()) as session:
            again = await take(session, 2)
            assert numbers(again) == [2, 3]
            assert all(delivery.duplicate for delivery in again)
        async with broker_bench.broker.session(node()) as session:
            assert await nothing_comes(session)

    broker_bench.run(main)


def test_a_slow_application_loses_nothing(broker_bench: Bench) -> None:
    async def main() -> None:
        async with (
            broker_bench.broker.session(node(receive_maximum=3)) as session,
            broker_bench.broker.session(SERVER) as server,
        ):
            await session.subscribe("t/#")
            for number in range(40):
                await server.publish(order(number))
            held = [await session.receive() for _ in range(3)]
            assert await nothing_comes(session), "Receive Maximum is 3"
            for delivery in held:
                session.acknowledge(delivery)
            assert numbers(held + await take(session, 37)) == list(range(40))

    broker_bench.run(main)


def test_a_flood_of_orders_comes_through_whole_and_in_order(broker_bench: Bench) -> None:
    """Mosquitto 2.0.11 forgets the Receive Maximum with the first PUBACK; that must not end the session."""

    async def main() -> None:
        async with (
            broker_bench.broker.session(node(receive_maximum=8)) as session,
            broker_bench.broker.session(SERVER) as server,
        ):
            await session.subscribe("t/#")
            for number in range(300):
                await server.publish(order(number))
            assert numbers(await take(session, 300)) == list(range(300))

    broker_bench.run(main)


def test_a_refused_publish_is_raised_with_its_reason(broker_bench: Bench) -> None:
    async def main() -> None:
        async with broker_bench.broker.session(node()) as session:
            await session.subscribe("t/#")
            with pytest.raises(BrokerRefused, match=r"closed/door.*0x87") as refusal:
                await session.publish(order(1, topic="closed/door"))
            assert refusal.value.reason_code == NOT_AUTHORIZED
            await session.publish(order(2))
            assert numbers(await take(session, 1)) == [2], "the session goes on"

    broker_bench.run(main)


def test_session_present_is_what_the_broker_says(broker_bench: Bench) -> None:
    async def main() -> None:
        present: list[bool] = []
        for clean_start in (False, False, True, False):
            async with broker_bench.broker.session(node(clean_start=clean_start)) as session:
                present.append(session.session_present)
        assert present == [False, True, False, True]
        async with broker_bench.broker.session(node(session_expiry_s=0)) as session:
            assert session.session_present
        broker_bench.restart()
        async with broker_bench.broker.session(node()) as session:
            assert not session.session_present, "the broker has forgotten"

    broker_bench.run(main)


def test_what_was_under_way_is_not_sent_again_on_the_next_connection(broker_bench: Bench) -> None:
    async def main() -> None:
        async with broker_bench.broker.session(SERVER) as server, broker_bench.net() as net:
            await server.subscribe("t/#")
            with contextlib.suppress(ZeroDivisionError):
                async with net.broker.session(node()) as session:
                    net.freeze()
                    publishing = asyncio.ensure_future(loses(session.publish(order(1))))
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

    broker_bench.run(main)
