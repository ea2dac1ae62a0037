"""Which turns have begun, or were missed: one row each, written before anything of it sounds.

A row without an end after a start means that the power went in the middle of the turn: it is not played again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from edge_agent import kept
from edge_agent.model import Issuer, OrderId, Precedence

SCHEMA = """
CREATE TABLE IF NOT EXISTS fired (
    key     TEXT PRIMARY KEY,            -- rule@local time
    at      TEXT NOT NULL,               -- its time, RFC 3339
    issuer  TEXT NOT NULL,
    class   INTEGER NOT NULL,
    ended   INTEGER NOT NULL             -- 0: begun; 1: its as-run entry is written
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS fired_at ON fired (at);
"""

SEEN = "schedule.seen"
"""Up to this date every turn has a row, or none was due."""
KEPT_DAYS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A turn that has begun, or was missed."""

    key: OrderId
    at: datetime
    issuer: Issuer
    precedence: Precedence


def begin(connection: sqlite3.Connection, turn: Begun) -> bool:
    """A turn begins, or is missed; False when it has a row already: then it must not."""
    return (
        connection.execute(
            "INSERT OR IGNORE INTO fired VALUES (?, ?, ?, ?, 0)",
            (turn.key, _text(turn.at), turn.issuer, int(turn.precedence)),
        ).rowcount
        == 1
    )


def end(connection: sqlite3.Connection, key: str) -> None:
    """Its as-run entry is written, in the same transaction."""
    connection.execute("UPDATE fired SET ended = 1 WHERE key = ?", (key,))


def take_back(connection: sqlite3.Connection, key: str) -> None:
    """Nothing of it has sounded, and it may still begin."""
    connection.execute("DELETE FROM fired WHERE key = ? AND ended = 0", (key,))


def known(connection: sqlite3.Connection, keys: Iterable[str]) -> set[str]:
    """Those that have a row."""
    found = (connection.execute("SELECT key FROM fired WHERE key = ?", (key,)).fetchone() for key in keys)
    return {row[0] for row in found if row is not None}


def broken(connection: sqlite3.Connection) -> list[Begun]:
    """Turns that began and have no end."""
    return [
        Begun(
            key=OrderId(key),
            at=datetime.fromisoformat(at),
            issuer=Issuer(issuer),
            precedence=Precedence(klass),
        )
        for key, at, issuer, klass in connection.execute(
            "SELECT key, at, issuer, class FROM fired WHERE ended = 0 ORDER BY at"
        )
    ]


def see(connection: sqlite3.Connection, upto: datetime) -> None:
    """Every turn up to this date is dealt with."""
    kept.put(connection, SEEN, _text(upto))


def seen(connection: sqlite3.Connection) -> datetime | None:
    """As `see` has left it."""
    text = kept.get(connection, SEEN)
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return None


def forget(connection: sqlite3.Connection, before: datetime) -> None:
    """Ended turns from before a date go."""
    connection.execute("DELETE FROM fired WHERE ended = 1 AND at < ?", (_text(before),))


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
