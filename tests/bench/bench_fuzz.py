"""A million bad datagrams into a session: no exception, bounded memory, and afterwards the sender is heard as before.

Random bytes, true packets cut, altered, repeated and reordered, absurd timestamps, redundancy that nests or lies about its
lengths, RTCP garbage. A Hypothesis test and tests/stream/test_rtp.py do the same in small in every test run.
"""

from __future__ import annotations

import random
import resource

from edge_agent.model import MS, NS
from edge_agent.stream import rtp
from edge_agent.stream.modes import BufferSettings, Mode
from edge_agent.stream.reception import Reception
from edge_agent.stream.rtp import RtpPacket
from tests.bench.measure import figure, seconds
from tests.stream.listening import heard, sent, settings, silent_ms, steady

PACKETS = 1_000_000
_RATE_HZ = 48_000


def main() -> None:
    """Print packets a second, growth of memory, and what is heard afterwards."""
    rng = random.Random(1)
    good = [blob for _, blob in sent(steady(4.0), wall_ns=0)]
    reception = Reception(settings(buffer=BufferSettings.of(Mode.TALK)))
    now_ns = 0
    half = 0
    begin = seconds()
    for count in range(PACKETS):
        reception.put(_bad(rng, good), now_ns)
        now_ns += rng.randrange(0, 2 * MS)
        if count % 50 == 0:
            assert reception.get(960, now_ns).size == 960
        if count == PACKETS // 2:
            half = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    taken = seconds() - begin
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - half) / 1024
    figure("fuzz_packets_a_second", [PACKETS / taken], "1/s", packets=PACKETS, exceptions=0)
    figure("fuzz_memory_growth_second_half", [grown], "MiB", aim="bounded")
    reception.resume()
    wire = [(at + now_ns + NS, blob) for at, blob in sent(steady(8.0))]
    shifted = [(at - now_ns, blob) for at, blob in wire]
    out = heard(shifted, reception, seconds=8.5)
    figure("fuzz_silent_afterwards", [silent_ms(out[3 * _RATE_HZ : 8 * _RATE_HZ])], "ms", aim="0")


def _bad(rng: random.Random, good: list[bytes]) -> bytes:  # noqa: PLR0911 - one case a line
    kind = rng.randrange(8)
    blob = bytearray(rng.choice(good))
    if kind == 0:
        return rng.randbytes(rng.randrange(0, 1_600))
    if kind == 1:
        return bytes(blob[: rng.randrange(len(blob) + 1)])
    if kind == 2:
        for _ in range(rng.randrange(1, 8)):
            blob[rng.randrange(len(blob))] = rng.randrange(256)
        return bytes(blob)
    if kind == 3:
        return bytes(blob)
    if kind == 4:  # absurd numbers
        return rtp.build(RtpPacket(rng.choice((96, 97, 0)), False, rng.getrandbits(16), rng.getrandbits(32), rng.choice((0x5EED, rng.getrandbits(32))), rng.randbytes(40)))  # fmt: skip
    if kind == 5:  # redundancy that nests, and lies
        headers = b"".join(
            bytes([0x80 | rng.choice((96, 97))]) + rng.randbytes(3) for _ in range(rng.randrange(6))
        )
        payload = headers + bytes([rng.choice((96, 97))]) + rng.randbytes(rng.randrange(200))
        return rtp.build(RtpPacket(97, False, rng.getrandbits(16), rng.getrandbits(32), 0x5EED, payload))
    if kind == 6:  # reports
        return bytes([0x80 | rng.randrange(32), rng.randrange(192, 224)]) + rng.randbytes(rng.randrange(60))
    return bytes(blob) + rng.randbytes(rng.randrange(2_000))


if __name__ == "__main__":
    main()
