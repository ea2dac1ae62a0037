"""The broker's certificate and a clock that does not know the date: connected at once, checked as soon as can be."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import msgspec
import pytest

from hal.sim.link import Certificate
from hal.sim.loop import run
from tests.command.scene import NODE, ROOT, Scene, an_order
from tests.entries import START, ident

STATE = f"{ROOT}/{NODE}/up/state"
YEAR = timedelta(days=365)
VALID = Certificate(not_before=START - YEAR, not_after=START + YEAR)
EXPIRED = Certificate(not_before=START - 2 * YEAR, not_after=START - YEAR)


def dark(certificate: Certificate) -> Scene:
    """A node after a power cut, without a battery clock: it believes that it is 1970."""
    scene = Scene()
    scene.broker.certificate = certificate
    scene.clock.lose()
    return scene


def said(scene: Scene) -> list[tuple[str, str | None]]:
    """What was said on `up/state`, with why."""
    lines = [msgspec.json.decode(entry.message.payload) for entry in scene.broker.received_on(STATE)]
    return [(line["state"], line.get("why")) for line in lines]


def dates_counted(scene: Scene) -> bool:
    """Whether the connection that stands was made with an eye on dates."""
    connect = scene.broker._memories[NODE].connect
    assert connect is not None
    return connect.check_dates


def test_a_node_that_does_not_know_the_date_connects_and_checks_the_certificate_once_it_does() -> None:
    scene = dark(VALID)

    async def main() -> None:
        async with scene.running():
            assert scene.broker.connected(NODE)
            assert not dates_counted(scene)
            await asyncio.sleep(3600)
            assert said(scene) == [("online", None)], "for as long as the date is unknown it stays"
            scene.clock.sync(START)
            await asyncio.sleep(15)
            assert scene.broker.connected(NODE)
            assert dates_counted(scene)
            await asyncio.sleep(3600)
            assert said(scene) == [("online", None), ("offline", "clock_trusted"), ("online", None)]

    run(main(), scene.counter)


def test_a_certificate_that_the_date_shows_to_be_expired_is_given_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = dark(EXPIRED)
    caplog.set_level(logging.INFO, logger="edge_agent")

    async def main() -> None:
        async with scene.running():
            assert scene.broker.connected(NODE)
            scene.clock.sync(START)
            await asyncio.sleep(15)
            assert not scene.broker.connected(NODE)
            await asyncio.sleep(3600)
            assert said(scene) == [("online", None), ("offline", "clock_trusted")], (
                "and no will: it left on purpose"
            )
            scene.broker.certificate = VALID
            await asyncio.sleep(700)
            assert scene.broker.connected(NODE)

    run(main(), scene.counter)
    warnings = [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING and record.name.endswith("inbox")
    ]
    assert len(warnings) == 1, warnings
    assert "certificate has expired" in warnings[0]


def test_a_node_that_knows_the_date_never_believes_an_expired_certificate() -> None:
    scene = Scene()
    scene.broker.certificate = EXPIRED

    async def main() -> None:
        async with scene.running():
            await asyncio.sleep(3600)
            assert said(scene) == []

    run(main(), scene.counter)


def test_a_connection_made_with_dates_stays_when_the_clock_loses_its_source() -> None:
    scene = Scene()
    scene.broker.certificate = VALID

    async def main() -> None:
        async with scene.running():
            scene.clock.lose()
            await asyncio.sleep(72 * 3600)  # past holdover
            assert said(scene) == [("online", None)]

    run(main(), scene.counter)


def test_where_there_is_no_certificate_there_is_nothing_to_come_back_for() -> None:
    scene = dark(VALID)
    scene.broker.certificate = None

    async def main() -> None:
        async with scene.running():
            scene.clock.sync(START)
            await asyncio.sleep(3600)
            assert said(scene) == [("online", None)]

    run(main(), scene.counter)


def test_what_sounds_goes_on_while_the_node_connects_again() -> None:
    scene = dark(VALID)
    scene.router.lasts_s = 60

    async def main() -> None:
        async with scene.running():
            nonce = msgspec.json.decode(scene.broker.retained[STATE].payload)["nonce"]
            scene.send(an_order(1, "play", nonce=nonce))
            await asyncio.sleep(5)
            scene.clock.sync(START)
            await asyncio.sleep(120)
            assert said(scene)[1] == ("offline", "clock_trusted")

    run(main(), scene.counter)
    assert scene.router.begun == [ident(1)]
    assert scene.states(ident(1))[-1] == "successful"
