"""Boards that refuse one thing or another, and pages, lines and lists that must not stand still: an emergency is shown, or its
order says why not; nothing spins.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, timedelta
from typing import Any

import pytest

from edge_agent.board.bill import Sources
from edge_agent.model import OrderState, Outcome, Precedence, ReasonCode
from edge_agent.playlist import FeedContent
from hal.sim.jetfile import JetfileSign
from tests.board.conftest import NOTHING_ELSE, Village, item

EMERGENCY = Precedence.EMERGENCY
ALARM = "Lũ quét"


class Stubborn(JetfileSign):
    """It refuses some commands with a code."""

    refused: dict[str, int]
    heard: Counter[str]

    def _obeyed(self, command: str, args: bytes, data: bytes, at_ns: int) -> int | bytes:
        self.heard[command] += 1
        if command in self.refused:
            return self.refused[command]
        return super()._obeyed(command, args, data, at_ns)


def stubborn(refused: dict[str, int], **more: Any) -> tuple[Village, Stubborn]:
    village = Village(protocol="jetfile", sign_address="0101", **more)
    village.sign.__class__ = Stubborn
    sign = village.sign
    assert isinstance(sign, Stubborn)
    sign.refused, sign.heard = refused, Counter()
    return village, sign


@pytest.mark.parametrize(
    ("refused", "more"),
    [({"020a": 0x9011}, {"brightness": ("00:00 80",)}), ({"0504": 0x5201}, {}), ({"0402": 0x9011}, {})],
    ids=["brightness", "clock", "switch"],
)
def test_what_an_emergency_does_not_need_does_not_keep_it_from_the_board(
    refused: dict[str, int], more: dict[str, Any]
) -> None:
    village, sign = stubborn(refused, **more)

    async def story() -> None:
        finished = await village.shown(ALARM, EMERGENCY, for_s=600)
        assert finished.state is OrderState.SUCCESSFUL
        assert sign.current.kind == "priority"
        assert village.presenter.state().fault is None

    village.run(story)


def test_a_board_that_stays_dark_is_given_the_emergency_all_the_same_and_says_so() -> None:
    village, sign = stubborn({"0402": 0x9011})

    async def story() -> None:
        await asyncio.sleep(5)
        sign.switch_off(village.outside.monotonic_ns())
        finished = await village.shown(ALARM, EMERGENCY, for_s=600)
        assert finished.state is OrderState.SUCCESSFUL
        assert sign.heard["0209"] >= 1
        state, why = village.presenter.health()
        assert state == "degraded"
        assert any("switched off" in one for one in why)
        before = sign.heard.total()
        await asyncio.sleep(300)
        assert sign.heard.total() - before < 60, "it does not spin"

    village.run(story)


@pytest.mark.parametrize(
    ("refused", "precedence"), [({"0209": 0x9008}, EMERGENCY), ({"0804": 0x8305}, Precedence.ROUTINE)]
)
def test_a_board_that_takes_nothing_is_a_fault_and_its_order_fails_soon(
    refused: dict[str, int], precedence: Precedence
) -> None:
    village, sign = stubborn(refused)

    async def story() -> None:
        await asyncio.sleep(5)
        async with asyncio.timeout(90):
            finished = await village.shown(ALARM, precedence, for_s=600)
        assert finished.state is OrderState.FAILED
        assert finished.asrun.reason is not None
        assert finished.asrun.reason.code is ReasonCode.HARDWARE_FAULT
        before = sign.heard.total()
        village.ask(ALARM, precedence, for_s=600)
        await asyncio.sleep(300)
        assert sign.heard.total() - before < 400, "it is tried less and less often"
        sign.refused = {}
        await asyncio.sleep(60)
        await village.shown(ALARM, precedence, for_s=600)
        assert village.presenter.state().fault is None

    village.run(story)


def test_the_run_sequence_is_said_again_with_the_page_that_was_not_understood() -> None:
    village = Village(own_digits=True, idle="clock")

    async def story() -> None:
        village.clock.sync(village.clock.utc_now())
        await asyncio.sleep(70)
        hears, spoilt = village.sign.feed, 0

        def feed(received: bytes, at_ns: int) -> bytes:
            nonlocal spoilt
            for what, instead in ((b"\x14", b"\x15"), (b".SU", b".SV")):
                if what in received and spoilt < 2 and b"A" in received:
                    spoilt += 1
                    received = received.replace(what, instead)
            return hears(received, at_ns)

        village.sign.feed = feed  # type: ignore[method-assign]
        finished = await village.shown("Họp thôn", for_s=1200)
        await asyncio.sleep(10)
        assert spoilt
        assert finished.asrun.outcome is Outcome.AIRED
        assert village.seen == (await village.dots("Họp thôn"))[0]

    village.run(story)


@pytest.mark.parametrize(("reassert_s", "seconds"), [(10, 15), (900, 1000)])
def test_an_item_that_stands_longer_than_an_audit_period_is_followed_by_the_next(
    reassert_s: int, seconds: int
) -> None:
    village = Village(reassert_s=reassert_s)
    seen: set[str] = set()

    async def story() -> None:
        village.post(item("a", "Họp", seconds=seconds), item("b", "Chợ"))
        for _ in range(3 * seconds):
            await asyncio.sleep(1)
            seen.add(village.presenter.state().text)

    village.run(story)
    assert {"Họp", "Chợ"} <= seen


def test_two_items_that_look_alike_have_their_turns_without_a_write_or_a_spin() -> None:
    village = Village()

    async def story() -> None:
        village.post(item("a", "Họp"), item("b", "Họp"))
        await asyncio.sleep(60)
        before = village.carried_bytes()
        await asyncio.sleep(300)
        assert village.carried_bytes() == before
        proofs = village.presenter.proofs(everything=True)
        assert {proof.asrun.outcome for proof in proofs} == {Outcome.AIRED}
        assert len(proofs) == 2

    village.run(story)


class Feed:
    """Headlines that a test has written."""

    def __init__(self, *lines: str) -> None:
        self._lines = lines

    def latest(self, _url: str, _keep_h: int, most: int) -> tuple[str, ...]:
        return self._lines[:most]


def fed(*lines: str, **settings: Any) -> Village:
    village = Village(**settings)
    village.sources = Sources(
        pictures=NOTHING_ELSE.pictures, headlines=Feed(*lines), celsius=NOTHING_ELSE.celsius, place=""
    )
    village.presenter = village._presenter()
    return village


def test_more_pages_than_the_board_has_slots_for_are_shown_page_by_page() -> None:
    village = fed(*(f"Tin số {number}" for number in range(6)), pages_max=1)  # four slots
    seen: list[str] = []

    async def story() -> None:
        village.post(item("f", FeedContent(url="http://x/", headlines=6)), item("b", "Chợ phiên"))
        for _ in range(300):
            await asyncio.sleep(1)
            text = village.presenter.state().text
            if not seen or seen[-1] != text:
                seen.append(text)

    village.run(story)
    assert seen.count("Chợ phiên") >= 3
    assert {f"Tin số {number}" for number in range(6)} <= set(seen)
    assert not village.violations()


def test_a_headline_that_cannot_be_drawn_costs_the_others_nothing() -> None:
    village = fed("Họp thôn", "Chúc mừng \U0001f389 năm mới", "Tiêm phòng")
    seen: set[str] = set()

    async def story() -> None:
        village.post(item("f", FeedContent(url="http://x/", headlines=3)))
        for _ in range(60):
            await asyncio.sleep(1)
            seen.add(village.presenter.state().text)

    village.run(story)
    assert {"Họp thôn", "Tiêm phòng"} <= seen
    assert not any("Chúc" in text for text in seen)


def test_an_emergency_of_the_list_ends_by_itself_when_the_node_is_dead() -> None:
    village = Village(protocol="jetfile")

    async def story() -> None:
        ends = village.clock.utc_now().astimezone(UTC) + timedelta(seconds=120)
        village.post(item("e", ALARM, precedence=EMERGENCY, ends=ends))
        await asyncio.sleep(60)
        assert village.sign.current.kind == "priority"
        village.serial.missing = True
        await asyncio.sleep(120)
        village.sign.advance(village.outside.monotonic_ns())
        assert village.sign.current.kind != "priority"

    village.run(story)


def test_a_missing_font_is_a_fault_with_a_remedy_and_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    village = Village(idle="clock", font="/nope.otf")

    async def story() -> None:
        village.clock.sync(village.clock.utc_now())
        await asyncio.sleep(120)
        state, why = village.presenter.health()
        assert state == "dark"
        assert "fonts-unifont" in why[0]

    village.run(story)
    assert "Traceback" not in caplog.text


def test_an_idle_page_that_does_not_fit_is_none_and_notices_are_shown() -> None:
    village = Village(idle="clock", columns=16)

    async def story() -> None:
        village.clock.sync(village.clock.utc_now())
        await asyncio.sleep(60)
        state, why = village.presenter.health()
        assert state == "degraded"
        assert why[0].startswith("idle: ")
        finished = await village.shown("A")
        assert finished.state is OrderState.SUCCESSFUL

    village.run(story)


def test_what_was_refused_once_is_tried_again() -> None:
    village, sign = stubborn({"020a": 0x9011, "0504": 0x5201}, brightness=("00:00 80",))

    async def story() -> None:
        village.clock.sync(village.clock.utc_now())
        await asyncio.sleep(60)
        assert village.presenter.health()[0] == "degraded"
        sign.refused = {}
        await asyncio.sleep(2 * 3600)
        (why,) = village.presenter.health()[1]
        assert "said again" in why, "and no longer that it cannot be dimmed"
        await asyncio.sleep(86_400)
        assert village.presenter.health() == ("ok", []), "yesterday's troubles are not today's"
        assert sign.brightness == pytest.approx(80, abs=4)
        assert sign.clock

    village.run(story)
