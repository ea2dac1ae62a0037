"""Somebody else's board, lent for a signed time: used then, never otherwise, and handed back as it was found."""

from __future__ import annotations

import asyncio
from datetime import UTC, timedelta

import pytest

from edge_agent.board.boards import Boards
from edge_agent.board.lease import SCHEMA, Lease
from edge_agent.model import NS, BoardClear, Issuer, OrderId, Precedence
from edge_agent.playlist import Requisition
from hal.sim import loop
from hal.sim.database import VirtualDatabase
from hal.sim.jetfile import JetfileSign
from tests.board.conftest import Village, item

ROUTINE, EMERGENCY = Precedence.ROUTINE, Precedence.EMERGENCY


def borrowed(*, requisitioned: bool = True) -> tuple[Village, JetfileSign]:
    """A sign on which its owner shows something; ours only for a time, unless it is not `requisitioned`."""
    village = Village(protocol="jetfile", requisitioned=requisitioned)
    sign = village.sign
    assert isinstance(sign, JetfileSign)
    sign.owner_plays(0, b"SALE")
    return village, sign


def lease(village: Village, minutes: int, *, begins: int = 0) -> Requisition:
    now = village.clock.utc_now().astimezone(UTC)
    return Requisition(
        boards=frozenset({"main"}),
        begins=now + timedelta(minutes=begins),
        ends=now + timedelta(minutes=begins + minutes),
    )


def test_a_requisitioned_board_is_used_in_its_time_and_handed_back_as_it_was_found() -> None:
    village, sign = borrowed()
    owners = sign.current.dots

    async def story() -> None:
        village.post(item("a", "Bão số 9"), requisitions=(lease(village, 30, begins=10),))
        await asyncio.sleep(300)
        assert sign.current.dots == owners
        assert sign.frames == 0, "not a byte before its time"
        await asyncio.sleep(400)
        assert sign.current.dots != owners
        assert sign.current.kind == "priority", "the board itself would end it"
        await asyncio.sleep(1500)
        assert sign.current.dots != owners
        await asyncio.sleep(300)
        assert sign.current.dots == owners
        frames = sign.frames
        await asyncio.sleep(7200)
        assert sign.frames == frames
        assert sign.flash_writes == 0

    village.run(story)
    assert not village.violations()


def test_a_lent_board_whose_owner_had_switched_it_off_is_lit_and_switched_off_again() -> None:
    village, sign = borrowed()
    sign.switch_off(0)
    sign.clock = "the owner's"

    async def story() -> None:
        village.post(item("a", "Bão số 9"), requisitions=(lease(village, 30),))
        await asyncio.sleep(60)
        assert any(map(any, sign.current.dots))
        await asyncio.sleep(1900)
        assert not any(map(any, sign.current.dots))
        assert sign.clock == "the owner's"

    village.run(story)
    assert not village.violations()


@pytest.mark.parametrize("precedence", [ROUTINE, EMERGENCY])
def test_a_board_that_somebody_switches_off_is_lit_again(precedence: Precedence) -> None:
    village, sign = borrowed(requisitioned=False)

    async def story() -> None:
        village.ask("Lũ quét", precedence, for_s=7200)
        await asyncio.sleep(60)
        sign.switch_off(village.outside.monotonic_ns())
        await asyncio.sleep(90 if precedence is EMERGENCY else 960)
        assert sign.current.kind == ("priority" if precedence is EMERGENCY else "run")
        assert village.presenter.health() == ("ok", [])

    village.run(story)


def test_an_emergency_lights_a_board_that_was_switched_off_at_once() -> None:
    village, sign = borrowed(requisitioned=False)

    async def story() -> None:
        await asyncio.sleep(60)
        sign.switch_off(village.outside.monotonic_ns())
        village.ask("Lũ quét", EMERGENCY, for_s=600)
        await asyncio.sleep(3)
        assert sign.current.kind == "priority"

    village.run(story)


