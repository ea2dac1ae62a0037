"""The junction takes an intent to its room and brings every step back, with exactly one end."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import aclosing
from typing import Any

import pytest

from edge_agent.model import (
    NS,
    BoardClear,
    BoardShow,
    Digest,
    Executing,
    Finished,
    Intent,
    OrderId,
    OrderState,
    Outcome,
    Ping,
    Play,
    Precedence,
    ReasonCode,
    Release,
    SetVolume,
    Stop,
    Waiting,
)
from edge_agent.playout.settings import PlayoutSettings
from edge_agent.playout.stops import STOPS_MAX
from edge_agent.router import Router
from tests.junction import BULLETIN, DIGEST, URL, Junction, a_wav, end_of, reason_of, steps_of

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


@pytest.mark.parametrize("kind", [Play, BoardShow])
def test_a_stop_reaches_an_order_at_every_point_of_its_way(kind: type[Intent]) -> None:
    """Also in the very round of the loop in which the cellar, or the drawing, is done with it."""
    junction = Junction()
    sign = junction.sign
    assert sign is not None
    sign.lasts_s = 60

    async def story(router: Router) -> None:
        await end_of(router, junction.intent(Play))
        for rounds in range(1, 60):
            sign.cleared.clear()
            going = asyncio.create_task(end_of(router, junction.intent(kind, 2)))
            for _ in range(rounds):
                await asyncio.sleep(0)
            stopped = await end_of(router, junction.intent(Stop, 3, target=OrderId("order-2")))
            assert stopped.result["stopped"] == 1
            finished = await going
            assert finished.state is OrderState.CANCELLED, f"after {rounds} rounds"
            assert junction.channel.snapshot().current is None

    junction.play(story)


def test_a_stop_while_the_cellar_is_looked_into_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database on its own thread takes a moment; a cached, measured programme then needs no other wait."""
    junction = Junction()

    async def story(router: Router) -> None:
        await end_of(router, junction.intent(Play))
        find = junction.store.find

        async def slow_find(digest: Digest) -> object:
            await asyncio.sleep(1)
            return await find(digest)

        monkeypatch.setattr(junction.store, "find", slow_find)
        going = asyncio.create_task(end_of(router, junction.intent(Play, 2)))
        await asyncio.sleep(0.5)
        assert (await end_of(router, junction.intent(Stop, 3))).result["stopped"] == 1
        assert (await going).state is OrderState.CANCELLED

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
        assert (finished.state, finished.asrun.outcome) == (OrderState.REJECTED, Outcome.REFUSED)

    junction.play(story)
    assert junction.sign is not None
    assert not junction.sign.tickets, "it was not even asked for, so it took nobody's place"


def test_a_clear_reaches_a_notice_that_is_still_being_drawn() -> None:
    junction = Junction()
    assert junction.sign is not None
    junction.sign.draws_s, junction.sign.lasts_s = 10, 60

    async def story(router: Router) -> None:
        async with asyncio.TaskGroup() as group:
            drawing = group.create_task(end_of(router, junction.intent(BoardShow, 1)))
            await asyncio.sleep(1)
            await end_of(router, junction.intent(BoardClear, 2, target=OrderId("order-1")))
        assert drawing.result().state is OrderState.CANCELLED

    junction.play(story)


def test_a_notice_that_is_still_being_drawn_can_be_stopped() -> None:
    junction = Junction()
    assert junction.sign is not None
    junction.sign.draws_s = 10

    async def story(router: Router) -> None:
        async with asyncio.TaskGroup() as group:
            drawing = group.create_task(end_of(router, junction.intent(BoardShow, 1)))
            await asyncio.sleep(1)
            await router.cancel(OrderId("order-1"))
        assert drawing.result().state is OrderState.CANCELLED

    junction.play(story)
    assert not junction.sign.tickets


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


# ---------------------------------------------------------------- stops that last


def test_a_stop_that_lasts_refuses_before_anything_is_fetched_and_leaves_the_board_alone() -> None:
    junction = Junction()

    async def story(router: Router) -> None:
        until_ns = junction.clock.monotonic_ns() + 600 * NS
        stop = junction.intent(Stop, 1, highest=Precedence.PRIORITY, until_ns=until_ns)
        stopped = await end_of(router, stop)
        assert stopped.result["until"] == "2026-11-23T00:10:00+00:00"
        refused = await end_of(router, junction.intent(Play, 2))
        assert (reason_of(refused), refused.asrun.outcome) == (ReasonCode.MUTED, Outcome.REFUSED)
        assert not junction.web.requests
        assert (await end_of(router, junction.intent(BoardShow, 3))).state is OrderState.SUCCESSFUL
        released = await end_of(router, junction.intent(Release, 4, target=stop.id))
        assert released.result == {"released": [stop.id]}
        assert (await end_of(router, junction.intent(Play, 5))).state is OrderState.SUCCESSFUL

    junction.play(story)


def test_a_stop_that_lasts_reaches_what_is_being_fetched() -> None:
    junction = Junction()
    junction.web.put(URL, BULLETIN, drip_bytes_per_s=1000)

    async def story(router: Router) -> None:
        fetching = asyncio.create_task(end_of(router, junction.intent(Play, 1)))
        await asyncio.sleep(1)
        until_ns = junction.clock.monotonic_ns() + 600 * NS
        stopped = await end_of(
            router, junction.intent(Stop, 2, highest=Precedence.ROUTINE, until_ns=until_ns)
        )
        assert stopped.result["orders"] == ["order-1"]
        assert reason_of(await fetching) is ReasonCode.CANCELLED

    junction.play(story)


def test_a_stop_that_cannot_be_kept_holds_and_says_so() -> None:
    junction = Junction()

    async def story(router: Router) -> None:
        until_ns = junction.clock.monotonic_ns() + 600 * NS
        junction.database.fail("full")
        stopped = await end_of(router, junction.intent(Stop, 1, until_ns=until_ns))
        assert (stopped.state, reason_of(stopped)) == (OrderState.FAILED, ReasonCode.NO_SPACE)
        assert reason_of(await end_of(router, junction.intent(Play, 2))) is ReasonCode.MUTED

    junction.play(story)


def test_a_stop_that_may_not_last_because_too_many_stand_silences_all_the_same() -> None:
    junction = Junction()

    async def story(router: Router) -> None:
        until_ns = junction.clock.monotonic_ns() + 600 * NS
        for number in range(STOPS_MAX):
            nothing = junction.intent(Stop, number + 10, target=OrderId(f"other-{number}"), until_ns=until_ns)
            assert (await end_of(router, nothing)).state is OrderState.SUCCESSFUL
        playing = asyncio.create_task(end_of(router, junction.intent(Play, 1)))
        await asyncio.sleep(1)
        assert not playing.done()
        stopped = await end_of(router, junction.intent(Stop, 2, until_ns=until_ns))
        assert reason_of(stopped) is ReasonCode.BUSY
        assert reason_of(await playing) is ReasonCode.CANCELLED

    junction.play(story)
