"""The junction takes an intent to its room and brings every step back, with exactly one end."""

from __future__ import annotations

import asyncio
import hashlib
import io
import random
import wave
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from edge_agent import kept
from edge_agent.cache import store as cache_store
from edge_agent.cache.fetcher import Fetcher
from edge_agent.cache.settings import CacheSettings
from edge_agent.cache.store import Store
from edge_agent.errors import Refused, TextRefused
from edge_agent.model import (
    NS,
    AsRun,
    BoardClear,
    BoardShow,
    Digest,
    Executing,
    Finished,
    Intent,
    Issuer,
    OrderId,
    OrderState,
    Outcome,
    Ping,
    Play,
    Precedence,
    Reason,
    ReasonCode,
    SetVolume,
    Step,
    Stop,
    Waiting,
)
from edge_agent.playout.amplifier import Amplifier
from edge_agent.playout.channel import Channel
from edge_agent.playout.settings import AmplifierSettings, LevelSettings, PlayoutSettings
from edge_agent.router import Router
from edge_agent.ticket import Ticket
from hal.sim.clock import VirtualClock
from hal.sim.database import VirtualDatabase
from hal.sim.disk import VirtualDisk
from hal.sim.gpio import VirtualLines
from hal.sim.heard import Heard
from hal.sim.loop import Counter, run
from hal.sim.network import VirtualWeb
from hal.sim.sound import VirtualCard

URL = "http://media.example/bulletin.wav"
HOUR_NS = 3600 * NS


def a_wav(seconds: float, *, hz: float = 440.0) -> bytes:
    samples = 8000 * np.sin(2 * np.pi * hz * np.arange(round(seconds * 16_000)) / 16_000)
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(16_000)
        writer.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


BULLETIN = a_wav(3)
DIGEST = Digest("sha256:" + hashlib.sha256(BULLETIN).hexdigest())


@dataclass(slots=True)
class Sign:
    """A presenter that shows a notice for as long as it is told."""

    lasts_s: float = 0.5
    tickets: dict[OrderId, Ticket] = field(default_factory=dict)
    shown: list[OrderId] = field(default_factory=list)
    cleared: list[OrderId | None] = field(default_factory=list)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def show(self, intent: BoardShow) -> Ticket:
        if "☢" in intent.text:
            raise TextRefused(ReasonCode.BAD_ARGS, "The board has no such letter; leave it out.")
        return self._begin(intent, OrderState.SUCCESSFUL)

    def clear(self, intent: BoardClear) -> Ticket:
        if len(self.cleared) > 2:
            raise Refused(ReasonCode.BUSY, "Too much to clear; wait.")
        self.cleared.append(intent.target)
        shown = None if intent.target is None else self.tickets.get(intent.target)
        if shown is not None and shown.finished is None:
            shown.end(_end(OrderState.CANCELLED, Outcome.PARTIAL, ReasonCode.CANCELLED))
        return self._begin(replace(intent, id=OrderId(f"{intent.id}-clear")), OrderState.SUCCESSFUL)

    def wind_up(self) -> None:
        for ticket in self.tickets.values():
            if ticket.finished is None:
                ticket.end(_end(OrderState.INTERRUPTED, Outcome.PARTIAL, ReasonCode.INTERRUPTED))

    def _begin(self, intent: BoardShow | BoardClear, state: OrderState) -> Ticket:
        ticket = self.tickets[intent.id] = Ticket(intent)
        task = asyncio.create_task(self._live(ticket, state))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return ticket

    async def _live(self, ticket: Ticket, state: OrderState) -> None:
        ticket.grant()
        await ticket.begun()
        if ticket.finished is None:
            self.shown.append(ticket.intent.id)
            await asyncio.sleep(self.lasts_s)
        if ticket.finished is None:
            ticket.end(_end(state, Outcome.AIRED, None))


def _end(state: OrderState, outcome: Outcome, code: ReasonCode | None) -> Finished:
    return Finished(
        state=state, asrun=AsRun(outcome=outcome, reason=None if code is None else Reason(code, "So."))
    )


