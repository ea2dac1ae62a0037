"""What must never happen, whatever a test is about: each checker takes a record and returns sentences.

They are pure functions over what the world kept (lines, sound, rows, messages), so they judge the
virtual world, the recording of a real run, or a made-up record in their own tests alike. An empty
list means that nothing was wrong.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from hal.ports import Frames

NS = 1_000_000_000

AUDIBLE = 1e-4
"""-80 dBFS: what is quieter counts as silence."""
_JOIN_NS = 10_000_000
"""Silence shorter than this belongs to the sound around it."""
_SLACK_NS = 1_000_000
"""A frame's instant is known to a period's rounding, never better."""

Span = tuple[int, int]
"""From, to: CLOCK_BOOTTIME ns."""

TERMINAL = frozenset(
    {"rejected", "successful", "failed", "cancelled", "expired", "superseded", "interrupted"}
)
"""The closed states of an order on the wire; written down here again on purpose."""


class LineChange(Protocol):
    """One entry of a line history (`hal.sim.gpio.LineChange`)."""

    @property
    def at_ns(self) -> int: ...
    @property
    def line(self) -> str: ...
    @property
    def active(self) -> bool: ...


# ---------------------------------------------------------------- sound


class LoudEar:
    """A `hal.sim.heard.HeardSink` that keeps only when something audible sounded."""

    def __init__(self, *, most_spans: int = 100_000) -> None:
        self.spans: list[Span] = []
        self._most = most_spans
        self._rate_hz = 48_000

    def opened(self, at_ns: int, rate_hz: int) -> None:
        """A stream begins."""
        self._rate_hz = rate_hz

    def heard(self, position: int, at_ns: int, frames: Frames) -> None:
        """Find the audible stretches of a block."""
        loud = np.flatnonzero(np.abs(frames) > AUDIBLE)
        if not len(loud):
            return
        join = _JOIN_NS * self._rate_hz // NS
        for group in np.split(loud, np.flatnonzero(np.diff(loud) > join) + 1):
            first, last = int(group[0]), int(group[-1]) + 1
            self._add((at_ns + first * NS // self._rate_hz, at_ns + last * NS // self._rate_hz))

    def inserted(self, position: int, at_ns: int, frames: int) -> None:
        """Silence says nothing."""

    def closed(self, at_ns: int) -> None:
        """Nothing more sounds."""

    def _add(self, span: Span) -> None:
        if self.spans and span[0] - self.spans[-1][1] <= _JOIN_NS:
            self.spans[-1] = (self.spans[-1][0], max(self.spans[-1][1], span[1]))
        else:
            self.spans.append(span)
            assert len(self.spans) <= self._most, "a world this loud needs more room"


@dataclass(frozen=True, slots=True, kw_only=True)
class AmplifierRule:
    """An amplifier's lines and least times. A line that the history does not know does not exist:
    without a power line it is always on, without an unmute line always open, without zones always heard."""

    power: str = "amplifier_power"
    unmute: str = "amplifier_unmute"
    """ACTIVE = open: every line at rest is off and silent."""
    zone_prefix: str = "zone_"
    settle_s: float = 2.0
    """From power on until the mute may go."""
    unmute_s: float = 0.1
    """From the last relay switched until the mute may go."""
    mute_s: float = 0.05
    """From the mute until a relay or the power may switch."""
    off_on_s: float = 3.0


@dataclass(slots=True)
class _Bench:
    """The amplifier as its lines show it, at one place in the history."""

    rule: AmplifierRule
    powered: bool
    has_mute: bool
    has_zones: bool
    muted: bool
    on_ns: int | None = None
    off_ns: int | None = None
    muted_ns: int | None = None
    relay_ns: int | None = None
    zones: frozenset[str] = frozenset()

    def live(self) -> bool:
        return self.powered and not self.muted and (bool(self.zones) or not self.has_zones)

    def take(self, change: LineChange) -> Iterator[str]:
        """Take one change; yield what was wrong with it."""
        rule, now_ns = self.rule, change.at_ns
        if change.line == rule.power and change.active != self.powered:
            yield from self._switch(on=change.active, now_ns=now_ns)
        elif change.line == rule.unmute and change.active == self.muted:
            if self.powered and change.active:
                yield from self._unmute(now_ns)
            self.muted, self.muted_ns = not change.active, now_ns
        elif change.line.startswith(rule.zone_prefix) and change.active != (change.line in self.zones):
            if self.powered and self.has_mute:
                yield from self._quiet_before(f"Relay {change.line} switched", now_ns)
            self.zones ^= {change.line}
            self.relay_ns = now_ns

    def _switch(self, *, on: bool, now_ns: int) -> Iterator[str]:
        self.powered = on
        if on:
            if self.off_ns is not None and now_ns - self.off_ns < self.rule.off_on_s * NS:
                yield _at(now_ns, f"The amplifier went on {_s(now_ns - self.off_ns)} after it went off.")
            if self.has_mute and not self.muted:
                yield _at(now_ns, "The amplifier went on unmuted.")
            self.on_ns = now_ns
        else:
            if self.has_mute:
                yield from self._quiet_before("The amplifier went off", now_ns)
            self.off_ns = now_ns

    def _unmute(self, now_ns: int) -> Iterator[str]:
        if self.on_ns is not None and now_ns - self.on_ns < self.rule.settle_s * NS:
            yield _at(
                now_ns, f"The mute went {_s(now_ns - self.on_ns)} after power on, before it had settled."
            )
        if self.relay_ns is not None and now_ns - self.relay_ns < self.rule.unmute_s * NS:
            yield _at(now_ns, f"The mute went {_s(now_ns - self.relay_ns)} after a relay switched.")

    def _quiet_before(self, what: str, now_ns: int) -> Iterator[str]:
        if not self.muted:
            yield _at(now_ns, f"{what} while unmuted.")
        elif self.muted_ns is not None and now_ns - self.muted_ns < self.rule.mute_s * NS:
            yield _at(now_ns, f"{what} {_s(now_ns - self.muted_ns)} after the mute.")


def amplifier_walk(
    changes: Iterable[LineChange], rule: AmplifierRule, end_ns: int
) -> tuple[list[Span], list[str]]:
    """When the amplifier was LIVE, and each step that came out of order or too soon."""
    changes = list(changes)
    names = {change.line for change in changes}
    bench = _Bench(
        rule=rule,
        powered=rule.power not in names,
        muted=rule.unmute in names,
        has_mute=rule.unmute in names,
        has_zones=any(name.startswith(rule.zone_prefix) for name in names),
    )
    spans: list[Span] = []
    violations: list[str] = []
    since_ns = 0 if bench.live() else None
    for change in changes:
        violations += bench.take(change)
        if bench.live() and since_ns is None:
            since_ns = change.at_ns
        elif not bench.live() and since_ns is not None:
            spans.append((since_ns, change.at_ns))
            since_ns = None
    if since_ns is not None:
        spans.append((since_ns, end_ns))
    return spans, violations


def silent_unless_live(loud: Iterable[Span], live: Sequence[Span]) -> list[str]:
    """Nothing audible reaches an amplifier that is not LIVE (it would be lost, or thump)."""
    allowed = [(start - _SLACK_NS, end + _SLACK_NS) for start, end in live]
    return [
        _at(start, f"Something sounded until {_s(end)} while the amplifier was not LIVE.")
        for start, end in loud
        if not any(low <= start and end <= high for low, high in allowed)
    ]


def one_voice(turns: Iterable[tuple[int, int, int]]) -> list[str]:
    """Never two programmes at once, least of all a lower class over a higher. Turns: (from, to, precedence)."""
    found = []
    speaking: tuple[int, int, int] | None = None
    for turn in sorted(turns):
        if speaking is not None and turn[0] < speaking[1]:
            low, high = sorted((speaking[2], turn[2]))
            what = f"Two of class {low} were" if low == high else f"Classes {low} and {high} were"
            found.append(_at(turn[0], f"{what} audible at once."))
        if speaking is None or turn[1] > speaking[1]:
            speaking = turn
    return found


# ---------------------------------------------------------------- orders


def one_entry_each(closed: Iterable[str], entries: Iterable[str]) -> list[str]:
    """Each closed request has exactly one as-run entry. Both are request ids."""
    count: dict[str, int] = defaultdict(int)
    for entry in entries:
        count[entry] += 1
    found = [
        f"Request {request} has ended and has no as-run entry." for request in closed if not count[request]
    ]
    return found + [
        f"Request {request} has {times} as-run entries." for request, times in count.items() if times > 1
    ]


def lived_once(changes: Iterable[tuple[str, str | None, str]]) -> list[str]:
    """An order executes once and its end never changes. Changes: (order, old state or None, new state), in order."""
    found = []
    executed: set[str] = set()
    ended: dict[str, str] = {}
    for order, _, new in changes:
        if order in ended and new != ended[order]:
            found.append(f"Order {order} went from {ended[order]}, which is an end, to {new}.")
        if new == "executing":
            if order in executed:
                found.append(f"Order {order} was executed twice.")
            executed.add(order)
        if new in TERMINAL:
            ended.setdefault(order, new)
    return found


def told_truly(messages: Iterable[tuple[str, str, bytes]]) -> list[str]:
    """What the server was told never takes back an end. Messages: (order, state, payload) as received.

    The same bytes may come again (at least once); an order that is asked about may be told again.
    """
    found = []
    seen: set[bytes] = set()
    ended: dict[str, str] = {}
    for order, state, payload in messages:
        if payload in seen:
            continue
        seen.add(payload)
        if order in ended and state != ended[order]:
            found.append(
                f"The server was told that order {order} is {ended[order]}, and then that it is {state}."
            )
        if state in TERMINAL:
            ended.setdefault(order, state)
    return found


# ---------------------------------------------------------------- bounds and left-overs


def within_bounds(depths: Mapping[str, tuple[int, int]]) -> list[str]:
    """Every queue stayed within its bound: name -> (deepest seen, bound)."""
    return [
        f"Queue {name} held {deepest} of at most {bound}."
        for name, (deepest, bound) in depths.items()
        if deepest > bound
    ]


def nothing_left(kind: str, names: Iterable[str]) -> list[str]:
    """No task, line or file is left behind."""
    return [f"The {kind} {name} was left behind." for name in sorted(names)]


def _at(at_ns: int, sentence: str) -> str:
    return f"At {_s(at_ns)}: {sentence}"


def _s(ns: int) -> str:
    return f"{ns / NS:.3f} s"
