"""The way to the server fails: the node plays on, tells later, and runs nothing twice."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from hal.ports import Message
from tests.flows import hearing
from tests.flows.conftest import Programme
from tests.flows.scene import GROUP, NODE, ROOT, Village, sealed


def heard_seconds(village: Village) -> float:
    """How much sounded, in all lives, pauses left out."""
    return sum(stop - start for life in village.world.lives() for start, stop in life.loud) / 1e9


def test_the_broker_is_down_at_the_start_and_comes_later(village: Village, short: Programme) -> None:
    asset = short.on(village)

    async def story() -> None:
        village.world.broker.partition("lost")
        village.start()
        await asyncio.sleep(600)
        assert village.world.supervisor.ready_ns is not None, "a node is ready without a broker"
        village.world.broker.heal()
        await village.until(lambda: village.up("state"), within_s=310)
        assert await village.ends(village.play(asset)) == ["successful"]

    village.tell(story, starts=False)


def test_a_broker_that_is_killed_in_mid_bulletin_is_not_heard(village: Village, bulletin: Programme) -> None:
    asset = bulletin.on(village)

    async def story() -> None:
        order = village.play(asset)
        await village.reaches(order, "executing")
        await asyncio.sleep(5)
        village.world.broker.partition("lost")
        await asyncio.sleep(60)
        assert village.states(order)[-1] == "executing"
        village.world.broker.heal()
        assert await village.ends(order) == ["successful"]
        await village.quiet()
        assert village.report(order)["outcome"] == "AIRED"

    village.tell(story)
    hearing.whole(hearing.recording(village.world.lives()[0]), bulletin.frames)


def test_a_line_that_falls_silent_is_noticed_and_what_was_said_into_it_is_said_again(
    village: Village, short: Programme
) -> None:
    asset = short.on(village)

    async def story() -> None:
        order = village.play(asset)
        await asyncio.sleep(1)
        village.world.broker.partition("silent")
        await asyncio.sleep(200)
        village.world.broker.heal()
        assert await village.ends(order, within_s=900) == ["successful"]
        await village.quiet()
        assert [entry["outcome"] for entry in village.reports()] == ["AIRED"]
        assert village.up("state")[-1]["state"] == "online"

    village.tell(story)


def test_the_server_is_told_when_the_node_is_lost_and_when_it_leaves(village: Village) -> None:
    async def story() -> None:
        birth = village.up("state")[-1]
        assert (birth["state"], birth["boot"], birth["clock"]["quality"]) == ("online", "boot-1", "synced")
        await village.world.outage(dark_s=200)
        await village.until(lambda: village.up("state")[-1]["state"] == "online")
        await asyncio.sleep(1)
        states = [state["state"] for state in village.up("state")]
        assert states == ["online", "lost", "online"]
        await village.world.stop()
        assert village.up("state")[-1] == {
            "state": "offline", "session": village.up("state")[-1]["session"], "why": "stopped",
        }  # fmt: skip

    village.tell(story)


def test_a_broker_that_refuses_reports_gets_them_when_it_takes_them_again(
    village: Village, short: Programme
) -> None:
    asset = short.on(village)

    async def story() -> None:
        village.world.broker.faults.refuse_publish = [(f"{ROOT}/{NODE}/up/report", 0x87)]
        orders = [village.play(asset) for _ in range(5)]
        assert await village.ends(*orders) == ["successful"] * 5, "states go on meanwhile"
        await asyncio.sleep(300)
        assert not village.reports()
        village.world.broker.faults.refuse_publish = []
        await village.quiet()
        assert [entry["id"] for entry in village.reports()] == orders

    village.tell(story)


def test_a_broker_that_refuses_everything_does_not_silence_the_node(
    village: Village, short: Programme
) -> None:
    asset = short.on(village)

    async def story() -> None:
        village.world.broker.faults.refuse_publish = [("#", 0x87)]
        await village.restart()
        order = village.play(asset)
        await village.until(lambda: village.ledger().get(order) == "successful")
        village.world.broker.faults.refuse_publish = []
        await village.quiet()
        assert village.states(order)[-1] == "successful"

    village.tell(story)


def test_a_server_that_was_away_while_its_broker_was_there_is_told_again(
    village: Village, short: Programme
) -> None:
    asset = short.on(village)

    def tellings(order: str) -> int:
        """How often the end of an order came."""
        return sum(state["id"] == order and state["state"] == "successful" for state in village.up("cmd"))

    async def story() -> None:
        await village.ends(village.play(asset))
        await village.quiet()
        village.deaf = True
        order = village.play(asset)
        await village.ends(order)
        assert tellings(order) == 1
        await asyncio.sleep(700)
        assert tellings(order) == 2
        village.deaf = False
        await village.quiet()
        await asyncio.sleep(90_000)
        assert tellings(order) == 2

    village.tell(story)


def test_a_group_is_ordered_once_and_each_answers_for_itself(village: Village, short: Programme) -> None:
    asset = short.on(village)

    async def story() -> None:
        order = village.play(asset, to=f"g:{GROUP}")
        assert await village.ends(order) == ["successful"]
        await village.quiet()
        assert village.report(order)["outcome"] == "AIRED"

    village.tell(story)


# ---------------------------------------------------------------- the same order again


def test_an_order_that_comes_again_runs_once_and_is_answered_with_its_state(
    village: Village, short: Programme
) -> None:
    asset = short.on(village)

    async def story() -> None:
        order = village.make_order("play", media=asset.digest, url=asset.url)
        village.publish(order)
        village.publish(order)
        assert await village.ends(order.id) == ["successful"]
        await asyncio.sleep(10)
        told = len(village.world.broker.received_on(f"{ROOT}/{NODE}/up/cmd"))
        village.publish(order)
        await asyncio.sleep(10)
        assert len(village.world.broker.received_on(f"{ROOT}/{NODE}/up/cmd")) == told + 1
        assert village.told(order.id)[-1]["state"] == "successful"
        await village.restart()
        village.publish(order)
        await asyncio.sleep(30)

    village.tell(story)
    assert list(village.outcomes().values()) == ["AIRED"]
    assert heard_seconds(village) == pytest.approx(0.5, abs=0.02)


def test_a_broker_that_delivers_everything_twice_is_heard_once(village: Village, short: Programme) -> None:
    asset = short.on(village)

    async def story() -> None:
        village.world.broker.faults.deliver_twice = 1.0
        orders = [village.play(asset) for _ in range(10)]
        assert await village.ends(*orders) == ["successful"] * 10
        await village.quiet()

    village.tell(story)
    assert list(village.outcomes().values()) == ["AIRED"] * 10
    assert heard_seconds(village) == pytest.approx(5, abs=0.1)


def test_orders_that_wait_at_the_broker_while_the_node_is_off_are_carried_out_or_expire(
    village: Village, short: Programme
) -> None:
    asset = short.on(village)

    async def story() -> None:
        await village.world.stop()
        late = village.play(asset, good_for_s=60)
        kept = village.play(asset, good_for_s=3600)
        await asyncio.sleep(600)
        village.start()
        assert await village.ends(kept) == ["successful"]
        assert late not in village.ledger(), "the broker itself let it go"

    village.tell(story)
    assert heard_seconds(village) == pytest.approx(0.5, abs=0.02)


def test_what_a_broker_without_memory_lost_is_asked_for(village: Village, short: Programme) -> None:
    asset = short.on(village)

    async def story() -> None:
        village.world.broker.partition("lost")
        order = village.make_order("play", good_for_s=3600, media=asset.digest, url=asset.url)
        village.publish(order)
        village.world.broker.forget_sessions(retained=True)
        asked = len(village.up("ask"))
        village.world.broker.heal()
        await village.until(lambda: len(village.up("ask")) > asked, within_s=600)
        pending = msgspec.json.encode({"orders": [msgspec.Raw(sealed(order))]})
        village.world.broker.server_publish(Message(topic=f"{ROOT}/{NODE}/dn/pending", payload=pending))
        assert await village.ends(order.id) == ["successful"]

    village.tell(story)
    assert heard_seconds(village) == pytest.approx(0.5, abs=0.02)