class Junction:
    """A router with a real channel, cellar and fetcher behind virtual doors."""

    def __init__(self, *, board: bool = True) -> None:
        self.counter = Counter()
        self.clock = VirtualClock(self.counter)
        self.heard = Heard()
        self.web = VirtualWeb(self.clock, random.Random(1))
        self.web.put(URL, BULLETIN)
        self.database = VirtualDatabase([kept.SCHEMA, cache_store.SCHEMA])
        self.disk = VirtualDisk(clock=self.clock, capacity_bytes=1 << 30)
        self.sign = Sign() if board else None
        self.channel: Channel
        self.router: Router
        self.store: Store

    def play(self, story: Callable[[Router], Awaitable[None]]) -> None:
        """Tell a story around the router, with its rooms alive."""

        async def main() -> None:
            settings = CacheSettings(reserve_mib=16)
            self.store = Store(disk=self.disk, database=self.database, clock=self.clock, settings=settings)
            await self.store.open()
            lines = VirtualLines(self.clock)
            amplifier = Amplifier(settings=AmplifierSettings(), lines=lines, clock=self.clock)
            self.channel = Channel(
                settings=PlayoutSettings(),
                level=LevelSettings(),
                clock=self.clock,
                sound=VirtualCard(self.clock, self.heard),
                amplifier=amplifier,
            )
            self.router = Router(
                clock=self.clock,
                database=self.database,
                channel=self.channel,
                levels=LevelSettings(),
                store=self.store,
                fetcher=Fetcher(web=self.web, store=self.store, clock=self.clock, settings=settings),
                presenter=self.sign,
                facts={"agent": "0.1.0"},
            )
            await self.router.open()
            async with asyncio.TaskGroup() as rooms:
                lives = [rooms.create_task(amplifier.life()), rooms.create_task(self.channel.life())]
                await story(self.router)
                for life in lives:
                    life.cancel()

        run(main(), self.counter)

    def intent(self, kind: type[Any], number: int = 1, **fields: Any) -> Any:
        """An intent that may begin within an hour."""
        asked: dict[str, Any] = {
            "id": OrderId(f"order-{number}"),
            "issuer": Issuer("xa"),
            "precedence": Precedence.ROUTINE,
            "deadline_ns": self.clock.monotonic_ns() + HOUR_NS,
        }
        if kind is Play:
            asked |= {"media": DIGEST, "url": URL}
        if kind is BoardShow:
            asked |= {"text": "Họp", "until_ns": self.clock.monotonic_ns() + HOUR_NS}
        return kind(**(asked | fields))


async def steps_of(router: Router, intent: Intent) -> list[Step]:
    """Everything it yields, with the law checked: one Finished, last; at most one Executing."""
    async with aclosing(router.carry_out(intent)) as going:
        steps = [step async for step in going]
    assert [isinstance(step, Finished) for step in steps] == [False] * (len(steps) - 1) + [True]
    assert sum(isinstance(step, Executing) for step in steps) <= 1
    return steps


async def end_of(router: Router, intent: Intent) -> Finished:
    last = (await steps_of(router, intent))[-1]
    assert isinstance(last, Finished)
    return last


def reason_of(finished: Finished) -> ReasonCode | None:
    return None if finished.asrun.reason is None else finished.asrun.reason.code


# ---------------------------------------------------------------- plays


def test_a_play_is_fetched_measured_once_and_aired() -> None:
    junction = Junction()

    async def story(router: Router) -> None:
        steps = await steps_of(router, junction.intent(Play))
        assert [type(step) for step in steps][:2] == [Waiting, Executing]
        finished = steps[-1]
        assert isinstance(finished, Finished)
        assert finished.state is OrderState.SUCCESSFUL
        assert finished.asrun.outcome is Outcome.AIRED
        assert abs(finished.asrun.frames - 3 * 48_000) < 500
        asset = await junction.store.find(DIGEST)
        assert asset is not None
        assert asset.gain_db is not None
        await asyncio.sleep(1)
        again = await steps_of(router, junction.intent(Play, 2, url=None))
        assert [type(step) for step in again] == [Executing, Finished], "held, measured, and its turn at once"
        assert len(junction.web.requests) == 1

    junction.play(story)


