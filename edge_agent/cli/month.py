"""A month of the as-run log in figures: who sounded for how long, what was not aired and why. Pure.

A turn counts, whole, on the local day on which it began; one that never began on the day for which it was
planned. The figures are milliseconds, so that every sum is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Final

from edge_agent.model import Outcome, Precedence
from edge_agent.report.asrun import AsRunEntry

LOCAL: Final = timezone(timedelta(hours=7))
"""Vietnam has no summer time."""

TURNS: Final = frozenset({"play", "say", "live_start", "alert", "schedule"})
"""Verbs that ask for the loudspeaker. What sounded is a turn under any name."""

CLASSES: Final = tuple(each.wire for each in sorted(Precedence, reverse=True))
"""The most urgent first."""

EVERY_ZONE: Final = ""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER_BEGUN: Final = frozenset({Outcome.MISSED.value, Outcome.REFUSED.value, Outcome.FAILED.value})


@dataclass(frozen=True, slots=True)
class BootSpan:
    """One boot: wall clock minus ms since boot, once that was learnt, and when the node is known to have been up."""

    boot: str
    offset_ms: int | None
    first: str | None
    last: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One entry that asked for the loudspeaker, with its local date. `backfilled`: dated from its boot's offset."""

    entry: AsRunEntry
    at: datetime
    backfilled: bool


@dataclass(slots=True)
class Tally:
    """So many turns ended so, and how many of them for which reason code."""

    turns: int = 0
    reasons: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """What a commune reports of a month."""

    year: int
    month: int
    turns: tuple[Turn, ...]
    """In the order of their dates."""
    by_class: Mapping[str, int]
    """Milliseconds that sounded; each of `CLASSES` is there."""
    by_authority: Mapping[str, int]
    by_zone: Mapping[str, int]
    """`EVERY_ZONE` is what was meant for all; a turn in two zones counts in both."""
    by_day: Mapping[date, Mapping[str, int]]
    """Each day of the month: milliseconds by class."""
    outcomes: Mapping[str, Tally]
    """Each of `model.Outcome` is there."""
    not_aired: tuple[Turn, ...]
    """Turns of which nothing was heard or shown."""
    backfilled: int
    undated: int
    """Turns that may be of this month; nobody knows when they were, and no other figure counts them."""
    uptime_s: int
    so_far_s: int
    """From the month's beginning to its end, or to the last moment that the node knows of."""

    @property
    def planned(self) -> int:
        """All turns that were asked for."""
        return len(self.turns)

    @property
    def sounded_ms(self) -> int:
        """All that sounded."""
        return sum(self.by_class.values())

    @property
    def uptime_percent(self) -> float | None:
        """Of the month so far; None when it has not begun."""
        return 100 * self.uptime_s / self.so_far_s if self.so_far_s else None


def month_of(entries: Sequence[AsRunEntry], boots: Sequence[BootSpan], *, year: int, month: int) -> Month:
    """The figures of one month, by Vietnamese days."""
    begin = datetime(year, month, 1, tzinfo=LOCAL)
    end = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=LOCAL)
    offsets = {boot.boot: boot.offset_ms for boot in boots}
    ordered = sorted(entries, key=lambda entry: entry.number)
    dated = [(entry, _date_of(entry, offsets)) for entry in ordered if _is_turn(entry)]
    turns = [
        Turn(entry=entry, at=found[0], backfilled=found[1])
        for entry, found in dated
        if found is not None and begin <= found[0] < end
    ]
    turns.sort(key=lambda turn: (turn.at, turn.entry.number))
    lost = frozenset(entry.number for entry, found in dated if found is None)
    uptime_s, so_far_s = _uptime(boots, _latest(ordered, boots, offsets), begin, end)
    return Month(
        year=year,
        month=month,
        turns=tuple(turns),
        by_class=_sums(((turn.entry.precedence, turn) for turn in turns), CLASSES),
        by_authority=_sums((turn.entry.issuer, turn) for turn in turns),
        by_zone=_sums((zone, turn) for turn in turns for zone in _zones(turn.entry)),
        by_day=_by_day(turns, begin, end),
        outcomes=_outcomes(turns),
        not_aired=tuple(turn for turn in turns if _was_not_aired(turn.entry)),
        backfilled=sum(turn.backfilled for turn in turns),
        undated=_perhaps_within(ordered, lost, offsets, begin, end),
        uptime_s=uptime_s,
        so_far_s=so_far_s,
    )


# ---------------------------------------------------------------- dates


