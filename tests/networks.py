"""What networks do to packets, from a seed: each model says when a packet arrives, or that it never does.

A model is asked for packet after packet with its time of sending; arrivals may overtake one another where the
real thing lets them. The numbers imitate published measurements in kind, not any one network.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

MS = 1_000_000
NS = 1_000_000_000

TRACES = Path(__file__).resolve().parents[2] / "shared" / "traces"
"""Recorded links, kept beside the project where there are any; they are not part of it."""

Network = Callable[[int], "list[int]"]
"""From the time of sending (ns) to the times of arrival: [] lost, two a duplicate."""


@dataclass
class GilbertElliott:
    """Loss in bursts: `loss` on the average, `burst` packets long on the average."""

    loss: float
    burst: float
    rng: random.Random
    _bad: bool = False

    def lost(self) -> bool:
        """Whether the next packet is lost."""
        if not self.loss:
            return False
        leave = 1 / self.burst
        enter = leave * self.loss / (1 - self.loss)
        self._bad = self.rng.random() >= leave if self._bad else self.rng.random() < enter
        return self._bad


def clean(delay_ms: float = 1.0) -> Network:
    """A wire."""
    return lambda sent_ns: [sent_ns + round(delay_ms * MS)]


def lossy(loss: float, burst: float, *, seed: int, delay_ms: float = 20.0) -> Network:
    """Constant delay, loss by Gilbert and Elliott."""
    chain = GilbertElliott(loss, burst, random.Random(seed))
    return lambda sent_ns: [] if chain.lost() else [sent_ns + round(delay_ms * MS)]


def lan(*, seed: int) -> Network:
    """A switch and two cables: 0.2 ms, jitter of 0.1 ms, one packet in 100,000 lost."""
    rng = random.Random(seed)

    def carry(sent_ns: int) -> list[int]:
        if rng.random() < 1e-5:
            return []
        return [sent_ns + round((0.2 + rng.expovariate(1 / 0.1)) * MS)]

    return carry


@dataclass
class Queue:
    """A link that serves packets in order, and is now and then busy for a while."""

    rng: random.Random
    usual_ms: float
    busy_per_s: float
    busy_ms: Callable[[random.Random], float]
    chain: GilbertElliott
    free_ns: int = 0
    next_busy_ns: int = -1
    duplicates: float = 0.0

    def __call__(self, sent_ns: int) -> list[int]:
        """When it comes out."""
        if self.next_busy_ns < 0:
            self.next_busy_ns = sent_ns + round(self.rng.expovariate(self.busy_per_s) * NS)
        while sent_ns >= self.next_busy_ns:
            self.free_ns = max(self.free_ns, self.next_busy_ns + round(self.busy_ms(self.rng) * MS))
            self.next_busy_ns += round(self.rng.expovariate(self.busy_per_s) * NS)
        if self.chain.lost():
            return []
        leaves_ns = max(sent_ns, self.free_ns)
        self.free_ns = leaves_ns + MS // 2
        arrival = leaves_ns + round(self.rng.expovariate(1 / self.usual_ms) * MS) + 2 * MS
        return [arrival, arrival + 3 * MS] if self.rng.random() < self.duplicates else [arrival]


def wifi(*, seed: int) -> Network:
    """A shared channel: 3 ms of jitter, busy twice a second for 10-60 ms, 0.5 % lost in pairs."""
    rng = random.Random(seed)
    return Queue(
        rng, 3.0, 2.0, lambda r: r.uniform(10, 60), GilbertElliott(0.005, 2.0, random.Random(seed + 1))
    )


def mobile(*, seed: int) -> Network:
    """A fair 4G cell: 8 ms of jitter, a stall of 50-400 ms every three seconds, 1 % lost in short bursts."""
    rng = random.Random(seed)
    return Queue(
        rng, 8.0, 1 / 3, lambda r: r.uniform(50, 400), GilbertElliott(0.01, 1.5, random.Random(seed + 1))
    )


def bad_mobile(*, seed: int, outage_s: tuple[float, float] = (30.0, 32.0)) -> Network:
    """ "4gbad": 5 % lost in bursts, stalls up to 500 ms, and an outage of two seconds in each minute."""
    rng = random.Random(seed)
    queue = Queue(
        rng, 10.0, 1 / 2, lambda r: r.uniform(100, 500), GilbertElliott(0.05, 2.0, random.Random(seed + 1))
    )

    def carry(sent_ns: int) -> list[int]:
        second = sent_ns / NS % 60
        arrivals = queue(sent_ns)
        return [] if outage_s[0] <= second < outage_s[1] else arrivals

    return carry


@dataclass
class Trace:
    """A recorded link (mahimahi): a FIFO that may send one packet at each of the recorded milliseconds."""

    slots: Iterator[int]
    chain: GilbertElliott
    slot_ns: int = field(default=-1)

    def __call__(self, sent_ns: int) -> list[int]:
        """At the first slot that is left and not before it was sent."""
        if self.chain.lost():
            return []
        while self.slot_ns < sent_ns:
            self.slot_ns = next(self.slots) * MS
        arrival, self.slot_ns = self.slot_ns, next(self.slots) * MS
        return [arrival]


def trace(name: str, *, seed: int, loss: float = 0.01, burst: float = 1.5) -> Network:
    """A recorded trace over and over. Raises FileNotFoundError where there are none."""
    lines = [int(line) for line in (TRACES / name).read_text().split()]
    period = lines[-1] + 1

    def endless() -> Iterator[int]:
        offset = 0
        while True:
            yield from (offset + line for line in lines)
            offset += period

    return Trace(endless(), GilbertElliott(loss, burst, random.Random(seed)))


def recorded_seconds(name: str) -> float:
    """How long a recording is."""
    return int((TRACES / name).read_text().split()[-1]) / 1_000
