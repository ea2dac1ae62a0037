"""Which turns a plan has: between two instants, after one, and where two collide. Pure.

An occurrence is named by its rule and its local time, so that the same turn has the same name in every version of
the document, on every start, and whatever the clock did meanwhile.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from edge_agent.errors import Fault
from edge_agent.model import LOCAL_TIME
from edge_agent.schedule.plan import DAY_MIN, FAULTS_MAX, Plan, Rule

_AHEAD_DAYS: Final = 800
"""A rule that does not sound within so many days of now counts as silent."""
_SOON: Final = timedelta(days=1)
_PAIRS_MAX: Final = 20_000
_COMMON_DAYS: Final = 62
_SHORTEST_S: Final = 30.0
"""What is not known to be longer still takes so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """One turn of one rule."""

    rule: Rule
    at: datetime
    """Aware, in Vietnam's time."""

    @property
    def key(self) -> str:
        """Its name, at most 57 characters."""
        return f"{self.rule.id}@{self.at:%Y-%m-%dT%H:%M}"


def between(plan: Plan, after: datetime, until: datetime) -> list[Occurrence]:
    """Every turn with after < at <= until, in order; of two at once the higher class first."""
    if until <= after:
        return []
    begin, end = after.astimezone(LOCAL_TIME), until.astimezone(LOCAL_TIME)
    found: dict[tuple[str, datetime], Occurrence] = {}  # a repetition may meet a turn of the next day
    for day in range(begin.toordinal() - 1, end.toordinal() + 1):
        midnight = _midnight(day)
        first, last = ((moment - midnight) // timedelta(minutes=1) for moment in (begin, end))
        for rule in plan.rules:
            if rule.on(day, plan.holidays):
                minutes = rule.minutes
                for minute in minutes[bisect_right(minutes, first) : bisect_right(minutes, last)]:
                    at = midnight + timedelta(minutes=minute)
                    found[rule.id, at] = Occurrence(rule=rule, at=at)
    return sorted(found.values(), key=_order)


def upcoming(plan: Plan, after: datetime, count: int) -> list[Occurrence]:
    """The next turns after an instant, at most `count`: from today and tomorrow, else rule by rule."""
    soon = between(plan, after, after + _SOON)
    if len(soon) >= count:
        return soon[:count]
    begin = after.astimezone(LOCAL_TIME)
    heap: list[tuple[datetime, int, str, int]] = []
    turns: dict[int, Iterator[datetime]] = {}
    for place, rule in enumerate(plan.rules):
        turns[place] = _turns(rule, plan.holidays, begin)
        at = next(turns[place], None)
        if at is not None:
            heapq.heappush(heap, (at, -rule.precedence, rule.id, place))
    found: list[Occurrence] = []
    while heap and len(found) < count:
        at, precedence, name, place = heapq.heappop(heap)
        found.append(Occurrence(rule=plan.rules[place], at=at))
        following = next(turns[place], None)
        if following is not None:
            heapq.heappush(heap, (following, precedence, name, place))
    return found


def collisions(plan: Plan) -> tuple[Fault, ...]:
    """Rules that want the loudspeaker at the same time on some day: who of them waits is not for the air to find out.

    A higher class cuts a lower one, that is meant; two of one class are a collision. The first twenty.
    """
    spans = sorted(
        ((minute * 60.0, minute * 60.0 + _length_s(rule), place) for place, rule in enumerate(plan.rules)
         for minute in rule.minutes),
    )  # fmt: skip
    faults: list[Fault] = []
    told: set[tuple[int, int]] = set()
    open_: list[tuple[float, float, int]] = []
    looked = 0
    for span in spans:
        open_ = [other for other in open_ if other[1] > span[0]]
        for other in open_:
            pair = (min(other[2], span[2]), max(other[2], span[2]))
            looked += 1
            if pair in told or not _collide(plan, *pair):
                continue
            told.add(pair)
            faults.append(_collision(plan, pair, round(span[0]) // 60))
        if len(faults) >= FAULTS_MAX or looked > _PAIRS_MAX:
            break
        open_.append(span)
    return tuple(faults[:FAULTS_MAX])


def _order(one: Occurrence) -> tuple[datetime, int, str]:
    return one.at, -one.rule.precedence, one.rule.id


def _midnight(day: int) -> datetime:
    return datetime.fromordinal(day).replace(tzinfo=LOCAL_TIME)


def _turns(rule: Rule, holidays: frozenset[int], begin: datetime) -> Iterator[datetime]:
    """The turns of one rule after an instant, in order; a repetition may reach into the next day."""
    today = begin.toordinal()
    start = max(rule.first, today - 1)
    early = [minute for minute in rule.minutes if minute < DAY_MIN]
    late = [minute - DAY_MIN for minute in rule.minutes if minute >= DAY_MIN]
    span: Iterable[int] = range(start, min(rule.last, max(start, today) + _AHEAD_DAYS) + 1 + bool(late))
    if not rule.weekdays:  # thousands of rules may have dates alone, which are past or far away
        span = sorted({day for one in rule.dates for day in (one, one + 1)}.intersection(span))
    for day in span:
        minutes = early if rule.on(day, holidays) else []
        if late and rule.on(day - 1, holidays):
            minutes = sorted({*minutes, *late})
        for minute in minutes:
            at = _midnight(day) + timedelta(minutes=minute)
            if at > begin:
                yield at


def _length_s(rule: Rule) -> float:
    return max(_SHORTEST_S, rule.seconds or 0.0)


def _collide(plan: Plan, one: int, other: int) -> bool:
    """Whether two rules of one class share a zone and a day."""
    a, b = plan.rules[one], plan.rules[other]
    if one == other or a.precedence is not b.precedence:
        return False
    if a.zones and b.zones and set(a.zones).isdisjoint(b.zones):
        return False
    first, last = max(a.first, b.first), min(a.last, b.last)
    days = set(range(first, min(last, first + _COMMON_DAYS) + 1)) if a.weekdays & b.weekdays else set()
    days |= {day for day in a.dates | b.dates if first <= day <= last}
    return any(a.on(day, plan.holidays) and b.on(day, plan.holidays) for day in days)


def _collision(plan: Plan, pair: tuple[int, int], minute: int) -> Fault:
    one, other = (plan.rules[place] for place in pair)
    text = (
        f"Rules {one.id!r} and {other.id!r} of class {one.precedence.wire} both want the loudspeaker at about "
        f"{minute // 60 % 24:02}:{minute % 60:02}; the second waits for the first, or is missed."
    )
    return Fault(f"$.rules[{pair[1]}].at", text)
