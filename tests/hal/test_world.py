"""The world: one seed, one counter, processes that live, stop, crash and lose their power."""

from __future__ import annotations

import asyncio
import sqlite3
from functools import partial

import numpy as np
import pytest

from hal.errors import BrokerError, BrokerUnreachable, DatabaseError, DiskError, SoundMissing, WebUnreachable
from hal.ports import Connect, Hardware, Message
from hal.sim import faults
from hal.sim.faults import Fault
from hal.sim.loop import NS, Deadlock
from hal.sim.world import World

SCHEMA = "CREATE TABLE IF NOT EXISTS step (number INTEGER PRIMARY KEY, boot TEXT);"
TONE = np.full(48_000, 0.25, dtype=np.float32)
WILL = Message(topic="pa/v1/thon-3/up/state", payload=b'{"state":"lost"}', retain=True)
CONNECT = Connect(client_id="thon-3", keepalive_s=30, will=WILL, will_delay_s=45)


@pytest.fixture
def world() -> World:
    return World(seed=1, schemas=(SCHEMA,))


async def steps(hardware: Hardware) -> None:
    """A process that stores a step each second."""

    def step(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO step (boot) VALUES (?)", (hardware.clock.boot_id(),))

    hardware.supervisor.ready()
    while True:
        hardware.supervisor.beat()
        await hardware.database.run(step)
        await asyncio.sleep(1)


async def online(hardware: Hardware) -> None:
    """A process that holds a session."""
    while True:
        try:
            async with hardware.broker.session(CONNECT) as session:
                await session.subscribe("pa/v1/thon-3/dn/#")
                while True:
                    await session.receive()
        except BrokerError:
            await asyncio.sleep(5)


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


# ---------------------------------------------------------------- time


def test_an_idle_world_with_thirty_thousand_wake_ups_passes_a_week(world: World) -> None:
    async def idle(_: Hardware) -> None:
        for _wake_up in range(30_000):
            await asyncio.sleep(604_800 / 30_000)

    async def story() -> None:
        await world.start(idle)

    world.run(story())

    assert world.counter.ns >= 604_800 * NS
    world.check()


def test_a_story_has_a_limit_in_virtual_time(world: World) -> None:
    with pytest.raises(TimeoutError):
        world.run(asyncio.sleep(10_000), limit_s=60)
    assert world.counter.ns == 70 * NS


def test_a_world_that_waits_for_ever_says_who_waits(world: World) -> None:
    async def story() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock, match="story"):
        world.run(story())


def test_the_same_seed_gives_the_same_numbers_and_another_does_not() -> None:
    def draw(seed: int) -> list[float]:
        return [World(seed=seed).rng(name).random() for name in ("disk", "broker")]

    assert draw(1) == draw(1)
    assert len({*draw(1), *draw(2)}) == 4


# ---------------------------------------------------------------- processes


def test_a_process_works_and_is_stopped_at_the_end_of_the_story(world: World) -> None:
    async def story() -> None:
        world.start(steps)
        await asyncio.sleep(9.5)

    world.run(story())

    assert len(world.database.rows("SELECT * FROM step")) == 10
    assert world.supervisor.beats == 10
    world.check()


def test_after_an_outage_the_process_goes_on_in_a_new_boot_with_what_was_durable(world: World) -> None:
    async def story() -> None:
        world.start(steps)
        await asyncio.sleep(9.5)
        await world.outage(dark_s=60)
        assert world.clock.monotonic_ns() == 10 * NS
        await asyncio.sleep(4.5)

    world.run(story())

    boots = [boot for (boot,) in world.database.rows("SELECT boot FROM step ORDER BY number")]
    assert boots == ["boot-1"] * 10 + ["boot-2"] * 5
    world.check()


def test_after_a_crash_it_is_still_the_same_boot(world: World) -> None:
    async def story() -> None:
        world.start(steps)
        await asyncio.sleep(2.5)
        await world.crash(pause_s=10)
        await asyncio.sleep(2.5)

    world.run(story())

    assert world.database.rows("SELECT DISTINCT boot FROM step") == [("boot-1",)]
    assert len(world.database.rows("SELECT * FROM step")) == 6
    world.check()


def test_a_power_cut_between_two_runs(world: World) -> None:
    async def write() -> None:
        await world.hardware.disk.write_atomic("x", b"x")
        await world.hardware.disk.stage()

    world.run(write())
    world.power_cut(dark_s=30)

    async def read() -> bytes:
        return await world.hardware.disk.read("x")

    assert world.run(read()) == b"x"
    assert world.clock.boot_id() == "boot-2"
    assert world.outside.monotonic_ns() == world.counter.ns


def test_a_process_may_be_stopped_and_started_again_on_the_same_disk(world: World) -> None:
    async def story() -> None:
        for _ in range(3):
            world.start(steps)
            await asyncio.sleep(1.5)
            await world.stop()

    world.run(story())
    assert world.database.rows("SELECT count(*), count(DISTINCT boot) FROM step") == [(6, 1)]
    assert len(world.past) == 2
    world.check()


