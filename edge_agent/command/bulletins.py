"""Chains of alerts: which ones came, which ones others took back, in whatever order they came.

What is in force does not depend on the order of arrival: an alert that came (`bulletin`) is ended
by any Cancel or Update that names it (`bulletin_end`), be that older or younger. An ending counts if it
comes from the same authority, or was ordered with at least the alert's own class (which the
authority's scope bounds); and a real alert is only ended by a real one, an exercise by an exercise.

Functions over a connection; repeated for the same order they change nothing.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from edge_agent.command.cap import Identity
from edge_agent.model import Issuer, OrderId, Precedence, ReasonCode

SCHEMA = """
CREATE TABLE IF NOT EXISTS bulletin (
    number     INTEGER PRIMARY KEY,
    order_id   TEXT NOT NULL UNIQUE,
    sender     TEXT NOT NULL,
    identifier TEXT NOT NULL,
    sent       TEXT NOT NULL,             -- RFC 3339, UTC
    issuer     TEXT NOT NULL,
    class      INTEGER NOT NULL,          -- of the order
    status     TEXT NOT NULL,
    content    TEXT NOT NULL,             -- sha256 of the CAP text
    boot       TEXT NOT NULL,             -- when it came
    failed     INTEGER NOT NULL           -- nothing of it was aired, so it may be ordered again
);
CREATE INDEX IF NOT EXISTS bulletin_identity ON bulletin (identifier, sender);
CREATE TABLE IF NOT EXISTS bulletin_end (
    number     INTEGER PRIMARY KEY,
    by_order   TEXT NOT NULL,
    sender     TEXT NOT NULL,
    identifier TEXT NOT NULL,
    sent       TEXT NOT NULL,
    issuer     TEXT NOT NULL,
    class      INTEGER NOT NULL,
    status     TEXT NOT NULL,
    code       TEXT NOT NULL,             -- cancelled or superseded
    UNIQUE (by_order, sender, identifier, sent)
);
CREATE INDEX IF NOT EXISTS bulletin_end_identity ON bulletin_end (identifier, sender);
"""

KEPT_MAX = 2_000
"""Alerts and endings that are remembered, the latest. An older alert has long expired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coming:
    """A CAP message, by its order."""

    order: OrderId
    issuer: Issuer
    precedence: Precedence
    identity: Identity
    status: str
    content: str
    boot: str
    ends: tuple[Identity, ...] = ()
    """What it takes back."""
    code: ReasonCode = ReasonCode.SUPERSEDED
    """What those are told: CANCELLED or SUPERSEDED."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is so after a message came."""

    withdraws: tuple[OrderId, ...] = ()
    """Orders whose alerts it ends."""
    ended: tuple[OrderId, ReasonCode] | None = None
    """The order that has ended this one, be it before it came."""
    known: OrderId | None = None
    """An earlier order that carried the same alert."""
    first_boot: str | None = None
    """The boot in which this order came first, when it is taken up again."""


def arrive(connection: sqlite3.Connection, coming: Coming, *, is_alert: bool) -> Standing:
    """Write down a message and what it ends, and say how things stand. `is_alert` False: a Cancel."""
    for identity in coming.ends:
        connection.execute(
            "INSERT OR IGNORE INTO bulletin_end (by_order, sender, identifier, sent, issuer, class, status, code)"
            " VALUES (?,?,?,?,?,?,?,?)",
            (
                coming.order,
                *_key(identity),
                coming.issuer,
                int(coming.precedence),
                coming.status,
                str(coming.code),
            ),
        )
    withdraws = _ended_by(connection, coming)
    if not is_alert:
        _forget_oldest(connection)
        return Standing(withdraws=withdraws)
    row = connection.execute("SELECT boot FROM bulletin WHERE order_id = ?", (coming.order,)).fetchone()
    ended, known = _ending_of(connection, coming), _same(connection, coming)
    if row is None and known is None:
        connection.execute(
            "INSERT INTO bulletin (order_id, sender, identifier, sent, issuer, class, status, content, boot, failed)"
            " VALUES (?,?,?,?,?,?,?,?,?,0)",
            (
                coming.order,
                *_key(coming.identity),
                coming.issuer,
                int(coming.precedence),
                coming.status,
                coming.content,
                coming.boot,
            ),
        )
    _forget_oldest(connection)
    if ended is None and known is None:
        withdraws += _lesser(connection, coming)
    return Standing(
        withdraws=withdraws, ended=ended, known=known, first_boot=None if row is None else str(row[0])
    )


