"""The as-run log: one entry for each request, for ever unchanged, chained by sha256.

An entry's hash is sha256(previous hash || entry), over the very bytes that are stored and
sent, so the server can check the chain without knowing how we write JSON. Order is (boot,
ms since boot, number); dates are annotations, absent while the clock is unknown.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from edge_agent.clocktrust import Quality, Sight
from edge_agent.model import NS, RATE_HZ, AsRun, Issuer, OrderId, Precedence
from edge_agent.report import shelf
from hal.ports import Clock

logger = logging.getLogger(__name__)

SCHEMA = """
CREATE TABLE IF NOT EXISTS asrun (
    number INTEGER PRIMARY KEY,          -- 1, 2, 3 ...
    order_id TEXT NOT NULL UNIQUE,       -- each request has exactly one entry
    entry TEXT NOT NULL,                 -- JSON, as it is sent
    previous TEXT NOT NULL,              -- hash of the entry before; 64 zeros before the first
    hash TEXT NOT NULL                   -- sha256(previous as bytes || entry)
);
"""

NO_HASH = "0" * 64

ENTRIES_MAX = 100_000
"""Five years of fifty requests a day; the oldest go, and the chain begins with the oldest kept."""

_TEXT_MAX = 500
_TITLE_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Timebase:
    """One reading of both clocks, by which instants since boot become dates. None while the clock is unknown."""

    monotonic_ns: int
    utc: datetime
    boot: str
    quality: Quality

    @classmethod
    def read(cls, clock: Clock, sight: Sight) -> Timebase:
        """The clock now, and what `ClockTrust.look` says of it now."""
        return cls(
            monotonic_ns=clock.monotonic_ns(), utc=sight.now, boot=clock.boot_id(), quality=sight.quality
        )

    def wall(self, at_ns: int | None) -> str | None:
        """RFC 3339, UTC, milliseconds; None when it did not happen or nobody knows the date."""
        if at_ns is None or self.quality is Quality.UNKNOWN:
            return None
        return rfc3339(self.utc + timedelta(microseconds=(at_ns - self.monotonic_ns) // 1000))


class AsRunEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the as-run log, as stored and sent. `*_ms` are whole milliseconds since boot."""

    number: int
    id: str
    issuer: str
    verb: str
    precedence: str = msgspec.field(name="class")
    outcome: str
    code: str | None
    reason: str | None
    recorded: str | None
    recorded_ms: int
    planned: str | None
    planned_ms: int | None
    started: str | None
    started_ms: int | None
    ended: str | None
    ended_ms: int | None
    clock: str
    boot: str
    media: str | None
    volume: int | None
    sounded_ms: int
    frames: int
    underruns: int
    preempted: int
    pages: int
    proof: int
    zones: tuple[str, ...] = ()
    title: str = ""
    live: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainCheck:
    """What `verify_chain` found. `broken_at` is the first number that does not follow, or None."""

    entries: int
    broken_at: int | None


def record(
    connection: sqlite3.Connection,
    *,
    order_id: OrderId,
    issuer: Issuer,
    verb: str,
    precedence: Precedence,
    asrun: AsRun,
    timebase: Timebase,
    topic: str,
    planned_ns: int | None = None,
) -> int:
    """Write a request's one entry and lay its report in the outbox (`topic`), in the caller's transaction.

    Returns its number. A request that has an entry keeps it: the first word stands.
    """
    known = connection.execute("SELECT number FROM asrun WHERE order_id = ?", (order_id,)).fetchone()
    if known is not None:
        logger.error(
            "A request was recorded twice; the first entry stands. id=%s number=%d", order_id, known[0]
        )
        return int(known[0])
    last = connection.execute("SELECT number, hash FROM asrun ORDER BY number DESC LIMIT 1").fetchone()
    number, previous = (1, NO_HASH) if last is None else (last[0] + 1, last[1])
    entry = AsRunEntry(
        number=number,
        id=order_id,
        issuer=issuer,
        verb=verb,
        precedence=precedence.wire,
        outcome=asrun.outcome.value,
        code=None if asrun.reason is None else asrun.reason.code.value,
        reason=None if asrun.reason is None else asrun.reason.text[:_TEXT_MAX],
        recorded=timebase.wall(timebase.monotonic_ns),
        recorded_ms=timebase.monotonic_ns // 1_000_000,
        planned=timebase.wall(planned_ns),
        planned_ms=_ms(planned_ns),
        started=timebase.wall(asrun.started_ns),
        started_ms=_ms(asrun.started_ns),
        ended=timebase.wall(asrun.ended_ns),
        ended_ms=_ms(asrun.ended_ns),
        clock=timebase.quality.value,
        boot=timebase.boot,
        media=asrun.digest,
        volume=asrun.volume,
        sounded_ms=asrun.frames * 1000 // RATE_HZ,
        frames=asrun.frames,
        underruns=asrun.underruns,
        preempted=asrun.preempted_count,
        pages=asrun.pages,
        proof=asrun.proof,
        zones=asrun.zones,
        title=asrun.title[:_TITLE_MAX],
        live=asrun.live,
    )
    text = msgspec.json.encode(entry)
    digest = entry_hash(previous, text)
    connection.execute(
        "INSERT INTO asrun VALUES (?, ?, ?, ?, ?)", (number, order_id, text.decode(), previous, digest)
    )
    connection.execute("DELETE FROM asrun WHERE number <= ?", (number - ENTRIES_MAX,))
    payload = b'{"asrun":' + text + b',"previous":"%s","hash":"%s"}' % (previous.encode(), digest.encode())
    shelf.put(connection, topic=topic, payload=payload, kind="report")
    return number


def entry_hash(previous: str, entry: bytes) -> str:
    """The hash of an entry's bytes that follow an entry with hash `previous`, both in hex."""
    return hashlib.sha256(bytes.fromhex(previous) + entry).hexdigest()


def verify_chain(connection: sqlite3.Connection) -> ChainCheck:
    """Walk the log from its oldest entry; every entry must follow from the one before."""
    entries = 0
    before: tuple[int, str] | None = None
    for number, order_id, text, previous, digest in connection.execute(
        "SELECT number, order_id, entry, previous, hash FROM asrun ORDER BY number"
    ):
        follows = (
            (number, previous) == (before[0] + 1, before[1]) if before else number > 1 or previous == NO_HASH
        )
        if (
            not follows
            or digest != entry_hash(previous, text.encode())
            or not _speaks_of(text, number, order_id)
        ):
            return ChainCheck(entries=entries, broken_at=number)
        entries += 1
        before = (number, digest)
    return ChainCheck(entries=entries, broken_at=None)


def entries(connection: sqlite3.Connection, *, after: int = 0, limit: int = 100) -> list[AsRunEntry]:
    """Entries with a number above `after`, oldest first."""
    return [
        msgspec.json.decode(text, type=AsRunEntry)
        for (text,) in connection.execute(
            "SELECT entry FROM asrun WHERE number > ? ORDER BY number LIMIT ?", (after, limit)
        )
    ]


def rfc3339(moment: datetime) -> str:
    """UTC with milliseconds and Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _ms(at_ns: int | None) -> int | None:
    return None if at_ns is None else at_ns * 1000 // NS


def _speaks_of(text: str, number: int, order_id: str) -> bool:
    entry = msgspec.json.decode(text)
    return (entry["number"], entry["id"]) == (number, order_id)
