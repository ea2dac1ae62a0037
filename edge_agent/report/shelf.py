"""The outbox's shelf: its table, and everything that is done to it inside a transaction.

Three lanes leave in this order: alerts, order states, reports. An entry is numbered (`n`)
when it is first about to be sent, so the numbers that the server sees have no gaps, whatever
the lanes did to the order and whatever was dropped before (docs/decisions/0162). `log` names
the row of numbers: it changes only when the database was lost and the numbers begin anew.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from edge_agent import kept

Kind = Literal["alert", "state", "report"]

_LANES: dict[Kind, int] = {"alert": 0, "state": 1, "report": 2}
_ALERT, _REPORT = _LANES["alert"], _LANES["report"]

PAYLOAD_MAX_BYTES = 61_440
"""One entry; with the envelope of a batch it stays below the 64 KiB of a message."""

ENTRIES_MAX = 20_000
"""The bound until `limit` has kept another."""

_DROP_AT_ONCE = 64
"""A full shelf loses this many entries at a time, so that it need not be counted for each."""

_ENDS = "SELECT (SELECT MIN(entry) FROM outbox), (SELECT MAX(entry) FROM outbox)"
"""Asked together, MIN and MAX would walk the whole table; asked apart, each is one step."""

_LOOK_AHEAD = 128
"""Rows that one wave looks at."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
    entry INTEGER PRIMARY KEY AUTOINCREMENT,
    lane INTEGER NOT NULL,               -- 0 alert, 1 order state, 2 report
    topic TEXT NOT NULL,
    payload BLOB NOT NULL,
    retain INTEGER NOT NULL,
    due INTEGER NOT NULL DEFAULT 1,      -- 1: to be sent; 0: sent, the server has not acknowledged it
    n INTEGER UNIQUE,                    -- the number the server sees; given when first sent
    sends INTEGER NOT NULL DEFAULT 0,    -- times the broker has taken it
    refusals INTEGER NOT NULL DEFAULT 0, -- times the broker has refused it
    not_before INTEGER NOT NULL DEFAULT 0 -- refused: left alone until then, ns since boot
);
CREATE INDEX IF NOT EXISTS outbox_due ON outbox (lane, refusals, entry) WHERE due = 1;
CREATE INDEX IF NOT EXISTS outbox_refused ON outbox (not_before) WHERE due = 1 AND refusals > 0;
CREATE INDEX IF NOT EXISTS outbox_retained ON outbox (topic) WHERE retain = 1 AND due = 1;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """One message as it goes to the broker, and the entries it carries."""

    topic: str
    payload: bytes
    retain: bool
    entries: tuple[int, ...]
    fresh: bool
    """Whether the broker has refused none of it so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """What is to be sent next. `next_ns`: when a refused entry may be tried again, if nothing comes before."""

    parcels: tuple[Parcel, ...]
    next_ns: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What lies on the shelf, and what fell off it since the database was made."""

    waiting: int
    """To be sent."""
    unacknowledged: int
    """Sent, and kept until the server says that it has them."""
    dropped: int
    """Thrown away unread because the shelf was full."""


@dataclass(frozen=True, slots=True)
class _Row:
    entry: int
    lane: int
    topic: str
    payload: bytes
    retain: bool
    n: int | None
    refusals: int


