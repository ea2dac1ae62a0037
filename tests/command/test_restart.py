"""Power cuts and restarts: nothing runs twice, nothing accepted is lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter as Tally
from datetime import timedelta

import pytest

from edge_agent.command.execution import after_restart
from edge_agent.command.messages import Timing, intent_of
from edge_agent.model import (
    NS,
    TERMINAL,
    BoardShow,
    Finished,
    OrderState,
    Outcome,
    Precedence,
)
from hal.errors import DatabaseError
from hal.sim.database import Moment
from hal.sim.loop import run
from tests.command.scene import Scene, an_order
from tests.entries import START, an_entry, ident

EMERGENCY = {"precedence": Precedence.EMERGENCY}


async def cut_and_start_again(scene: Scene, *, after_s: float, off_s: float = 5.0) -> None:
    """Run until the power is cut, wait in the dark, then let a fresh inbox live for a while."""
    life = asyncio.create_task((await scene.inbox()).life())
    await asyncio.sleep(after_s)
    await scene.power_cut(life)
    scene.clock.reboot(dark_s=off_s)
    async with scene.running(connect_s=120):
        pass


def test_an_order_that_came_while_the_node_was_off_is_done_after_the_start() -> None:
    scene = Scene()

    async def main() -> None:
        async with scene.running():
            pass
        scene.send(an_order(1, "play"))
        async with scene.running():
            await asyncio.sleep(3)

    run(main(), scene.counter)
    assert scene.router.begun == [ident(1)]


def test_a_repetition_after_a_restart_is_answered_and_not_repeated() -> None:
    scene = Scene()

    async def main() -> None:
        for _ in range(2):
            async with scene.running():
                scene.send(an_order(1, "play"))
                await asyncio.sleep(3)
            scene.database = scene.database.reborn()
            scene.router.closing = False

    run(main(), scene.counter)
    assert scene.router.begun == [ident(1)]
    assert scene.asrun() == [(ident(1), "AIRED")]


@pytest.mark.parametrize("moment", ["before", "inside", "after"])
def test_a_power_cut_at_any_transaction_runs_nothing_twice_and_loses_nothing(moment: Moment) -> None:
    orders = [
        an_order(1, "play"),
        an_order(2, "volume"),
        an_order(3, "play", dry=True),
        an_order(4, "play", args={"media": "x"}),
        an_order(5, "play"),
    ]
    for cut in range(1, 26):
        scene = Scene(seed=cut)

        async def main(scene: Scene = scene, cut: int = cut) -> None:
            life = asyncio.create_task((await scene.inbox()).life())
            await asyncio.sleep(2)
            scene.database.cut_at(scene.database.runs + cut, moment)
            for order in orders:
                scene.send(order)
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.5)
            await scene.power_cut(life)
            scene.clock.reboot()
            async with scene.running(connect_s=100):
                pass

        run(main(), scene.counter)
        begun = Tally(scene.router.begun)
        for order in (orders[0], orders[4]):
            assert begun[order.id] <= 1, (cut, moment, "an ordinary play ran twice")
        ends = scene.ledger()
        assert set(ends) == {order.id for order in orders}, (cut, moment, "an order was lost")
        assert {OrderState(state) for state in ends.values()} <= TERMINAL, (cut, moment, ends)
        logged = Tally(order for order, _ in scene.asrun())
        assert logged == dict.fromkeys((ident(1), ident(2), ident(4), ident(5)), 1), (cut, moment)
        for ended, outcome in scene.asrun():
            assert (outcome == "PARTIAL") == (ends[ended] == "interrupted"), (cut, moment)
        for order in orders:
            assert scene.states(order.id)[-1] == ends[order.id], (cut, moment, "the server was not told")


def test_a_play_that_had_not_begun_is_carried_out_after_the_restart() -> None:
    scene = Scene()
    scene.router.waits_s = 10
    scene.send(an_order(1, "play"))

    async def main() -> None:
        async with scene.running():
            pass
        scene.send(an_order(1, "play"))
        await cut_and_start_again(scene, after_s=3)

    run(main(), scene.counter)
    assert scene.router.whole == [ident(1)]
    assert scene.asrun() == [(ident(1), "AIRED")]


def test_a_play_whose_time_ran_out_while_the_power_was_off_expires() -> None:
    scene = Scene()
    scene.router.waits_s = 10

    async def main() -> None:
        async with scene.running():
            pass
        scene.send(an_order(1, "play"))
        await cut_and_start_again(scene, after_s=3, off_s=600)

    run(main(), scene.counter)
    assert scene.router.begun == []
    assert scene.ledger() == {ident(1): "expired"}
    assert scene.asrun() == [(ident(1), "MISSED")]


@pytest.mark.parametrize(
    ("changes", "begun", "end"),
    [({}, 1, "interrupted"), (EMERGENCY, 2, "successful")],
    ids=["ordinary", "emergency"],
)
def test_what_was_sounding_at_a_power_cut(changes: dict[str, Precedence], begun: int, end: str) -> None:
    scene = Scene()
    scene.router.lasts_s = 20

    async def main() -> None:
        async with scene.running():
            pass
        scene.send(an_order(1, "play", **changes))
        await cut_and_start_again(scene, after_s=5)

    run(main(), scene.counter)
    assert scene.router.begun == [ident(1)] * begun
    assert scene.ledger() == {ident(1): end}
    assert scene.asrun() == [(ident(1), "PARTIAL" if end == "interrupted" else "AIRED")]


@pytest.mark.parametrize(
    ("changes", "end"), [({}, "interrupted"), (EMERGENCY, "executing")], ids=["ordinary", "emergency"]
)
def test_an_orderly_stop_ends_an_ordinary_play_and_leaves_an_emergency_open(
    changes: dict[str, Precedence], end: str
) -> None:
    scene = Scene()
    scene.router.lasts_s = 60

    async def main() -> None:
        async with scene.running():
            scene.send(an_order(1, "play", **changes))
            scene.router.waits_s = 0
            await asyncio.sleep(2)
        assert scene.ledger() == {ident(1): end}
        assert scene.states(ident(1))[-1] == end, "the last answers go out before the farewell"
        scene.router.closing = False
        async with scene.running(connect_s=100):
            pass

    run(main(), scene.counter)
    assert scene.ledger() == {ident(1): "successful" if end == "executing" else "interrupted"}


def test_an_orderly_stop_leaves_what_waits_for_the_next_start() -> None:
    scene = Scene()
    scene.router.waits_s = 30

    async def main() -> None:
        async with scene.running():
            scene.send(an_order(1, "play"))
            await asyncio.sleep(2)
        assert scene.ledger() == {ident(1): "waiting"}
        async with scene.running(connect_s=60):
            pass

    run(main(), scene.counter)
    assert scene.router.whole == [ident(1)]


def test_without_a_clock_after_the_cut_what_sounds_is_not_resumed() -> None:
    scene = Scene()
    scene.router.lasts_s = 20
    scene.build_date = scene.clock.utc_now() - timedelta(days=1)

    async def main() -> None:
        life = asyncio.create_task((await scene.inbox()).life())
        await asyncio.sleep(2)
        scene.send(an_order(1, "play", **EMERGENCY))
        await asyncio.sleep(3)
        await scene.power_cut(life)
        scene.clock.reboot()
        scene.clock.lose()
        async with scene.running(connect_s=60):
            pass

    run(main(), scene.counter)
    assert scene.router.begun == [ident(1)], "nobody knows how long the power was away"
    assert scene.ledger() == {ident(1): "interrupted"}


def test_a_stop_repeated_after_a_cut_does_not_reach_what_came_after_it() -> None:
    scene = Scene()
    scene.router.lasts_s = 30

    async def main() -> None:
        async with scene.running():
            pass
        life = asyncio.create_task((await scene.inbox()).life())
        await asyncio.sleep(2)
        scene.router.waits_s = 5
        scene.send(an_order(1, "play"))
        await asyncio.sleep(1)
        run_of_stop = scene.database.runs + 1
        scene.send(an_order(2, "stop"))
        scene.database.cut_at(run_of_stop, "after")
        scene.send(an_order(3, "play"))
        await asyncio.sleep(1)
        await scene.power_cut(life)
        scene.clock.reboot()
        async with scene.running(connect_s=100):
            pass

    run(main(), scene.counter)
    assert scene.ledger() == {ident(1): "cancelled", ident(2): "successful", ident(3): "successful"}
    assert scene.router.whole == [ident(3)]


# ---------------------------------------------------------------- a disk that is full


def test_an_order_that_cannot_be_journalled_is_neither_done_nor_acknowledged_and_comes_again() -> None:
    scene = Scene()

    async def main() -> None:
        async with scene.running():
            scene.database.fail("full", times=3)
            scene.send(an_order(1, "play"))
            await asyncio.sleep(0.5)
            assert scene.router.begun == []
            await asyncio.sleep(100)
            assert scene.last(ident(1))["state"] == "successful"

    run(main(), scene.counter)
    assert scene.router.begun == [ident(1)]


def test_a_full_disk_is_logged_once_and_its_end_once(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()

    async def main() -> None:
        async with scene.running():
            caplog.clear()
            scene.database.fail("full", times=12)
            scene.send(an_order(1, "play", expires_at=START + timedelta(hours=2)))
            await asyncio.sleep(3600)
            assert scene.last(ident(1))["state"] == "successful"

    with caplog.at_level(logging.INFO, "edge_agent.command.inbox"):
        run(main(), scene.counter)
    assert [record.message.split(".")[0] for record in caplog.records][:2] == [
        "No session with the broker; trying again",
        "Orders can be stored again",
    ]


def test_a_step_that_cannot_be_stored_is_not_taken_and_its_failure_is_stored_later() -> None:
    scene = Scene()
    scene.router.waits_s = 5

    async def main() -> None:
        async with scene.running():
            scene.send(an_order(1, "play"))
            await asyncio.sleep(2)
            scene.database.fail("full", times=4)
            await asyncio.sleep(60)

    run(main(), scene.counter)
    assert scene.router.begun == []
    assert scene.ledger() == {ident(1): "failed"}
    assert scene.last(ident(1))["reason"]["code"] == "no_space"
    assert scene.asrun() == [(ident(1), "FAILED")]


def test_an_end_that_cannot_be_stored_is_stored_as_soon_as_it_can_be() -> None:
    scene = Scene()
    scene.router.lasts_s = 10

    async def main() -> None:
        async with scene.running():
            scene.send(an_order(1, "play"))
            await asyncio.sleep(5)
            scene.database.fail("io", times=6)
            await asyncio.sleep(200)

    run(main(), scene.counter)
    assert scene.ledger() == {ident(1): "successful"}


# ---------------------------------------------------------------- the table of verbs


def test_what_a_restart_does_is_a_property_of_the_verb() -> None:
    def end(
        verb: str, state: OrderState, *, now_s: int, replaced: bool = False, emergency: bool = False
    ) -> object:
        order = an_order(1, verb, **(EMERGENCY if emergency else {}))
        intent = intent_of(order, Timing(since_ns=0, deadline_ns=100 * NS))
        verdict = after_restart(an_entry(1, state=state), intent, now_s * NS, replaced=replaced)
        return verdict.state if isinstance(verdict, Finished) else type(verdict).__name__

    waiting, executing = OrderState.WAITING, OrderState.EXECUTING
    assert end("play", waiting, now_s=100) == "Play"
    assert end("play", waiting, now_s=101) is OrderState.EXPIRED
    assert end("play", executing, now_s=50) is OrderState.INTERRUPTED
    assert end("play", executing, now_s=50, emergency=True) == "Play"
    assert end("play", executing, now_s=101, emergency=True) is OrderState.INTERRUPTED
    assert end("play", waiting, now_s=50, replaced=True) is OrderState.SUPERSEDED
    assert end("board_show", executing, now_s=3599) == "BoardShow"
    assert end("board_show", executing, now_s=3600) is OrderState.INTERRUPTED
    assert end("board_show", waiting, now_s=101) is OrderState.EXPIRED
    for verb in ("volume", "stop", "ping", "board_clear"):
        assert end(verb, executing, now_s=999) != OrderState.INTERRUPTED


def test_a_notice_that_had_begun_may_begin_again_until_its_time_ends() -> None:
    intent = intent_of(an_order(1, "board_show"), Timing(since_ns=0, deadline_ns=100 * NS))
    assert isinstance(intent, BoardShow)
    again = after_restart(an_entry(1, state=OrderState.EXECUTING), intent, 200 * NS, replaced=False)
    assert isinstance(again, BoardShow)
    assert again.deadline_ns == again.until_ns


def test_an_order_that_this_release_does_not_know_fails_in_the_open() -> None:
    scene = Scene()

    async def main() -> None:
        async with scene.running():
            scene.router.waits_s = 100
            scene.send(an_order(1, "play"))
            await asyncio.sleep(1)
        with contextlib.suppress(DatabaseError):
            await scene.database.run(
                lambda connection: connection.execute("UPDATE ledger SET envelope = X'00'").rowcount
            )
        async with scene.running():
            pass

    run(main(), scene.counter)
    assert scene.ledger() == {ident(1): "failed"}
    assert scene.asrun() == [(ident(1), Outcome.FAILED)]
