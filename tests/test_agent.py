"""The agent composed: it starts bottom-up, tells what it found, and stops in reverse with nothing left on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from edge_agent import agent
from edge_agent.config import Problem, Settings, parse, with_state_dir
from hal.ports import Message
from hal.sim.world import World
from tests.command.scene import an_order
from tests.command.scene import published as sealed

CONFIG = """
[node]
id = "thon-3"
[broker]
url = "mqtt://broker:1883"
[amplifier]
power = {offset = 17}
mute = {offset = 27}
zones = {cho = {offset = 5}}
[sense]
status_led = {offset = 22}

[hardware]
gpio = "sim"
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return with_state_dir(parse(CONFIG), str(tmp_path))


def life(
    settings: Settings,
    story: Callable[[World], Awaitable[None]],
    *,
    problems: Sequence[Problem] = (),
    before: Callable[[World], None] = lambda _: None,
) -> World:
    """One run of the agent in a world, from start to a clean stop after the story."""
    world = World(seed=7, schemas=agent.SCHEMAS)
    before(world)

    async def main() -> None:
        stop = asyncio.Event()
        hardware = world.hardware
        serving = asyncio.create_task(
            agent.serve(settings, hardware, stop=stop, problems=problems, rng=random.Random(1)), name="agent"
        )
        await asyncio.sleep(2)
        await story(world)
        stop.set()
        await serving
        hardware.lines.close()

    world.run(main(), limit_s=10_000)
    return world


def published(world: World, topic: str) -> list[dict[str, object]]:
    return [
        msgspec.json.decode(received.message.payload, type=dict[str, object])
        for received in world.broker.received_on(f"pa/v1/thon-3/up/{topic}")
        if received.message.payload
    ]


async def nothing(_: World) -> None:
    """A story in which nothing happens."""


def test_it_is_ready_before_it_is_online(settings: Settings) -> None:
    def no_network(world: World) -> None:
        world.broker.partition("lost")

    async def story(world: World) -> None:
        assert world.supervisor.ready_ns is not None
        assert published(world, "state") == []
        world.broker.heal()
        await asyncio.sleep(60)
        assert published(world, "state")[-1]["state"] == "online"

    life(settings, story, before=no_network)


def test_it_says_goodbye_and_leaves_every_line_low(settings: Settings) -> None:
    world = life(settings, nothing)
    assert [state["state"] for state in published(world, "state")] == ["online", "offline"]
    assert published(world, "state")[-1]["why"] == "stopped"
    for name in ("amplifier_power", "amplifier_unmute", "zone_cho"):
        assert not world.lines.active(name)


def test_a_config_that_was_refused_is_an_alert_and_a_good_one_solves_it(settings: Settings) -> None:
    problem = Problem(code="unknown_key", key="node.idd", line=3)
    world = life(settings, nothing, problems=[problem])
    (alert,) = published(world, "alert/config_invalid")
    assert "node.idd" in str(alert["text"])
    assert "edge-agent check" in str(alert["text"])


def test_only_a_config_that_came_up_becomes_the_last_good_one(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "config.proposed.toml").write_text(CONFIG)
    life(settings, nothing, problems=[Problem(code="unknown_key", key="node.idd", line=3)])
    assert not (tmp_path / "config.last-good.toml").exists()
    life(settings, nothing)
    assert (tmp_path / "config.last-good.toml").read_text() == CONFIG


def test_without_its_amplifier_lines_it_refuses_to_play_and_says_why(settings: Settings) -> None:
    def broken(world: World) -> None:
        world.lines.fail("amplifier_power")

    async def story(world: World) -> None:
        assert world.supervisor.ready_ns is not None

    world = life(settings, story, before=broken)
    (alert,) = published(world, "alert/amplifier_lines")
    assert "silent" in str(alert["text"])


def test_the_watchdog_is_fed_while_every_room_lives() -> None:
    world = World(seed=7, schemas=agent.SCHEMAS)
    beats: list[int] = []

    class Watched:
        def beat(self) -> None:
            beats.append(world.clock.monotonic_ns())

        def beat_period_s(self) -> float:
            return 10.0

    async def room(lives_s: float) -> None:
        await asyncio.sleep(lives_s)

    async def main() -> None:
        tasks = [asyncio.create_task(room(45)), asyncio.create_task(room(1000))]
        watch = asyncio.create_task(agent._beat(Watched(), tasks))  # type: ignore[arg-type] # only what a watchdog needs
        await asyncio.sleep(100)
        assert watch.done()
        tasks[1].cancel()

    world.run(main(), limit_s=1000)
    assert len(beats) == 5


def test_a_ping_is_answered_through_the_whole_house(settings: Settings) -> None:
    async def story(world: World) -> None:
        now = world.outside.utc_now()
        order = an_order(1, "ping", issued_at=now, expires_at=now.replace(year=now.year + 1))
        message: Message = sealed(order)
        world.broker.server_publish(message)
        await asyncio.sleep(5)

    world = life(settings, story)
    states = [said["state"] for said in published(world, "cmd")]
    assert states[-1] == "successful"