def put(
    connection: sqlite3.Connection, *, topic: str, payload: bytes, kind: Kind, retain: bool = False
) -> int:
    """Lay a message on the shelf, in the caller's transaction; returns its entry.

    States and reports are JSON objects, and get their number put in front when they leave. A
    retained message replaces one on the same topic that has not left yet: only its last word counts.
    """
    assert len(payload) <= PAYLOAD_MAX_BYTES, f"an outbox entry of {len(payload)} bytes"
    assert kind == "alert" or (payload[:1] == b"{" and len(payload) > 2), (
        "states and reports are JSON objects"
    )
    if retain:
        connection.execute("DELETE FROM outbox WHERE topic = ? AND retain = 1 AND due = 1", (topic,))
    _make_room(connection)
    cursor = connection.execute(
        "INSERT INTO outbox (lane, topic, payload, retain) VALUES (?, ?, ?, ?)",
        (_LANES[kind], topic, payload, retain),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def limit(connection: sqlite3.Connection, entries_max: int) -> None:
    """Keep the configured bound beside the table: `put` runs inside other rooms' transactions."""
    if _entries_max(connection) != entries_max:
        kept.put(connection, "outbox_entries_max", str(entries_max))


def counts(connection: sqlite3.Connection) -> Counts:
    """Count the shelf."""
    total, waiting = connection.execute("SELECT COUNT(*), TOTAL(due) FROM outbox").fetchone()
    dropped = int(kept.get(connection, "outbox_dropped") or 0)
    return Counts(waiting=int(waiting), unacknowledged=total - int(waiting), dropped=dropped)


def next_wave(
    connection: sqlite3.Connection,
    *,
    now_ns: int,
    held: Collection[str],
    probed: Collection[str],
    parcels_max: int,
    bytes_max: int,
    new_log: str,
) -> Wave:
    """Take what is to be sent next, and number what has no number yet.

    `held` are topics that the broker refused a while ago, left alone for now; of `probed` ones a single
    entry goes, to see whether it takes them again. `new_log` names the row of numbers when there is none.
    At least one parcel comes, however large, if anything is due.
    """
    select = """
        SELECT entry, lane, topic, payload, retain, n, refusals FROM outbox
        WHERE due = 1 AND not_before <= ? AND topic NOT IN (SELECT value FROM json_each(?))
        ORDER BY lane, refusals, entry LIMIT ?
    """
    rows = [
        _Row(entry, lane, topic, bytes(payload), bool(retain), n, refusals)
        for entry, lane, topic, payload, retain, n, refusals in connection.execute(
            select, (now_ns, json.dumps(list(held)), _LOOK_AHEAD)
        )
    ]
    bundles: list[list[_Row]] = []
    size = 0
    for bundle in _bundles(rows, bytes_max, probed):
        size += sum(len(row.payload) for row in bundle)
        if bundles and (size > bytes_max or len(bundles) == parcels_max):
            break
        bundles.append(bundle)
    numbers = _number(connection, [row for bundle in bundles for row in bundle])
    log = _log(connection, new_log) if bundles else ""
    (next_ns,) = connection.execute(
        "SELECT MIN(not_before) FROM outbox WHERE due = 1 AND refusals > 0 AND not_before > ?", (now_ns,)
    ).fetchone()
    return Wave(parcels=tuple(_parcel(bundle, numbers, log) for bundle in bundles), next_ns=next_ns)


def settle(
    connection: sqlite3.Connection,
    *,
    taken: Sequence[int],
    refused: Sequence[int],
    now_ns: int,
    refusal_first_ns: int,
    refusal_max_ns: int,
) -> None:
    """Note what the broker took and what it refused.

    An alert that it took is done with: its retained copy is the state. The rest waits for the server. What
    was refused waits longer each time.
    """
    connection.executemany(
        "DELETE FROM outbox WHERE entry = ? AND lane = ?", ((entry, _ALERT) for entry in taken)
    )
    connection.executemany(
        "UPDATE outbox SET due = 0, sends = sends + 1, refusals = 0 WHERE entry = ?",
        ((entry,) for entry in taken),
    )
    connection.executemany(
        "UPDATE outbox SET refusals = refusals + 1, not_before = ? + MIN(?, ? << MIN(refusals, 16)) WHERE entry = ?",
        ((now_ns, refusal_max_ns, refusal_first_ns, entry) for entry in refused),
    )


def begin(connection: sqlite3.Connection) -> None:
    """The agent has started: waits counted in another boot's time mean nothing."""
    connection.execute("UPDATE outbox SET not_before = 0 WHERE due = 1 AND refusals > 0")


def acknowledge(connection: sqlite3.Connection, upto: int, log: str | None) -> int:
    """The server has everything up to `upto`; returns how many entries went, -1 if it cannot be meant for us."""
    if upto == 0:
        return 0
    last = int(kept.get(connection, "outbox_last_n") or 0)
    if not 0 < upto <= last or log not in {None, kept.get(connection, "outbox_log")}:
        return -1
    if kept.get(connection, "outbox_acknowledged") is None:
        kept.put(connection, "outbox_acknowledged", "yes")
    return connection.execute("DELETE FROM outbox WHERE n <= ?", (upto,)).rowcount


def send_again(connection: sqlite3.Connection, sends_max: int) -> int:
    """Let what the server never acknowledged be sent again: at most `sends_max` times in all to a
    server that has never acknowledged anything, without end to one that does. Returns how many."""
    acknowledges = kept.get(connection, "outbox_acknowledged") is not None
    return connection.execute(
        "UPDATE outbox SET due = 1 WHERE due = 0 AND (? OR sends < ?)", (acknowledges, sends_max)
    ).rowcount


def _bundles(rows: Sequence[_Row], bytes_max: int, probed: Collection[str]) -> Iterator[list[_Row]]:
    """Reports on one topic travel together; one that was refused travels alone, so that it alone suffers."""
    bundle: list[_Row] = []
    size = 0
    probes: set[str] = set()
    for row in rows:
        if row.topic in probed:
            if row.topic in probes:
                continue
            probes.add(row.topic)
        fits = (
            bundle
            and row.lane == _REPORT
            and row.topic == bundle[0].topic
            and row.refusals == 0
            and bundle[0].refusals == 0
            and size + len(row.payload) <= bytes_max
        )
        if bundle and not fits:
            yield bundle
            bundle, size = [], 0
        bundle.append(row)
        size += len(row.payload)
    if bundle:
        yield bundle


def _number(connection: sqlite3.Connection, rows: Sequence[_Row]) -> dict[int, int]:
    """The number of each entry that has one or gets one; alerts have none."""
    numbers = {row.entry: row.n for row in rows if row.n is not None}
    fresh = [row.entry for row in rows if row.n is None and row.lane != _ALERT]
    if fresh:
        last = int(kept.get(connection, "outbox_last_n") or 0)
        given = {entry: last + index for index, entry in enumerate(fresh, start=1)}
        connection.executemany(
            "UPDATE outbox SET n = ? WHERE entry = ?", ((n, entry) for entry, n in given.items())
        )
        kept.put(connection, "outbox_last_n", str(last + len(fresh)))
        numbers |= given
    return numbers


def _log(connection: sqlite3.Connection, new_log: str) -> str:
    log = kept.get(connection, "outbox_log")
    if log is None:
        log = new_log
        kept.put(connection, "outbox_log", log)
    return log


def _parcel(bundle: Sequence[_Row], numbers: dict[int, int], log: str) -> Parcel:
    first = bundle[0]
    if first.lane == _ALERT:
        payload = first.payload
    elif first.lane == _REPORT:
        reports = (b'{"n":%d,' % numbers[row.entry] + row.payload[1:] for row in bundle)
        payload = b'{"log":"%s","reports":[' % log.encode() + b",".join(reports) + b"]}"
    else:
        payload = b'{"n":%d,"log":"%s",' % (numbers[first.entry], log.encode()) + first.payload[1:]
    return Parcel(
        topic=first.topic,
        payload=payload,
        retain=first.retain,
        entries=tuple(row.entry for row in bundle),
        fresh=first.refusals == 0,
    )


def _entries_max(connection: sqlite3.Connection) -> int:
    return int(kept.get(connection, "outbox_entries_max") or ENTRIES_MAX)


def _make_room(connection: sqlite3.Connection) -> None:
    """Hold the bound: reports go before states, states before alerts; within a lane what the broker
    already took goes first, then the oldest. Counted, and told with the health message."""
    first, last = connection.execute(_ENDS).fetchone()
    entries_max = _entries_max(connection)
    if first is None or last - first + 1 < entries_max:
        return
    total = connection.execute("SELECT COUNT(*) FROM outbox").fetchone()[0]
    if total < entries_max:
        return
    surplus = total - entries_max + min(_DROP_AT_ONCE, 1 + entries_max // 16)
    connection.execute(
        "DELETE FROM outbox WHERE entry IN"
        " (SELECT entry FROM outbox ORDER BY lane DESC, sends = 0, entry LIMIT ?)",
        (surplus,),
    )
    dropped = int(kept.get(connection, "outbox_dropped") or 0)
    kept.put(connection, "outbox_dropped", str(dropped + surplus))