def fail(connection: sqlite3.Connection, order: OrderId) -> None:
    """Nothing of this alert was aired: it may be ordered again."""
    connection.execute("UPDATE bulletin SET failed = 1 WHERE order_id = ?", (order,))


def _ended_by(connection: sqlite3.Connection, coming: Coming) -> tuple[OrderId, ...]:
    """The orders of the alerts that this message ends, those that came before it."""
    found: list[OrderId] = []
    for identity in coming.ends:
        rows = connection.execute(
            "SELECT order_id FROM bulletin WHERE sender = ? AND identifier = ? AND sent = ? AND status = ?"
            " AND (issuer = ? OR class <= ?) AND order_id <> ? ORDER BY number",
            (*_key(identity), coming.status, coming.issuer, int(coming.precedence), coming.order),
        )
        found += [OrderId(row[0]) for row in rows]
    return tuple(dict.fromkeys(found))


def _lesser(connection: sqlite3.Connection, coming: Coming) -> tuple[OrderId, ...]:
    """Earlier orders of a lower class that carried this very alert: it is ordered again, more urgently."""
    rows = connection.execute(
        "SELECT order_id FROM bulletin WHERE sender = ? AND identifier = ? AND sent = ? AND status = ?"
        " AND class < ? AND (issuer = ? OR content = ?) AND order_id <> ? ORDER BY number",
        (
            *_key(coming.identity),
            coming.status,
            int(coming.precedence),
            coming.issuer,
            coming.content,
            coming.order,
        ),
    )
    return tuple(OrderId(row[0]) for row in rows)


def _ending_of(connection: sqlite3.Connection, coming: Coming) -> tuple[OrderId, ReasonCode] | None:
    row = connection.execute(
        "SELECT by_order, code FROM bulletin_end WHERE sender = ? AND identifier = ? AND sent = ? AND status = ?"
        " AND (issuer = ? OR class >= ?) AND by_order <> ? ORDER BY number LIMIT 1",
        (*_key(coming.identity), coming.status, coming.issuer, int(coming.precedence), coming.order),
    ).fetchone()
    return None if row is None else (OrderId(row[0]), ReasonCode(row[1]))


def _same(connection: sqlite3.Connection, coming: Coming) -> OrderId | None:
    """An earlier order that carried this alert. One of a lower class does not count: it may not have been
    heard; and of another authority only the very same text does, else a stranger could use up a name."""
    row = connection.execute(
        "SELECT order_id FROM bulletin WHERE sender = ? AND identifier = ? AND sent = ? AND status = ?"
        " AND class >= ? AND (issuer = ? OR content = ?) AND failed = 0 AND order_id <> ? ORDER BY number LIMIT 1",
        (
            *_key(coming.identity),
            coming.status,
            int(coming.precedence),
            coming.issuer,
            coming.content,
            coming.order,
        ),
    ).fetchone()
    return None if row is None else OrderId(row[0])


def _forget_oldest(connection: sqlite3.Connection) -> None:
    for table in ("bulletin", "bulletin_end"):
        connection.execute(
            f"DELETE FROM {table} WHERE number <= (SELECT MAX(number) FROM {table}) - ?",  # noqa: S608 - constants
            (KEPT_MAX,),
        )


def _key(identity: Identity) -> tuple[str, str, str]:
    return identity.sender, identity.identifier, identity.sent.isoformat()
