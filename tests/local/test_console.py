"""The console: stop, release and status at the box, and what strangers to the protocol hear."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent import kept
from edge_agent.clocktrust import ClockSettings, ClockTrust
from edge_agent.errors import Refused
from edge_agent.local.console import Console
from edge_agent.local.requests import CollectRequest, LookedUp, LookUp, StopRequest, VerifyAnswer, read
from edge_agent.model import NodeId, Play, Precedence, ReasonCode
from edge_agent.report import alerts, outbox
from edge_agent.report.alerts import Alerts
from edge_agent.report.outbox import Outbox
from edge_agent.report.settings import ReportSettings
from edge_agent.report.status import BoardNote
from edge_agent.router import Router
from hal.sim.control import CALLS_MAX, VirtualControl
from hal.sim.database import VirtualDatabase
from tests.junction import Junction, end_of, reason_of


class Slow:
    """Looks up for a hundred seconds, and fails at what is called so."""

    async def look_up(self, asked: LookUp) -> LookedUp:
        await asyncio.sleep(100)
        if isinstance(asked, CollectRequest):
            raise TypeError("nobody foresaw this")
        return VerifyAnswer(fault=None)


class OneBoard:
    """A commune's board that shows a storm warning."""

    def notes(self) -> tuple[BoardNote, ...]:
        return (
            BoardNote(
                name="main",
                state="ok",
                why=(),
                showing="bao-1",
                page="Bão gần bờ",
                grade="acked",
                brightness=None,
            ),
        )


class Box(Junction):
    """A junction with somebody at the box."""

    def __init__(self) -> None:
        super().__init__()
        self.door = VirtualControl()
        self.alerts: Alerts
        self.answers: Slow | None = None

    def tell(self, story: Callable[[Router], Awaitable[None]]) -> None:
        """Tell a story while the console lives, too."""

        async def with_console(router: Router) -> None:
            database = VirtualDatabase((kept.SCHEMA, outbox.SCHEMA, alerts.SCHEMA))
            shelf = Outbox(database=database, clock=self.clock, settings=ReportSettings())
            self.alerts = Alerts(
                database=database, outbox=shelf, clock=self.clock, root="pa/v1", node=NodeId("thon-3")
            )
            console = Console(
                door=self.door,
                clock=self.clock,
                trust=ClockTrust(settings=ClockSettings(), clock=self.clock, database=self.database),
                router=router,
                channel=self.channel,
                guard=self.guard,
                outbox=shelf,
                alerts=self.alerts,
                node="thon-3",
                agent="0.1.0",
                seeing=OneBoard(),
                answers=self.answers,
            )
            life = asyncio.create_task(console.life(), name="console")
            await asyncio.sleep(0.01)
            await story(router)
            life.cancel()
            await asyncio.wait([life])

        self.play(with_console)

    async def ask(self, **asked: Any) -> dict[str, Any]:
        return await self.say(json.dumps(asked).encode())

    async def say(self, line: bytes) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(await self.door.say(line + b"\n"))
        return answer


def test_status_says_how_the_node_is() -> None:
    box = Box()

    async def story(_: Router) -> None:
        await box.alerts.raised("disk_low", "The disk is almost full.")
        assert await box.ask(do="status") == {
            "ok": True,
            "node": "thon-3",
            "agent": "0.1.0",
            "up_s": 0,
            "clock": "synced",
            "wall": "2026-11-23T00:00:00.010Z",
            "online": False,
            "volume": 70,
            "sounding": None,
            "waiting": 0,
            "suspended": 0,
            "amplifier": "off",
            "muted": [],
            "quiet_hours": [],
            "quiet": False,
            "today": {"used_s": 0, "most_s": 14400},
            "today_emergency": {"used_s": 0, "most_s": 28800},
            "alerts": ["disk_low"],
            "boards": [
                {
                    "name": "main",
                    "state": "ok",
                    "why": [],
                    "showing": "bao-1",
                    "page": "Bão gần bờ",
                    "grade": "acked",
                    "brightness": None,
                }
            ],
        }

    box.tell(story)


def test_a_stop_ends_what_sounds_and_lasts_but_not_for_new_emergencies() -> None:
    box = Box()

    async def story(router: Router) -> None:
        sounding = asyncio.create_task(end_of(router, box.intent(Play, 1, precedence=Precedence.EMERGENCY)))
        await asyncio.sleep(1)
        stopped = await box.ask(do="stop", for_s=600)
        assert (stopped["ok"], stopped["orders"]) == (True, ["order-1"])
        assert stopped["until"] == "2026-11-23T00:10:01+00:00"
        assert reason_of(await sounding) is ReasonCode.CANCELLED
        assert reason_of(await end_of(router, box.intent(Play, 2))) is ReasonCode.MUTED
        assert reason_of(await end_of(router, box.intent(Play, 3, precedence=Precedence.EMERGENCY))) is None
        (standing,) = (await box.ask(do="status"))["muted"]
        assert (standing["stop"], standing["issuer"]) == (stopped["stop"], "local-console")
        assert await box.ask(do="release", stop=stopped["stop"]) == {
            "ok": True,
            "released": [stopped["stop"]],
        }
        assert reason_of(await end_of(router, box.intent(Play, 4))) is None

    box.tell(story)


