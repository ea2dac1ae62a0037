"""One contract for `hal.ports.Datagrams`: held to the virtual network and to real UDP on loopback."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable

import pytest

from hal.errors import DatagramError
from hal.ports import DatagramSocket
from hal.sim.datagram import GilbertElliott
from tests.hal.datagram_scenes import HERE, Bench, LinuxBench, VirtualBench


def test_a_packet_arrives_with_its_source_and_time(bench: Bench) -> None:
    async def main() -> None:
        ear = await bench.datagrams.open(host=HERE, port=0)
        mouth = await bench.datagrams.open(host=HERE, port=0)
        assert ear.local[0] == HERE
        assert ear.local[1] > 0
        before_ns = bench.clock.monotonic_ns()
        mouth.send(b"\x80\x00rtp", ear.local)
        got = await ear.receive()
        assert (got.payload, got.source) == (b"\x80\x00rtp", mouth.local)
        assert before_ns - 1_000_000 <= got.arrival_ns <= bench.clock.monotonic_ns()
        ear.close()
        mouth.close()

    bench.run(main)


def test_empty_and_large_packets_pass_unchanged(bench: Bench) -> None:
    async def main() -> None:
        ear = await bench.datagrams.open(host="0.0.0.0", port=0)
        to = (HERE, ear.local[1])
        for payload in (b"", bytes(1500), bytes(range(256)) * 128):
            ear.send(payload, to)
            assert (await ear.receive()).payload == payload
        ear.close()

    bench.run(main)


def test_a_full_queue_discards_the_newest_and_counts(bench: Bench) -> None:
    async def main() -> None:
        ear = await bench.datagrams.open(host=HERE, port=0, queue_packets=4)
        mouth = await bench.datagrams.open(host=HERE, port=0)
        for number in range(10):
            mouth.send(bytes([number]), ear.local)
        await asyncio.sleep(0.05)
        assert ear.discarded() == 6
        assert [(await ear.receive()).payload[0] for _ in range(4)] == [0, 1, 2, 3]
        mouth.send(b"again", ear.local)
        assert (await ear.receive()).payload == b"again"
        ear.close()
        mouth.close()

    bench.run(main)


def test_an_address_in_use_is_refused_and_free_again_after_close(bench: Bench) -> None:
    async def main() -> None:
        first = await bench.datagrams.open(host=HERE, port=0)
        with pytest.raises(DatagramError, match="cannot be opened"):
            await bench.datagrams.open(host=HERE, port=first.local[1])
        first.close()
        second = await bench.datagrams.open(host=HERE, port=first.local[1])
        second.close()

    bench.run(main)


def test_a_closed_socket_says_so(bench: Bench) -> None:
    async def main() -> None:
        ear = await bench.datagrams.open(host=HERE, port=0)
        waiting = asyncio.ensure_future(ear.receive())
        await asyncio.sleep(0)
        ear.close()
        ear.close()
        with pytest.raises(DatagramError, match="closed"):
            await waiting
        with pytest.raises(DatagramError, match="closed"):
            await ear.receive()
        with pytest.raises(DatagramError, match="closed"):
            ear.send(b"", (HERE, 9))

    bench.run(main)


def test_sending_is_best_effort(bench: Bench) -> None:
    async def main() -> None:
        mouth = await bench.datagrams.open(host=HERE, port=0)
        gone = await bench.datagrams.open(host=HERE, port=0)
        gone.close()
        for _ in range(3):
            mouth.send(b"to nobody", gone.local)
            await asyncio.sleep(0.01)
        mouth.send(b"to me", mouth.local)
        assert (await mouth.receive()).payload == b"to me"
        mouth.close()

    bench.run(main)


def test_a_cancelled_receive_loses_nothing(bench: Bench) -> None:
    async def main() -> None:
        ear = await bench.datagrams.open(host=HERE, port=0)
        waiting = asyncio.ensure_future(ear.receive())
        await asyncio.sleep(0)
        ear.send(b"1", ear.local)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (await ear.receive()).payload == b"1"
        ear.close()

    bench.run(main)


# ---------------------------------------------------------------- the real one


@pytest.mark.realtime
def test_the_time_is_the_kernels_not_that_of_whoever_was_late_to_look() -> None:
    bench = LinuxBench()

    async def main() -> None:
        ear = await bench.datagrams.open(host=HERE, port=0)
        mouth = await bench.datagrams.open(host=HERE, port=0)
        sent_ns = []
        for _ in range(5):
            sent_ns.append(bench.clock.monotonic_ns())
            mouth.send(b"x", ear.local)
            _block(0.02)
        _block(0.1)  # the loop was busy: all five wait in the kernel
        arrivals = [(await ear.receive()).arrival_ns for _ in range(5)]
        late_ms = [(a - s) / 1e6 for a, s in zip(arrivals, sent_ns, strict=True)]
        assert all(-1 < late < 15 for late in late_ms), late_ms
        ear.close()
        mouth.close()

    bench.run(main)


def _block(seconds: float) -> None:
    end_s = time.perf_counter() + seconds
    while time.perf_counter() < end_s:
        pass


@pytest.mark.realtime
def test_ipv6_and_a_wrong_host() -> None:
    bench = LinuxBench()

    async def main() -> None:
        with pytest.raises(DatagramError, match="cannot be opened"):
            await bench.datagrams.open(host="203.0.113.7", port=0)
        try:
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
                probe.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6 loopback")
        ear = await bench.datagrams.open(host="::1", port=0)
        ear.send(b"6", ear.local)
        got = await ear.receive()
        assert (got.payload, got.source) == (b"6", ear.local)
        ear.close()

    bench.run(main)


# ---------------------------------------------------------------- the virtual one, and its faults


async def exchange(bench: VirtualBench, count: int, *, period_s: float = 0.02) -> list[tuple[int, float]]:
    """Send numbered packets in rhythm; (number, delay in seconds) of what arrives."""
    ear = await bench.datagrams.open(host=HERE, port=5004, queue_packets=10_000)
    mouth = await bench.datagrams.open(host=HERE, port=0)
    start_ns = bench.clock.monotonic_ns()
    for number in range(count):
        mouth.send(number.to_bytes(4, "big"), ear.local)
        await asyncio.sleep(period_s)
    await asyncio.sleep(1)
    return [_arrived(got, start_ns, period_s) for got in await drain(ear)]


async def drain(ear: DatagramSocket) -> list[tuple[int, int]]:
    arrived: list[tuple[int, int]] = []
    try:
        async with asyncio.timeout(0):
            while True:
                got = await ear.receive()
                arrived.append((int.from_bytes(got.payload, "big"), got.arrival_ns))
    except TimeoutError:
        return arrived


def _arrived(got: tuple[int, int], start_ns: int, period_s: float) -> tuple[int, float]:
    number, arrival_ns = got
    return number, (arrival_ns - start_ns) / 1e9 - number * period_s


def trial(set_faults: Callable[[VirtualBench], None], count: int = 1000) -> list[tuple[int, float]]:
    bench = VirtualBench()
    set_faults(bench)
    arrived: list[tuple[int, float]] = []

    async def main() -> None:
        arrived.extend(await exchange(bench, count))

    bench.run(main)
    return arrived


def test_the_virtual_network_has_a_delay_and_a_jitter_that_keeps_the_order() -> None:
    def set_faults(bench: VirtualBench) -> None:
        bench.network.faults.delay_s = 0.03
        bench.network.faults.jitter_s = 0.1

    arrived = trial(set_faults)
    assert [number for number, _ in arrived] == list(range(1000))
    delays = [delay for _, delay in arrived]
    assert min(delays) >= 0.0299
    assert max(delays) <= 0.1301
    assert max(delays) - min(delays) > 0.08


def test_the_virtual_network_loses_just_the_packets_it_is_told_to() -> None:
    def set_faults(bench: VirtualBench) -> None:
        bench.network.faults.lost = frozenset({3, 4, 7})

    assert [number for number, _ in trial(set_faults, 10)] == [0, 1, 2, 5, 6, 8, 9]


def test_gilbert_elliott_loses_in_bursts() -> None:
    def set_faults(bench: VirtualBench) -> None:
        bench.network.faults.loss = GilbertElliott(good_to_bad=0.02, bad_to_good=0.25)

    numbers = [number for number, _ in trial(set_faults, 5000)]
    lost = sorted(set(range(5000)) - set(numbers))
    share = len(lost) / 5000
    assert 0.04 < share < 0.12, "2 / (2 + 25) = 7.4 %"
    bursts = sum(1 for number in lost if number - 1 not in set(lost))
    assert 3.0 < len(lost) / bursts < 5.0, "a burst lasts 1 / 0.25 packets"


def test_the_virtual_network_duplicates_and_reorders() -> None:
    def set_faults(bench: VirtualBench) -> None:
        bench.network.faults.duplicate = 0.1
        bench.network.faults.reorder = 0.1

    numbers = [number for number, _ in trial(set_faults)]
    assert set(numbers) == set(range(1000))
    assert 1050 < len(numbers) < 1150
    assert numbers != sorted(numbers)


def test_a_partition_and_a_cut_off_address_let_nothing_through() -> None:
    bench = VirtualBench()

    async def main() -> None:
        ear = await bench.datagrams.open(host=HERE, port=0)
        mouth = await bench.datagrams.open(host=HERE, port=0)
        bench.network.faults.partition = True
        mouth.send(b"1", ear.local)
        bench.network.faults.partition = False
        bench.network.faults.cut_off.add(mouth.local)
        mouth.send(b"2", ear.local)
        bench.network.faults.cut_off.clear()
        mouth.send(b"3", ear.local)
        assert (await ear.receive()).payload == b"3"
        assert (bench.network.sent, bench.network.lost) == (3, 2)

    bench.run(main)


def test_one_seed_is_one_network() -> None:
    def set_faults(bench: VirtualBench) -> None:
        bench.network.faults.jitter_s = 0.1
        bench.network.faults.reorder = 0.2
        bench.network.faults.loss = GilbertElliott(good_to_bad=0.1, bad_to_good=0.5)

    assert trial(set_faults) == trial(set_faults)
