"""The durable journal of orders: what came, how far it got, and that it never happens twice.

Functions over a connection, so that whoever calls puts the order's step, its as-run entry and
its report into one transaction. An order is written here before it is acknowledged to the broker,
and `executing` is written before anything sounds. A terminal state never changes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from edge_agent.command.messages import NOTICE_TTL_S_MAX, moment_of, seconds_of
from edge_agent.model import (
    TERMINAL,
    Issuer,
    OrderId,
    OrderState,
    Precedence,
    Reason,
    ReasonCode,
)

SCHEMA = """
CREATE TABLE IF NOT EXISTS ledger (
    number      INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,
    issuer      TEXT NOT NULL,
    verb        TEXT NOT NULL,
    class       INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    expires     REAL NOT NULL,
    supersedes  TEXT,
    in_group    INTEGER NOT NULL,
    envelope    BLOB,
    state       TEXT NOT NULL,
    reason_code TEXT,
    reason_text TEXT,
    result      TEXT,
    boot        TEXT NOT NULL,
    received_ns INTEGER NOT NULL,
    received    REAL NOT NULL,
    deadline_ns INTEGER NOT NULL,
    changed_ns  INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS ledger_open ON ledger (number) WHERE envelope IS NOT NULL;
CREATE INDEX IF NOT EXISTS ledger_expires ON ledger (expires);
CREATE INDEX IF NOT EXISTS ledger_supersedes ON ledger (supersedes) WHERE supersedes IS NOT NULL;
CREATE TABLE IF NOT EXISTS signed (
    id   TEXT PRIMARY KEY,
    kids TEXT NOT NULL                   -- the keys whose signatures held, with spaces between
) WITHOUT ROWID;
"""
"""`envelope` is kept only while the order is open: what is open is exactly what has one."""

SHOWING = ("board_show", "alert")
"""The verbs whose orders end while what they ordered is still to be seen."""
_SHOWING = msgspec.json.encode(SHOWING).decode()

_ORDER_OF_STATES = (
    OrderState.RECEIVED,
    OrderState.ACCEPTED,
    OrderState.WAITING,
    OrderState.EXECUTING,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One order in the journal. `seq` and dates are the issuer's; `*_ns` are CLOCK_BOOTTIME of boot `boot`."""

    id: OrderId
    issuer: Issuer
    verb: str
    precedence: Precedence
    seq: int
    expires_at: datetime
    supersedes: OrderId | None
    in_group: bool
    """It came on a group's topic, so its answers are spread over time."""
    envelope: bytes | None
    """As it came; None once the order is closed."""
    state: OrderState
    reason: Reason | None
    result: dict[str, Any] | None
    boot: str
    received_ns: int
    received_at: datetime
    deadline_ns: int
    changed_ns: int


@dataclass(frozen=True, slots=True)
class Signed:
    """Whose order it was, and which keys signed it."""

    id: OrderId
    issuer: Issuer
    precedence: Precedence
    kids: tuple[str, ...]


_COLUMNS = (
    "id, issuer, verb, class, seq, expires, supersedes, in_group, envelope, state, reason_code,"
    " reason_text, result, boot, received_ns, received, deadline_ns, changed_ns"
)


def find(connection: sqlite3.Connection, order: OrderId) -> Entry | None:
    """The order of this id, or None when it was never written."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM ledger WHERE id = ?", (order,)).fetchone()  # noqa: S608 - constant
    return None if row is None else _entry(row)


def superseded(connection: sqlite3.Connection, order: OrderId, issuer: Issuer) -> bool:
    """Whether another order of its issuer that was accepted takes this one's place, be it older or younger."""
    found = connection.execute(
        "SELECT 1 FROM ledger WHERE supersedes = ? AND issuer = ?", (order, issuer)
    ).fetchone()
    return found is not None


def record(connection: sqlite3.Connection, entry: Entry, kids: Sequence[str] = ()) -> None:
    """Write an order for the first time. An open one carries its envelope, a closed one does not."""
    assert (entry.envelope is None) == (entry.state in TERMINAL), "open orders keep their envelope"
    connection.execute(
        f"INSERT INTO ledger ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",  # noqa: S608 - constant
        (
            entry.id,
            entry.issuer,
            entry.verb,
            int(entry.precedence),
            entry.seq,
            seconds_of(entry.expires_at),
            entry.supersedes,
            entry.in_group,
            entry.envelope,
            entry.state,
            None if entry.reason is None else entry.reason.code,
            None if entry.reason is None else entry.reason.text,
            _text(entry.result),
            entry.boot,
            entry.received_ns,
            seconds_of(entry.received_at),
            entry.deadline_ns,
            entry.changed_ns,
        ),
    )

    if kids and entry.envelope is not None:
        connection.execute("INSERT INTO signed VALUES (?, ?)", (entry.id, " ".join(kids)))


def left_showing(connection: sqlite3.Connection) -> list[Signed]:
    """The closed orders whose notices may still be shown, however they ended: an alert whose sound failed
    or was stopped has one, too. Without keys: it was taken unsigned."""
    rows = connection.execute(
        "SELECT ledger.id, issuer, class, coalesce(kids, '') FROM ledger LEFT JOIN signed USING (id)"
        " WHERE envelope IS NULL AND state <> ? AND verb IN (SELECT value FROM json_each(?))",
        (OrderState.REJECTED, _SHOWING),
    )
    return [
        Signed(OrderId(ident), Issuer(issuer), Precedence(klass), tuple(kids.split()))
        for ident, issuer, klass, kids in rows
    ]


def advance(
    connection: sqlite3.Connection,
    order: OrderId,
    state: OrderState,
    *,
    at_ns: int,
    reason: Reason | None = None,
    result: dict[str, Any] | None = None,
) -> bool:
    """Move an open order on. False, and nothing changed, when it is closed already or further on."""
    before = _ORDER_OF_STATES[: _ORDER_OF_STATES.index(state)] if state not in TERMINAL else _ORDER_OF_STATES
    changed = connection.execute(
        "UPDATE ledger SET state = ?, reason_code = ?, reason_text = ?, result = ?, changed_ns = ?,"
        " envelope = CASE WHEN ? THEN NULL ELSE envelope END"
        " WHERE id = ? AND state IN (SELECT value FROM json_each(?))",
        (
            state,
            None if reason is None else reason.code,
            None if reason is None else reason.text,
            _text(result),
            at_ns,
            state in TERMINAL,
            order,
            msgspec.json.encode(before).decode(),
        ),
    )
    return changed.rowcount == 1


def unfinished(connection: sqlite3.Connection) -> list[Entry]:
    """Every open order, in the order of arrival."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM ledger WHERE envelope IS NOT NULL ORDER BY number"  # noqa: S608 - constant
    )
    return [_entry(row) for row in rows]


def count(connection: sqlite3.Connection) -> tuple[int, int]:
    """(open orders, orders remembered at all)."""
    (open_orders,) = connection.execute("SELECT count(*) FROM ledger WHERE envelope IS NOT NULL").fetchone()
    (remembered,) = connection.execute("SELECT count(*) FROM ledger").fetchone()
    return int(open_orders), int(remembered)


def newest_seq(connection: sqlite3.Connection) -> dict[str, int]:
    """The highest sequence number accepted from each issuer, for the birth; at most 32 issuers."""
    rows = connection.execute(
        "SELECT issuer, max(seq) FROM ledger WHERE state <> ? GROUP BY issuer ORDER BY max(number) DESC LIMIT 32",
        (OrderState.REJECTED,),
    )
    return {str(issuer): int(seq) for issuer, seq in rows}


def purge(connection: sqlite3.Connection, *, expired_before: datetime) -> int:
    """Forget closed orders that expired, and came, before that; returns how many. One with a notice is
    remembered for as long as that may be shown, so that it can be taken down when its keys are revoked."""
    limit = seconds_of(expired_before)
    gone = connection.execute(
        "DELETE FROM ledger WHERE envelope IS NULL AND expires < ? AND received < ?"
        " - (CASE WHEN verb IN (SELECT value FROM json_each(?)) THEN ? ELSE 0 END)",
        (limit, limit, _SHOWING, NOTICE_TTL_S_MAX),
    )
    connection.execute("DELETE FROM signed WHERE id NOT IN (SELECT id FROM ledger)")
    return gone.rowcount


def _text(result: dict[str, Any] | None) -> str | None:
    return None if result is None else msgspec.json.encode(result).decode()


def _entry(row: tuple[Any, ...]) -> Entry:
    (ident, issuer, verb, klass, seq, expires, supersedes, in_group, envelope, state, code, text, result) = (
        row[:13]
    )
    boot, received_ns, received, deadline_ns, changed_ns = row[13:]
    return Entry(
        id=OrderId(ident),
        issuer=Issuer(issuer),
        verb=verb,
        precedence=Precedence(klass),
        seq=seq,
        expires_at=moment_of(expires),
        supersedes=None if supersedes is None else OrderId(supersedes),
        in_group=bool(in_group),
        envelope=envelope,
        state=OrderState(state),
        reason=None if code is None else Reason(ReasonCode(code), text),
        result=None if result is None else msgspec.json.decode(result),
        boot=boot,
        received_ns=received_ns,
        received_at=moment_of(received),
        deadline_ns=deadline_ns,
        changed_ns=changed_ns,
    )
