"""A board that keeps its pictures in flash: written to rarely, never beyond its budget, and for emergencies all the same."""

from __future__ import annotations

import asyncio

import pytest

from edge_agent.board.wear import DAY_NS, Wear
from edge_agent.model import OrderState, Precedence, ReasonCode
from hal.sim import loop
from hal.sim.clock import VirtualClock
from hal.sim.sign import AlphaSign
from tests.board.conftest import Village, item

EMERGENCY = Precedence.EMERGENCY


def flash(most: int, *, answers: bool = True) -> Village:
    return Village(keeps_in_flash=True, flash_writes_a_day=most, answers=answers)


def pictures(village: Village) -> int:
    """Pictures that the sign was sent."""
    assert isinstance(village.sign, AlphaSign)
    return village.sign.pictures_written


def test_a_day_has_its_writes_and_an_emergency_needs_none_left() -> None:
    counter = loop.Counter()
    wear = Wear(clock=VirtualClock(counter), most=2)
    assert [wear.spend(urgent=False) for _ in range(3)] == [True, True, False]
    assert wear.spend(urgent=True)
    counter.ns += DAY_NS
    assert wear.spend(urgent=False)


def test_beyond_the_budget_an_order_fails_and_says_why_and_an_emergency_is_shown() -> None:
    village = flash(3)

    async def story() -> None:
        for text in ("Một", "Hai", "Ba"):
            await village.shown(text)
        ticket = village.ask("Bốn")
        finished = await ticket.ended()
        assert finished.state is OrderState.FAILED
        assert finished.asrun.reason is not None
        assert finished.asrun.reason.code is ReasonCode.GOVERNOR
        assert "flash_writes_a_day" in finished.asrun.reason.text
        await asyncio.sleep(3)
        assert village.presenter.state().text == "Ba"
        assert village.seen == (await village.dots("Ba"))[0], "what it holds is shown again, at once"
        await village.shown("Lũ quét", EMERGENCY, for_s=600)
        assert pictures(village) == 4
        assert village.presenter.health()[0] == "degraded"
        await asyncio.sleep(86_400)
        assert village.presenter.health()[0] == "ok", "another day"
        await village.shown("Năm")
        assert village.presenter.health()[0] == "ok"

    village.run(story)
    assert not village.violations()


@pytest.mark.parametrize("answers", [True, False])
def test_what_it_holds_is_not_sent_again(answers: bool) -> None:  # noqa: FBT001
    village = flash(50, answers=answers)

    async def story() -> None:
        village.post(item("a", "Họp"), item("b", "Xã"), item("c", "Chợ"))
        await asyncio.sleep(6 * 3600)
        assert pictures(village) == 3
        village.sign.power_cycle(village.outside.monotonic_ns(), keeps_memory=True)
        await asyncio.sleep(3600)
        assert pictures(village) == 3
        assert any(village.seen.cells)

    village.run(story)


def test_a_board_that_is_dark_for_its_budget_is_no_fault_and_does_not_spin() -> None:
    village = flash(1)

    async def story() -> None:
        village.post(item("a", "Chợ"))
        await asyncio.sleep(60)
        village.post(item("b", "Họp"))
        await asyncio.sleep(60)
        before = village.carried_bytes()
        await asyncio.sleep(6 * 3600)
        assert village.presenter.state().fault is None
        assert village.carried_bytes() - before < 30_000

    village.run(story)
    assert not village.violations()


def test_a_playlist_beyond_the_budget_goes_on_with_what_the_board_has() -> None:
    village = flash(2)
    seen: set[str] = set()

    async def story() -> None:
        village.post(item("a", "Họp"), item("b", "Xã"), item("c", "Chợ"))
        for _ in range(300):
            await asyncio.sleep(1)
            seen.add(village.presenter.state().text)
        assert pictures(village) == 2
        state, why = village.presenter.health()
        assert state == "degraded"
        assert any("flash" in one for one in why)

    village.run(story)
    assert {"Họp", "Xã"} <= seen
    assert not village.violations()
