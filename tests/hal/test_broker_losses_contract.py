"""The broker's contract where connections end: sessions, wills, losses, cancellation."""

from __future__ import annotations

import asyncio

import pytest

from hal.errors import BrokerLost, BrokerUnreachable
from hal.ports import Connect, Message
from tests.hal.broker_scenes import (
    SERVER,
    Bench,
    drop,
    loses,
    node,
    nothing_comes,
    numbers,
    order,
    take,
)

# ---------------------------------------------------------------- sessions


def test_what_comes_while_the_node_is_away_waits_for_it(broker_bench: Bench) -> None:
    async def main() -> None:
        async with broker_bench.broker.session(node()) as session:
            await session.subscribe("t/#")
        async with broker_bench.broker.session(SERVER) as server:
            for number in (1, 2, 3):
                await server.publish(order(number))
            await server.publish(order(4, qos=0))
        async with broker_bench.broker.session(node()) as session:
            assert session.session_present
            got = await take(session, 3)
            assert numbers(got) == [1, 2, 3]
            assert not any(delivery.duplicate for delivery in got)
            assert await nothing_comes(session), "QoS 0 is not kept"

    broker_bench.run(main)


def test_an_expired_message_is_not_delivered(broker_bench: Bench) -> None:
    async def main() -> None:
        async with broker_bench.broker.session(node()) as session:
            await session.subscribe("t/#")
        async with broker_bench.broker.session(SERVER) as server:
            await server.publish(order(1, expiry_s=1))
            await server.publish(order(2, expiry_s=60))
        await asyncio.sleep(2.1)
        async with broker_bench.broker.session(node()) as session:
            (got,) = await take(session, 1)
            assert int(got.payload) == 2
            assert got.expiry_s is not None
            assert 56 <= got.expiry_s <= 58, "it has waited for two seconds"

    broker_bench.run(main)


def test_a_session_that_expires_is_forgotten(broker_bench: Bench) -> None:
    async def main() -> None:
        async with broker_bench.broker.session(node(session_expiry_s=0)) as session:
            await session.subscribe("t/#")
        async with broker_bench.broker.session(node()) as session:
            assert not session.session_present

    broker_bench.run(main)


def test_the_second_of_one_name_ends_the_first(broker_bench: Bench) -> None:
    async def main() -> None:
        async with broker_bench.broker.session(node()) as first:
            async with broker_bench.broker.session(node()) as second:
                with pytest.raises(BrokerLost):
                    await first.receive()
                await second.publish(order(1))
            with pytest.raises(BrokerLost):
                await first.publish(order(2))

    broker_bench.run(main)


# ---------------------------------------------------------------- wills


def test_a_crash_publishes_the_will_after_its_delay_and_a_farewell_does_not(broker_bench: Bench) -> None:
    async def main() -> None:
        def willing(name: str) -> Connect:
            will = Message(topic=f"t/{name}", payload=b"0", retain=True, content_type="application/json")
            return node(client_id=name, will=will, will_delay_s=1)

        async with broker_bench.broker.session(SERVER) as server:
            await server.subscribe("t/#")
            await drop(broker_bench.broker, willing("crashed"))
            await drop(broker_bench.broker, willing("returned"))
            async with broker_bench.broker.session(willing("returned")):
                async with broker_bench.broker.session(willing("parted")):
                    pass
                assert await nothing_comes(server, within_s=0.5)
                (got,) = await take(server, 1)
                assert got.topic == "t/crashed"
                assert await nothing_comes(server, within_s=1.2), "no will of who came back or said goodbye"

    broker_bench.run(main)


def test_a_will_without_delay_is_published_at_once(broker_bench: Bench) -> None:
    async def main() -> None:
        async with broker_bench.broker.session(SERVER) as server:
            await server.subscribe("t/#")
            await drop(broker_bench.broker, node(will=Message(topic="t/will", payload=b"9"), will_delay_s=0))
            async with asyncio.timeout(1):
                assert numbers(await take(server, 1)) == [9]

    broker_bench.run(main)


# ---------------------------------------------------------------- losses


def test_nobody_there_is_unreachable(broker_bench: Bench) -> None:
    async def main() -> None:
        broker_bench.stop()
        with pytest.raises(BrokerUnreachable, match="No connection to the broker"):
            async with broker_bench.broker.session(node()):
                raise AssertionError

    broker_bench.run(main)


