"""What only the virtual broker can do: faults on demand, and the server's side."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from hal.errors import BrokerLost, BrokerRefused, BrokerUnreachable
from hal.ports import BrokerSession, Connect, Delivery, Message
from hal.sim.broker import VirtualBroker
from hal.sim.clock import VirtualClock
from hal.sim.loop import Counter, run
from hal.sim.topic_filter import matches

NODE = Connect(client_id="node", will=Message(topic="t/state", payload=b"lost", retain=True))


class Bench:
    def __init__(self, **keywords: Any) -> None:
        self.counter = Counter()
        self.clock = VirtualClock(self.counter)
        self.broker = VirtualBroker(self.clock, random.Random(3), **keywords)

    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        run(main(), self.counter)

    def order(self, number: int, *, qos: int = 1) -> None:
        self.broker.server_publish(Message(topic="t/cmd", payload=b"%d" % number, qos=qos))

    def heard(self, pattern: str = "#") -> list[bytes]:
        return [entry.message.payload for entry in self.broker.received_on(pattern)]


async def take(session: BrokerSession, count: int) -> list[int]:
    taken: list[Delivery] = []
    for _ in range(count):
        taken.append(await session.receive())
        session.acknowledge(taken[-1])
    return [int(delivery.payload) for delivery in taken]


@pytest.mark.parametrize(
    ("pattern", "topic", "covers"),
    [
        ("a/b", "a/b", True),
        ("a/+", "a/b", True),
        ("a/+", "a", False),
        ("a/+", "a/", True),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("#", "a/b", True),
        ("+", "a/b", False),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/x", True),
        ("a/b", "a/b/c", False),
    ],
)
def test_topic_filters_match_as_mqtt_says(pattern: str, topic: str, *, covers: bool) -> None:
    assert matches(pattern, topic) is covers


def test_the_server_speaks_and_hears() -> None:
    bench = Bench()

    async def main() -> None:
        async with bench.broker.session(NODE) as session:
            assert bench.broker.connected("node")
            await session.subscribe("t/cmd")
            bench.order(1)
            assert await take(session, 1) == [1]
            await session.publish(Message(topic="t/up", payload=b"done"))
        assert not bench.broker.connected("node")
        (entry,) = bench.broker.server_received
        assert (entry.client_id, entry.message.payload) == ("node", b"done")
        assert entry.at_ns <= bench.clock.monotonic_ns()

    bench.run(main)


def test_what_the_server_says_before_any_loop_runs_waits() -> None:
    bench = Bench()
    bench.broker.server_publish(Message(topic="t/desired", payload=b"5", retain=True))

    async def main() -> None:
        async with bench.broker.session(NODE) as session:
            await session.subscribe("t/#")
            assert await take(session, 1) == [5]

    bench.run(main)


def test_a_message_delivered_twice_is_two_messages() -> None:
    bench = Bench()
    bench.broker.faults.deliver_twice = 1.0

    async def main() -> None:
        async with bench.broker.session(NODE) as session:
            await session.subscribe("t/cmd")
            bench.order(1)
            first, second = await session.receive(), await session.receive()
            assert first.payload == second.payload
            assert first.packet_id != second.packet_id
            assert not second.duplicate

    bench.run(main)


def test_qos_0_may_be_lost_and_qos_1_never_is() -> None:
    bench = Bench()
    bench.broker.faults.lose_qos0 = 0.5

    async def main() -> None:
        async with bench.broker.session(NODE) as session:
            for _ in range(200):
                await session.publish(Message(topic="t/0", payload=b"", qos=0))
                await session.publish(Message(topic="t/1", payload=b""))
        assert 60 < len(bench.heard("t/0")) < 140
        assert len(bench.heard("t/1")) == 200

    bench.run(main)


def test_refusals_of_every_kind() -> None:
    bench = Bench()
    faults = bench.broker.faults

    async def main() -> None:
        faults.refuse_connect = 0x87
        with pytest.raises(BrokerRefused) as refusal:
            async with bench.broker.session(NODE):
                raise AssertionError
        assert refusal.value.reason_code == 0x87
        faults.refuse_connect = None
        async with bench.broker.session(NODE) as session:
            faults.refuse_publish.append(("t/up/#", 0x97))
            with pytest.raises(BrokerRefused, match="0x97"):
                await session.publish(Message(topic="t/up/report", payload=b""))
            faults.refuse_publish.clear()
            await session.publish(Message(topic="t/up/report", payload=b"now"))
            faults.refuse_subscribe.append(("t/cmd", 0x87))
            with pytest.raises(BrokerRefused, match="t/cmd"):
                await session.subscribe("t/other", "t/cmd")
        assert bench.heard() == [b"now"]

    bench.run(main)


def test_the_queue_of_who_is_away_is_capped_silently() -> None:
    bench = Bench(queue_cap=10)

    async def main() -> None:
        async with bench.broker.session(NODE) as session:
            await session.subscribe("t/cmd")
        for number in range(25):
            bench.order(number)
        assert bench.broker.dropped == 15
        async with bench.broker.session(NODE) as session:
            assert await take(session, 10) == list(range(10))

    bench.run(main)


def test_a_forgotten_session_takes_its_orders_with_it() -> None:
    bench = Bench()

    async def main() -> None:
        async with bench.broker.session(NODE) as session:
            await session.subscribe("t/cmd")
            bench.broker.forget_sessions()
            with pytest.raises(BrokerLost, match="restarted"):
                await session.receive()
        bench.order(1)
        async with bench.broker.session(NODE) as session:
            assert not session.session_present

    bench.run(main)


def test_a_power_cut_of_the_node_is_noticed_by_the_keepalive_and_willed() -> None:
    bench = Bench()

    async def life() -> None:
        async with bench.broker.session(NODE) as session:
            await session.subscribe("t/cmd")
            bench.broker.power_cut()
            raise ZeroDivisionError

    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            await life()
        await asyncio.sleep(44)
        assert bench.broker.connected("node"), "1.5 keepalives of 30 s"
        await asyncio.sleep(2)
        assert not bench.broker.connected("node")
        assert bench.heard() == []
        await asyncio.sleep(45)
        assert bench.heard() == [b"lost"]
        assert bench.broker.retained["t/state"].payload == b"lost"

    bench.run(main)


def test_a_power_cut_that_ended_the_loop_is_settled_in_the_next() -> None:
    bench = Bench()

    async def first() -> None:
        async with bench.broker.session(NODE):
            bench.broker.power_cut()
            raise ZeroDivisionError

    async def second() -> None:
        await asyncio.sleep(100)

    with pytest.raises(ZeroDivisionError):
        bench.run(first)
    bench.run(second)
    assert bench.heard() == [b"lost"]


def test_a_silence_that_heals_in_time_loses_nothing() -> None:
    bench = Bench()

    async def main() -> None:
        async with bench.broker.session(NODE) as session:
            await session.subscribe("t/cmd")
            bench.broker.partition("silent")
            bench.order(1)
            publishing = asyncio.ensure_future(session.publish(Message(topic="t/up", payload=b"held")))
            await asyncio.sleep(40)
            assert not publishing.done()
            bench.broker.heal()
            await publishing
            assert await take(session, 1) == [1]
            await asyncio.sleep(200)
            assert bench.broker.connected("node")
        assert bench.heard() == [b"held"]

    bench.run(main)


def test_a_long_silence_ends_both_ends_and_the_order_comes_again() -> None:
    bench = Bench()

    async def main() -> None:
        async with bench.broker.session(NODE) as session:
            await session.subscribe("t/cmd")
            bench.broker.partition("silent")
            bench.order(1)
            with pytest.raises(BrokerLost, match="silent"):
                await session.receive()
        with pytest.raises(BrokerUnreachable, match="within 10 s"):
            async with bench.broker.session(NODE):
                raise AssertionError
        bench.broker.heal()
        async with bench.broker.session(NODE) as session:
            got = await session.receive()
            assert (got.payload, got.duplicate) == (b"1", True)

    bench.run(main)


def test_a_kick_and_a_partition_of_one_node_leave_the_others_alone() -> None:
    bench = Bench()

    async def main() -> None:
        other = Connect(client_id="other")
        async with bench.broker.session(NODE) as session, bench.broker.session(other) as unharmed:
            bench.broker.kick("node")
            with pytest.raises(BrokerLost):
                await session.receive()
            bench.broker.partition(client_id="node")
            with pytest.raises(BrokerUnreachable):
                async with bench.broker.session(NODE):
                    raise AssertionError
            await unharmed.publish(Message(topic="t", payload=b""))
            bench.broker.heal(client_id="node")
            async with bench.broker.session(NODE):
                pass

    bench.run(main)


def test_a_session_and_its_orders_expire() -> None:
    bench = Bench()

    async def main() -> None:
        async with bench.broker.session(NODE) as session:
            await session.subscribe("t/cmd")
        await asyncio.sleep(7 * 86400 - 1)
        async with bench.broker.session(NODE) as session:
            assert session.session_present
        await asyncio.sleep(7 * 86400 + 1)
        async with bench.broker.session(NODE) as session:
            assert not session.session_present

    bench.run(main)


def test_a_delay_is_one_way_and_keeps_the_order() -> None:
    bench = Bench(delay_s=0.3, jitter_s=0.4)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with bench.broker.session(NODE) as session:
            await session.subscribe("t/cmd")
            began_s = loop.time()
            await session.publish(Message(topic="t/up", payload=b""))
            assert 0.6 <= loop.time() - began_s <= 1.4
            for number in range(50):
                bench.order(number)
            assert await take(session, 50) == list(range(50))

    bench.run(main)


def test_a_week_of_reports_takes_no_time() -> None:
    bench = Bench()

    async def main() -> None:
        async with bench.broker.session(NODE) as session:
            for _ in range(7 * 24 * 6):
                await session.publish(Message(topic="t/health", payload=b"ok"))
                await asyncio.sleep(600)
        assert len(bench.heard()) == 1008

    bench.run(main)
