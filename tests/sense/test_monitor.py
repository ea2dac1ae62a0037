"""The box feels: a stop button, mains, a lid; and its light says how it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import Any, cast

import pytest

from edge_agent import kept
from edge_agent.clocktrust import ClockSettings, ClockTrust
from edge_agent.model import (
    NS,
    AsRun,
    Executing,
    Finished,
    Intent,
    Issuer,
    NodeId,
    OrderId,
    OrderState,
    Outcome,
    Precedence,
    Step,
    Stop,
)
from edge_agent.playout.guard import Guard
from edge_agent.playout.settings import GovernorSettings
from edge_agent.playout.silent import SilentChannel
from edge_agent.report import alerts, outbox
from edge_agent.report.alerts import Alerts
from edge_agent.report.outbox import Outbox
from edge_agent.report.settings import ReportSettings
from edge_agent.router import Router
from edge_agent.sense.conditions import LOOK_EVERY_S, Conditions
from edge_agent.sense.monitor import Monitor
from edge_agent.sense.settings import InputLineSettings, Meaning, SenseSettings, StatusLightSettings
from hal.sim.clock import VirtualClock
from hal.sim.database import VirtualDatabase
from hal.sim.disk import VirtualDisk
from hal.sim.gpio import VirtualLines
from hal.sim.loop import Counter, run

MIB = 1024 * 1024


@dataclass
class Junction:
    """Stands for the router: keeps what it was asked."""

    asked: list[Intent] = field(default_factory=list)

    async def carry_out(self, intent: Intent) -> AsyncGenerator[Step, None]:
        self.asked.append(intent)
        yield Executing()
        yield Finished(state=OrderState.SUCCESSFUL, asrun=AsRun(outcome=Outcome.AIRED))


@dataclass
class Board:
    """Stands for the boards: one has a fault, or none has."""

    faults: dict[str, str] = field(default_factory=dict)


@dataclass
class Loudspeaker:
    """Stands for the channel: has a fault, or has none."""

    sound_fault: str | None = None


class Box:
    """A box with all inputs and a light, in virtual time."""

    def __init__(self, counter: Counter, **sense: Any) -> None:
        self.clock = VirtualClock(counter)
        self.lines = VirtualLines(self.clock)
        self.junction = Junction()
        self.board = Board()
        self.loudspeaker = Loudspeaker()
        self.disk = VirtualDisk(clock=self.clock, capacity_bytes=1000 * MIB)
        database = VirtualDatabase((kept.SCHEMA, outbox.SCHEMA, alerts.SCHEMA))
        shelf = Outbox(database=database, clock=self.clock, settings=ReportSettings())
        self.alerts = Alerts(
            database=database, outbox=shelf, clock=self.clock, root="pa/v1", node=NodeId("thon-1")
        )
        self.trust = ClockTrust(settings=ClockSettings(), clock=self.clock, database=database)
        self.guard = Guard(settings=GovernorSettings(), clock=self.clock, trust=self.trust, database=database)
        self.conditions = Conditions(
            alerts=self.alerts,
            trust=self.trust,
            disk=self.disk,
            reserve_mib=256,
            channel=cast("Any", self.loudspeaker),
            boards=cast("Any", self.board),
            guard=self.guard,
        )
        inputs = {
            "stop": InputLineSettings(meaning=Meaning.STOP_BUTTON, offset=23),
            "lid": InputLineSettings(meaning=Meaning.TAMPER, offset=24),
            "mains": InputLineSettings(meaning=Meaning.MAINS, offset=25),
            "amp": InputLineSettings(meaning=Meaning.AMP_FAULT, offset=26),
        }
        self.lines.set_input("mains", active=True)
        self.monitor = Monitor(
            settings=SenseSettings(inputs=inputs, status_led=StatusLightSettings(offset=22), **sense),
            clock=self.clock,
            lines=self.lines,
            router=cast("Router", self.junction),
            channel=SilentChannel(why="no lines in this test", volume=70),
            outbox=shelf,
            alerts=self.alerts,
            conditions=self.conditions,
        )


def in_a_box(story: Callable[[Box], Awaitable[None]], **sense: Any) -> Box:
    """Let a story happen to a box that is alive, and end it."""
    counter = Counter()
    box = Box(counter, **sense)

    async def main() -> None:
        life = asyncio.create_task(box.monitor.life(), name="monitor")
        await asyncio.sleep(0.01)
        await story(box)
        life.cancel()
        await asyncio.wait((life,))

    run(main(), counter)
    return box


def test_the_stop_button_stops_everything_at_once() -> None:
    async def story(box: Box) -> None:
        await box.lines.press("stop", held_s=0.3)

    at_once, lasting = in_a_box(story).junction.asked
    assert isinstance(at_once, Stop)
    assert (at_once.target, at_once.highest, at_once.until_ns) == (None, Precedence.EMERGENCY, None)
    assert isinstance(lasting, Stop)
    assert (lasting.target, lasting.highest) == (None, Precedence.PRIORITY)
    assert lasting.until_ns == lasting.deadline_ns - 5 * NS + 600 * NS


def test_a_button_that_is_told_so_stops_only_once() -> None:
    async def story(box: Box) -> None:
        await box.lines.press("stop", held_s=0.3)

    (asked,) = in_a_box(story, button_stop_s=0).junction.asked
    assert isinstance(asked, Stop)
    assert (asked.highest, asked.until_ns) == (Precedence.EMERGENCY, None)


def test_a_bouncing_button_stops_once() -> None:
    async def story(box: Box) -> None:
        for _ in range(5):
            await box.lines.press("stop", held_s=0.004)
            await asyncio.sleep(0.004)
        await box.lines.press("stop", held_s=0.3)
        await asyncio.sleep(1)

    assert len(in_a_box(story, button_stop_s=0).junction.asked) == 1


def test_a_spark_on_the_line_is_no_button() -> None:
    async def story(box: Box) -> None:
        await box.lines.press("stop", held_s=0.01)
        await asyncio.sleep(1)

    assert in_a_box(story).junction.asked == []


def test_a_button_held_at_start_does_not_stop_anything() -> None:
    counter = Counter()
    box = Box(counter)
    box.lines.set_input("stop", active=True)

    async def main() -> None:
        life = asyncio.create_task(box.monitor.life())
        await asyncio.sleep(1)
        life.cancel()
        await asyncio.wait((life,))

    run(main(), counter)
    assert box.junction.asked == []


@pytest.mark.parametrize(("line", "alert"), [("lid", "tamper"), ("amp", "amp_fault")])
def test_what_should_not_be_becomes_an_alert_until_it_is_over(line: str, alert: str) -> None:
    async def story(box: Box) -> None:
        box.lines.set_input(line, active=True)
        await asyncio.sleep(1)
        assert alert in box.alerts.standing
        box.lines.set_input(line, active=False)
        await asyncio.sleep(1)
        assert alert not in box.alerts.standing

    in_a_box(story)


def test_mains_lost_is_an_alert_and_mains_back_solves_it() -> None:
    async def story(box: Box) -> None:
        assert "mains_lost" not in box.alerts.standing
        box.lines.set_input("mains", active=False)
        await asyncio.sleep(1)
        assert "mains_lost" in box.alerts.standing
        box.lines.set_input("mains", active=True)
        await asyncio.sleep(1)
        assert "mains_lost" not in box.alerts.standing

    in_a_box(story)


def test_a_broken_input_is_asked_again_and_does_not_take_the_others_along() -> None:
    async def story(box: Box) -> None:
        box.lines.fail("lid")
        box.lines.set_input("lid", active=True)
        await asyncio.sleep(1)
        await box.lines.press("stop", held_s=0.3)
        box.lines.fail("lid", broken=False)
        await asyncio.sleep(60)
        box.lines.set_input("lid", active=False)
        await asyncio.sleep(60)
        box.lines.set_input("lid", active=True)
        await asyncio.sleep(1)
        assert "tamper" in box.alerts.standing

    assert len(in_a_box(story, button_stop_s=0).junction.asked) == 1


def test_the_clock_the_disk_the_sound_device_and_the_board_become_alerts_and_are_solved() -> None:
    async def story(box: Box) -> None:
        assert not box.alerts.standing
        now = box.clock.utc_now()
        box.clock.lose()
        box.disk.fill(leave_bytes=100 * MIB)
        box.board.faults = {"main": "The board is silent."}
        box.loudspeaker.sound_fault = "no output device is called 'loa'; plug it in"
        await asyncio.sleep(49 * 3600)
        assert list(box.alerts.standing) == ["board_dark", "clock_unsynced", "disk_low", "sound_missing"]
        box.clock.sync(now + timedelta(hours=49))
        box.disk.fill(leave_bytes=900 * MIB)
        box.board.faults = {}
        box.loudspeaker.sound_fault = None
        await asyncio.sleep(LOOK_EVERY_S + 1)
        assert not box.alerts.standing

    in_a_box(story)


def test_the_light_says_offline_and_then_fault() -> None:
    async def story(box: Box) -> None:
        await asyncio.sleep(10)
        box.lines.set_input("lid", active=True)
        await asyncio.sleep(10)

    changes = in_a_box(story).lines.changes("status_led")
    spans = [(b.at_ns - a.at_ns) / 1e9 for a, b in pairwise(changes) if a.active]
    assert spans[0] == pytest.approx(1.0)
    assert spans[-1] == pytest.approx(0.1)


def test_a_light_that_cannot_be_had_costs_nothing_but_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    counter = Counter()
    box = Box(counter)
    box.lines.fail("status_led")

    async def main() -> None:
        life = asyncio.create_task(box.monitor.life())
        await asyncio.sleep(300)
        assert not life.done()
        await box.lines.press("stop", held_s=0.3)
        box.lines.fail("status_led", broken=False)
        await asyncio.sleep(60)
        assert box.lines.changes("status_led")
        life.cancel()
        await asyncio.wait((life,))

    run(main(), counter)
    assert box.junction.asked, "the button works all the same"
    assert [record.getMessage()[:31] for record in caplog.records if "light" in record.getMessage()] == [
        "The status light cannot be driv"
    ]


def test_a_steady_light_costs_no_change_of_its_line() -> None:
    async def story(box: Box) -> None:
        box.monitor._outbox._draining = True
        await asyncio.sleep(4)
        before = len(box.lines.changes("status_led"))
        await asyncio.sleep(600)
        assert len(box.lines.changes("status_led")) == before

    in_a_box(story)


def test_a_village_in_which_no_emergency_would_be_heard_is_an_alert() -> None:
    async def story(box: Box) -> None:
        now_ns = box.clock.monotonic_ns()
        for highest, for_s in ((Precedence.PRIORITY, 7200), (Precedence.EMERGENCY, 3600)):
            stop = Stop(
                id=OrderId(f"stop-{highest}"), issuer=Issuer("xa"), precedence=Precedence.ROUTINE, deadline_ns=0,
                highest=highest, until_ns=now_ns + for_s * NS,
            )  # fmt: skip
            assert "emergency_muted" not in box.alerts.standing
            box.guard.mute(stop)
            await asyncio.sleep(LOOK_EVERY_S + 1)
        assert "emergency_muted" in box.alerts.standing
        await asyncio.sleep(3600)
        assert "emergency_muted" not in box.alerts.standing

    in_a_box(story)
