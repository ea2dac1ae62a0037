"""The promise of `hal.ports.Lines`, kept by the virtual lines and by gpiozero on its own mock factory.

lgpio itself runs only where there is a gpiochip; elsewhere it is skipped aloud, and its no-blip
rule is held against a recorded stand-in for the lgpio library.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import pytest

from hal.errors import LineError
from hal.linux.gpio import GpiozeroLines, _lgpio_factory
from hal.ports import Lines, LineSpec
from hal.sim.clock import VirtualClock
from hal.sim.gpio import AmplifierPhysics, LineChange, VirtualLines
from hal.sim.loop import NS, Counter, run

POWER = LineSpec(name="power", chip=0, offset=17)
RELAY_LOW = LineSpec(name="relay", chip=0, offset=27, active_low=True)
BUTTON = LineSpec(name="button", chip=0, offset=22, active_low=True, pull="up")
FAULT = LineSpec(name="fault", chip=0, offset=23, pull="down")


class Bench(Protocol):
    """Lines and the hands of whoever stands at their far end."""

    lines: Lines

    def level(self, spec: LineSpec) -> bool: ...
    def levels(self, spec: LineSpec) -> list[bool]:
        """Every electrical level since it was an output, the first included."""
        ...

    def outside(self, spec: LineSpec, *, level: bool) -> None: ...
    def play(self, main: Any) -> Any: ...


class VirtualBench:
    def __init__(self) -> None:
        self.counter = Counter()
        self._virtual = VirtualLines(VirtualClock(self.counter))
        self.lines: Lines = self._virtual

    def level(self, spec: LineSpec) -> bool:
        return self._virtual.changes(spec.name)[-1].level

    def levels(self, spec: LineSpec) -> list[bool]:
        return [change.level for change in self._virtual.changes(spec.name)]

    def outside(self, spec: LineSpec, *, level: bool) -> None:
        self._virtual.set_input(spec.name, active=level != spec.active_low)

    def play(self, main: Any) -> Any:
        return run(main, self.counter)


class MockBench:
    def __init__(self) -> None:
        from gpiozero.pins.mock import MockFactory

        self.factory = MockFactory()
        self.lines: Lines = GpiozeroLines(self.factory)

    def level(self, spec: LineSpec) -> bool:
        return bool(self.factory.pin(spec.offset).state)

    def levels(self, spec: LineSpec) -> list[bool]:
        return [bool(state.state) for state in self.factory.pin(spec.offset).states]

    def outside(self, spec: LineSpec, *, level: bool) -> None:
        pin = self.factory.pin(spec.offset)
        thread = threading.Thread(target=pin.drive_high if level else pin.drive_low)
        thread.start()  # lgpio tells of edges on its own thread
        thread.join()

    def play(self, main: Any) -> Any:
        return asyncio.run(main)


class ChipBench(MockBench):
    def __init__(self) -> None:
        if not list(Path("/dev").glob("gpiochip*")):
            pytest.skip("lgpio cannot run here: this machine has no /dev/gpiochip*")
        pytest.skip("lgpio: which lines of this machine are free to be driven is unknown")


@pytest.fixture(params=[VirtualBench, MockBench, ChipBench], ids=["virtual", "gpiozero-mock", "lgpio"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    made: Callable[[], Bench] = request.param
    bench = made()
    yield bench
    bench.lines.close()


def test_an_output_is_inactive_when_it_is_requested(bench: Bench) -> None:
    line = bench.lines.output(POWER)
    assert not line.active()
    assert bench.level(POWER) is False


def test_an_active_low_output_rests_high(bench: Bench) -> None:
    line = bench.lines.output(RELAY_LOW)
    assert not line.active()
    assert bench.level(RELAY_LOW) is True


def test_active_is_electrical_low_on_an_active_low_line(bench: Bench) -> None:
    line = bench.lines.output(RELAY_LOW)
    line.set(active=True)
    assert line.active()
    assert bench.level(RELAY_LOW) is False
    line.set(active=False)
    assert bench.level(RELAY_LOW) is True


def test_a_line_goes_through_exactly_the_levels_it_was_set_to(bench: Bench) -> None:
    line = bench.lines.output(POWER)
    for active in (True, True, False, True, False):
        line.set(active=active)
    assert bench.levels(POWER) == [False, True, False, True, False]


def test_a_second_request_of_a_line_is_refused_and_names_the_owner(bench: Bench) -> None:
    bench.lines.output(POWER)
    with pytest.raises(LineError, match="already belongs to line power"):
        bench.lines.input(LineSpec(name="thief", chip=0, offset=POWER.offset))


def test_closing_drives_every_output_inactive_and_frees_the_lines(bench: Bench) -> None:
    line = bench.lines.output(POWER)
    line.set(active=True)
    bench.lines.close()
    bench.lines.close()
    assert bench.level(POWER) is False
    assert bench.lines.output(POWER).active() is False


def test_a_pulled_up_button_is_inactive_at_rest_and_active_when_pressed(bench: Bench) -> None:
    button = bench.lines.input(BUTTON)
    assert not button.active()
    bench.outside(BUTTON, level=False)
    assert button.active()


def test_a_pulled_down_fault_line_is_active_when_high(bench: Bench) -> None:
    fault = bench.lines.input(FAULT)
    assert not fault.active()
    bench.outside(FAULT, level=True)
    assert fault.active()


def test_a_change_wakes_whoever_waits(bench: Bench) -> None:
    async def main() -> bool:
        fault = bench.lines.input(FAULT)
        waiting = asyncio.create_task(fault.wait_change())
        await asyncio.sleep(0)
        bench.outside(FAULT, level=True)
        async with asyncio.timeout(5):
            return await waiting

    assert bench.play(main()) is True


def test_edges_while_nobody_waits_collapse_into_one(bench: Bench) -> None:
    async def main() -> tuple[bool, bool]:
        fault = bench.lines.input(FAULT)
        for level in (True, False, True, False, True):
            bench.outside(FAULT, level=level)
        async with asyncio.timeout(5):
            first = await fault.wait_change()
        more = asyncio.create_task(fault.wait_change())
        for _ in range(3):
            await asyncio.sleep(0)
        waits = not more.done()
        more.cancel()
        await asyncio.gather(more, return_exceptions=True)
        return first, waits

    assert bench.play(main()) == (True, True)


def test_a_cancelled_wait_leaves_the_line_usable(bench: Bench) -> None:
    async def main() -> bool:
        fault = bench.lines.input(FAULT)
        waiting = asyncio.create_task(fault.wait_change())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        bench.outside(FAULT, level=True)
        async with asyncio.timeout(5):
            return await fault.wait_change()

    assert bench.play(main()) is True


def test_closing_ends_a_wait_with_an_error(bench: Bench) -> None:
    async def main() -> None:
        fault = bench.lines.input(FAULT)
        waiting = asyncio.create_task(fault.wait_change())
        await asyncio.sleep(0)
        bench.lines.close()
        async with asyncio.timeout(5):
            await waiting

    with pytest.raises(LineError, match="closed"):
        bench.play(main())


# ---------------------------------------------------------------- gpiozero alone


def test_a_line_that_gpiozero_does_not_know_is_refused_with_a_remedy() -> None:
    from gpiozero.pins.mock import MockFactory

    lines = GpiozeroLines(MockFactory())
    with pytest.raises(LineError, match=r"offset 99 of gpiochip0.*check the chip and offset"):
        lines.output(LineSpec(name="far", chip=0, offset=99))


def test_a_machine_without_gpiochips_gives_line_error() -> None:
    if list(Path("/dev").glob("gpiochip*")):
        pytest.skip("this machine has gpiochips")
    with pytest.raises(LineError, match=r"group gpio|python3-lgpio"):
        GpiozeroLines().output(POWER)
    assert not list(Path.cwd().glob(".lgd-nfy*")), "lgpio's FIFO lies about in the working directory"


class RecordedChip:
    """Stands in for the lgpio library under gpiozero: notes what is claimed at which level."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import gpiozero.pins.local

        self.calls: list[tuple[str, int, int, int]] = []
        self._modes: dict[tuple[int, int], int] = {}
        library = ModuleType("lgpio")
        vars(library).update(
            error=type("error", (Exception,), {}),
            SET_PULL_NONE=0,
            SET_PULL_UP=1,
            SET_PULL_DOWN=2,
            RISING_EDGE=1,
            FALLING_EDGE=2,
            BOTH_EDGES=3,
            gpiochip_open=lambda chip: 100 + chip,
            gpiochip_close=lambda _handle: None,
            gpio_claim_input=self._claim_input,
            gpio_claim_output=self._claim_output,
            gpio_write=self._write,
            gpio_get_mode=lambda handle, line: self._modes[handle, line],
        )
        monkeypatch.setitem(sys.modules, "lgpio", library)
        monkeypatch.delitem(sys.modules, "gpiozero.pins.lgpio", raising=False)
        monkeypatch.setattr(gpiozero.pins.local, "get_pi_revision", lambda: 0xA02082)

    def _claim_input(self, handle: int, line: int, _flags: int = 0) -> None:
        self._modes[handle, line] = 0

    def _claim_output(self, handle: int, line: int, level: int = 0, _flags: int = 0) -> None:
        self._modes[handle, line] = 2
        self.calls.append(("claim", handle, line, level))

    def _write(self, handle: int, line: int, level: int) -> None:
        self.calls.append(("write", handle, line, int(level)))


