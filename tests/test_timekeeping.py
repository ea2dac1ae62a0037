"""Several sources of time are weighed: steps are noticed, none is believed blindly, and each doubt ends."""

from __future__ import annotations

from edge_agent.model import NS
from edge_agent.timekeeping import CONFIRM_NS, STEP_NS, Timekeeper

T = 1_800_000_000 * NS
"""Wall time at boot."""
HOUR = 3600 * NS


def at(keeper: Timekeeper, s: int, *, off_s: float = 0, vouched: bool = True) -> None:
    keeper.take(now_ns=s * NS, wall_ns=T + s * NS + round(off_s * NS), vouched=vouched)


def test_a_vouched_clock_is_believed_and_followed_in_small_steps() -> None:
    keeper = Timekeeper()
    at(keeper, 10)
    assert keeper.offset_ns == T
    at(keeper, 60, off_s=90)
    assert keeper.offset_ns == T + 90 * NS
    assert keeper.vouched_now(60 * NS, by_system=True)


def test_a_date_that_somebody_sets_by_hand_changes_nothing() -> None:
    keeper = Timekeeper()
    at(keeper, 10)
    at(keeper, 100, off_s=-3600, vouched=False)
    assert keeper.offset_ns == T
    assert keeper.doubt is None
    assert keeper.vouched_at() == 10 * NS


def test_a_vouched_jump_is_in_doubt_for_eight_minutes() -> None:
    keeper = Timekeeper()
    at(keeper, 10)
    at(keeper, 100, off_s=3600)
    assert keeper.doubt is not None
    assert not keeper.vouched_now(100 * NS, by_system=True)
    at(keeper, 100 + CONFIRM_NS // NS - 1, off_s=3600)
    assert keeper.offset_ns == T
    at(keeper, 100 + CONFIRM_NS // NS, off_s=3600)
    assert keeper.offset_ns == T + HOUR


def test_a_jump_that_comes_back_ends_the_doubt_at_once() -> None:
    keeper = Timekeeper()
    at(keeper, 10)
    at(keeper, 100, off_s=3600)
    at(keeper, 101)
    assert keeper.offset_ns == T
    assert keeper.vouched_now(101 * NS, by_system=True)


def test_a_clock_that_keeps_jumping_is_never_believed() -> None:
    keeper = Timekeeper()
    at(keeper, 10)
    for n in range(1, 50):
        at(keeper, 10 + 300 * n, off_s=1000 * n)
    assert keeper.offset_ns == T
    assert keeper.doubt is not None


def test_the_server_s_word_settles_it() -> None:
    keeper = Timekeeper()
    at(keeper, 10)
    at(keeper, 100, off_s=3600)
    keeper.tell(now_ns=110 * NS, wall_ns=T + 110 * NS + HOUR)
    at(keeper, 111, off_s=3600)
    assert keeper.doubt is None
    assert keeper.offset_ns == T + HOUR


def test_a_time_service_that_contradicts_the_server_is_in_doubt() -> None:
    keeper = Timekeeper()
    keeper.tell(now_ns=5 * NS, wall_ns=T + 5 * NS)
    assert keeper.vouched_now(6 * NS, by_system=False)
    at(keeper, 10, off_s=300)
    assert keeper.doubt is not None
    assert keeper.offset_ns == T


def test_a_server_s_word_grows_old() -> None:
    keeper = Timekeeper()
    keeper.tell(now_ns=5 * NS, wall_ns=T + 5 * NS)
    assert not keeper.vouched_now(5 * NS + 2 * HOUR, by_system=False)
    assert keeper.vouched_at() == 5 * NS


def test_what_an_earlier_run_of_this_boot_knew_is_not_thrown_away() -> None:
    keeper = Timekeeper(offset_ns=T)
    at(keeper, 1000, off_s=STEP_NS // NS + 1)
    assert keeper.doubt is not None
    assert keeper.offset_ns == T