def test_systemd_starts_again_what_ends_by_itself(world: World) -> None:
    async def agent(hardware: Hardware) -> None:
        await asyncio.sleep(1)
        await hardware.database.run(partial(execute, "INSERT INTO step (boot) VALUES ('x')"))
        raise LookupError("no such thing")

    async def story() -> None:
        world.start(agent, restart_s=9)
        await asyncio.sleep(25)
        await world.outage(dark_s=5)
        await asyncio.sleep(2)

    world.run(story())
    assert world.ended == ["LookupError('no such thing')"] * 4
    assert world.database.rows("SELECT count(*) FROM step") == [(4,)]
    world.check()


def test_every_old_door_is_dead_after_an_outage(world: World) -> None:
    async def story() -> None:
        old = world.hardware
        await world.outage(dark_s=1)
        with pytest.raises(DiskError):
            await old.disk.write_atomic("x", b"x")
        with pytest.raises(DatabaseError):
            await old.database.run(lambda connection: connection.execute("DELETE FROM step").rowcount)
        with pytest.raises(SoundMissing):
            await play(old)
        with pytest.raises(BrokerUnreachable):
            async with old.broker.session(CONNECT):
                pass
        with pytest.raises(WebUnreachable):
            await old.web.get("http://server/x")
        assert await world.hardware.disk.list("") == ()
        async with world.hardware.broker.session(CONNECT):
            pass

    world.run(story())
    world.check()


def test_a_node_without_a_battery_does_not_know_how_long_it_was_dark() -> None:
    world = World(seed=1, battery=False)
    wall = world.clock.utc_now()

    world.power_cut(dark_s=3_600)

    assert world.clock.utc_now() == wall
    assert not world.clock.wall_synced()
    assert world.outside.wall_synced()


# ---------------------------------------------------------------- the broker


def wills(world: World) -> list[int]:
    return [received.at_ns // NS for received in world.broker.received_on(WILL.topic)]


def test_the_broker_learns_of_a_power_cut_by_the_keepalive(world: World) -> None:
    async def story() -> None:
        world.start(online)
        await asyncio.sleep(5)
        world.power_off()
        await asyncio.sleep(40)
        assert world.broker.connected("thon-3")
        await asyncio.sleep(10)
        assert not world.broker.connected("thon-3")
        await asyncio.sleep(100)

    world.run(story())
    assert wills(world) == [10 + 5 + 45 + 45]


def test_the_broker_learns_of_a_crash_at_once(world: World) -> None:
    async def story() -> None:
        world.start(online)
        await asyncio.sleep(5)
        crash = asyncio.create_task(world.crash(pause_s=100))
        await asyncio.sleep(1)
        assert not world.broker.connected("thon-3")
        await crash
        await asyncio.sleep(1)
        assert world.broker.connected("thon-3")

    world.run(story())
    assert wills(world) == [10 + 5 + 45]


# ---------------------------------------------------------------- faults


def test_a_plan_of_faults_is_played_at_its_times(world: World) -> None:
    plan = (
        Fault(at_s=1, what="disk full", for_s=2),
        Fault(at_s=5, what="broker lost", for_s=3),
        Fault(at_s=10, what="power", for_s=20),
    )

    async def story() -> None:
        world.start(steps)
        async with asyncio.TaskGroup() as group:
            group.create_task(faults.play(world, plan))
            await asyncio.sleep(2)
            with pytest.raises(DiskError):
                await world.hardware.disk.write_atomic("x", b"x")
            await asyncio.sleep(2)
            await world.hardware.disk.write_atomic("x", b"x")
            await asyncio.sleep(2)
            with pytest.raises(BrokerUnreachable):
                async with world.hardware.broker.session(CONNECT):
                    pass

    world.run(story())

    assert world.counter.ns // NS == 40
    assert [line for line in world.story if "process" not in line] == [
        "11.000 s: disk full begins",
        "13.000 s: disk full ends",
        "15.000 s: broker lost begins",
        "18.000 s: broker lost ends",
        "20.000 s: the power goes",
        "40.000 s: the power comes",
    ]
    world.check()


@pytest.mark.parametrize("seed", range(10))
def test_a_world_survives_whatever_is_drawn_from_its_seed(seed: int) -> None:
    """A process that stores steps and holds a session, through forty faults of every kind in an hour."""
    world = World(seed=seed, schemas=(SCHEMA,))
    plan = faults.drawn(world.rng("faults"), count=40, span_s=3_600)

    async def agent(hardware: Hardware) -> None:
        async def stubborn() -> None:
            while True:
                try:
                    await steps(hardware)
                except (DatabaseError, DiskError):
                    await asyncio.sleep(1)

        async with asyncio.TaskGroup() as group:
            group.create_task(stubborn(), name="steps")
            group.create_task(online(hardware), name="online")

    async def story() -> None:
        world.start(agent)
        await faults.play(world, plan)
        await asyncio.sleep(60)

    world.run(story())

    world.check()
    assert world.past
    numbers = [number for (number,) in world.database.rows("SELECT number FROM step ORDER BY number")]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 1_000