def test_nothing_sounds_before_the_asker_has_stored_that_it_executes() -> None:
    junction = Junction()

    async def story(router: Router) -> None:
        async with aclosing(router.carry_out(junction.intent(Play))) as going:
            async for step in going:
                if isinstance(step, Executing):
                    await asyncio.sleep(5)
                    assert junction.channel.snapshot().current == "order-1"
                    written = junction.clock.monotonic_ns()
                if isinstance(step, Finished):
                    assert step.asrun.started_ns is not None
                    assert step.asrun.started_ns >= written

    junction.play(story)


def test_one_that_waits_for_its_turn_says_so() -> None:
    junction = Junction()

    async def story(router: Router) -> None:
        await end_of(router, junction.intent(Play))
        async with asyncio.TaskGroup() as group:
            first = group.create_task(end_of(router, junction.intent(Play, 2)))
            await asyncio.sleep(1)
            second = group.create_task(steps_of(router, junction.intent(Play, 3)))
        assert first.result().state is OrderState.SUCCESSFUL
        assert second.result()[0] == Waiting(why="turn")

    junction.play(story)


@pytest.mark.parametrize(
    ("fields", "state", "outcome", "code"),
    [
        ({"url": "http://media.example/404"}, OrderState.FAILED, Outcome.FAILED, ReasonCode.NO_MEDIA),
        ({"url": None}, OrderState.FAILED, Outcome.FAILED, ReasonCode.NO_MEDIA),
        ({"url": "http://media.example/text"}, OrderState.FAILED, Outcome.FAILED, ReasonCode.NO_MEDIA),
        ({"url": "http://media.example/empty"}, OrderState.FAILED, Outcome.FAILED, ReasonCode.NO_MEDIA),
        ({"zones": ("nowhere",)}, OrderState.FAILED, Outcome.REFUSED, ReasonCode.BAD_ARGS),
        ({"deadline_ns": 0}, OrderState.EXPIRED, Outcome.MISSED, ReasonCode.EXPIRED),
    ],
    ids=["404", "no url", "not audio", "empty", "unknown zone", "too late"],
)
def test_a_play_that_cannot_be_ends_with_its_reason(
    fields: dict[str, Any], state: OrderState, outcome: Outcome, code: ReasonCode
) -> None:
    junction = Junction()
    for name, body in (("text", b"not a sound at all " * 100), ("empty", b"")):
        url = f"http://media.example/{name}"
        junction.web.put(url, body)
        if fields.get("url") == url:
            fields = {**fields, "media": Digest("sha256:" + hashlib.sha256(body).hexdigest())}

    async def story(router: Router) -> None:
        finished = await end_of(router, junction.intent(Play, **fields))
        assert (finished.state, finished.asrun.outcome, reason_of(finished)) == (state, outcome, code)

    junction.play(story)


def test_a_fetch_that_outlasts_the_orders_expiry_ends_with_it() -> None:
    junction = Junction()
    junction.web.put(URL, BULLETIN, drip_bytes_per_s=2000)

    async def story(router: Router) -> None:
        began_ns = junction.clock.monotonic_ns()
        finished = await end_of(router, junction.intent(Play, deadline_ns=began_ns + 10 * NS))
        assert finished.state is OrderState.EXPIRED
        assert finished.asrun.outcome is Outcome.MISSED
        assert reason_of(finished) is ReasonCode.TIMEOUT
        assert junction.clock.monotonic_ns() - began_ns < 11 * NS

    junction.play(story)