def _date_of(entry: AsRunEntry, offsets: Mapping[str, int | None]) -> tuple[datetime, bool] | None:
    """When it began or should have, and whether that was worked out from its boot's offset."""
    for text, ms in (
        (entry.started, entry.started_ms),
        (entry.planned, entry.planned_ms),
        (entry.recorded, entry.recorded_ms),
    ):
        if text is not None or ms is not None:
            return _dated(text, ms, offsets.get(entry.boot))
    return None


def _dated(text: str | None, ms: int | None, offset_ms: int | None) -> tuple[datetime, bool] | None:
    if text is not None:
        return _moment(text), False
    if ms is None or offset_ms is None:
        return None
    return (_EPOCH + timedelta(milliseconds=offset_ms + ms)).astimezone(LOCAL), True


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(LOCAL)


def _recorded(entry: AsRunEntry, offsets: Mapping[str, int | None]) -> datetime | None:
    found = _dated(entry.recorded, entry.recorded_ms, offsets.get(entry.boot))
    return None if found is None else found[0]


def _perhaps_within(
    ordered: Sequence[AsRunEntry],
    lost: frozenset[int],
    offsets: Mapping[str, int | None],
    begin: datetime,
    end: datetime,
) -> int:
    """How many of `lost` stand, by their numbers, neither after the month nor before it."""
    past: set[int] = set()
    for entry in ordered:
        at = _recorded(entry, offsets)
        if at is not None and at >= end:
            past.update(number for number in lost if number > entry.number)
            break
    for entry in reversed(ordered):
        at = _recorded(entry, offsets)
        if at is not None and at < begin:
            past.update(number for number in lost if number < entry.number)
            break
    return len(lost - past)


def _latest(
    ordered: Sequence[AsRunEntry], boots: Sequence[BootSpan], offsets: Mapping[str, int | None]
) -> datetime | None:
    """The last moment that the node knows of."""
    known = [_moment(boot.last) for boot in boots if boot.last is not None]
    known += [at for entry in ordered if (at := _recorded(entry, offsets)) is not None]
    return max(known, default=None)


def _uptime(
    boots: Sequence[BootSpan], latest: datetime | None, begin: datetime, end: datetime
) -> tuple[int, int]:
    """Seconds up, and seconds of the month so far. Spans that overlap count once."""
    if latest is None or latest <= begin:
        return 0, 0
    until = min(latest, end)
    up, reached = timedelta(), begin
    spans = [
        (_moment(boot.first), _moment(boot.last))
        for boot in boots
        if boot.first is not None and boot.last is not None
    ]
    for first, last in sorted(spans):
        since = max(first, reached)
        if min(last, until) > since:
            up += min(last, until) - since
            reached = min(last, until)
    return int(up.total_seconds()), int((until - begin).total_seconds())


# ---------------------------------------------------------------- sums


def _is_turn(entry: AsRunEntry) -> bool:
    return entry.verb in TURNS or entry.sounded_ms > 0


def _was_not_aired(entry: AsRunEntry) -> bool:
    if entry.outcome in _NEVER_BEGUN:
        return True
    return entry.outcome != Outcome.AIRED.value and not entry.sounded_ms and not entry.pages


def _zones(entry: AsRunEntry) -> tuple[str, ...]:
    return tuple(dict.fromkeys(entry.zones)) or (EVERY_ZONE,)


def _sums(parts: Iterator[tuple[str, Turn]], always: Sequence[str] = ()) -> dict[str, int]:
    """Milliseconds by name; the longest first where no order is given."""
    sums = dict.fromkeys(always, 0)
    for name, turn in parts:
        sums[name] = sums.get(name, 0) + turn.entry.sounded_ms
    if always:
        return sums
    return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))


def _by_day(turns: Sequence[Turn], begin: datetime, end: datetime) -> dict[date, dict[str, int]]:
    days: dict[date, dict[str, int]] = {
        (begin + timedelta(days=number)).date(): {} for number in range((end - begin).days)
    }
    for turn in turns:
        if turn.entry.sounded_ms:
            day = days[turn.at.date()]
            day[turn.entry.precedence] = day.get(turn.entry.precedence, 0) + turn.entry.sounded_ms
    return days


def _outcomes(turns: Sequence[Turn]) -> dict[str, Tally]:
    tallies = {outcome.value: Tally() for outcome in Outcome}
    for turn in turns:
        tally = tallies.setdefault(turn.entry.outcome, Tally())
        tally.turns += 1
        if turn.entry.code is not None:
            tally.reasons[turn.entry.code] = tally.reasons.get(turn.entry.code, 0) + 1
    return tallies
