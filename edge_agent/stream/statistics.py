"""What a live session came to, in counts and milliseconds: for the as-run log, health and `watch`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from edge_agent.model import MS

GAP_MS = 60
"""From here a hole is heard as one (AUDIO.md, item 8)."""
OUTAGE_MS = 2_000
"""What is missing longer is an outage: from here on the standby speaks (AUDIO.md, item 5)."""
_DELAY_BUCKET_MS = 10
_DELAY_BUCKETS = 600


class DelayHistogram:
    """Delays of pieces that were played, for percentiles; 10 ms fine, 6 s long."""

    def __init__(self) -> None:
        self._counts = [0] * _DELAY_BUCKETS
        self._sum_ns = 0
        self.count = 0

    def put(self, delay_ns: int) -> None:
        """One piece."""
        bucket = delay_ns // (_DELAY_BUCKET_MS * MS)
        self._counts[max(0, min(bucket, _DELAY_BUCKETS - 1))] += 1
        self._sum_ns += delay_ns
        self.count += 1

    def percentile_ms(self, share: float) -> int | None:
        """The delay that `share` (0-1) of the pieces did not exceed, upper edge; None before the first."""
        if not self.count:
            return None
        left = share * self.count
        for bucket, count in enumerate(self._counts):
            left -= count
            if left <= 0:
                return (bucket + 1) * _DELAY_BUCKET_MS
        return _DELAY_BUCKETS * _DELAY_BUCKET_MS

    def mean_ms(self) -> float | None:
        """None before the first."""
        return self._sum_ns / self.count / MS if self.count else None


@dataclass(slots=True, kw_only=True)
class Statistics:
    """Counts of packets, and milliseconds of sound. Grows by nothing but its numbers."""

    received: int = 0
    late: int = 0
    """Came after their place had been rendered."""
    late_used: int = 0
    """Came after their time, and were played late rather than lost."""
    lost: int = 0
    """Never came, nor did a copy in time."""
    duplicate: int = 0
    discarded: int = 0
    """Thrown away because the buffer was full, or the session was interrupted."""
    stray: int = 0
    """From another source than the session's."""
    red_recovered: int = 0
    fec_recovered: int = 0
    played_ms: int = 0
    paused_ms: int = 0
    concealed_ms: dict[str, int] = field(default_factory=lambda: {"network": 0, "jitter": 0, "device": 0})
    outage_ms: int = 0
    """Of holes longer than `OUTAGE_MS`, what came after that."""
    gaps: int = 0
    """Holes longer than `GAP_MS`."""
    longest_gap_ms: int = 0
    resets: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    """Packets that could not be read, by code."""
    delay: DelayHistogram = field(default_factory=DelayHistogram)

    def report(self) -> dict[str, object]:
        """For the wire: small, whole, and without what is nought."""
        counts = {
            name: getattr(self, name)
            for name in (
                "received", "late", "late_used", "lost", "duplicate", "discarded", "stray", "red_recovered",
                "fec_recovered", "played_ms", "paused_ms", "outage_ms", "gaps", "longest_gap_ms",
            )
            if getattr(self, name)
        }  # fmt: skip
        found: dict[str, object] = counts
        found["concealed_ms"] = dict(self.concealed_ms)
        if self.resets:
            found["resets"] = dict(self.resets)
        if self.refused:
            found["refused"] = dict(self.refused)
        if self.delay.count:
            found["delay_ms"] = {"p50": self.delay.percentile_ms(0.5), "p95": self.delay.percentile_ms(0.95)}
        return found