def test_a_damaged_disk_fails_the_play_and_not_the_router() -> None:
    junction = Junction()

    async def story(router: Router) -> None:
        junction.database.fail("io")
        finished = await end_of(router, junction.intent(Play))
        assert finished.state is OrderState.FAILED
        assert reason_of(finished) is ReasonCode.HARDWARE_FAULT

    junction.play(story)


# ---------------------------------------------------------------- stops


def test_a_stop_reaches_what_sounds_what_waits_and_what_is_still_fetched() -> None:
    junction = Junction()
    slow = a_wav(3, hz=880)
    junction.web.put("http://media.example/slow", slow, drip_bytes_per_s=2000)
    digest = Digest("sha256:" + hashlib.sha256(slow).hexdigest())

    async def story(router: Router) -> None:
        await end_of(router, junction.intent(Play))
        async with asyncio.TaskGroup() as group:
            plays = [
                group.create_task(end_of(router, junction.intent(Play, 2))),
                group.create_task(end_of(router, junction.intent(Play, 3))),
                group.create_task(
                    end_of(router, junction.intent(Play, 4, media=digest, url="http://media.example/slow"))
                ),
                group.create_task(end_of(router, junction.intent(Play, 5, precedence=Precedence.EMERGENCY))),
            ]
            await asyncio.sleep(1.5)
            stopped = await end_of(router, junction.intent(Stop, 6, highest=Precedence.PRIORITY))
        assert stopped.result["stopped"] == 3
        assert set(stopped.result["orders"]) == {"order-2", "order-3", "order-4"}  # type: ignore[call-overload]  # a list
        assert [play.result().state for play in plays] == [OrderState.CANCELLED] * 3 + [OrderState.SUCCESSFUL]
        assert junction.store.in_use() == frozenset()

    junction.play(story)


def test_a_stop_for_one_order_leaves_the_others() -> None:
    junction = Junction()

    async def story(router: Router) -> None:
        await end_of(router, junction.intent(Play))
        async with asyncio.TaskGroup() as group:
            first = group.create_task(end_of(router, junction.intent(Play, 2)))
            second = group.create_task(end_of(router, junction.intent(Play, 3)))
            await asyncio.sleep(1)
            stopped = await end_of(router, junction.intent(Stop, 4, target=OrderId("order-2")))
            nothing = await end_of(router, junction.intent(Stop, 5, target=OrderId("order-9")))
        assert stopped.result == {"stopped": 1, "orders": ["order-2"]}
        assert nothing.result == {"stopped": 0, "orders": []}
        assert (first.result().state, second.result().state) == (OrderState.CANCELLED, OrderState.SUCCESSFUL)

    junction.play(story)


def test_an_asker_that_goes_away_takes_its_request_along() -> None:
    junction = Junction()

    async def story(router: Router) -> None:
        await end_of(router, junction.intent(Play))
        async with aclosing(router.carry_out(junction.intent(Play, 2))) as going:
            async for step in going:
                if isinstance(step, Executing):
                    break
        await asyncio.sleep(0.1)
        assert junction.channel.snapshot().current is None
        follower = asyncio.create_task(end_of(router, junction.intent(Play, 2)))
        await asyncio.sleep(3)
        follower.cancel()
        await asyncio.wait([follower])
        assert junction.channel.snapshot().current is None
        assert (await end_of(router, junction.intent(Play, 2))).state is OrderState.SUCCESSFUL

    junction.play(story)


def test_winding_up_interrupts_everything_and_takes_nothing_more() -> None:
    junction = Junction()
    junction.web.put("http://media.example/slow", BULLETIN, drip_bytes_per_s=2000)

    async def story(router: Router) -> None:
        async with asyncio.TaskGroup() as group:
            fetching = group.create_task(
                end_of(router, junction.intent(Play, 1, url="http://media.example/slow"))
            )
            showing = group.create_task(end_of(router, junction.intent(BoardShow, 2)))
            await asyncio.sleep(0.3)
            await router.wind_up()
        assert fetching.result().state is OrderState.INTERRUPTED
        assert showing.result().state is OrderState.INTERRUPTED
        late = await end_of(router, junction.intent(Play, 3))
        assert late.state is OrderState.INTERRUPTED

    junction.play(story)


