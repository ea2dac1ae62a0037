"""One connection after another: birth, will, farewell, back-off, and a broker that refuses."""

from __future__ import annotations

import asyncio
import itertools
import logging

import msgspec
import pytest

from edge_agent.command.inbox import Inbox
from hal.sim.loop import run
from tests.command.scene import GROUP, NODE, ROOT, Scene, an_order
from tests.entries import ident

STATE = f"{ROOT}/{NODE}/up/state"


def states(scene: Scene) -> list[str]:
    """What the node, or the broker in its name, has said on `up/state`."""
    return [msgspec.json.decode(entry.message.payload)["state"] for entry in scene.broker.received_on(STATE)]


def test_a_connection_begins_with_birth_caps_and_a_question_in_this_order() -> None:
    scene = Scene()

    async def main() -> None:
        async with scene.running() as inbox:
            assert inbox.connected
            topics = [
                entry.message.topic.removeprefix(f"{ROOT}/{NODE}/up/")
                for entry in scene.broker.server_received
            ]
            assert topics[:3] == ["state", "caps", "ask"]
            birth = msgspec.json.decode(scene.broker.retained[STATE].payload)
            assert birth["state"] == "online"
            assert birth["boot"] == scene.clock.boot_id()
            assert len(birth["nonce"]) == 32
            memory = scene.broker._memories[NODE]
            assert f"{ROOT}/g/{GROUP}/dn/cmd/#" in memory.subscriptions
            assert memory.connect is not None
            assert memory.connect.will_delay_s == 45
            assert not memory.connect.clean_start

    run(main(), scene.counter)


def test_leaving_says_farewell_and_no_will_is_published() -> None:
    scene = Scene()

    async def main() -> None:
        async with scene.running():
            pass
        await asyncio.sleep(120)

    run(main(), scene.counter)
    assert states(scene) == ["online", "offline"]


def test_a_lost_node_is_told_by_its_will_after_the_delay() -> None:
    scene = Scene()

    async def main() -> None:
        async with scene.running():
            scene.broker.partition("lost")
            await asyncio.sleep(40)
            assert states(scene) == ["online"]
            await asyncio.sleep(20)
            assert states(scene) == ["online", "lost"]
            scene.broker.heal()
            await asyncio.sleep(300)
            assert states(scene) == ["online", "lost", "online"]

    run(main(), scene.counter)


def test_every_connection_has_a_nonce_and_a_session_of_its_own() -> None:
    scene = Scene()

    async def main() -> None:
        async with scene.running():
            for _ in range(3):
                scene.broker.kick(NODE)
                await asyncio.sleep(60)

    run(main(), scene.counter)
    births = [msgspec.json.decode(entry.message.payload) for entry in scene.broker.received_on(STATE)][:4]
    assert len({birth["nonce"] for birth in births}) == 4
    assert len({birth["session"] for birth in births}) == 4


def test_the_birth_tells_the_newest_order_of_each_issuer() -> None:
    scene = Scene()

    async def main() -> None:
        async with scene.running():
            scene.send(an_order(41))
            await asyncio.sleep(1)
            scene.broker.kick(NODE)
            await asyncio.sleep(30)
            birth = msgspec.json.decode(scene.broker.retained[STATE].payload)
            assert birth["last"] == {"xa-vi-huong": 41}

    run(main(), scene.counter)


def test_a_broker_that_is_down_at_start_is_waited_for_and_reported_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene()
    scene.broker.stop()

    async def main() -> None:
        with caplog.at_level(logging.INFO, "edge_agent.command"):
            async with scene.running() as inbox:
                await asyncio.sleep(3600)
                assert not inbox.connected
                scene.broker.heal()
                await asyncio.sleep(600)
                assert inbox.connected

    run(main(), scene.counter)
    assert len([record for record in caplog.records if "No session" in record.message]) == 1
    assert len([record for record in caplog.records if "Connected" in record.message]) == 1


def test_the_back_off_doubles_at_random_up_to_its_limit() -> None:
    attempts: list[float] = []

    async def main() -> None:
        opened = scene.broker.session

        def counted(connect: object) -> object:
            attempts.append(asyncio.get_running_loop().time())
            return opened(connect)  # type: ignore[arg-type]  # handed through

        scene.broker.session = counted  # type: ignore[method-assign,assignment]  # a spy
        scene.broker.stop()
        async with scene.running():
            await asyncio.sleep(8 * 3600)

    scene = Scene()
    run(main(), scene.counter)
    gaps = [later - earlier for earlier, later in itertools.pairwise(attempts)]
    assert sum(gaps[:4]) <= 1 + 2 + 4 + 8 + 1
    assert max(gaps) <= 301
    assert len(attempts) < 400, "about one in 150 s in the long run"


