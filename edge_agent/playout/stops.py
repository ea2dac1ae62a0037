"""Sticky stops: "nothing of order X, or nothing up to class C, until T" (PROTOCOL.md, "Who wins"). Pure, and their table.

A stop is for what sounds; notices on the board stay. In the boot that it was made in, its end is a
CLOCK_BOOTTIME instant, which no step of the clock moves. After another boot that is derived anew from
the date; while the date is not trusted, it stands. One that was made while nobody knew the date lasts its
whole span again after each boot, until the date is known: better silent for too long than not at all.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from edge_agent.model import NS, Intent, Issuer, OrderId, Precedence, Stop

SCHEMA = """
CREATE TABLE IF NOT EXISTS standing_stop (
    id       TEXT PRIMARY KEY,
    issuer   TEXT NOT NULL,
    target   TEXT,                      -- NULL: by class
    highest  INTEGER NOT NULL,
    boot     TEXT NOT NULL,             -- the boot of until_ns
    until_ns INTEGER NOT NULL,
    until    REAL,                      -- date, seconds since 1970; NULL: nobody knew it
    span_ns  INTEGER NOT NULL
);
"""

STOPS_MAX = 64
"""More do not stand at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A stop that stands."""

    id: OrderId
    issuer: Issuer
    target: OrderId | None
    highest: Precedence
    boot: str
    until_ns: int | None
    """CLOCK_BOOTTIME of boot `boot`; None: it is not known in this boot yet, so it stands."""
    until: datetime | None
    span_ns: int

    def covers(self, intent: Intent) -> bool:
        """Whether a request may not sound because of this stop."""
        if self.target is not None:
            return intent.id == self.target
        return intent.precedence <= self.highest

    def over(self, now_ns: int) -> bool:
        """Whether its time has passed."""
        return self.until_ns is not None and self.until_ns <= now_ns


def standing(stop: Stop, *, boot: str, now_ns: int, utc: datetime | None) -> Standing:
    """What a sticky stop that comes now amounts to. `utc`: the date where it is trusted."""
    assert stop.until_ns is not None
    span_ns = stop.until_ns - now_ns
    return Standing(
        id=stop.id,
        issuer=stop.issuer,
        target=stop.target,
        highest=stop.highest,
        boot=boot,
        until_ns=stop.until_ns,
        until=None if utc is None else utc + timedelta(microseconds=span_ns // 1000),
        span_ns=span_ns,
    )


def settled(stop: Standing, *, boot: str, now_ns: int, utc: datetime | None) -> Standing:
    """The same stop as it is to be understood now, in this boot, with what is known of the date."""
    if stop.boot != boot:
        until_ns = now_ns + stop.span_ns if stop.until is None else None
        stop = replace(stop, boot=boot, until_ns=until_ns)
    if utc is not None:
        if stop.until_ns is None:
            assert stop.until is not None
            left_ns = round((stop.until - utc).total_seconds() * NS)
            stop = replace(stop, until_ns=now_ns + min(left_ns, stop.span_ns))
        elif stop.until is None:
            until = utc + timedelta(microseconds=(stop.until_ns - now_ns) // 1000)
            stop = replace(stop, until=until)
    return stop


def by_hand(stop: Stop, *, now_ns: int, for_s: int, spares_emergencies: bool) -> tuple[Stop, ...]:
    """What somebody at the box means: silence now, and for so long after it (0: only now).

    `spares_emergencies`: all that sounds ends, but a new emergency is heard; a child at the button must not keep
    a village from its flood warning.
    """
    if not for_s:
        return (stop,)
    until_ns = now_ns + for_s * NS
    if not spares_emergencies:
        return (replace(stop, until_ns=until_ns),)
    stands = replace(stop, id=OrderId(f"{stop.id}-on"), highest=Precedence.PRIORITY, until_ns=until_ns)
    return stop, stands


def read(connection: sqlite3.Connection) -> list[Standing]:
    """Every stop that was kept, the oldest first."""
    rows = connection.execute(
        "SELECT id, issuer, target, highest, boot, until_ns, until, span_ns FROM standing_stop ORDER BY rowid"
    )
    return [
        Standing(
            id=OrderId(order),
            issuer=Issuer(issuer),
            target=None if target is None else OrderId(target),
            highest=Precedence(highest),
            boot=boot,
            until_ns=until_ns,
            until=None if until is None else datetime.fromtimestamp(until, UTC),
            span_ns=span_ns,
        )
        for order, issuer, target, highest, boot, until_ns, until, span_ns in rows
    ]


def write(connection: sqlite3.Connection, stop: Standing) -> None:
    """Keep a stop, or what was learnt of its end."""
    assert stop.until_ns is not None
    connection.execute(
        "INSERT INTO standing_stop VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET target = excluded.target, highest = excluded.highest, boot = excluded.boot,"
        " until_ns = excluded.until_ns, until = excluded.until, span_ns = excluded.span_ns",
        (
            stop.id,
            stop.issuer,
            stop.target,
            int(stop.highest),
            stop.boot,
            stop.until_ns,
            None if stop.until is None else stop.until.timestamp(),
            stop.span_ns,
        ),
    )


def forget(connection: sqlite3.Connection, order: OrderId) -> None:
    """It is over."""
    connection.execute("DELETE FROM standing_stop WHERE id = ?", (order,))