def test_lgpio_claims_an_active_low_line_at_high_without_a_blip(monkeypatch: pytest.MonkeyPatch) -> None:
    chip = RecordedChip(monkeypatch)
    lines = GpiozeroLines()
    relay = lines.output(RELAY_LOW)
    assert chip.calls == [("claim", 100, RELAY_LOW.offset, 1)]
    relay.set(active=True)
    lines.close()
    assert chip.calls[1:] == [("write", 100, RELAY_LOW.offset, 0), ("write", 100, RELAY_LOW.offset, 1)]


def test_the_same_offset_of_two_chips_is_two_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    chip = RecordedChip(monkeypatch)
    lines = GpiozeroLines()
    lines.output(LineSpec(name="a", chip=0, offset=5)).set(active=True)
    lines.output(LineSpec(name="b", chip=2, offset=5)).set(active=True)
    assert chip.calls == [
        ("claim", 100, 5, 0),
        ("write", 100, 5, 1),
        ("claim", 102, 5, 0),
        ("write", 102, 5, 1),
    ]
    lines.close()
    assert _lgpio_factory(0).pins is not _lgpio_factory(2).pins


# ---------------------------------------------------------------- virtual alone


def test_the_history_has_times_and_both_levels_from_the_first_request() -> None:
    counter = Counter()
    lines = VirtualLines(VirtualClock(counter))
    relay = lines.output(RELAY_LOW)
    counter.advance(NS)
    relay.set(active=True)
    start = 10 * NS
    assert list(lines.history) == [
        LineChange(at_ns=start, line="relay", active=False, level=True),
        LineChange(at_ns=start + NS, line="relay", active=True, level=False),
    ]


