"""A number counts once, whatever order numbers come in; what is too old to say counts as seen."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.command import replay
from edge_agent.command.replay import WIDTH, Seat, Window
from edge_agent.model import Issuer, ReasonCode

XA = Issuer("xa")


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as opened:
        opened.executescript(replay.SCHEMA)
        yield opened


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.lists(st.integers(0, 3 * WIDTH) | st.integers(0, 2**63 - 1), max_size=60))
def test_the_window_agrees_with_a_set_that_forgets_nothing(numbers: list[int]) -> None:
    window, seen = None, set[int]()
    for number in numbers:
        refused = window is not None and window.has(number)
        too_old = bool(seen) and number <= max(seen) - WIDTH
        assert refused == (number in seen or too_old)
        if not refused:
            window = Window(number) if window is None else window.with_(number)
            seen.add(number)
    if window is not None:
        assert window.seen < 1 << WIDTH
        assert window.highest == max(seen)


def test_numbers_may_come_out_of_order_within_the_window() -> None:
    window = Window(1000)
    for number in (999, 1000 - WIDTH + 1, 1001):
        assert not window.has(number)
        window = window.with_(number)
        assert window.has(number)
    assert window.has(1001 - WIDTH), "too old to say"
    assert not window.has(998)


def test_it_is_kept_for_each_key_of_each_issuer(connection: sqlite3.Connection) -> None:
    for seat in (Seat(XA, "k1", 7), Seat(XA, "k2", 9), Seat(Issuer("huyen"), "k1", 2**63 - 1)):
        assert replay.refusal(connection, seat) is None
        replay.take(connection, seat)
        refused = replay.refusal(connection, seat)
        assert refused is not None
        assert refused.code is ReasonCode.REPLAYED
        assert refused.text.endswith(".")
    assert replay.refusal(connection, Seat(XA, "k2", 7)) is None
    assert replay.newest(connection) == {"xa": 9, "huyen": 2**63 - 1}


def test_a_window_is_written_whole(connection: sqlite3.Connection) -> None:
    for number in (5, 3, 300, 299, 4):
        if replay.refusal(connection, Seat(XA, "k", number)) is None:
            replay.take(connection, Seat(XA, "k", number))
    assert [n for n in range(45, 301) if replay.refusal(connection, Seat(XA, "k", n)) is not None] == [
        299,
        300,
    ]
    assert all(replay.refusal(connection, Seat(XA, "k", n)) is not None for n in range(45))
