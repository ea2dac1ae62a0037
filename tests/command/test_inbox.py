"""An order comes down, is journalled, acknowledged, carried out once and answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from edge_agent.command.envelope import PAYLOAD_TYPE, seal, wrap
from edge_agent.model import Issuer, Precedence
from hal.ports import Message
from hal.sim.loop import run
from tests.command.scene import GROUP, NODE, ROOT, Scene, an_order, at, published
from tests.entries import START, ident


def play(story: Callable[[Scene], Awaitable[None]], **scene: Any) -> Scene:
    """Run a story with an inbox that is connected."""
    made = Scene(**scene)

    async def main() -> None:
        async with made.running():
            await story(made)

    run(main(), made.counter)
    return made


def test_a_play_goes_through_its_states_and_is_logged() -> None:
    async def story(scene: Scene) -> None:
        scene.send(an_order(1, "play"))
        await asyncio.sleep(3)
        assert scene.states() == ["accepted", "executing", "successful"]
        assert scene.asrun() == [(ident(1), "AIRED")]
        said = scene.last(ident(1))
        assert said["issuer"] == "xa-vi-huong"
        assert said["clock"] == "synced"
        assert said["wall"].startswith("2026-11-23T00:00")

    assert play(story).router.whole == [ident(1)]


def test_a_play_that_waits_says_so_and_why() -> None:
    async def story(scene: Scene) -> None:
        scene.router.waits_s = 5
        scene.send(an_order(1, "play"))
        await asyncio.sleep(1)
        assert scene.states() == ["accepted", "waiting"]
        assert scene.last(ident(1))["progress"] == "turn"

    play(story)


@pytest.mark.parametrize("verb", ["ping", "volume", "stop", "board_clear"])
def test_an_order_without_sound_is_accepted_and_done(verb: str) -> None:
    async def story(scene: Scene) -> None:
        scene.send(an_order(1, verb))
        await asyncio.sleep(1)
        assert scene.states() == ["accepted", "successful"]

    play(story)


def test_the_journal_has_the_order_before_the_broker_is_told() -> None:
    async def story(scene: Scene) -> None:
        scene.database.slow_s = 2
        scene.send(an_order(1, "play"))
        await asyncio.sleep(0.5)
        memory = scene.broker._memories[NODE]
        assert (scene.ledger(), len(memory.inflight)) == ({}, 1)
        await asyncio.sleep(1)
        assert (list(scene.ledger()), len(memory.inflight)) == ([ident(1)], 1), "not yet durable for sure"
        await asyncio.sleep(1)
        assert len(memory.inflight) == 0
        while scene.ledger()[ident(1)] != "executing":
            assert scene.router.begun == [], "executing is stored before anything sounds"
            await asyncio.sleep(0.1)
        await asyncio.sleep(5)
        assert scene.router.begun == [ident(1)]

    play(story)


def test_a_repeated_order_is_answered_and_not_repeated() -> None:
    async def story(scene: Scene) -> None:
        for _ in range(3):
            scene.send(an_order(1, "play"))
            await asyncio.sleep(3)
        assert scene.states() == ["accepted", "executing", "successful", "successful", "successful"]
        assert len(scene.asrun()) == 1

    assert play(story).router.begun == [ident(1)]


def test_a_broker_that_delivers_twice_is_heard_once() -> None:
    async def story(scene: Scene) -> None:
        scene.broker.faults.deliver_twice = 1.0
        for number in range(1, 6):
            scene.send(an_order(number, "play"))
        await asyncio.sleep(5)

    scene = play(story)
    assert sorted(scene.router.begun) == [ident(number) for number in range(1, 6)]


# ---------------------------------------------------------------- refusals


REFUSED: dict[str, tuple[Message, str]] = {
    "expired": (published(an_order(1, issued_at=START - timedelta(hours=2), expires_at=START - timedelta(hours=1))), "expired"),
    "from the future": (published(an_order(1, issued_at=START + timedelta(minutes=3))), "clock_untrusted"),
    "bad arguments": (published(an_order(1, "play", args={"media": "x"})), "bad_args"),
    "unknown verb": (published(an_order(1, "launch")), "unsupported"),
    "another verb's topic": (published(an_order(1), topic=f"{ROOT}/{NODE}/dn/cmd/stop"), "bad_envelope"),
    "for another node": (published(an_order(1, audience=("n:thon-4",))), "wrong_audience"),
    "for another group": (published(an_order(1, audience=("g:tinh",)), group=GROUP), "wrong_audience"),
}  # fmt: skip


@pytest.mark.parametrize("why", sorted(REFUSED))
def test_a_refused_order_is_answered_with_its_code_and_not_done(why: str) -> None:
    message, code = REFUSED[why]

    async def story(scene: Scene) -> None:
        scene.broker.server_publish(message)
        await asyncio.sleep(15)
        assert scene.states() == ["rejected"]
        said = scene.last(ident(1))
        assert said["reason"]["code"] == code
        assert said["reason"]["text"].endswith(".")
        assert scene.broker.retained[f"{ROOT}/{NODE}/up/alert/rejected_orders"].payload

    scene = play(story)
    assert scene.router.begun == []
    stored = {} if code == "wrong_audience" else {ident(1): "rejected"}
    assert scene.ledger() == stored
    assert scene.asrun() == [(order, "REFUSED") for order in stored]
    assert not scene.broker._memories[NODE].inflight, "a refusal is acknowledged, too"


def test_another_version_is_refused_by_its_id() -> None:
    async def story(scene: Scene) -> None:
        fields = {"v": 2, "id": ident(1), "iss": "xa", "aud": [f"n:{NODE}"], "new": 1}
        topic = f"{ROOT}/{NODE}/dn/cmd/play"
        scene.broker.server_publish(
            Message(topic=topic, payload=wrap(PAYLOAD_TYPE, msgspec.json.encode(fields)))
        )
        await asyncio.sleep(1)
        assert scene.last(ident(1))["reason"]["code"] == "unsupported"

    assert play(story).asrun() == [(ident(1), "REFUSED")]


@pytest.mark.parametrize(
    "payload", [b"", b"PLAY", b"\xff" * 100, seal(an_order(1)) + b" " * 65_536, b"[" * 60_000]
)
def test_junk_is_counted_acknowledged_and_forgotten(payload: bytes) -> None:
    async def story(scene: Scene) -> None:
        for _ in range(50):
            scene.broker.server_publish(Message(topic=f"{ROOT}/{NODE}/dn/cmd/play", payload=payload))
        scene.send(an_order(2))
        await asyncio.sleep(2)
        assert scene.states() == ["accepted", "successful"]
        assert scene.ledger() == {ident(2): "successful"}
        alert = f"{ROOT}/{NODE}/up/alert/rejected_orders"
        assert len(scene.broker.received_on(alert)) == 1
        await asyncio.sleep(2 * 3600)
        assert not scene.broker.received_on(alert)[-1].message.payload, "solved after a quiet hour"

    play(story)


def test_a_retained_order_is_refused_at_every_connect_and_reported_once_in_its_log() -> None:
    scene = Scene()
    scene.send(an_order(1, "play"), retain=True)

    async def main() -> None:
        for _ in range(3):
            async with scene.running():
                pass

    run(main(), scene.counter)
    assert scene.router.begun == []
    assert set(scene.states()) == {"rejected"}
    assert scene.asrun() == [(ident(1), "REFUSED")]


def test_an_order_that_was_to_be_retained_is_refused_also_when_it_comes_at_once() -> None:
    async def story(scene: Scene) -> None:
        await asyncio.sleep(1)
        scene.send(an_order(1, "play"), retain=True)
        await asyncio.sleep(1)
        assert scene.router.begun == []
        assert scene.states() == ["rejected"]
        assert scene.last(ident(1))["reason"]["code"] == "bad_envelope"
        topic = f"{ROOT}/{NODE}/dn/cmd/play"
        scene.broker.server_publish(Message(topic=topic, payload=b"", retain=True))
        await asyncio.sleep(1)
        assert scene.states() == ["rejected"], "clearing it is no order"

    play(story)


def test_a_flood_of_repetitions_does_not_fill_the_outbox() -> None:
    async def story(scene: Scene) -> None:
        scene.send(an_order(1))
        await asyncio.sleep(1)
        for _ in range(500):
            scene.send(an_order(1))
            scene.send(an_order(2, audience=("n:thon-4",)))
        await asyncio.sleep(10)
        assert len(scene.states()) < 50

    play(story)


def test_more_orders_than_the_node_takes_are_refused_but_never_an_emergency() -> None:
    async def story(scene: Scene) -> None:
        scene.router.lasts_s = 100
        for number in range(1, 8):
            scene.send(an_order(number, "play"))
        scene.send(an_order(8, "play", precedence=Precedence.EMERGENCY))
        scene.send(an_order(9, "stop", args={"order": ident(1)}))
        await asyncio.sleep(3)
        busy = [order for order, state in scene.ledger().items() if state == "rejected"]
        assert busy == [ident(5), ident(6), ident(7)]
        assert scene.last(ident(7))["reason"]["code"] == "busy"
        assert scene.ledger()[ident(8)] == "executing"
        assert scene.ledger()[ident(9)] == "successful"
        assert scene.ledger()[ident(1)] == "cancelled"

    play(story, open_orders_max=4)


def test_a_full_journal_refuses_without_remembering() -> None:
    async def story(scene: Scene) -> None:
        for number in range(1, 1003):
            scene.send(an_order(number))
            if number % 10 == 0:
                await asyncio.sleep(1)
        await asyncio.sleep(5)
        assert len(scene.ledger()) == 1000
        assert scene.last(ident(1002))["reason"]["code"] == "busy"
        await asyncio.sleep(9 * 86400)
        scene.send(an_order(2000, issued_at=at(scene, 0), expires_at=at(scene, 60)))
        await asyncio.sleep(2)
        assert scene.ledger() == {ident(2000): "successful"}

    play(story, ledger_rows_max=1000)


# ---------------------------------------------------------------- special orders


def test_a_dry_order_is_checked_and_has_no_effect() -> None:
    async def story(scene: Scene) -> None:
        scene.send(an_order(1, "play", dry=True))
        scene.send(an_order(2, "play", dry=True, args={"media": "x"}))
        await asyncio.sleep(2)
        assert scene.last(ident(1))["state"] == "successful"
        assert scene.last(ident(1))["result"] == {"dry": True}
        assert scene.last(ident(2))["reason"]["code"] == "bad_args"

    scene = play(story)
    assert scene.router.begun == []
    assert scene.asrun() == [(ident(2), "REFUSED")]


def test_an_order_takes_the_place_of_another() -> None:
    async def story(scene: Scene) -> None:
        scene.router.lasts_s = 100
        scene.send(an_order(1, "play"))
        await asyncio.sleep(2)
        scene.send(an_order(2, "play", supersedes=ident(1)))
        await asyncio.sleep(2)
        assert scene.ledger() == {ident(1): "superseded", ident(2): "executing"}
        assert scene.last(ident(1))["reason"]["code"] == "superseded"

    assert play(story).asrun()[0] == (ident(1), "PARTIAL")


def test_an_order_that_was_replaced_before_it_came_is_not_done() -> None:
    async def story(scene: Scene) -> None:
        scene.send(an_order(2, "play", supersedes=ident(1)))
        scene.send(an_order(1, "play"))
        await asyncio.sleep(3)
        assert scene.ledger() == {ident(2): "successful", ident(1): "superseded"}

    assert play(story).router.begun == [ident(2)]


def test_a_stop_ends_what_it_covers_before_it_is_done() -> None:
    async def story(scene: Scene) -> None:
        scene.router.lasts_s = 100
        scene.send(an_order(1, "play"))
        scene.send(an_order(2, "play"))
        await asyncio.sleep(2)
        scene.send(an_order(3, "stop"))
        await asyncio.sleep(2)
        assert scene.states()[-3:] == ["cancelled", "cancelled", "successful"]

    assert play(story).asrun() == [(ident(1), "PARTIAL"), (ident(2), "PARTIAL"), (ident(3), "AIRED")]


def test_a_stop_also_covers_what_still_waits_for_another_to_make_way() -> None:
    async def story(scene: Scene) -> None:
        scene.router.lasts_s = 100
        scene.send(an_order(1, "play"))
        await asyncio.sleep(2)
        scene.router.lingers_s = 3
        scene.send(an_order(2, "play", supersedes=ident(1)))
        await asyncio.sleep(1)
        scene.send(an_order(3, "stop"))
        await asyncio.sleep(10)
        assert scene.ledger() == {ident(1): "superseded", ident(2): "cancelled", ident(3): "successful"}

    assert play(story).router.begun == [ident(1), ident(3)]


def test_a_chain_of_orders_that_take_each_others_place_leaves_the_last() -> None:
    async def story(scene: Scene) -> None:
        scene.router.lasts_s = 100
        scene.router.lingers_s = 3
        scene.send(an_order(1, "play"))
        for number in (2, 3, 4):
            scene.send(an_order(number, "play", supersedes=ident(number - 1)))
        await asyncio.sleep(20)
        assert scene.ledger() == {
            ident(1): "superseded",
            ident(2): "superseded",
            ident(3): "superseded",
            ident(4): "executing",
        }

    play(story)


def test_a_groups_order_is_done_at_once_and_answered_at_random_times() -> None:
    answered = []
    for seed in (0, 1, 2, 4):

        async def story(scene: Scene) -> None:
            scene.send(an_order(1, "play", audience=(f"g:{GROUP}",)), group=GROUP)
            await asyncio.sleep(0.5)
            assert scene.router.begun == [ident(1)]
            assert scene.states() == []
            await asyncio.sleep(10)
            assert scene.states() == ["accepted", "executing", "successful"]

        scene = play(story, seed=seed)
        answered.append(scene.broker.received_on(f"{ROOT}/{NODE}/up/cmd")[0].at_ns)
    assert len(set(answered)) == 4


def test_pending_orders_that_the_server_still_holds_are_taken_like_any_other() -> None:
    async def story(scene: Scene) -> None:
        assert scene.broker.received_on(f"{ROOT}/{NODE}/up/ask")
        bodies = b",".join(seal(order) for order in (an_order(1, "play"), an_order(2), an_order(1, "play")))
        scene.broker.server_publish(
            Message(topic=f"{ROOT}/{NODE}/dn/pending", payload=b'{"orders":[' + bodies + b"]}")
        )
        scene.broker.server_publish(Message(topic=f"{ROOT}/{NODE}/dn/pending", payload=b"[]"))
        await asyncio.sleep(3)
        assert scene.ledger() == {ident(1): "successful", ident(2): "successful"}

    assert play(story).router.begun == [ident(2), ident(1)]


def test_the_servers_acknowledgement_empties_the_outbox() -> None:
    async def story(scene: Scene) -> None:
        scene.send(an_order(1))
        await asyncio.sleep(2)
        ((kept,),) = scene.database.rows("SELECT max(n) FROM outbox")
        scene.broker.server_publish(
            Message(topic=f"{ROOT}/{NODE}/dn/ack", payload=f'{{"upto": {kept}}}'.encode())
        )
        scene.broker.server_publish(Message(topic=f"{ROOT}/{NODE}/dn/ack", payload=b"{}"))
        await asyncio.sleep(2)
        assert scene.database.rows("SELECT count(*) FROM outbox WHERE n IS NOT NULL") == [(0,)]

    play(story)


def test_a_bug_in_a_room_fails_one_order_and_not_the_node() -> None:
    async def story(scene: Scene) -> None:
        scene.router.fails = True
        scene.send(an_order(1, "play"))
        await asyncio.sleep(2)
        assert scene.last(ident(1))["reason"]["code"] == "internal"
        scene.router.fails = False
        scene.send(an_order(2, "play"))
        await asyncio.sleep(3)

    scene = play(story)
    assert scene.ledger() == {ident(1): "failed", ident(2): "successful"}
    assert scene.asrun()[0] == (ident(1), "FAILED")


# ---------------------------------------------------------------- with a doubtful clock


def test_without_a_clock_an_order_must_echo_the_nonce_of_the_birth() -> None:
    scene = Scene()
    scene.clock.lose()

    async def main() -> None:
        async with scene.running():
            birth = msgspec.json.decode(scene.broker.retained[f"{ROOT}/{NODE}/up/state"].payload)
            assert birth["clock"]["quality"] == "unknown"
            scene.send(an_order(1, "play"))
            scene.send(an_order(2, "play", nonce=birth["nonce"]))
            await asyncio.sleep(3)
            assert scene.last(ident(1))["reason"]["code"] == "clock_untrusted"
            assert scene.last(ident(2))["state"] == "successful"
            assert scene.last(ident(2))["wall"] is None

    run(main(), scene.counter)
    assert scene.router.begun == [ident(2)]


def test_a_clock_step_after_acceptance_changes_nothing() -> None:
    async def story(scene: Scene) -> None:
        scene.router.waits_s = 60
        scene.send(an_order(1, "play"))
        await asyncio.sleep(1)
        scene.clock.step(30 * 86400)
        await asyncio.sleep(120)
        assert scene.last(ident(1))["state"] == "successful"

    play(story)


def test_an_issuer_is_told_apart_from_another() -> None:
    async def story(scene: Scene) -> None:
        scene.send(replace(an_order(1), issuer=Issuer("huyen-na-ri")))
        await asyncio.sleep(1)
        assert scene.last(ident(1))["issuer"] == "huyen-na-ri"

    play(story)
