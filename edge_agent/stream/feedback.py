"""What a receiver tells the sender of its stream: loss and jitter as RFC 3550 counts them (sections 6.4.1, A.3, A.8)."""

from __future__ import annotations

from edge_agent.model import NS
from edge_agent.stream.rtcp import ReportBlock, SenderReport
from edge_agent.stream.statistics import Statistics


class Feedback:
    """One source's account."""

    def __init__(self, clock_hz: int) -> None:
        self._ns_per_tick = NS / clock_hz
        self._first = 0
        self._reported = (0, 0)
        self._jitter_ticks = 0.0
        self._apart_ns: int | None = None

    def restart(self, sequence: int) -> None:
        """A source begins with this sequence number."""
        self._first, self._reported, self._apart_ns = sequence, (0, 0), None

    def put(self, apart_ns: int) -> None:
        """A packet's arrival less its timestamp."""
        if self._apart_ns is not None:
            changed = abs(apart_ns - self._apart_ns) / self._ns_per_tick
            self._jitter_ticks += (changed - self._jitter_ticks) / 16
        self._apart_ns = apart_ns

    def block(
        self,
        *,
        ssrc: int,
        highest: int,
        counts: Statistics,
        heard: tuple[SenderReport, int] | None,
        now_ns: int,
    ) -> ReportBlock:
        """The block of a receiver's report; `heard` is the sender's latest report and when it came."""
        expected = highest - self._first + 1
        lost = max(0, expected - (counts.received - counts.duplicate - counts.stray))
        interval, missing = expected - self._reported[0], lost - self._reported[1]
        self._reported = (expected, lost)
        fraction = 0 if interval <= 0 else max(0, min(255, 256 * missing // interval))
        return ReportBlock(
            ssrc=ssrc,
            fraction=fraction,
            lost=lost,
            highest_sequence=highest & 0xFFFFFFFF,
            jitter=round(self._jitter_ticks),
            last_sr=0 if heard is None else (heard[0].ntp >> 16) & 0xFFFFFFFF,
            delay=0 if heard is None else (now_ns - heard[1]) * 65_536 // NS,
        )
