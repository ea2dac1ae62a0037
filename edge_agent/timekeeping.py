"""Which date goes with an instant since boot: several sources weighed, steps noticed, none believed blindly. Pure.

Once a source has vouched for the system's clock, this file remembers how far that was from CLOCK_BOOTTIME and goes on
by itself. So a date that somebody sets by hand afterwards changes nothing, and one that a vouched clock jumps
to is in doubt until it has stood for eight minutes, or another source says the same (docs/decisions/0261).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edge_agent.model import NS

STEP_NS: Final = 120 * NS
"""A vouched clock may be moved by so much at once: crystals drift, and a time service sets that right."""
CONFIRM_NS: Final = 480 * NS
"""A greater step is believed when it has stood for so long."""
AGREE_NS: Final = 60 * NS
"""Two sources that are no farther apart say the same."""
SERVER_GOOD_NS: Final = 3600 * NS
"""A signed answer of the server vouches for so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """A vouched clock has jumped: since when, and how far it is from CLOCK_BOOTTIME now."""

    since_ns: int
    offset_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the server said, signed, with our nonce: at this CLOCK_BOOTTIME the date was so far from it."""

    at_ns: int
    offset_ns: int


class Timekeeper:
    """One boot's knowledge. Offsets are wall time (ns since 1970) less CLOCK_BOOTTIME."""

    def __init__(self, *, offset_ns: int | None = None) -> None:
        """`offset_ns`: what an earlier run of this boot believed."""
        self.offset_ns = offset_ns
        self.vouched_ns: int | None = None
        """When a source last vouched for what is believed."""
        self.doubt: Doubt | None = None
        self.told: Told | None = None

    def take(self, *, now_ns: int, wall_ns: int, vouched: bool) -> None:
        """One reading of both clocks, and whether a source vouches for the system's now."""
        offset_ns = wall_ns - now_ns
        if not vouched:
            self.doubt = None
        elif self._plausible(offset_ns, now_ns):
            self.offset_ns, self.vouched_ns, self.doubt = offset_ns, now_ns, None
        elif self.doubt is None or abs(self.doubt.offset_ns - offset_ns) > STEP_NS:
            self.doubt = Doubt(since_ns=now_ns, offset_ns=offset_ns)

    def tell(self, *, now_ns: int, wall_ns: int) -> None:
        """The server's signed word for it."""
        self.told = Told(at_ns=now_ns, offset_ns=wall_ns - now_ns)
        if self.vouched_ns is None or abs(self.told.offset_ns - (self.offset_ns or 0)) > AGREE_NS:
            self.offset_ns = self.told.offset_ns

    def vouched_at(self) -> int | None:
        """When what is believed was last vouched for, by whichever source."""
        times = [self.vouched_ns, None if self.told is None else self.told.at_ns]
        return max((time for time in times if time is not None), default=None)

    def vouched_now(self, now_ns: int, *, by_system: bool) -> bool:
        """Whether somebody vouches at this very moment."""
        if self.doubt is not None:
            return False
        by_server = self.told is not None and now_ns - self.told.at_ns <= SERVER_GOOD_NS
        return by_server or (by_system and self.vouched_ns is not None)

    def _plausible(self, offset_ns: int, now_ns: int) -> bool:
        """Whether a vouched clock may be believed."""
        if self.told is not None and now_ns - self.told.at_ns <= SERVER_GOOD_NS:
            return abs(offset_ns - self.told.offset_ns) <= AGREE_NS
        if self.offset_ns is None or abs(offset_ns - self.offset_ns) <= STEP_NS:
            return True
        doubt = self.doubt
        stands = doubt is not None and abs(doubt.offset_ns - offset_ns) <= STEP_NS
        return stands and doubt is not None and now_ns - doubt.since_ns >= CONFIRM_NS
