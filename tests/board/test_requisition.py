"""Somebody else's board, lent for a signed time: used then, never otherwise, and handed back as it was found."""

from __future__ import annotations

import asyncio
from datetime import UTC, timedelta

import pytest

from edge_agent.model import Precedence
from edge_agent.playlist import Requisition
from hal.sim.jetfile import JetfileSign
from tests.board.conftest import Village, item

ROUTINE, EMERGENCY = Precedence.ROUTINE, Precedence.EMERGENCY


def lease(village: Village, minutes: int, *, begins: int = 0) -> Requisition:
    now = village.clock.utc_now().astimezone(UTC)
    return Requisition(
        boards=frozenset({"main"}),
        begins=now + timedelta(minutes=begins),
        ends=now + timedelta(minutes=begins + minutes),
    )


def test_a_requisitioned_board_is_used_in_its_time_and_handed_back_as_it_was_found() -> None:
    village = Village(protocol="jetfile", requisitioned=True)
    sign = village.sign
    assert isinstance(sign, JetfileSign)
    sign.owner_plays(0, b"SALE")
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
    village = Village(protocol="jetfile", requisitioned=True)
    sign = village.sign
    assert isinstance(sign, JetfileSign)
    sign.owner_plays(0, b"SALE")
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
    village = Village(protocol="jetfile")
    sign = village.sign
    assert isinstance(sign, JetfileSign)

    async def story() -> None:
        village.ask("Lũ quét", precedence, for_s=7200)
        await asyncio.sleep(60)
        sign.switch_off(village.outside.monotonic_ns())
        await asyncio.sleep(90 if precedence is EMERGENCY else 960)
        assert sign.current.kind == ("priority" if precedence is EMERGENCY else "run")
        assert village.presenter.health() == ("ok", [])

    village.run(story)


def test_an_emergency_lights_a_board_that_was_switched_off_at_once() -> None:
    village = Village(protocol="jetfile")
    sign = village.sign
    assert isinstance(sign, JetfileSign)

    async def story() -> None:
        await asyncio.sleep(60)
        sign.switch_off(village.outside.monotonic_ns())
        village.ask("Lũ quét", EMERGENCY, for_s=600)
        await asyncio.sleep(3)
        assert sign.current.kind == "priority"

    village.run(story)


@pytest.mark.parametrize("how", ["nothing to show", "dead at its end"])
def test_a_lent_board_is_handed_back_whatever_happened_meanwhile(how: str) -> None:
    village = Village(protocol="jetfile", requisitioned=True)
    sign = village.sign
    assert isinstance(sign, JetfileSign)
    sign.owner_plays(0, b"SALE")
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
    village = Village(protocol="jetfile", requisitioned=True)
    sign = village.sign
    assert isinstance(sign, JetfileSign)

    async def story() -> None:
        assert not village.presenter.ours
        village.ask("Lũ quét", EMERGENCY, for_s=600)
        await asyncio.sleep(300)
        assert sign.frames == 0

    village.run(story)


def test_the_board_ends_it_by_itself_when_the_node_is_dead() -> None:
    village = Village(protocol="jetfile", requisitioned=True)
    sign = village.sign
    assert isinstance(sign, JetfileSign)
    sign.owner_plays(0, b"SALE")

    async def story() -> None:
        village.post(item("a", "Bão số 9"), requisitions=(lease(village, 30),))
        await asyncio.sleep(60)
        assert sign.current.kind == "priority"
        village.serial.missing = True
        await asyncio.sleep(1900)
        sign.advance(village.outside.monotonic_ns())
        assert sign.current.kind != "priority"

    village.run(story)