# ---------------------------------------------------------------- boards, volume, ping


def test_a_notice_is_shown_by_the_presenter() -> None:
    junction = Junction()

    async def story(router: Router) -> None:
        steps = await steps_of(router, junction.intent(BoardShow))
        assert [type(step) for step in steps] == [Executing, Finished]
        cleared = await end_of(router, junction.intent(BoardClear, 2, target=OrderId("order-1")))
        assert cleared.state is OrderState.SUCCESSFUL

    junction.play(story)
    assert junction.sign is not None
    assert junction.sign.cleared == ["order-1"]


def test_a_text_that_the_board_cannot_show_is_refused() -> None:
    junction = Junction()

    async def story(router: Router) -> None:
        finished = await end_of(router, junction.intent(BoardShow, text="☢"))
        assert (finished.state, finished.asrun.outcome) == (OrderState.FAILED, Outcome.REFUSED)

    junction.play(story)


def test_a_stop_for_a_notice_takes_it_down_but_a_stop_by_class_does_not() -> None:
    junction = Junction()
    assert junction.sign is not None
    junction.sign.lasts_s = 10

    async def story(router: Router) -> None:
        async with asyncio.TaskGroup() as group:
            showing = group.create_task(end_of(router, junction.intent(BoardShow, 1)))
            await asyncio.sleep(1)
            assert (await end_of(router, junction.intent(Stop, 2))).result["stopped"] == 0
            assert (await end_of(router, junction.intent(Stop, 3, target=OrderId("order-1")))).result[
                "stopped"
            ] == 1
        assert showing.result().state is OrderState.CANCELLED

    junction.play(story)


def test_a_superseded_notice_is_taken_down_and_a_busy_board_is_no_error() -> None:
    junction = Junction()
    assert junction.sign is not None
    junction.sign.lasts_s = 10
    junction.sign.cleared = [None, None, None]

    async def story(router: Router) -> None:
        async with asyncio.TaskGroup() as group:
            showing = group.create_task(end_of(router, junction.intent(BoardShow, 1)))
            await asyncio.sleep(1)
            await router.cancel(OrderId("order-1"))
            await router.cancel(OrderId("order-9"))
        assert showing.result().state is OrderState.SUCCESSFUL

    junction.play(story)


@pytest.mark.parametrize("kind", [BoardShow, BoardClear])
def test_without_a_board_a_notice_is_unsupported(kind: type[Intent]) -> None:
    junction = Junction(board=False)

    async def story(router: Router) -> None:
        finished = await end_of(router, junction.intent(kind))
        assert finished.asrun.outcome is Outcome.REFUSED
        assert reason_of(finished) is ReasonCode.UNSUPPORTED

    junction.play(story)


def test_the_volume_is_kept_over_restarts() -> None:
    junction = Junction()

    async def quieter(router: Router) -> None:
        finished = await end_of(router, junction.intent(SetVolume, volume=33))
        assert finished.result == {"volume": 33}

    async def after(_router: Router) -> None:
        assert junction.channel.volume == 33

    junction.play(quieter)
    junction.play(after)


def test_a_volume_that_cannot_be_kept_is_not_set() -> None:
    junction = Junction()

    async def story(router: Router) -> None:
        junction.database.fail("full")
        finished = await end_of(router, junction.intent(SetVolume, volume=33))
        assert reason_of(finished) is ReasonCode.NO_SPACE
        assert junction.channel.volume == PlayoutSettings().volume

    junction.play(story)


def test_a_ping_is_answered_with_the_nodes_facts() -> None:
    junction = Junction()

    async def story(router: Router) -> None:
        finished = await end_of(router, junction.intent(Ping))
        assert finished.result["pong"] is True
        assert finished.result["agent"] == "0.1.0"

    junction.play(story)
