"""The world judges its own runs: each test does one thing wrong, and the world says which."""

from __future__ import annotations

import asyncio
import sqlite3
from functools import partial

import numpy as np
import pytest

from hal.ports import Connect, Hardware, LineSpec, Message
from hal.sim.checkers import AmplifierRule
from hal.sim.loop import NS
from hal.sim.world import World

SCHEMAS = (
    "CREATE TABLE IF NOT EXISTS ledger (id TEXT PRIMARY KEY, state TEXT NOT NULL);",
    "CREATE TABLE IF NOT EXISTS asrun (number INTEGER PRIMARY KEY, order_id TEXT NOT NULL, entry TEXT);",
)
POWER = LineSpec(name="amplifier_power", chip=0, offset=17)
TONE = np.full(48_000, 0.25, dtype=np.float32)
CONNECT = Connect(client_id="thon-3")


@pytest.fixture
def world() -> World:
    return World(seed=1, schemas=SCHEMAS)


def execute(statement: str, connection: sqlite3.Connection) -> int:
    return connection.execute(statement).rowcount


async def play(hardware: Hardware) -> None:
    """One second of tone."""
    stream = await hardware.sound.open(rate_hz=48_000, period_frames=960, ring_frames=7_200)
    try:
        await stream.write(TONE)
        await stream.drain()
    finally:
        await stream.close()


def violations(world: World) -> str:
    return "\n".join(world.violations())


def test_sound_into_an_amplifier_that_is_off_is_found(world: World) -> None:
    async def agent(hardware: Hardware) -> None:
        hardware.lines.output(POWER)
        await play(hardware)

    async def story() -> None:
        await world.start(agent)

    world.run(story())
    assert "boot-1, process 1: At 10.0" in violations(world)
    assert "while the amplifier was not LIVE" in violations(world)


def test_sound_that_a_power_cut_ended_is_judged_until_then() -> None:
    world = World(seed=1, rule=AmplifierRule(settle_s=0))

    async def agent(hardware: Hardware) -> None:
        hardware.lines.output(POWER).set(active=True)
        await play(hardware)

    async def story() -> None:
        world.start(agent)
        await asyncio.sleep(0.5)
        await world.outage(dark_s=5)
        await asyncio.sleep(0.5)

    world.run(story())

    assert world.past[0].loud[0][1] - world.past[0].loud[0][0] == pytest.approx(0.5 * NS, abs=2_000_000)
    assert violations(world) == "The line amplifier_power was left ACTIVE."


def test_what_a_process_leaves_behind_is_found(world: World) -> None:
    left: list[object] = []

    async def agent(hardware: Hardware) -> None:
        hardware.lines.output(POWER).set(active=True)
        left.append(asyncio.create_task(asyncio.sleep(1_000), name="forgotten"))
        left.append(await hardware.disk.stage())
        await hardware.disk.write_atomic("media/x", b"x")
        left.append(hardware.disk.open_read("media/x"))

    async def story() -> None:
        await world.start(agent)
        left.append(asyncio.create_task(asyncio.sleep(1_000), name="lost"))

    world.run(story())
    assert world.violations() == [
        "Task forgotten does not stop.",
        "The file a staged file was left behind.",
        "The file media/x was left behind.",
        "The line amplifier_power was left ACTIVE.",
        "The task forgotten was left behind.",
        "The task lost was left behind.",
    ]


def test_a_process_that_crashes_is_found(world: World) -> None:
    async def agent(_: Hardware) -> None:
        raise LookupError("no such thing")

    async def story() -> None:
        world.start(agent)
        await asyncio.sleep(5)

    world.run(story())
    assert violations(world) == "Process 1 crashed: LookupError('no such thing')"


def test_a_process_that_forgets_the_watchdog_is_found(world: World) -> None:
    async def agent(hardware: Hardware) -> None:
        hardware.supervisor.ready()
        await asyncio.sleep(300)

    async def story() -> None:
        world.start(agent)
        await asyncio.sleep(100)

    world.run(story())
    assert violations(world) == "boot-1, process 1: The watchdog heard nothing for 100.0 s."


def test_an_order_without_an_entry_and_one_that_ran_twice_are_found(world: World) -> None:
    async def agent(hardware: Hardware) -> None:
        for statement in (
            "INSERT INTO ledger VALUES ('a', 'received')",
            "UPDATE ledger SET state = 'executing'",
            "UPDATE ledger SET state = 'waiting'",
            "UPDATE ledger SET state = 'executing'",
            "UPDATE ledger SET state = 'successful'",
        ):
            await hardware.database.run(partial(execute, statement))

    async def story() -> None:
        await world.start(agent)

    world.run(story())
    assert world.violations() == [
        "Order a was executed twice.",
        "Request a has ended and has no as-run entry.",
    ]


def test_the_server_is_listened_to(world: World) -> None:
    async def agent(hardware: Hardware) -> None:
        async with hardware.broker.session(CONNECT) as session:
            for state in ("successful", "failed"):
                payload = b'{"id":"a","state":"%s"}' % state.encode()
                await session.publish(Message(topic="pa/v1/thon-3/up/cmd", payload=payload))

    async def story() -> None:
        await world.start(agent)

    world.run(story())
    assert violations(world) == "The server was told that order a is successful, and then that it is failed."


