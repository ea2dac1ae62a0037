"""A schedule document -> a plan, or every fault in it. Pure.

What is written in local time becomes numbers here (days as ordinals, times as minutes), so that looking for the
next turn among thousands of rules is cheap.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

import msgspec

from edge_agent.desired import Signed
from edge_agent.errors import DocumentRefused, Fault
from edge_agent.hours import minute_of
from edge_agent.model import (
    Digest,
    Issuer,
    LineIn,
    Part,
    Precedence,
    ReasonCode,
    Recording,
    Relay,
    Standby,
    Voice,
    WebOrigin,
)
from edge_agent.patterns import fault_of
from edge_agent.schedule.forms import DAYS, FORMS, RULES_MAX, PartForm, RuleForm, ScheduleForm

DAY_MIN: Final = 24 * 60
FAULTS_MAX: Final = 20
TURNS_MAX: Final = 20_000
SKIP_GRACE_S: Final = 60
ALWAYS_GRACE_S: Final = 86_400
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
FOREVER: Final = date.max.toordinal()
_CHARACTERS_PER_S: Final = 14
"""How fast a voice reads; good enough to see a collision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """When what sounds. Days are proleptic ordinals, minutes are of the local day and may reach into the next."""

    id: str
    title: str
    issuer: Issuer
    precedence: Precedence
    minutes: tuple[int, ...]
    weekdays: int
    """Bit 0: Monday."""
    first: int
    last: int
    dates: frozenset[int]
    excepted: frozenset[int]
    holidays: str
    grace_s: int
    """So long after its time a turn may still begin."""
    parts: tuple[Part, ...]
    seconds: float | None
    """How long it will sound; None: not known beforehand."""
    volume: int | None
    zones: tuple[str, ...]
    max_s: int | None
    together: bool

    def on(self, day: int, holidays: frozenset[int]) -> bool:
        """Whether it sounds on a day."""
        if day in self.excepted or not (self.first <= day <= self.last):
            return False
        if self.holidays != "play" and (day in holidays) != (self.holidays == "only"):
            return False
        return day in self.dates or bool(self.weekdays >> (day - 1) % 7 & 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The whole schedule."""

    rules: tuple[Rule, ...] = ()
    holidays: frozenset[int] = frozenset()
    since: datetime = _LONG_AGO
    """When it was signed: what would have sounded before was no turn of it."""

    def media(self) -> Iterator[Recording]:
        """Every recording that the plan may need, fallbacks included; one may come several times."""
        for rule in self.rules:
            for part in rule.parts:
                if isinstance(part, Recording):
                    yield part
                elif isinstance(part, Relay) and part.standby.media is not None:
                    yield Recording(media=part.standby.media, url=part.standby.url)


def read(body: bytes, signed: Signed, *, line_in: bool = False) -> Plan:
    """The plan. `line_in`: this node has an input. Raises DocumentRefused with its faults, the first twenty."""
    faults: list[Fault] = []
    forms, holidays = _forms(body, faults)
    rules: list[Rule] = []
    known: dict[str, int] = {}
    for place, form in forms:
        path = f"$.rules[{place}]"
        if form.id in known:
            text = f"Rule {form.id!r} stands in the list twice, first as number {known[form.id]}."
            faults.append(Fault(f"{path}.id", text))
        known.setdefault(form.id, place)
        found = list(_faults(form, path, signed, line_in=line_in))
        faults += found
        if not found:
            rules.append(_rule(form, signed))
        if len(faults) >= FAULTS_MAX:
            break
    turns = sum(len(rule.minutes) for rule in rules)
    if turns > TURNS_MAX:
        text = f"The rules have {turns} turns a day; a node looks after {TURNS_MAX} at most. Take fewer."
        faults.append(Fault("$.rules", text))
    if faults:
        first = faults[0]
        text = f"The schedule has {len(faults)} fault(s), the first at {first.path}: {first.message}"
        raise DocumentRefused(ReasonCode.BAD_ARGS, text, faults[:FAULTS_MAX])
    return Plan(rules=tuple(rules), holidays=holidays, since=signed.issued_at)


# ---------------------------------------------------------------- what is written


def _forms(body: bytes, faults: list[Fault]) -> tuple[list[tuple[int, RuleForm]], frozenset[int]]:
    """The rules that have the right shape, each with its place; the faults of the others are added."""
    try:
        whole = msgspec.json.decode(body, type=ScheduleForm)
        return list(enumerate(whole.rules)), _days(whole.holidays, "$.holidays", faults)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        first = error
    try:
        raw = msgspec.json.decode(body, type=dict[str, Any])
        rows = raw.get("rules")
        if not isinstance(rows, list) or len(rows) > RULES_MAX:
            raise first
        msgspec.convert(raw | {"rules": []}, ScheduleForm)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        faults.append(fault_of(error, FORMS))
        return [], frozenset()
    good: list[tuple[int, RuleForm]] = []
    for place, row in enumerate(rows):
        try:
            good.append((place, msgspec.convert(row, RuleForm)))
        except (msgspec.MsgspecError, ValueError) as error:
            faults.append(fault_of(error, FORMS, at=f"$.rules[{place}]"))
    return good, frozenset()


def _days(dates: tuple[str, ...], path: str, faults: list[Fault]) -> frozenset[int]:
    found = set()
    for place, text in enumerate(dates):
        day = _day(text)
        if day is None:
            faults.append(Fault(f"{path}[{place}]", f"There is no {text} in the calendar."))
        else:
            found.add(day)
    return frozenset(found)


def _day(text: str) -> int | None:
    try:
        return date.fromisoformat(text).toordinal()
    except ValueError:
        return None


# ---------------------------------------------------------------- what is wrong with it


def _faults(form: RuleForm, path: str, signed: Signed, *, line_in: bool) -> Iterator[Fault]:
    """Everything that the shape alone does not tell."""
    precedence = Precedence.from_wire(form.klass)
    if precedence > signed.highest:
        text = f"The rule's class is {form.klass}; the document is signed for {signed.highest.wire} at most."
        yield Fault(f"{path}.class", text)
    if form.late.policy == "always" and precedence is not Precedence.EMERGENCY:
        yield Fault(f"{path}.late.policy", "Only an emergency may begin however late it is; use within.")
    if form.repeat is not None and (form.repeat.times - 1) * form.repeat.every_min >= DAY_MIN:
        yield Fault(
            f"{path}.repeat", "The repetitions of a turn end within a day; take fewer, or closer ones."
        )
    for key, dates in (("dates", form.dates), ("except", form.excepted)):
        faults: list[Fault] = []
        _days(dates, f"{path}.{key}", faults)
        yield from faults
    first, last = (None if text is None else _day(text) for text in (form.begins, form.ends))
    for key, written, day in (("from", form.begins, first), ("to", form.ends, last)):
        if written is not None and day is None:
            yield Fault(f"{path}.{key}", f"There is no {written} in the calendar.")
    if first is not None and last is not None and first > last:
        yield Fault(f"{path}.to", f"The rule ends on {form.ends}, before it begins on {form.begins}.")
    for place, part in enumerate(form.programme):
        yield from _part_faults(part, f"{path}.programme[{place}]", line_in=line_in)
        if form.together and (part.stream is not None or part.line_in):
            text = "Nodes begin together with recordings and texts only; take `together` or this part out."
            yield Fault(f"{path}.programme[{place}]", text)


def _part_faults(part: PartForm, path: str, *, line_in: bool) -> Iterator[Fault]:
    kinds = [part.media is not None, part.say is not None, part.stream is not None, part.line_in]
    if sum(kinds) != 1:
        yield Fault(path, "A part is `media`, `say`, `stream` or `line_in`, one of them.")
    elif (part.stream is not None or part.line_in) and part.for_s is None:
        yield Fault(f"{path}.for_s", "A stream or an input needs `for_s`: how long it sounds.")
    elif not (part.stream is not None or part.line_in) and part.for_s is not None:
        yield Fault(f"{path}.for_s", "A recording or a text ends by itself; take `for_s` out.")
    if part.line_in and not line_in:
        yield Fault(f"{path}.line_in", "This node has no input (sound.input is not set).")
    for stream, where in ((part.stream, "stream"), (part.standby.stream, "standby.stream")):
        if stream is not None and stream.pin is not None and not stream.url.startswith("https://"):
            yield Fault(f"{path}.{where}.pin", "A `pin` needs an https address.")


# ---------------------------------------------------------------- what it means


def _rule(form: RuleForm, signed: Signed) -> Rule:
    only_dates = form.days is None and bool(form.dates)
    named = DAYS if form.days is None else form.days
    parts = tuple(_part(part) for part in form.programme)
    lengths = [_seconds(form_part, part) for form_part, part in zip(form.programme, parts, strict=True)]
    known = [length for length in lengths if length is not None]
    seconds = sum(known) if len(known) == len(lengths) else None
    if form.max_s is not None:
        seconds = form.max_s if seconds is None else min(seconds, form.max_s)
    return Rule(
        id=form.id,
        title=form.title,
        issuer=signed.issuer,
        precedence=Precedence.from_wire(form.klass),
        minutes=_minutes(form),
        weekdays=0 if only_dates else sum({1 << DAYS.index(name) for name in named}),
        first=_ordinal(form.begins, 1),
        last=_ordinal(form.ends, FOREVER),
        dates=frozenset(_ordinal(text, 1) for text in form.dates),
        excepted=frozenset(_ordinal(text, 1) for text in form.excepted),
        holidays=form.holidays,
        grace_s=_grace_s(form),
        parts=parts,
        seconds=seconds,
        volume=form.volume,
        zones=form.zones,
        max_s=form.max_s,
        together=form.together,
    )


def _minutes(form: RuleForm) -> tuple[int, ...]:
    """The turns of a day, in order; what a repetition carries over midnight counts to the day it began on."""
    steps = range(1) if form.repeat is None else range(form.repeat.times)
    every = 0 if form.repeat is None else form.repeat.every_min
    starts = (minute_of(text) for text in form.at)
    return tuple(sorted({start + step * every for start in starts for step in steps}))


def _grace_s(form: RuleForm) -> int:
    match form.late.policy:
        case "skip":
            return SKIP_GRACE_S
        case "always":
            return ALWAYS_GRACE_S
        case _:
            return form.late.minutes * 60


def _part(form: PartForm) -> Part:
    if form.media is not None:
        return Recording(media=Digest(form.media), url=form.url, size=form.size)
    if form.say is not None:
        return Voice(form.say, form.language)
    for_s = form.for_s or 0
    if form.stream is None:
        return LineIn(for_s=for_s)
    standby = form.standby
    second = standby.stream
    return Relay(
        origin=WebOrigin(url=form.stream.url, pin=form.stream.pin),
        for_s=for_s,
        standby=Standby(
            stream=None if second is None else WebOrigin(url=second.url, pin=second.pin),
            media=None if standby.media is None else Digest(standby.media),
            url=standby.url,
            voice=None if standby.say is None else Voice(standby.say, standby.language),
        ),
    )


def _seconds(form: PartForm, part: Part) -> float | None:
    if isinstance(part, Recording):
        return form.seconds
    return len(part.text) / _CHARACTERS_PER_S if isinstance(part, Voice) else part.for_s


def _ordinal(text: str | None, default: int) -> int:
    return default if text is None else date.fromisoformat(text).toordinal()