def test_a_pressed_button_comes_and_goes() -> None:
    counter = Counter()
    lines = VirtualLines(VirtualClock(counter))

    async def main() -> list[bool]:
        button = lines.input(BUTTON)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(lines.press("button", held_s=0.25), name="finger")
            return [await button.wait_change(), await button.wait_change()]

    assert run(main(), counter) == [True, False]
    pressed, released = lines.changes("button")[1:]
    assert released.at_ns - pressed.at_ns == pytest.approx(0.25 * NS, abs=1000)


def test_an_input_held_before_its_request_reads_so() -> None:
    lines = VirtualLines(VirtualClock(Counter()))
    lines.set_input("button", active=True)
    assert lines.input(BUTTON).active()


def test_a_broken_line_raises_and_recovers() -> None:
    lines = VirtualLines(VirtualClock(Counter()))
    power = lines.output(POWER)
    lines.fail("power")
    with pytest.raises(LineError, match="does not obey"):
        power.set(active=True)
    lines.fail("power", broken=False)
    power.set(active=True)
    assert lines.active("power")


def test_the_amplifier_thumps_when_it_is_unmuted_early_and_only_then() -> None:
    counter = Counter()
    physics = AmplifierPhysics(power="power", unmute="unmute", settle_s=2.0, off_on_s=3.0)
    lines = VirtualLines(VirtualClock(counter), watches=[physics])
    power = lines.output(POWER)
    unmute = lines.output(LineSpec(name="unmute", chip=0, offset=24))
    power.set(active=True)
    counter.advance(2 * NS)
    unmute.set(active=True)
    unmute.set(active=False)
    power.set(active=False)
    assert not physics.violations
    counter.advance(NS)
    power.set(active=True)
    counter.advance(NS)
    unmute.set(active=True)
    power.set(active=False)
    assert [what.split(":")[0] for _, what in physics.violations] == [
        "switched on too soon after it was switched off",
        "thump",
        "thump",
    ]
