"""What the village sees, and what the order is told: in virtual time, on an emulated sign."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from edge_agent.board.desk import CLEARS_MAX
from edge_agent.board.presenter import Presenter
from edge_agent.errors import Refused, TextRefused
from edge_agent.model import OrderState, Outcome, Precedence, ReasonCode
from hal.sim.sign import AlphaSign
from tests.board.conftest import NOTICE, Village, as_dots, reason_of

ROUTINE, PRIORITY, EMERGENCY = Precedence.ROUTINE, Precedence.PRIORITY, Precedence.EMERGENCY
SHORT = "Họp lúc 19h"
OTHER = "Nghỉ họp"
ALARM = "Lũ quét! Lên cao!"


def frames_of(village: Village) -> int:
    """Frames that the sign has carried out."""
    assert isinstance(village.sign, AlphaSign)
    return village.sign.frames


def test_a_notice_is_shown_page_by_page_and_reported(village: Village) -> None:
    async def story() -> None:
        pages = await village.dots(NOTICE)
        finished = await village.shown(NOTICE)
        assert finished.state is OrderState.SUCCESSFUL
        assert (finished.asrun.outcome, finished.asrun.pages, finished.asrun.proof) == (Outcome.AIRED, 5, 2)
        await asyncio.sleep(60)
        sights = [as_dots(shown.dots) for shown in village.sign.shown if shown.lit]
        assert sights[:10] == pages * 2, "the pages in order, and again"
        times = [shown.at_ns for shown in village.sign.shown if shown.lit]
        dwells = [(later - earlier) / 1e9 for earlier, later in itertools.pairwise(times)]
        assert all(3.0 <= dwell < 5.5 for dwell in dwells[:4]), (
            f"the first round waits for the line: {dwells}"
        )
        assert all(3.0 <= dwell < 3.6 for dwell in dwells[4:]), dwells
        assert not village.violations()

    village.run(story)


def test_the_first_page_stands_before_the_others_are_sent(village: Village) -> None:
    async def story() -> None:
        await asyncio.sleep(20)
        asked_ns = village.outside.monotonic_ns()
        await village.shown(NOTICE)
        first = next(shown for shown in village.sign.shown if shown.lit)
        assert (first.at_ns - asked_ns) / 1e9 < 3

    village.run(story)


def test_a_notice_goes_when_its_time_is_over(village: Village) -> None:
    async def story() -> None:
        await village.shown(SHORT, for_s=60)
        await asyncio.sleep(40)
        assert village.kind() == "run"
        await asyncio.sleep(10)
        assert village.kind() == "blank"
        assert village.presenter.state().order is None

    village.run(story)


def test_a_page_that_stands_alone_is_not_written_again(village: Village) -> None:
    async def story() -> None:
        await village.shown(SHORT)
        await asyncio.sleep(1)
        frames = frames_of(village)
        await asyncio.sleep(600)
        assert frames_of(village) == frames

    village.run(story)


def test_an_emergency_takes_over_and_hands_back(village: Village) -> None:
    async def story() -> None:
        await village.shown(SHORT)
        below = village.seen
        finished = await village.shown(ALARM, EMERGENCY, for_s=60)
        assert finished.state is OrderState.SUCCESSFUL
        assert village.kind() == "priority"
        await asyncio.sleep(60)
        assert village.kind() == "run"
        assert village.seen == below
        assert not village.violations()

    village.run(story)


def test_a_routine_notice_waits_while_an_emergency_stands(village: Village) -> None:
    async def story() -> None:
        await village.shown(ALARM, EMERGENCY, for_s=60)
        ticket = village.ask(SHORT)
        await asyncio.sleep(30)
        assert ticket.finished is None
        assert village.kind() == "priority"
        finished = await ticket.ended()
        assert finished.state is OrderState.SUCCESSFUL
        assert village.kind() == "run"

    village.run(story)


def test_a_notice_whose_beginning_is_too_late_expires_unseen(village: Village) -> None:
    async def story() -> None:
        await village.shown(ALARM, EMERGENCY, for_s=600)
        finished = await village.shown(SHORT, begin_within_s=20)
        assert finished.state is OrderState.EXPIRED
        assert (finished.asrun.outcome, finished.asrun.pages) == (Outcome.MISSED, 0)

    village.run(story)


def test_the_latest_notice_of_a_class_takes_the_place_of_the_earlier(village: Village) -> None:
    async def story() -> None:
        (other,) = await village.dots(OTHER)
        await village.shown(SHORT)
        await village.shown(OTHER, for_s=60)
        await asyncio.sleep(1)
        assert village.seen == other
        await asyncio.sleep(60)
        assert village.kind() == "blank", "the earlier one does not come back"

    village.run(story)


def test_a_notice_replaced_while_it_waits_is_superseded(village: Village) -> None:
    async def story() -> None:
        await village.shown(ALARM, EMERGENCY, for_s=60)
        first, second = village.ask(SHORT), village.ask(OTHER)
        finished = await first.ended()
        assert finished.state is OrderState.SUPERSEDED
        assert reason_of(finished)[0] is ReasonCode.SUPERSEDED
        assert (await second.ended()).state is OrderState.SUCCESSFUL

    village.run(story)


def test_an_emergency_breaks_into_a_notice_on_its_way(village: Village) -> None:
    async def story() -> None:
        await asyncio.sleep(20)
        ticket = village.ask(NOTICE)
        await asyncio.sleep(4)
        await village.shown(ALARM, EMERGENCY, for_s=30)
        assert ticket.finished is None
        finished = await ticket.ended()
        assert finished.state is OrderState.SUCCESSFUL
        assert finished.asrun.preempted_count == 1

    village.run(story)


def test_clear_takes_down_one_notice_or_a_class_and_below(village: Village) -> None:
    async def story() -> None:
        await village.shown(SHORT)
        priority = village.ask(OTHER, PRIORITY)
        await priority.ended()
        cleared = await village.clear(target=priority.intent.id).ended()
        assert cleared.state is OrderState.SUCCESSFUL
        assert cleared.result == {"cleared": [priority.intent.id]}
        (short,) = await village.dots(SHORT)
        assert village.seen == short
        await village.clear(ROUTINE).ended()
        assert village.kind() == "blank"

    village.run(story)


def test_clear_of_a_lower_class_leaves_the_higher(village: Village) -> None:
    async def story() -> None:
        await village.shown(ALARM, EMERGENCY)
        assert (await village.clear(PRIORITY).ended()).result == {"cleared": []}
        assert village.kind() == "priority"

    village.run(story)


def test_clear_ends_a_notice_that_still_waits(village: Village) -> None:
    async def story() -> None:
        await village.shown(ALARM, EMERGENCY)
        ticket = village.ask(SHORT)
        village.clear(ROUTINE)
        finished = await ticket.ended()
        assert finished.state is OrderState.CANCELLED

    village.run(story)


def test_too_many_clears_are_refused(village: Village) -> None:
    async def story() -> None:
        for _ in range(CLEARS_MAX):
            village.clear()
        with pytest.raises(Refused, match="busy"):
            village.clear()

    village.run(story)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("😀 vui", r"U\+1F600"),
        ("a" * 40, "wider than the board"),
        ("họp thôn " * 40, "pages"),
        ("█" * 10, "would light 83 %"),
    ],
)
def test_a_text_that_cannot_be_drawn_is_rejected_and_never_begun(
    village: Village, text: str, named: str
) -> None:
    async def story() -> None:
        with pytest.raises(TextRefused, match=named):
            await village.presenter.vet(village.intent(text))
        ticket = village.ask(text)
        assert not await ticket.granted()
        finished = await ticket.ended()
        assert finished.state is OrderState.REJECTED
        assert finished.asrun.outcome is Outcome.REFUSED
        assert reason_of(finished)[0] is ReasonCode.BAD_ARGS

    village.run(story)


def test_a_misspelt_text_is_refused_at_once(village: Village) -> None:
    async def story() -> None:
        with pytest.raises(TextRefused, match="TCVN3"):
            village.ask("Th«ng b¸o häp d©n")

    village.run(story)


def test_an_asker_who_never_begins_shows_nothing(village: Village) -> None:
    async def story() -> None:
        ticket = village.presenter.show(village.intent(SHORT))
        finished = await ticket.ended()
        assert finished.state is OrderState.FAILED
        assert village.kind() == "blank"

    village.run(story)


# ---------------------------------------------------------------- long


def test_a_week_of_one_notice_passes_quickly(village: Village) -> None:
    async def story() -> None:
        await village.shown(SHORT, for_s=7 * 86_400)
        await asyncio.sleep(7 * 86_400 - 60)
        (short,) = await village.dots(SHORT)
        assert village.seen == short

    village.run(story)


def test_its_state_can_be_asked_at_any_time(village: Village) -> None:
    async def story() -> None:
        assert isinstance(village.presenter, Presenter)
        assert village.presenter.state().pages == 0
        await village.shown(NOTICE)
        state = village.presenter.state()
        assert (state.order, state.pages, state.fault) == ("order-1", 5, None)
        assert state.text in NOTICE
        assert state.picture == village.seen

    village.run(story)
