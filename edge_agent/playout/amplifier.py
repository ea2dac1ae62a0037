"""The amplifier as a state machine: OFF -> SETTLING -> MUTED -> LIVE -> (hang time) -> MUTED -> OFF.

Facts about amplifiers: one that is unmuted while its supply still rises or falls thumps, and so
does a relay that switches a live line. So sound may pass only in LIVE, relays switch only while
it is muted, and it is muted before the power goes. A mute input is driven as its opposite, "unmute":
then every line INACTIVE means off and silent, at the first instant, after a crash and at exit,
whichever way the input is wired (docs/decisions/0130).

The decisions (`advance`) are pure. `Amplifier` only waits and drives lines.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from edge_agent.model import NS
from edge_agent.playout.awaken import news_or
from hal.errors import LineError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.playout.settings import AmplifierSettings
    from hal.ports import Clock, Lines, OutputLine

log = logging.getLogger(__name__)


class State(StrEnum):
    """Where the amplifier is in its sequence."""

    OFF = "OFF"
    SETTLING = "SETTLING"
    MUTED = "MUTED"
    LIVE = "LIVE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """The times of the sequence, ns. Zero where the line they protect does not exist."""

    settle: int
    unmute: int
    mute: int
    hang: int
    off_on: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where the sequence stands; what the lines show follows from it alone."""

    state: State = State.OFF
    since_ns: int = 0
    zones: frozenset[str] = frozenset()
    discharged: bool = True
    """In OFF: off_on_delay has passed since the power went."""
    switchable_ns: int = 0
    """In MUTED: when a relay may switch (the mute has taken hold)."""

    @property
    def powered(self) -> bool:
        """The power line's level."""
        return self.state is not State.OFF

    @property
    def live(self) -> bool:
        """The unmute line's level."""
        return self.state is State.LIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is wanted: sound in these zones, or (None) rest since `since_ns`."""

    zones: frozenset[str] | None = None
    since_ns: int = 0


def advance(position: Position, wish: Wish, times: Times, now_ns: int) -> Position | int | None:
    """One step of the sequence.

    Returns the next position if it is due, else the time (ns) when one will be due, else None.
    """
    if position.state is State.OFF:
        return _from_off(position, wish, times, now_ns)
    if wish.zones is None:
        return _at_rest(position, wish.since_ns + times.hang, times, now_ns)
    return _towards_live(position, wish.zones, times, now_ns)


def _from_off(position: Position, wish: Wish, times: Times, now_ns: int) -> Position | int | None:
    if not position.discharged:
        due_ns = position.since_ns + times.off_on
        return due_ns if now_ns < due_ns else replace(position, discharged=True)
    return None if wish.zones is None else Position(state=State.SETTLING, since_ns=now_ns)


def _towards_live(
    position: Position, zones: frozenset[str], times: Times, now_ns: int
) -> Position | int | None:
    if position.state is State.SETTLING:
        due_ns = position.since_ns + times.settle
        following = Position(state=State.MUTED, since_ns=now_ns, switchable_ns=now_ns, zones=zones)
    elif position.state is State.LIVE:
        return None if zones == position.zones else _mute(position, times, now_ns)
    elif zones == position.zones:
        due_ns = position.since_ns + times.unmute
        following = replace(position, state=State.LIVE, since_ns=now_ns)
    else:
        due_ns = position.switchable_ns
        following = replace(position, since_ns=now_ns, zones=zones)
    return due_ns if now_ns < due_ns else following


def _at_rest(position: Position, rest_ns: int, times: Times, now_ns: int) -> Position | int:
    """Nobody wants it: it stays as it is until the hang time is over, in case somebody does."""
    if now_ns < rest_ns:
        return rest_ns
    if position.state is State.LIVE:
        return _mute(position, times, now_ns)
    if now_ns < position.switchable_ns:
        return position.switchable_ns
    return Position(since_ns=now_ns, discharged=times.off_on == 0)


def _mute(position: Position, times: Times, now_ns: int) -> Position:
    return replace(position, state=State.MUTED, since_ns=now_ns, switchable_ns=now_ns + times.mute)


class Amplifier:
    """The amplifier and its zones. One turn at a time uses it; `life` drives the lines."""

    def __init__(self, *, settings: AmplifierSettings, lines: Lines, clock: Clock) -> None:
        """Request the lines, all INACTIVE. Raises LineError."""
        self._settings = settings
        self._clock = clock
        self._times = Times(
            settle=round(settings.settle_time_s * NS) if settings.power else 0,
            unmute=round(settings.unmute_delay_s * NS) if settings.mute or settings.zones else 0,
            mute=round(settings.mute_delay_s * NS) if settings.mute else 0,
            hang=round(settings.hang_time_s * NS),
            off_on=round(settings.off_on_delay_s * NS) if settings.power else 0,
        )
        owned: dict[str, OutputLine] = {spec.name: lines.output(spec) for spec in settings.lines()}
        self._unmute = owned.get("amplifier_unmute")
        self._power = owned.get("amplifier_power")
        self._zones = {name: owned[f"zone_{name}"] for name in settings.zones}
        self._position = Position()
        self._wish = Wish()
        self._fault: LineError | None = None
        self._changed = asyncio.Condition()
        self._wake = asyncio.Event()

    @property
    def state(self) -> State:
        """Where it is in its sequence."""
        return self._position.state

    @property
    def zone_names(self) -> tuple[str, ...]:
        """The configured zones, sorted."""
        return tuple(sorted(self._zones))

    async def acquire(self, zones: Iterable[str] = ()) -> float:
        """Wait until the programme can be heard in these zones (none named: all). Cancel to give up.

        Returns the silence that is to be played first, seconds: the lead-in if it has just been unmuted,
        0 if it was LIVE already. Raises LineError when a line cannot be driven; asking again tries again.
        """
        wanted = frozenset(zones) or frozenset(self._zones)
        assert wanted <= self._zones.keys(), "the channel refuses unknown zones"
        self._fault = None
        self._wish = Wish(zones=wanted)
        if self._heard_in(wanted):
            return 0.0
        self._wake.set()
        async with self._changed:
            await self._changed.wait_for(lambda: self._heard_in(wanted) or self._fault is not None)
        if self._fault is not None:
            raise self._fault
        return self._settings.lead_in_s

    def release(self) -> None:
        """Nobody needs it: after the hang time it goes off. Idempotent."""
        if self._wish.zones is not None:
            self._wish = Wish(since_ns=self._clock.monotonic_ns())
            self._wake.set()

    async def life(self) -> None:
        """Run the sequence until cancelled, then go off safely (waiting only for the mute)."""
        try:
            while True:
                self._wake.clear()
                due_ns = await self._step()
                await news_or(due_ns, wake=self._wake, clock=self._clock)
        finally:
            await self._off()

    async def _step(self) -> int | None:
        """Do all that is due; return when the next is."""
        while True:
            step = advance(self._position, self._wish, self._times, self._clock.monotonic_ns())
            if not isinstance(step, Position):
                return step
            log.debug("The amplifier goes on. from=%s to=%s", self._position.state, step.state)
            try:
                self._drive(step)
            except LineError as error:
                if self._fault is None:
                    log.error("A line of the amplifier cannot be driven; it goes off. error=%s", error)  # noqa: TRY400 - a door's named error says all; a traceback adds nothing
                self._fault = error
                self._wish = Wish()
                await self._off()
                self._position = self._off_now()
            else:
                self._position = step
            async with self._changed:
                self._changed.notify_all()

    def _drive(self, position: Position) -> None:
        """Make the lines show a position: going quiet first, letting sound through last."""
        if not position.live:
            _set(self._unmute, active=False)
        if not position.powered:
            _set(self._power, active=False)
        for name, line in self._zones.items():
            _set(line, active=name in position.zones)
        if position.powered:
            _set(self._power, active=True)
        if position.live:
            _set(self._unmute, active=True)

    async def _off(self) -> None:
        """Mute, wait for the mute, then everything off. Goes on past lines that fail."""
        if self._position.powered:
            self._try_set(self._unmute, active=False)
            if self._position.state is State.LIVE:
                self._position = _mute(self._position, self._times, self._clock.monotonic_ns())
            left_ns = self._position.switchable_ns - self._clock.monotonic_ns()
            await asyncio.sleep(max(0, left_ns) / NS)
        for line in self._off_order():
            self._try_set(line, active=False)
        if self._position.powered:
            self._position = self._off_now()

    def _off_now(self) -> Position:
        return Position(since_ns=self._clock.monotonic_ns(), discharged=self._times.off_on == 0)

    def _off_order(self) -> Iterator[OutputLine | None]:
        yield self._power
        yield from self._zones.values()

    def _heard_in(self, zones: frozenset[str]) -> bool:
        return self._position.state is State.LIVE and self._position.zones == zones

    def _try_set(self, line: OutputLine | None, *, active: bool) -> None:
        try:
            _set(line, active=active)
        except LineError as error:
            log.warning("A line of the amplifier cannot be driven. error=%s", error)


def _set(line: OutputLine | None, *, active: bool) -> None:
    if line is not None and line.active() != active:
        line.set(active=active)
