"""What may befall a world, as a plan: "at t, this, for so long", written down or drawn from the seed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hal.sim.world import World

Act = Callable[["World"], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault. `what` is a key of `KINDS`, or "power" or "crash"; `for_s` is how long it lasts."""

    at_s: float
    what: str
    for_s: float = 0.0

    def __str__(self) -> str:
        return f"at {self.at_s:g} s {self.what}" + (f" for {self.for_s:g} s" if self.for_s else "")


def _nothing(_: World) -> None:
    """Some faults end by themselves."""


def _sets(place: str, name: str, value: object, rest: object) -> tuple[Act, Act]:
    """A fault that is an attribute of one of the world's things."""
    return (
        lambda world: setattr(getattr(world, place), name, value),
        lambda world: setattr(getattr(world, place), name, rest),
    )


def _darkens(world: World, *, dark: bool) -> None:
    """The sign has no power, or has it again, perhaps in mid-frame."""
    world.sign.dark = dark
    world.line_cuts.append(world.outside.monotonic_ns())


KINDS: Mapping[str, tuple[Act, Act]] = {
    "broker lost": (lambda world: world.broker.partition("lost"), lambda world: world.broker.heal()),
    "broker silent": (lambda world: world.broker.partition("silent"), lambda world: world.broker.heal()),
    "broker forgets": (lambda world: world.broker.forget_sessions(), _nothing),
    "card unplugged": (lambda world: world.card.unplug(), lambda world: world.card.replug()),
    "card stalled": (lambda world: world.card.stall(), lambda world: world.card.resume()),
    "disk full": (lambda world: world.disk.fail("full", times=1_000_000), lambda world: world.disk.mend()),
    "disk broken": (lambda world: world.disk.fail("io", times=1_000_000), lambda world: world.disk.mend()),
    "disk slow": _sets("disk", "slow_s", 0.5, 0.0),
    "database full": (
        lambda world: world.database.fail("full", times=1_000_000),
        lambda world: world.database.mend(),
    ),
    "database slow": _sets("database", "slow_s", 0.2, 0.0),
    "sign dark": (lambda world: _darkens(world, dark=True), lambda world: _darkens(world, dark=False)),
    "sign silent": _sets("sign", "silent", value=True, rest=False),
    "sign restarts": (lambda world: world.restart_sign(), _nothing),
    "serial missing": (lambda world: world.pull_serial(), lambda world: world.pull_serial(out=False)),
    "clock ahead": (lambda world: world.clock.step(3_600), lambda world: world.clock.step(-3_600)),
    "clock behind": (lambda world: world.clock.step(-3_600), lambda world: world.clock.step(3_600)),
}
"""Name -> how it begins and how it ends. "power" (an outage) and "crash" (kill -9) are played by the world."""


def drawn(
    rng: random.Random,
    *,
    count: int,
    span_s: float,
    longest_s: float = 60.0,
    kinds: Sequence[str] = (*KINDS, "power", "crash"),
) -> tuple[Fault, ...]:
    """`count` faults somewhere within `span_s`, in order of time."""
    plan = [
        Fault(
            at_s=round(rng.uniform(0, span_s), 3),
            what=rng.choice(kinds),
            for_s=round(rng.uniform(0.1, longest_s), 3),
        )
        for _ in range(count)
    ]
    return tuple(sorted(plan, key=lambda fault: fault.at_s))


async def play(world: World, plan: Sequence[Fault]) -> None:
    """Let each fault begin at its time, counted from now, and end; returns after the last end.

    Power cuts and crashes are played one at a time: a later one waits for the earlier.
    """
    hard = asyncio.Lock()
    async with asyncio.TaskGroup() as group:
        for fault in plan:
            group.create_task(_play(world, fault, hard), name=f"fault {fault}")


async def _play(world: World, fault: Fault, hard: asyncio.Lock) -> None:
    await asyncio.sleep(fault.at_s)
    if fault.what in {"power", "crash"}:
        async with hard:
            if fault.what == "power":
                await world.outage(dark_s=fault.for_s)
            else:
                await world.crash(pause_s=fault.for_s)
        return
    begin, end = KINDS[fault.what]
    world.note(f"{fault.what} begins")
    begin(world)
    try:
        await asyncio.sleep(fault.for_s)
    finally:
        end(world)
        world.note(f"{fault.what} ends")
