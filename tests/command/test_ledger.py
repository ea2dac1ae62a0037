"""The journal remembers, moves forward only, and forgets in time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import pytest

from edge_agent.command import ledger
from edge_agent.model import TERMINAL, Issuer, OrderState, Reason, ReasonCode
from tests.entries import START, an_entry, ident


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as opened:
        opened.executescript(ledger.SCHEMA)
        yield opened


def test_what_is_written_is_found_again(connection: sqlite3.Connection) -> None:
    refused = an_entry(
        2,
        state=OrderState.REJECTED,
        envelope=None,
        reason=Reason(ReasonCode.BUSY, "Too much."),
        result={"a": [1]},
        supersedes=ident(1),
        in_group=True,
    )
    for entry in (an_entry(1), refused):
        ledger.record(connection, entry)
        assert ledger.find(connection, entry.id) == entry
    assert ledger.find(connection, ident(3)) is None
    assert ledger.unfinished(connection) == [an_entry(1)]
    assert ledger.count(connection) == (1, 2)


def test_an_id_is_written_once(connection: sqlite3.Connection) -> None:
    ledger.record(connection, an_entry(1))
    with pytest.raises(sqlite3.IntegrityError):
        ledger.record(connection, an_entry(1, seq=9))


def test_states_only_move_forward(connection: sqlite3.Connection) -> None:
    ledger.record(connection, an_entry(1))
    assert ledger.advance(connection, ident(1), OrderState.WAITING, at_ns=11)
    assert ledger.advance(connection, ident(1), OrderState.EXECUTING, at_ns=12)
    assert not ledger.advance(connection, ident(1), OrderState.WAITING, at_ns=13)
    assert not ledger.advance(connection, ident(2), OrderState.WAITING, at_ns=13)


@pytest.mark.parametrize("end", sorted(TERMINAL))
def test_a_terminal_state_never_changes_and_lets_the_envelope_go(
    connection: sqlite3.Connection, end: OrderState
) -> None:
    ledger.record(connection, an_entry(1))
    assert ledger.advance(connection, ident(1), end, at_ns=11, result={"n": 1})
    for state in OrderState:
        if state is not OrderState.RECEIVED:
            assert not ledger.advance(connection, ident(1), state, at_ns=12)
    found = ledger.find(connection, ident(1))
    assert found is not None
    assert (found.state, found.envelope, found.result) == (end, None, {"n": 1})


def test_open_orders_come_back_in_the_order_of_arrival(connection: sqlite3.Connection) -> None:
    for number in (5, 1, 3):
        ledger.record(connection, an_entry(number))
    ledger.advance(connection, ident(1), OrderState.SUCCESSFUL, at_ns=11)
    assert [entry.id for entry in ledger.unfinished(connection)] == [ident(5), ident(3)]


def test_ids_are_forgotten_only_long_after_their_expiry(connection: sqlite3.Connection) -> None:
    done = {"state": OrderState.SUCCESSFUL, "envelope": None}
    ledger.record(connection, an_entry(1, **done))
    ledger.record(connection, an_entry(2, expires_at=START + timedelta(days=3), **done))
    ledger.record(connection, an_entry(3, expires_at=START - timedelta(days=900), **done))
    ledger.record(connection, an_entry(4))
    assert ledger.purge(connection, expired_before=START) == 0
    assert ledger.purge(connection, expired_before=START + timedelta(days=1)) == 2
    assert ledger.find(connection, ident(2)) is not None
    assert ledger.find(connection, ident(4)) is not None, "an open order is never forgotten"


def test_an_order_is_remembered_for_as_long_as_its_notice_may_be_shown(
    connection: sqlite3.Connection,
) -> None:
    ledger.record(connection, an_entry(1, verb="board_show"), ("k1",))
    ledger.advance(connection, ident(1), OrderState.SUCCESSFUL, at_ns=11)
    assert ledger.purge(connection, expired_before=START + timedelta(days=6)) == 0
    assert [one.kids for one in ledger.left_showing(connection)] == [("k1",)]
    assert ledger.purge(connection, expired_before=START + timedelta(days=8)) == 1


def test_a_notice_may_be_left_by_an_order_that_failed_or_that_nobody_signed(
    connection: sqlite3.Connection,
) -> None:
    for number, verb, state in (
        (1, "alert", OrderState.FAILED),
        (2, "alert", OrderState.CANCELLED),
        (3, "play", OrderState.SUCCESSFUL),
        (4, "board_show", OrderState.REJECTED),
    ):
        ledger.record(connection, an_entry(number, verb=verb))
        ledger.advance(connection, ident(number), state, at_ns=11)
    ledger.record(connection, an_entry(5, verb="alert"))
    assert [(one.id, one.kids) for one in ledger.left_showing(connection)] == [(ident(1), ()), (ident(2), ())]


def test_the_birth_tells_the_newest_order_of_each_issuer(connection: sqlite3.Connection) -> None:
    ledger.record(connection, an_entry(1, seq=5))
    ledger.record(connection, an_entry(2, seq=3))
    ledger.record(connection, an_entry(3, seq=9, state=OrderState.REJECTED, envelope=None))
    ledger.record(connection, an_entry(4, seq=1, issuer=Issuer("huyen")))
    assert ledger.newest_seq(connection) == {"xa": 5, "huyen": 1}