@pytest.mark.parametrize("how", ["nothing to show", "dead at its end"])
def test_a_lent_board_is_handed_back_whatever_happened_meanwhile(how: str) -> None:
    village, sign = borrowed()
    owners = sign.current.dots
    sign.switch_off(0)

    async def story() -> None:
        shown = () if how == "nothing to show" else (item("a", "Bão số 9"),)
        village.post(*shown, requisitions=(lease(village, 10),))
        await asyncio.sleep(300)
        assert sign.streams()
        if how == "dead at its end":
            await village.restart(reboot=True, dark_s=900)
        await asyncio.sleep(600)
        assert not sign.streams()
        assert not any(map(any, sign.current.dots)), "its owner had switched it off"
        sign.switch_on(village.outside.monotonic_ns())
        assert sign.current.dots == owners
        frames = sign.frames
        await village.restart()
        await asyncio.sleep(3600)
        assert sign.frames == frames, "once"

    village.run(story)


def test_not_even_an_emergency_touches_it_outside_its_time() -> None:
    village, sign = borrowed()

    async def story() -> None:
        assert not village.presenter.ours
        village.ask("Lũ quét", EMERGENCY, for_s=600)
        await asyncio.sleep(300)
        assert sign.frames == 0

    village.run(story)


def test_the_board_ends_it_by_itself_when_the_node_is_dead() -> None:
    village, sign = borrowed()

    async def story() -> None:
        village.post(item("a", "Bão số 9"), requisitions=(lease(village, 30),))
        await asyncio.sleep(60)
        assert sign.current.kind == "priority"
        village.serial.missing = True
        await asyncio.sleep(1900)
        sign.advance(village.outside.monotonic_ns())
        assert sign.current.kind != "priority"

    village.run(story)


def test_a_reboot_without_a_clock_leaves_a_running_alarm_on_a_lent_board() -> None:
    village, sign = borrowed()
    owners = sign.current.dots

    async def story() -> None:
        village.post(requisitions=(lease(village, 60),))
        await asyncio.sleep(5)
        village.ask("Lũ quét", EMERGENCY, for_s=3000)
        await asyncio.sleep(30)
        assert sign.current.kind == "priority"
        await village.restart(reboot=True)
        village.clock.lose()
        await asyncio.sleep(120)
        assert sign.current.dots != owners
        village.clock.sync(village.outside.utc_now())
        await asyncio.sleep(2 * 3600)
        assert sign.current.dots == owners

    village.run(story)


def test_an_alarm_that_was_taken_down_between_two_leases_does_not_come_back() -> None:
    village, sign = borrowed()

    async def story() -> None:
        village.post(requisitions=(lease(village, 10), lease(village, 10, begins=60)))
        await asyncio.sleep(5)
        await village.shown("Lũ quét", EMERGENCY, for_s=6 * 3600)
        await asyncio.sleep(1200)
        intent = BoardClear(
            id=OrderId("clear"),
            issuer=Issuer("xa"),
            precedence=EMERGENCY,
            deadline_ns=village.clock.monotonic_ns() + 3600 * NS,
        )
        ticket = Boards({"main": village.presenter}).clear(intent)
        if await ticket.granted():
            ticket.begin()
        async with asyncio.timeout(60):
            await ticket.ended()
        await asyncio.sleep(3600 - 1200)
        assert sign.current.kind != "priority"

    village.run(story)


def test_what_could_not_be_noted_is_noted_later() -> None:
    database = VirtualDatabase((SCHEMA,))

    async def story() -> None:
        held = Lease(board="main", database=database)
        database.fail("full")
        await held.take(found_dark=None)
        stale = held.stale
        assert stale
        await held.take(found_dark=None)
        assert not held.stale
        again = Lease(board="main", database=database)
        assert await again.read()
        assert (again.held, again.found_dark) == (True, None)
        await again.take(found_dark=True)
        third = Lease(board="main", database=database)
        assert await third.read()
        assert third.found_dark is True
        await third.end()
        assert await again.read()

    loop.run(story(), loop.Counter())
