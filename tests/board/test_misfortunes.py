"""What a restart, a power cut, a broken line or a stranger's hand does to the board, and what it must not do."""

from __future__ import annotations

import asyncio

import pytest

from edge_agent.model import OrderState, Precedence, ReasonCode
from tests.board.conftest import NOTICE, Village, as_dots, reason_of

ROUTINE, PRIORITY, EMERGENCY = Precedence.ROUTINE, Precedence.PRIORITY, Precedence.EMERGENCY
SHORT = "Họp lúc 19h"
OTHER = "Nghỉ họp"
ALARM = "Lũ quét! Lên cao!"


# ---------------------------------------------------------------- restarts


def test_an_emergency_survives_a_restart_of_the_agent(village: Village) -> None:
    async def story() -> None:
        await village.shown(ALARM, EMERGENCY, for_s=600)
        await village.restart()
        await asyncio.sleep(20)
        assert village.presenter.state().precedence is EMERGENCY
        assert village.kind() == "priority"
        await asyncio.sleep(600)
        assert village.kind() == "blank"
        assert not village.violations(), "its memory was not erased under the alert"

    village.run(story)


def test_a_full_database_is_told_in_one_line_and_made_up_for(
    village: Village, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        await village.shown(OTHER, PRIORITY)
        village.database.fail("full", times=1_000)
        for _ in range(5):
            assert (await village.shown(SHORT)).state is OrderState.SUCCESSFUL
        await village.clear().ended()
        village.database.mend()
        await village.shown("Lũ về", PRIORITY)
        await village.restart()
        await asyncio.sleep(20)
        assert village.presenter.state().text == "Lũ về", "what was cleared meanwhile does not come again"
        assert len(village.database.rows("SELECT 1 FROM board_notices")) == 1

    with caplog.at_level("INFO", logger="edge_agent.board"):
        village.run(story)
    lines = [(record.levelname, record.exc_info) for record in caplog.records if "tored" in record.message]
    assert lines == [("WARNING", None), ("INFO", None)]


def test_a_notice_survives_a_reboot_by_wall_time(village: Village) -> None:
    async def story() -> None:
        await village.shown(SHORT, for_s=600)
        village.sign.power_cycle(village.outside.monotonic_ns())
        await village.restart(reboot=True, dark_s=300)
        await asyncio.sleep(30)
        assert village.kind() == "run"
        await asyncio.sleep(280)
        assert village.kind() == "blank", "the dark time counts"

    village.run(story)


def test_a_reboot_without_a_clock_shows_it_no_longer_than_what_was_left(village: Village) -> None:
    async def story() -> None:
        await village.shown(SHORT, for_s=600)
        village.clock.lose()
        await village.restart(reboot=True, dark_s=300)
        await asyncio.sleep(550)
        assert village.kind() == "run"
        await asyncio.sleep(50)
        assert village.kind() == "blank"

    village.run(story)


def test_a_clock_set_after_the_reboot_brings_the_end_forward(village: Village) -> None:
    async def story() -> None:
        right = village.clock.utc_now()
        await village.shown(SHORT, for_s=600)
        village.clock.lose()
        await village.restart(reboot=True, dark_s=300)
        await asyncio.sleep(30)
        village.clock.sync(right.replace(hour=right.hour + 1))
        await village.shown(OTHER, PRIORITY, for_s=5)
        await asyncio.sleep(10)
        assert village.kind() == "blank"

    village.run(story)


def test_a_notice_cleared_or_over_does_not_come_back(village: Village) -> None:
    async def story() -> None:
        await village.shown(SHORT, for_s=600)
        await village.clear().ended()
        await village.restart()
        await asyncio.sleep(20)
        assert village.kind() == "blank"

    village.run(story)


def test_an_order_interrupted_by_a_stop_leaves_nothing_behind(village: Village) -> None:
    async def story() -> None:
        await asyncio.sleep(20)
        ticket = village.ask(NOTICE)
        await asyncio.sleep(3)
        await village.restart()
        assert (await ticket.ended()).state is OrderState.INTERRUPTED
        await asyncio.sleep(20)
        assert village.kind() == "blank"

    village.run(story)


# ---------------------------------------------------------------- faults


def test_a_missing_board_fails_the_order_within_its_limit_and_nothing_comes_later(village: Village) -> None:
    async def story() -> None:
        village.serial.missing = True
        began_ns = village.clock.monotonic_ns()
        finished = await village.shown(SHORT)
        assert finished.state is OrderState.FAILED
        assert reason_of(finished)[0] is ReasonCode.HARDWARE_FAULT
        assert (village.clock.monotonic_ns() - began_ns) / 1e9 < 45
        assert village.presenter.state().fault is not None
        village.serial.missing = False
        await asyncio.sleep(60)
        assert village.presenter.state().fault is None
        assert village.kind() == "blank", "an order reported failed is not half done"

    village.run(story)


def test_a_silent_board_fails_the_order_with_a_remedy(village: Village) -> None:
    async def story() -> None:
        village.sign.silent = True
        finished = await village.shown(SHORT)
        assert finished.state is OrderState.FAILED
        assert "board.answers = false" in reason_of(finished)[1]

    village.run(story)


def test_a_failed_order_leaves_the_earlier_notice_of_its_class(village: Village) -> None:
    async def story() -> None:
        await village.shown(SHORT)
        village.serial.missing = True
        assert (await village.shown(OTHER)).state is OrderState.FAILED
        village.serial.missing = False
        await asyncio.sleep(60)
        (short,) = await village.dots(SHORT)
        assert village.seen == short

    village.run(story)


def test_a_board_that_comes_back_in_time_succeeds(village: Village) -> None:
    async def story() -> None:
        village.serial.missing = True
        ticket = village.ask(SHORT)
        await asyncio.sleep(15)
        village.serial.missing = False
        assert (await ticket.ended()).state is OrderState.SUCCESSFUL

    village.run(story)


def test_clear_fails_when_the_board_is_away_but_the_notice_does_not_come_back(village: Village) -> None:
    async def story() -> None:
        await village.shown(SHORT)
        village.serial.missing = True
        finished = await village.clear().ended()
        assert finished.state is OrderState.FAILED
        assert "will vanish" in reason_of(finished)[1]
        village.serial.missing = False
        await asyncio.sleep(60)
        assert village.kind() == "blank"

    village.run(story)


def test_a_board_that_forgot_everything_is_healed_at_its_next_page(village: Village) -> None:
    async def story() -> None:
        pages = await village.dots(NOTICE)
        await village.shown(NOTICE)
        village.sign.power_cycle(village.outside.monotonic_ns())
        await asyncio.sleep(40)
        assert village.seen in pages

    village.run(story)


def test_a_single_page_is_healed_at_the_next_check(village: Village) -> None:
    async def story() -> None:
        await village.shown(SHORT)
        village.sign.power_cycle(village.outside.monotonic_ns())
        await asyncio.sleep(900 + 20)
        (short,) = await village.dots(SHORT)
        assert village.seen == short

    village.run(story)


def test_what_a_stranger_wrote_is_gone_at_the_next_check(village: Village) -> None:
    async def story() -> None:
        await village.shown(SHORT)
        await asyncio.sleep(5)
        village.sign.foreign(village.outside.monotonic_ns(), b"SALE")
        await asyncio.sleep(900 + 20)
        (short,) = await village.dots(SHORT)
        assert village.seen == short

    village.run(story)


def test_bytes_lost_on_the_line_are_sent_again(village: Village) -> None:
    async def story() -> None:
        await asyncio.sleep(20)
        village.sign.drop_every = 2500
        finished = await village.shown(NOTICE)
        assert finished.state is OrderState.SUCCESSFUL
        village.sign.drop_every = 0
        pages = await village.dots(NOTICE)
        await asyncio.sleep(3)
        first = len(village.sign.shown)
        await asyncio.sleep(30)
        assert {as_dots(shown.dots) for shown in list(village.sign.shown)[first:]} == set(pages)

    village.run(story)


def test_foreign_bytes_between_the_replies_change_nothing(village: Village) -> None:
    async def story() -> None:
        village.sign.noise = b"\x00\xff\x01Z00\x02garbage\x04]_"
        finished = await village.shown(NOTICE)
        assert finished.state is OrderState.SUCCESSFUL
        assert not village.violations()

    village.run(story)


def test_a_board_without_a_way_back_is_served_all_the_same(village_with: type[Village]) -> None:
    village = village_with(answers=False)
    village.sign.silent = True

    async def story() -> None:
        pages = await village.dots(NOTICE)
        finished = await village.shown(NOTICE)
        assert (finished.state, finished.asrun.proof) == (OrderState.SUCCESSFUL, 1)
        village.sign.power_cycle(village.outside.monotonic_ns())
        await asyncio.sleep(900 + 60)
        assert village.seen in pages, "set up anew at the check, because it cannot be asked"
        await village.shown(ALARM, EMERGENCY)
        await asyncio.sleep(2000)
        assert village.kind() == "priority"
        assert "erase_in_alert" not in {one.kind for one in village.sign.violations}

    village.run(story)


def test_a_broken_database_does_not_darken_the_board(village: Village) -> None:
    async def story() -> None:
        await asyncio.sleep(20)
        village.database.fail("io", times=100)
        finished = await village.shown(SHORT)
        assert finished.state is OrderState.SUCCESSFUL

    village.run(story)