def test_states_that_overtake_each_other_are_put_in_order_by_their_numbers(world: World) -> None:
    async def agent(hardware: Hardware) -> None:
        async with hardware.broker.session(CONNECT) as session:
            for number, state in ((2, "successful"), (1, "accepted")):
                payload = b'{"n":%d,"log":"x","id":"a","state":"%s"}' % (number, state.encode())
                await session.publish(Message(topic="pa/v1/thon-3/up/cmd", payload=payload))

    async def story() -> None:
        await world.start(agent)

    world.run(story())
    assert world.violations() == []


def test_a_sign_that_minds_is_heard(world: World) -> None:
    async def agent(hardware: Hardware) -> None:
        link = await hardware.serials["main"].open()
        await link.write(b"\0\0\x01Z00\x02AA\x04")
        link.close()

    async def story() -> None:
        await world.start(agent)

    world.run(story())
    assert "The sign minded at 10." in violations(world)


def test_a_sign_that_forgot_its_memory_is_no_fault_of_the_node(world: World) -> None:
    async def agent(hardware: Hardware) -> None:
        link = await hardware.serials["main"].open()
        for _ in range(2):
            await link.write(b"\0\0\0\0\0\x01Z00\x02AB\x1b bHI\x04")
            await asyncio.sleep(2_000)
        link.close()

    async def story() -> None:
        world.restart_sign()
        await asyncio.sleep(10)
        await world.start(agent)

    world.run(story())
    assert "At 2" not in violations(world)
    assert violations(world).startswith("The sign minded at 2020.")


def test_a_sign_that_wakes_in_mid_frame_is_no_fault_of_the_node(world: World) -> None:
    async def agent(hardware: Hardware) -> None:
        link = await hardware.serials["main"].open()
        await asyncio.sleep(2.996)
        await link.write(b"\0\0\0\0\0\x01Z00\x02A0\x04")
        link.close()

    async def story() -> None:
        world.restart_sign()
        await world.start(agent)

    world.run(story())
    assert [wrong.kind for wrong in world.sign.violations] == ["wake"]
    assert world.violations() == []


def test_a_frame_that_a_crash_cut_short_is_minded_once_and_forgiven(world: World) -> None:
    async def agent(hardware: Hardware) -> None:
        link = await hardware.serials["main"].open()
        await link.write(b"\0\0\0\0\0\x01Z00\x02A0\x04" + b"\0\0\0\0\0\x01Z00\x02A")
        await asyncio.sleep(100)

    async def story() -> None:
        world.start(agent)
        await asyncio.sleep(10)
        await world.crash()
        await asyncio.sleep(10)
        await world.stop()
        world.start(agent)
        await asyncio.sleep(5)

    world.run(story())
    assert [wrong.kind for wrong in world.sign.violations] == ["cut", "cut"]
    assert "cut" not in violations(world)


def test_a_new_process_that_speaks_into_half_a_frame_is_forgiven_its_haste(world: World) -> None:
    async def agent(hardware: Hardware) -> None:
        link = await hardware.serials["main"].open()
        await link.write(b"\0\0\0\0\0\x01Z00\x02")
        await asyncio.sleep(0.15)
        await link.write(b"A0\x03\x02")
        await asyncio.sleep(100)

    async def story() -> None:
        world.start(agent)
        await asyncio.sleep(0.2)
        await world.crash(pause_s=0.01)
        await asyncio.sleep(5)

    world.run(story())
    assert "gap" in [wrong.kind for wrong in world.sign.violations]
    assert "gap" not in violations(world)


def test_a_frame_that_nothing_cut_short_is_not_forgiven(world: World) -> None:
    async def agent(hardware: Hardware) -> None:
        link = await hardware.serials["main"].open()
        for _ in range(2):
            await link.write(b"\0\0\0\0\0\x01Z00\x02A")
            await asyncio.sleep(5)

    async def story() -> None:
        await world.start(agent)

    world.run(story())
    assert "cut, the sender stopped in the middle of a frame" in violations(world)


def test_bytes_into_an_erasing_sign_are_a_fault_unless_the_process_is_new(world: World) -> None:
    erase = b"\0\0\0\0\0\x01Z00\x02E$\x04"

    async def agent(hardware: Hardware) -> None:
        link = await hardware.serials["main"].open()
        await link.write(erase)
        link.close()

    async def story() -> None:
        for pause_s in (2, 20):
            world.start(agent)
            await asyncio.sleep(pause_s)
            await world.stop()

    world.run(story())
    assert [wrong.kind for wrong in world.sign.violations] == ["deaf"]
    assert world.violations() == []

    world.line_cuts.clear()
    assert "deaf" in violations(world)


def test_a_check_names_the_seed_and_what_befell(world: World) -> None:
    async def story() -> None:
        await world.outage(dark_s=2)
        await asyncio.sleep(1)
        world.turns += [(0, 2 * NS, 0), (NS, 3 * NS, 2)]

    world.run(story())
    with pytest.raises(
        AssertionError, match=r"(?s)World\(seed=1\).*Classes 0 and 2.*the power goes.*the power comes"
    ):
        world.check()