@pytest.mark.parametrize(
    ("asked", "muted"),
    [
        ({"class": "routine", "for_s": 60}, {Precedence.ROUTINE}),
        ({"class": "emergency", "for_s": 60}, set(Precedence)),
        ({"class": "emergency"}, set()),
        ({"order": "order-77", "for_s": 60}, set()),
    ],
)
def test_a_stop_covers_what_it_says(asked: dict[str, Any], muted: set[Precedence]) -> None:
    box = Box()

    async def story(_: Router) -> None:
        assert (await box.ask(do="stop", **asked))["ok"]
        found = {
            each for each in Precedence if box.guard.muted(box.intent(Play, 1, precedence=each)) is not None
        }
        assert found == muted
        by_name = box.guard.muted(box.intent(Play, 77, precedence=Precedence.EMERGENCY))
        assert (by_name is not None) == (Precedence.EMERGENCY in muted or "order" in asked)

    box.tell(story)


def test_what_cannot_be_stored_is_said_and_holds_in_this_run() -> None:
    box = Box()

    async def story(_: Router) -> None:
        box.database.fail("full", times=5)
        refused = await box.ask(do="stop", for_s=600)
        assert (refused["ok"], refused["code"]) == (False, "no_space")
        assert box.guard.muted(box.intent(Play)) is not None

    box.tell(story)


HOSTILE = [
    b"",
    b"status",
    b"{}",
    b"[]",
    b"null",
    b'{"do": "reboot"}',
    b'{"do": "status", "and": "more"}',
    b'{"do": "stop", "for_s": -1}',
    b'{"do": "stop", "for_s": 2592001}',
    b'{"do": "stop", "for_s": "600"}',
    b'{"do": "stop", "for_s": 1e400}',
    b'{"do": "stop", "class": "all"}',
    b'{"do": "stop", "class": "routine", "order": "x"}',
    b'{"do": "stop", "order": ""}',
    b'{"do": "stop", "order": "' + b"x" * 65 + b'"}',
    b'{"do": "release", "stop": 5}',
    b"[" * 4000,
    b'{"do":' * 600,
    b"\xff\xfe\x00",
    b'{"do": "stop", "do": "status", "for_s": {}}',
]


@pytest.mark.parametrize("line", HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_no_request_is_refused_in_words(line: bytes) -> None:
    box = Box()

    async def story(_: Router) -> None:
        answer = await box.say(line)
        assert (answer["ok"], answer["code"]) == (False, "bad_args")
        assert (await box.ask(do="status"))["ok"], "and it goes on"
        assert box.guard.notes() == ()

    box.tell(story)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(line=st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_a_request_or_a_refusal(line: bytes) -> None:
    try:
        asked = read(line)
    except Refused as refusal:
        code = refusal.code
    else:
        code = ReasonCode.BAD_ARGS
        assert not isinstance(asked, StopRequest) or asked.for_s >= 0
    assert code is ReasonCode.BAD_ARGS


def test_a_crowd_is_answered_one_after_another() -> None:
    box = Box()

    async def story(_: Router) -> None:
        answers = await asyncio.gather(*(box.ask(do="stop", for_s=60 + n) for n in range(CALLS_MAX)))
        assert all(answer["ok"] for answer in answers)
        assert len({answer["stop"] for answer in answers}) == CALLS_MAX
        assert len((await box.ask(do="release"))["released"]) == CALLS_MAX

    box.tell(story)


def test_a_door_that_cannot_be_opened_is_tried_again() -> None:
    box = Box()
    box.door.broken = True

    async def story(_: Router) -> None:
        assert await box.door.say(b'{"do":"status"}\n') == b""
        box.door.broken = False
        await asyncio.sleep(31)
        assert (await box.ask(do="status"))["ok"]

    box.tell(story)


def test_a_stop_does_not_wait_for_a_file_that_is_hashed() -> None:
    box = Box()
    box.answers = Slow()

    async def story(_: Router) -> None:
        media = "sha256:" + "0" * 64
        hashing = [asyncio.create_task(box.ask(do="verify", media=media)) for _ in range(2)]
        failing = asyncio.create_task(box.ask(do="collect"))
        await asyncio.sleep(1)
        before_ns = box.clock.monotonic_ns()
        assert (await box.ask(do="stop", for_s=600))["ok"]
        assert box.clock.monotonic_ns() == before_ns
        assert [await one for one in hashing] == [{"ok": True, "fault": None}] * 2
        assert (await failing)["code"] == "internal"
        assert (await box.ask(do="status"))["ok"], "the console lives on"

    box.tell(story)


def test_what_nobody_looks_up_here_is_refused() -> None:
    box = Box()

    async def story(_: Router) -> None:
        assert (await box.ask(do="collect"))["code"] == "unsupported"

    box.tell(story)
