"""The replay window: each sequence number of a key counts once, over restarts, too.

As in IPsec (RFC 4303, 3.4.3): the highest number seen and, below it, a map of which of the
last 256 were seen. What is older than the map counts as seen. The window moves in the
transaction that journals the order, so no power cut can come between the two.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from edge_agent.model import Issuer, Reason, ReasonCode

WIDTH = 256

SCHEMA = """
CREATE TABLE IF NOT EXISTS replay_window (
    issuer  TEXT NOT NULL,
    kid     TEXT NOT NULL,
    highest INTEGER NOT NULL,
    seen    BLOB NOT NULL,               -- 32 bytes; bit 0 of the last one is `highest` itself
    PRIMARY KEY (issuer, kid)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Seat:
    """The place that an order takes: whose counter, and which number."""

    issuer: Issuer
    kid: str
    seq: int


@dataclass(frozen=True, slots=True)
class Window:
    """The highest number seen, and (bit n: highest - n) which of the last WIDTH were."""

    highest: int
    seen: int = 1

    def has(self, seq: int) -> bool:
        """Whether a number was seen, or is too old to say."""
        age = self.highest - seq
        return age >= 0 and (age >= WIDTH or bool(self.seen >> age & 1))

    def with_(self, seq: int) -> Window:
        """The window once a new number was seen."""
        assert not self.has(seq), "a number counts once"
        ahead = seq - self.highest
        if ahead <= 0:
            return Window(self.highest, self.seen | 1 << -ahead)
        seen = self.seen << ahead if ahead < WIDTH else 0
        return Window(seq, seen & (1 << WIDTH) - 1 | 1)


def refusal(connection: sqlite3.Connection, seat: Seat) -> Reason | None:
    """Why a number does not count any more, or None when it is new."""
    window = _read(connection, seat)
    if window is None or not window.has(seat.seq):
        return None
    return Reason(
        ReasonCode.REPLAYED,
        f"Number {seat.seq} of key {seat.kid} was seen before, or lies more than {WIDTH} behind {window.highest}; "
        "give each order of a key a new number.",
    )


def take(connection: sqlite3.Connection, seat: Seat) -> None:
    """A new number was seen, in the caller's transaction."""
    before = _read(connection, seat)
    window = Window(seat.seq) if before is None else before.with_(seat.seq)
    connection.execute(
        "INSERT INTO replay_window VALUES (?, ?, ?, ?) ON CONFLICT (issuer, kid)"
        " DO UPDATE SET highest = excluded.highest, seen = excluded.seen",
        (seat.issuer, seat.kid, window.highest, window.seen.to_bytes(WIDTH // 8)),
    )


def newest(connection: sqlite3.Connection) -> dict[str, int]:
    """The highest number seen of each issuer, for the birth."""
    highest: dict[str, int] = {}
    for issuer, seq in connection.execute("SELECT issuer, highest FROM replay_window ORDER BY issuer, kid"):
        highest[str(issuer)] = max(int(seq), highest.get(str(issuer), 0))
    return highest


def _read(connection: sqlite3.Connection, seat: Seat) -> Window | None:
    row = connection.execute(
        "SELECT highest, seen FROM replay_window WHERE issuer = ? AND kid = ?", (seat.issuer, seat.kid)
    ).fetchone()
    return None if row is None else Window(int(row[0]), int.from_bytes(row[1]))
