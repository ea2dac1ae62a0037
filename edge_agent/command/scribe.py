"""Writes what happens to an order: journal row, as-run entry and answer, inside one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import msgspec

from edge_agent.command import ledger, replay
from edge_agent.command.messages import CommandState, wire_reason
from edge_agent.command.topics import Topics
from edge_agent.model import (
    TERMINAL,
    AsRun,
    Issuer,
    OrderId,
    OrderState,
    Outcome,
    Reason,
    ReasonCode,
)
from edge_agent.report import asrun as asrun_log
from edge_agent.report import shelf
from edge_agent.report.asrun import Timebase

BUSY = Reason(
    ReasonCode.BUSY, "As many orders are under way as this node takes; send it again when some have ended."
)
FULL = Reason(
    ReasonCode.BUSY,
    "This node remembers as many orders as it can; send fewer, or send it again in some days.",
)
REPLACED = Reason(ReasonCode.SUPERSEDED, "Another order has taken this one's place; nothing was done.")


class Written(Enum):
    """What became of an order at the journal."""

    NEW = "new"
    KNOWN = "known"
    """It was there before; its stored state stands and was told again."""
    UNWRITTEN = "unwritten"
    """The journal is full: refused, and not remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How much the journal takes."""

    open_max: int
    rows_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scribe:
    """Where answers go, and one reading of the clocks; made anew for each transaction.

    Methods only touch the connection they are given: they may run on the database's thread.
    """

    topics: Topics
    timebase: Timebase

    def receive(
        self,
        connection: sqlite3.Connection,
        entry: ledger.Entry,
        room: Room,
        *,
        tell: bool,
        seat: replay.Seat | None = None,
        kids: Sequence[str] = (),
    ) -> tuple[Written, ledger.Entry]:
        """Journal an order that just came, unless its id is known; returns the entry that stands.

        What the transaction finds decides: a known id, then the replay window, then whose orders it
        takes the place of, then capacity. `tell` says whether a repetition is answered, too (they are
        limited, so that nobody fills the outbox). Only an order that is written takes its seat. `kids`
        are the keys that signed it.
        """
        known = ledger.find(connection, entry.id)
        if known is not None:
            if tell:
                self.tell(connection, known)
            return Written.KNOWN, known
        replayed = None if seat is None else replay.refusal(connection, seat)
        if replayed is not None:
            entry = _closed(entry, OrderState.REJECTED, replayed)
        open_orders, remembered = ledger.count(connection)
        if remembered >= room.rows_max:
            refused = _closed(entry, OrderState.REJECTED, FULL)
            if tell:
                self.tell(connection, refused)
            return Written.UNWRITTEN, refused
        if entry.state is not OrderState.REJECTED:
            entry = _among_others(connection, entry, busy=open_orders >= room.open_max)
        if seat is not None and replayed is None:
            replay.take(connection, seat)
        ledger.record(connection, entry, kids)
        self.tell(connection, entry)
        if entry.state in {OrderState.REJECTED, OrderState.SUPERSEDED}:
            self._log(connection, entry, AsRun(outcome=Outcome.REFUSED, reason=entry.reason))
        return Written.NEW, entry

    def advance(
        self,
        connection: sqlite3.Connection,
        entry: ledger.Entry,
        state: OrderState,
        progress: str | None = None,
    ) -> bool:
        """An open order goes on. False when it was further on already."""
        assert state not in TERMINAL
        moved = ledger.advance(connection, entry.id, state, at_ns=self.timebase.monotonic_ns)
        if moved or state is OrderState.WAITING:
            self._put(connection, self.answer(entry.id, entry.issuer, state, progress=progress))
        return moved

    def close(
        self,
        connection: sqlite3.Connection,
        entry: ledger.Entry,
        state: OrderState,
        asrun: AsRun,
        result: dict[str, Any] | None = None,
    ) -> bool:
        """An open order ends. False, and nothing is written, when it had ended before."""
        assert state in TERMINAL
        moved = ledger.advance(
            connection, entry.id, state, at_ns=self.timebase.monotonic_ns, reason=asrun.reason, result=result
        )
        if moved:
            self._put(
                connection, self.answer(entry.id, entry.issuer, state, reason=asrun.reason, result=result)
            )
            self._log(connection, entry, asrun)
        return moved

    def recall(self, connection: sqlite3.Connection, order: OrderId) -> ledger.Entry | None:
        """Answer with what became of an id, if it is known; nothing is written about one that is not."""
        known = ledger.find(connection, order)
        if known is not None:
            self.tell(connection, known)
        return known

    def tell(self, connection: sqlite3.Connection, entry: ledger.Entry) -> None:
        """Answer with the state that stands."""
        self._put(
            connection,
            self.answer(entry.id, entry.issuer, entry.state, reason=entry.reason, result=entry.result),
        )

    def answer(
        self,
        order: OrderId,
        issuer: Issuer,
        state: OrderState,
        *,
        reason: Reason | None = None,
        progress: str | None = None,
        result: dict[str, Any] | None = None,
    ) -> bytes:
        """One line for `up/cmd`."""
        return msgspec.json.encode(
            CommandState(
                id=order,
                issuer=issuer,
                state=state,
                reason=wire_reason(reason),
                progress=progress,
                result=result,
                mono=self.timebase.monotonic_ns // 1_000_000,
                wall=self.timebase.wall(self.timebase.monotonic_ns),
                clock=self.timebase.quality,
            )
        )

    def _put(self, connection: sqlite3.Connection, payload: bytes) -> None:
        shelf.put(connection, topic=self.topics.up("cmd"), payload=payload, kind="state")

    def _log(self, connection: sqlite3.Connection, entry: ledger.Entry, asrun: AsRun) -> None:
        asrun_log.record(
            connection,
            order_id=entry.id,
            issuer=entry.issuer,
            verb=entry.verb,
            precedence=entry.precedence,
            asrun=asrun,
            timebase=self.timebase,
            topic=self.topics.up("report"),
            planned_ns=entry.received_ns if entry.boot == self.timebase.boot else None,
        )


def _among_others(connection: sqlite3.Connection, entry: ledger.Entry, *, busy: bool) -> ledger.Entry:
    """What an order's successor, its forerunner and the number of open orders make of it."""
    older = None if entry.supersedes is None else ledger.find(connection, entry.supersedes)
    if older is not None and older.issuer != entry.issuer:
        return _closed(entry, OrderState.REJECTED, _foreign(older))
    if ledger.superseded(connection, entry.id, entry.issuer):
        return _closed(entry, OrderState.SUPERSEDED, REPLACED)
    return _closed(entry, OrderState.REJECTED, BUSY) if busy else entry


def _closed(entry: ledger.Entry, state: OrderState, reason: Reason) -> ledger.Entry:
    supersedes = None if state is OrderState.REJECTED else entry.supersedes
    return replace(entry, state=state, reason=reason, result=None, envelope=None, supersedes=supersedes)


def _foreign(older: ledger.Entry) -> Reason:
    return Reason(
        ReasonCode.OUT_OF_SCOPE,
        f"Order {older.id} is one of {older.issuer}; only its issuer may replace it. Others may send a stop.",
    )