def test_a_silent_network_is_unreachable_in_time(broker_bench: Bench) -> None:
    async def main() -> None:
        async with broker_bench.net() as net:
            net.freeze()
            async with asyncio.timeout(15):
                with pytest.raises(BrokerUnreachable, match="within"):
                    async with net.broker.session(node()):
                        raise AssertionError

    broker_bench.run(main)


def test_a_half_open_connection_is_lost_within_two_keepalives(broker_bench: Bench) -> None:
    async def main() -> None:
        async with broker_bench.net() as net:
            loop = asyncio.get_running_loop()
            async with net.broker.session(node(keepalive_s=1)) as session:
                net.freeze()
                frozen_s = loop.time()
                async with asyncio.TaskGroup() as group:
                    publishing = group.create_task(loses(session.publish(order(1))))
                    receiving = group.create_task(loses(session.receive()))
                assert publishing.result()
                assert receiving.result()
                assert loop.time() - frozen_s < 3.0

    broker_bench.run(main)


def test_an_idle_connection_is_kept_alive(broker_bench: Bench) -> None:
    async def main() -> None:
        async with broker_bench.broker.session(node(keepalive_s=1)) as session:
            await asyncio.sleep(2.0)  # the broker gives up after 1.5
            await session.publish(order(1))

    broker_bench.run(main)


def test_a_broker_that_goes_away_ends_every_call(broker_bench: Bench) -> None:
    async def main() -> None:
        async with broker_bench.broker.session(node()) as session:
            await session.subscribe("t/#")
            receiving = asyncio.ensure_future(loses(session.receive()))
            await asyncio.sleep(0)
            broker_bench.stop()
            assert await receiving
            with pytest.raises(BrokerLost):
                await session.publish(order(1))
            with pytest.raises(BrokerLost):
                await session.publish(order(1, qos=0))
            with pytest.raises(BrokerLost):
                await session.subscribe("t/b")
            with pytest.raises(BrokerLost):
                await session.receive()

    broker_bench.run(main)


def test_what_had_come_before_the_loss_is_still_handed_over(broker_bench: Bench) -> None:
    async def main() -> None:
        async with broker_bench.broker.session(node()) as session:
            await session.subscribe("t/#")
            for number in (1, 2, 3):
                await session.publish(order(number))
            first = await session.receive()
            await asyncio.sleep(0.1)
            broker_bench.stop()
            await asyncio.sleep(0.1)
            rest = [await session.receive() for _ in range(2)]
            assert numbers([first, *rest]) == [1, 2, 3]
            with pytest.raises(BrokerLost):
                await session.receive()
            session.acknowledge(first)  # never raises; the broker will send it again

    broker_bench.run(main)


def test_an_acknowledgement_is_for_its_own_session_only(broker_bench: Bench) -> None:
    async def main() -> None:
        async with broker_bench.broker.session(node()) as session:
            await session.subscribe("t/#")
            await session.publish(order(1))
            old = await session.receive()
        async with broker_bench.broker.session(node()) as session:
            session.acknowledge(old)  # the same packet id means something else here
            assert (await session.receive()).duplicate
        async with broker_bench.broker.session(node()) as session:
            (again,) = await take(session, 1)
            session.acknowledge(again)  # twice is once
        async with broker_bench.broker.session(node()) as session:
            assert await nothing_comes(session)

    broker_bench.run(main)


# ---------------------------------------------------------------- cancellation


def test_whoever_gives_up_waiting_leaves_the_session_usable(broker_bench: Bench) -> None:
    async def main() -> None:
        async with broker_bench.broker.session(node()) as session:
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

    broker_bench.run(main)


def test_a_session_cancelled_from_outside_leaves_nothing_behind(broker_bench: Bench) -> None:
    async def main() -> None:
        async def live() -> None:
            async with broker_bench.broker.session(node()) as session:
                await session.receive()

        for pause_s in (0.0, 0.001, 0.005, 0.05):
            task = asyncio.ensure_future(live())
            await asyncio.sleep(pause_s)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert len(asyncio.all_tasks()) == 1

    broker_bench.run(main)
