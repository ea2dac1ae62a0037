"""Runs a stream over a network model through the jitter buffer, with an ideal card: no sound, only places.

The voice speaks and breathes: in each `SPEAKS_S` there is a pause at the end, where a listener does not notice
that it is shortened or made longer, as `stream.reception` does with what it has decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.stream.jitter_buffer import JitterBuffer
from edge_agent.stream.modes import BufferSettings
from edge_agent.stream.pieces import Conceal, MediaPacket, Pause, Play, Recover, Wait
from tests.networks import MS, NS, Network

TICKS = 960
HZ = 48_000
SPEAKS_S = 2.5
BREATH_S = 0.4


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a replay came to."""

    seconds: float
    concealed_ms: dict[str, int]
    waited_ms: int
    gaps: int
    mean_delay_ms: float
    p99_delay_ms: float
    end_delay_ms: float
    report: dict[str, object]

    @property
    def jitter_share(self) -> float:
        """Of the time, concealed because of jitter."""
        return self.concealed_ms["jitter"] / 1_000 / self.seconds

    @property
    def gaps_a_minute(self) -> float:
        """Longer than 60 ms."""
        return self.gaps / self.seconds * 60


def sent(seconds: float, *, red: int = 0, first_ts: int = 0, ssrc: int = 1) -> list[tuple[int, MediaPacket]]:
    """(time of sending, packet), one every 20 ms; with `red` each carries the one `red` packets older."""
    packets = []
    for index in range(round(seconds * 50)):
        copies = ((red * TICKS, b"c", TICKS),) if red and index >= red else ()
        packet = MediaPacket(
            sequence=index & 0xFFFF,
            timestamp=(first_ts + index * TICKS) & 0xFFFFFFFF,
            ssrc=ssrc,
            payload=b"p",
            ticks=TICKS,
            copies=copies,
        )
        packets.append((index * 20 * MS, packet))
    return packets


def arrivals(packets: Sequence[tuple[int, MediaPacket]], network: Network) -> list[tuple[int, MediaPacket]]:
    """In the order in which they come."""
    found = [(at, packet) for sent_ns, packet in packets for at in network(sent_ns)]
    return sorted(found, key=lambda pair: pair[0])


def replay(
    came: Sequence[tuple[int, MediaPacket]],
    settings: BufferSettings,
    *,
    ahead_ms: float = 100.0,
    end_s: float | None = None,
    skip_s: float = 0.0,
) -> Result:
    """Pull pieces as a card would that asks `ahead_ms` before they sound."""
    buffer = JitterBuffer(settings)
    playout_ns = came[0][0] + round(ahead_ms * MS)
    end_ns = came[-1][0] if end_s is None else round(end_s * NS)
    index, waited = 0, 0
    delays: list[float] = []
    while playout_ns < end_ns:
        while index < len(came) and came[index][0] <= playout_ns - ahead_ms * MS:
            buffer.put(came[index][1], came[index][0])
            index += 1
        piece = buffer.next(playout_ns)
        match piece:
            case Play(position=position, ticks=ticks):
                delay = buffer.delay_ns(playout_ns)
                assert delay is not None
                if playout_ns > skip_s * NS:
                    delays.append((delay + ticks * NS // HZ) / MS)
                playout_ns += _edited(buffer, position, ticks, playout_ns)
            case Conceal(ticks=ticks) | Recover(ticks=ticks) | Pause(ticks=ticks):
                playout_ns += ticks * NS // HZ
            case Wait(ticks=ticks):
                waited += ticks
                playout_ns += ticks * NS // HZ
            case _:
                pass
    counts = buffer.statistics
    ordered = sorted(delays)
    return Result(
        seconds=(end_ns - came[0][0]) / NS,
        concealed_ms=dict(counts.concealed_ms),
        waited_ms=waited * 1_000 // HZ,
        gaps=counts.gaps,
        mean_delay_ms=sum(delays) / len(delays),
        p99_delay_ms=ordered[len(ordered) * 99 // 100],
        end_delay_ms=delays[-1],
        report=counts.report(),
    )


def _edited(buffer: JitterBuffer, position: int, ticks: int, playout_ns: int) -> int:
    """How long a piece lasts: in a breath it is left out or said twice where that brings the delay to its target."""
    whole_ns = ticks * NS // HZ
    if position / HZ % SPEAKS_S < SPEAKS_S - BREATH_S:
        return whole_ns
    delay = buffer.delay_ns(playout_ns)
    assert delay is not None
    off_ns = delay + whole_ns - buffer.target_ns
    if off_ns > whole_ns:
        return 0
    return 2 * whole_ns if off_ns < -whole_ns else whole_ns
