"""The rest of the contract of `hal.ports.Datagrams`: looking instead of waiting, one source alone, groups, names."""

from __future__ import annotations

import asyncio
import random
import socket
from pathlib import Path

import pytest

from hal.errors import DatagramError
from hal.ports import Datagrams, DatagramSocket
from hal.sim.clock import VirtualClock
from hal.sim.datagram import UdpNetwork, VirtualDatagrams
from hal.sim.loop import Counter, run
from tests.hal.datagram_scenes import HERE, Bench, LinuxBench

GROUP = "239.77.4.1"
SOON_S = 0.03


async def heard(ear: DatagramSocket) -> list[bytes]:
    await asyncio.sleep(SOON_S)
    return [got.payload for got in ear.take()]


def joined_somewhere(group: str) -> bool:
    return group in Path("/proc/net/igmp6").read_text()


async def pair(datagrams: Datagrams) -> tuple[DatagramSocket, DatagramSocket, DatagramSocket]:
    ear = await datagrams.open(host="0.0.0.0", port=0)
    studio = await datagrams.open(host=HERE, port=0)
    stranger = await datagrams.open(host=HERE, port=0)
    return ear, studio, stranger


# ---------------------------------------------------------------- looking


def test_who_looks_takes_all_that_has_come_and_never_waits(bench: Bench) -> None:
    async def main() -> None:
        ear, studio, _ = await pair(bench.datagrams)
        assert ear.take() == []
        await asyncio.sleep(SOON_S)  # the kernel begins to stamp a moment after the first socket asks for it
        sent_ns = bench.clock.monotonic_ns()
        for number in range(5):
            studio.send(bytes([number]), (HERE, ear.local[1]))
        await asyncio.sleep(0.1)
        taken = ear.take()
        assert [got.payload[0] for got in taken] == [0, 1, 2, 3, 4]
        assert all(got.source == studio.local for got in taken)
        assert all(got.arrival_ns - sent_ns < 60_000_000 for got in taken), "when it came, not when we looked"
        assert ear.take() == []

    bench.run(main)


def test_looking_and_waiting_share_one_queue_and_its_bound(bench: Bench) -> None:
    async def main() -> None:
        ear = await bench.datagrams.open(host=HERE, port=0, queue_packets=4)
        for number in range(6):
            ear.send(bytes([number]), ear.local)
        await asyncio.sleep(SOON_S)
        assert (await ear.receive()).payload == b"\x00"
        assert [got.payload[0] for got in ear.take()] == [1, 2, 3]
        assert ear.discarded() == 2
        ear.close()
        with pytest.raises(DatagramError, match="closed"):
            ear.take()
        with pytest.raises(DatagramError, match="closed"):
            ear.only_from(None)

    bench.run(main)


# ---------------------------------------------------------------- one source alone


def test_a_flood_from_elsewhere_cannot_fill_the_queue(bench: Bench) -> None:
    async def main() -> None:
        ear, studio, stranger = await pair(bench.datagrams)
        to = (HERE, ear.local[1])
        stranger.send(b"before", to)
        await asyncio.sleep(SOON_S)
        ear.only_from(studio.local)
        for number in range(2000):
            stranger.send(b"flood", to)
            if number % 500 == 0:
                studio.send(b"voice", to)
        assert await heard(ear) == [b"before"] + [b"voice"] * 4
        studio.send(b"after", to)
        assert await heard(ear) == [b"after"]
        assert ear.discarded() == 2000

    bench.run(main)


def test_the_same_machine_on_another_port_is_a_stranger_until_all_are_let_in_again(bench: Bench) -> None:
    async def main() -> None:
        ear, studio, stranger = await pair(bench.datagrams)
        to = (HERE, ear.local[1])
        ear.only_from(None)
        ear.only_from(stranger.local)
        ear.only_from(studio.local)
        for mouth in (stranger, studio):
            mouth.send(b"1", to)
        assert await heard(ear) == [b"1"]
        ear.only_from(None)
        for mouth in (stranger, studio):
            mouth.send(b"2", to)
        assert await heard(ear) == [b"2", b"2"]
        ear.only_from(studio.local)
        ear.send(b"to anybody", stranger.local)
        assert await heard(stranger) == [b"to anybody"], "only what comes in is sifted"

    bench.run(main)


# ---------------------------------------------------------------- groups


def test_all_who_joined_a_group_hear_it_and_nothing_else(bench: Bench) -> None:
    async def main() -> None:
        first = await bench.datagrams.open(host="0.0.0.0", port=0, group=GROUP, interface=HERE)
        port = first.local[1]
        second = await bench.datagrams.open(host=GROUP, port=port, group=GROUP, interface=HERE)
        other = await bench.datagrams.open(host="0.0.0.0", port=port, group="239.77.4.2", interface=HERE)
        studio = await bench.datagrams.open(host=HERE, port=0, interface=HERE)
        studio.send(b"village", (GROUP, port))
        studio.send(b"one of you", (HERE, port))
        await asyncio.sleep(SOON_S)
        for ear in (first, second):
            assert [(got.payload, got.source) for got in ear.take()] == [(b"village", studio.local)]
        assert other.take() == []
        first.only_from(("127.0.0.1", 9))
        second.only_from(studio.local)
        studio.send(b"again", (GROUP, port))
        assert (await heard(first), await heard(second)) == ([], [b"again"])
        second.close()
        first.only_from(None)
        studio.send(b"still", (GROUP, port))
        assert await heard(first) == [b"still"]
        for ear in (first, other, studio):
            ear.close()

    bench.run(main)


