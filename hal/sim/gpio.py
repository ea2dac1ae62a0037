"""Virtual GPIO: lines by name, their full timed history, inputs that a test drives, an amplifier's physics."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from hal.errors import LineError

if TYPE_CHECKING:
    from hal.ports import Clock, LineSpec

NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LineChange:
    """A line took a level; the first one of a line is its request."""

    at_ns: int
    line: str
    active: bool
    """Logical."""
    level: bool
    """Electrical: True is high."""


class LineWatch(Protocol):
    """Somebody who is told of every change as it happens: a recorder, a checker, physics."""

    def line_changed(self, change: LineChange) -> None:
        """Never raises, never blocks."""


class VirtualLines:
    """All chips of a virtual board. `history` keeps every change of every line, oldest thrown away first."""

    def __init__(
        self, clock: Clock, *, watches: Iterable[LineWatch] = (), most_changes: int = 100_000
    ) -> None:
        self._clock = clock
        self._watches = tuple(watches)
        self._owned: dict[tuple[int, int], str] = {}
        self._outputs: dict[str, VirtualOutput] = {}
        self._inputs: dict[str, VirtualInput] = {}
        self._outside: dict[str, bool] = {}
        self._broken: set[str] = set()
        self.history: deque[LineChange] = deque(maxlen=most_changes)

    def output(self, spec: LineSpec) -> VirtualOutput:
        self._own(spec)
        line = VirtualOutput(self, spec)
        self._outputs[spec.name] = line
        self.note(spec, active=False)
        return line

    def input(self, spec: LineSpec) -> VirtualInput:
        self._own(spec)
        rest = spec.active_low if spec.pull == "none" else spec.pull == "up"
        active = self._outside.get(spec.name, rest != spec.active_low)
        line = VirtualInput(self, spec, active=active)
        self._inputs[spec.name] = line
        self.note(spec, active=active)
        return line

    def close(self) -> None:
        for line in self._outputs.values():
            if line.active():
                line.drive(active=False)
        for watched in self._inputs.values():
            watched.end()
        self._outputs.clear()
        self._inputs.clear()
        self._owned.clear()

    # ------------------------------------------------------------ the world's side

    def set_input(self, name: str, *, active: bool) -> None:
        """The outside world puts an input at a logical level; also before anyone has requested it."""
        self._outside[name] = active
        if (line := self._inputs.get(name)) is not None:
            line.become(active=active)

    async def press(self, name: str, *, held_s: float = 0.1) -> None:
        """A push-button: ACTIVE for `held_s`."""
        self.set_input(name, active=True)
        try:
            await asyncio.sleep(held_s)
        finally:
            self.set_input(name, active=False)

    def fail(self, name: str, *, broken: bool = True) -> None:
        """From now on a line can neither be requested, driven nor read (or can be again)."""
        (self._broken.add if broken else self._broken.discard)(name)

    def active(self, name: str) -> bool:
        """The logical level of an output; INACTIVE when nobody owns it, as pull-downs see to."""
        line = self._outputs.get(name)
        return line is not None and line.active()

    def changes(self, name: str) -> list[LineChange]:
        """One line's whole history."""
        return [change for change in self.history if change.line == name]

    # ------------------------------------------------------------ the lines' side

    def check(self, name: str) -> None:
        """Raise LineError when the line is broken."""
        if name in self._broken:
            raise LineError(f"line {name} does not obey; check its wiring and its gpiochip")

    def note(self, spec: LineSpec, *, active: bool) -> None:
        """Put a change into the history and tell the watches."""
        change = LineChange(
            at_ns=self._clock.monotonic_ns(), line=spec.name, active=active, level=active != spec.active_low
        )
        self.history.append(change)
        for watch in self._watches:
            watch.line_changed(change)

    def _own(self, spec: LineSpec) -> None:
        self.check(spec.name)
        place = (spec.chip, spec.offset)
        owner = self._owned.get(place)
        if owner is None and (spec.name in self._outputs or spec.name in self._inputs):
            owner = spec.name
        if owner is not None:
            raise LineError(
                f"line {spec.name} cannot be had: offset {spec.offset} of gpiochip{spec.chip} already "
                f"belongs to line {owner}; give each line its own offset"
            )
        self._owned[place] = spec.name


class VirtualOutput:
    """A line that the agent drives."""

    def __init__(self, lines: VirtualLines, spec: LineSpec) -> None:
        self.name = spec.name
        self._lines = lines
        self._spec = spec
        self._active = False

    def set(self, *, active: bool) -> None:
        self._lines.check(self.name)
        if active != self._active:
            self.drive(active=active)

    def active(self) -> bool:
        return self._active

    def drive(self, *, active: bool) -> None:
        """Take the level, broken or not."""
        self._active = active
        self._lines.note(self._spec, active=active)


class VirtualInput:
    """A line that the world drives."""

    def __init__(self, lines: VirtualLines, spec: LineSpec, *, active: bool) -> None:
        self.name = spec.name
        self._lines = lines
        self._spec = spec
        self._active = active
        self._edge = False
        self._closed = False
        self._waiter: asyncio.Future[None] | None = None

    def active(self) -> bool:
        if self._closed:
            raise LineError(f"line {self.name} is closed")
        self._lines.check(self.name)
        return self._active

    async def wait_change(self) -> bool:
        while not self._edge and not self._closed:
            assert self._waiter is None, "one waiter a line"
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        self._edge = False
        return self.active()

    def become(self, *, active: bool) -> None:
        """The world changes the level."""
        if active != self._active:
            self._active = active
            self._edge = True
            self._lines.note(self._spec, active=active)
            self._wake()

    def end(self) -> None:
        """The line is released; whoever waits gets LineError."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class AmplifierPhysics:
    """What an amplifier does with its lines, as a `LineWatch`: unmuted before it has settled it thumps,
    and switched on too soon after off its capacitors complain. `violations` says when and what."""

    def __init__(self, *, power: str, unmute: str | None, settle_s: float, off_on_s: float = 0.0) -> None:
        self._power = power
        self._unmute = unmute
        self._settle_ns = int(settle_s * NS)
        self._off_on_ns = int(off_on_s * NS)
        self._on_ns: int | None = None
        self._off_ns: int | None = None
        self._unmuted = False
        self.violations: deque[tuple[int, str]] = deque(maxlen=1000)

    def line_changed(self, change: LineChange) -> None:
        if change.line == self._power:
            self._power_changed(change)
        elif change.line == self._unmute:
            self._unmuted = change.active
            if change.active and (self._on_ns is None or change.at_ns - self._on_ns < self._settle_ns):
                self._violate(change, "thump: unmuted before the amplifier had settled")

    def _power_changed(self, change: LineChange) -> None:
        if change.active and self._on_ns is None:
            if self._off_ns is not None and change.at_ns - self._off_ns < self._off_on_ns:
                self._violate(change, "switched on too soon after it was switched off")
            if self._unmuted:
                self._violate(change, "thump: switched on while unmuted")
            self._on_ns = change.at_ns
        elif not change.active and self._on_ns is not None:
            if self._unmuted:
                self._violate(change, "thump: switched off while unmuted")
            self._on_ns = None
            self._off_ns = change.at_ns

    def _violate(self, change: LineChange, what: str) -> None:
        self.violations.append((change.at_ns, what))