def test_a_broker_killed_in_mid_session_loses_no_order_and_no_answer() -> None:
    scene = Scene()

    async def main() -> None:
        async with scene.running():
            scene.router.lasts_s = 30
            scene.send(an_order(1, "play"))
            await asyncio.sleep(1)
            scene.broker.stop()
            await asyncio.sleep(60)
            assert scene.router.whole == [ident(1)], "what sounds goes on without a broker"
            scene.send(an_order(2, "play"))
            scene.broker.heal()
            await asyncio.sleep(400)
            assert scene.states(ident(1))[-1] == "successful"
            assert scene.ledger()[ident(2)] in {"successful", "rejected"}

    run(main(), scene.counter)
    assert scene.router.begun.count(ident(1)) == 1


def test_a_half_open_connection_is_noticed_and_replaced() -> None:
    scene = Scene()

    async def main() -> None:
        async with scene.running() as inbox:
            scene.broker.partition("silent")
            await asyncio.sleep(90)
            assert not inbox.connected
            scene.broker.heal()
            await asyncio.sleep(300)
            assert inbox.connected

    run(main(), scene.counter)


def test_a_broker_that_forgets_the_session_gets_every_subscription_again() -> None:
    scene = Scene()

    async def main() -> None:
        async with scene.running():
            scene.broker.forget_sessions(retained=True)
            await asyncio.sleep(60)
            scene.send(an_order(1))
            await asyncio.sleep(2)
            assert scene.last(ident(1))["state"] == "successful"
            assert STATE in scene.broker.retained

    run(main(), scene.counter)


@pytest.mark.parametrize("what", ["state", "caps", "ask", "cmd", "health"])
def test_a_refused_publish_does_not_stop_the_orders(what: str) -> None:
    scene = Scene()
    scene.broker.faults.refuse_publish.append((f"{ROOT}/{NODE}/up/{what}", 0x87))

    async def main() -> None:
        async with scene.running():
            scene.send(an_order(1, "play"))
            await asyncio.sleep(5)
            assert scene.router.whole == [ident(1)]
            scene.broker.faults.refuse_publish.clear()
            await asyncio.sleep(600)
            assert set(scene.states(ident(1))) == {"accepted", "executing", "successful"}

    run(main(), scene.counter)


def test_a_group_that_the_broker_refuses_does_not_cost_the_node_its_own_orders() -> None:
    scene = Scene()
    scene.broker.faults.refuse_subscribe.append((f"{ROOT}/g/{GROUP}/dn/cmd/#", 0x87))

    async def main() -> None:
        async with scene.running():
            scene.send(an_order(1))
            await asyncio.sleep(1)
            assert scene.last(ident(1))["state"] == "successful"

    run(main(), scene.counter)


def test_a_broker_that_refuses_the_node_is_asked_again_later() -> None:
    scene = Scene()
    scene.broker.faults.refuse_connect = 0x87

    async def main() -> None:
        async with scene.running() as inbox:
            await asyncio.sleep(60)
            assert not inbox.connected
            scene.broker.faults.refuse_connect = None
            await asyncio.sleep(300)
            assert inbox.connected

    run(main(), scene.counter)


def test_a_bug_in_the_inbox_is_logged_and_it_starts_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene()
    real, broken = Inbox._order, [True, True]

    async def fragile(self: Inbox, *args: object) -> object:
        if broken:
            broken.pop()
            raise ZeroDivisionError
        return await real(self, *args)  # type: ignore[arg-type]  # handed through

    monkeypatch.setattr(Inbox, "_order", fragile)

    async def main() -> None:
        async with scene.running():
            scene.send(an_order(1, "play"))
            await asyncio.sleep(60)
            assert scene.last(ident(1))["state"] == "successful"

    run(main(), scene.counter)
    assert "The inbox failed" in caplog.text
    assert scene.router.begun == [ident(1)]


def test_being_told_to_leave_at_any_moment_ends_the_room() -> None:
    for moment_ms in range(0, 200, 7):
        scene = Scene(seed=moment_ms)

        async def main(scene: Scene = scene, moment_ms: int = moment_ms) -> None:
            life = asyncio.create_task((await scene.inbox()).life())
            scene.send(an_order(1, "play"))
            await asyncio.sleep(moment_ms / 1000)
            scene.broker.kick(NODE) if moment_ms % 2 and scene.broker.connected(NODE) else None
            life.cancel()
            async with asyncio.timeout(10):
                await asyncio.wait([life])
            assert life.cancelled()

        run(main(), scene.counter)


def test_a_session_lost_while_leaving_does_not_keep_the_room_alive() -> None:
    scene = Scene()

    async def main() -> None:
        inbox = await scene.inbox()
        life = asyncio.create_task(inbox.life())
        await asyncio.sleep(2)
        scene.broker.partition("silent")
        scene.send(an_order(1))
        life.cancel()
        async with asyncio.timeout(15):
            await asyncio.wait([life])
        assert life.cancelled()

    run(main(), scene.counter)