def test_a_group_that_is_none_or_an_interface_of_somebody_else_is_refused(bench: Bench) -> None:
    async def main() -> None:
        with pytest.raises(DatagramError, match="cannot be opened"):
            await bench.datagrams.open(host="0.0.0.0", port=0, group="192.0.2.1")
        with pytest.raises(DatagramError, match="cannot be opened"):
            await bench.datagrams.open(host="0.0.0.0", port=0, group=GROUP, interface="203.0.113.7")

    bench.run(main)


# ---------------------------------------------------------------- names


def test_an_address_is_its_own_name_and_a_wrong_name_is_refused(bench: Bench) -> None:
    async def main() -> None:
        assert await bench.datagrams.resolve(HERE, 5004) == (HERE, 5004)
        with pytest.raises(DatagramError, match="no address"):
            await bench.datagrams.resolve("no such name.invalid", 5004)

    bench.run(main)


# ---------------------------------------------------------------- the real one


@pytest.mark.realtime
def test_what_the_kernels_own_queue_had_no_room_for_is_counted() -> None:
    bench = LinuxBench()

    async def main() -> None:
        ear, studio, _ = await pair(bench.datagrams)
        for _ in range(2000):
            studio.send(bytes(1000), (HERE, ear.local[1]))
        kept = len(ear.take())
        studio.send(b"the next one tells", (HERE, ear.local[1]))
        assert await heard(ear) == [b"the next one tells"]
        assert kept == 256
        assert ear.discarded() == 2000 - kept

    bench.run(main)


@pytest.mark.realtime
def test_an_idle_socket_wakes_nobody() -> None:
    bench = LinuxBench()

    async def main() -> None:
        ear, studio, _ = await pair(bench.datagrams)
        selector = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
        watched = len(selector.get_map())
        studio.send(b"unseen", (HERE, ear.local[1]))
        await asyncio.sleep(SOON_S)
        assert len(selector.get_map()) == watched
        assert (await ear.receive()).payload == b"unseen"
        waiting = asyncio.ensure_future(ear.receive())
        await asyncio.sleep(0)
        assert len(selector.get_map()) == watched + 1
        waiting.cancel()
        await asyncio.wait((waiting,))
        assert len(selector.get_map()) == watched

    bench.run(main)


@pytest.mark.realtime
def test_one_source_alone_and_a_group_over_ipv6() -> None:
    bench = LinuxBench()

    async def main() -> None:
        try:
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
                probe.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6 loopback")
        ear = await bench.datagrams.open(host="::", port=0)
        studio, stranger = [await bench.datagrams.open(host="::1", port=0) for _ in range(2)]
        ear.only_from(studio.local)
        for mouth in (stranger, studio):
            mouth.send(b"6", ("::1", ear.local[1]))
        await asyncio.sleep(SOON_S)
        assert [got.source for got in ear.take()] == [studio.local]
        joined = await bench.datagrams.open(host="::", port=0, group="ff15::7704", interface="::1")
        assert joined_somewhere("ff150000000000000000000000007704"), "loopback has no route to try it"
        joined.close()
        with pytest.raises(DatagramError, match="no interface"):
            await bench.datagrams.open(host="::", port=0, group="ff15::7704", interface="2001:db8::1")

    bench.run(main)


# ---------------------------------------------------------------- the virtual network between nodes


def test_each_way_through_the_virtual_network_can_have_its_own_model() -> None:
    """Two nodes join a group: one hears a packet 5 ms later, the other loses it; a third has not joined."""
    counter = Counter()
    network = UdpNetwork(random.Random(3))
    clock = VirtualClock(counter)
    nodes = [VirtualDatagrams(clock, network, f"10.0.0.{number}") for number in range(1, 5)]

    async def main() -> None:
        studio = await nodes[0].open(host="0.0.0.0", port=6000)
        ears = [await node.open(host="0.0.0.0", port=5004, group=GROUP) for node in nodes[1:3]]
        await nodes[3].open(host="0.0.0.0", port=5004)
        network.link(lambda sent_ns: [sent_ns + 5_000_000], source="10.0.0.1", to="10.0.0.2")
        network.link(lambda _: [], to="10.0.0.3")
        sent_ns = clock.monotonic_ns()
        studio.send(b"hello", (GROUP, 5004))
        await asyncio.sleep(SOON_S)
        (got,) = ears[0].take()
        assert got.source == ("10.0.0.1", 6000)
        assert got.arrival_ns - sent_ns == pytest.approx(5_000_000, abs=10)
        assert ears[1].take() == []
        assert (network.sent, network.lost) == (1, 1)
        network.link(None, to="10.0.0.3")
        studio.send(b"again", (GROUP, 5004))
        assert await heard(ears[1]) == [b"again"]

    run(main(), counter)


def test_a_dead_processs_sockets_are_gone_and_the_next_one_has_the_address() -> None:
    counter = Counter()
    network, clock = UdpNetwork(random.Random(3)), VirtualClock(counter)
    studio = VirtualDatagrams(clock, network, "10.0.0.9")

    async def main() -> None:
        mouth = await studio.open(host="0.0.0.0", port=6000)
        first = VirtualDatagrams(clock, network, "10.0.0.2")
        await first.open(host="0.0.0.0", port=5004)
        first.die()
        with pytest.raises(DatagramError, match="dead"):
            await first.open(host="0.0.0.0", port=5004)
        second = VirtualDatagrams(clock, network, "10.0.0.2")
        ear = await second.open(host="0.0.0.0", port=5004)
        network.names["studio.example"] = "10.0.0.9"
        assert await second.resolve("studio.example", 6000) == ("10.0.0.9", 6000)
        mouth.send(b"hello", ("10.0.0.2", 5004))
        network.carry(b"forged", ("192.0.2.66", 1), ("10.0.0.2", 5004))
        assert await heard(ear) == [b"hello", b"forged"]

    run(main(), counter)
