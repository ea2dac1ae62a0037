"""The as-run log: one entry for each request, chained, dated as far as the clock is believed, and reported."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from edge_agent import kept
from edge_agent.clocktrust import Quality, Sight
from edge_agent.model import AsRun, Digest, Issuer, OrderId, Outcome, Precedence, Reason, ReasonCode
from edge_agent.report import asrun as asrun_file
from edge_agent.report import outbox, shelf
from edge_agent.report.asrun import NO_HASH, Timebase, entry_hash, record, verify_chain
from hal.errors import DatabaseError
from hal.sim.clock import VirtualClock
from hal.sim.loop import Counter
from tests.report.post_room import CommandedSession, PostRoom

REPORT = "pa/v1/thon-3/up/report"
NOON = Timebase(
    monotonic_ns=100_000_000_000,
    utc=datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC),
    boot="boot-1",
    quality=Quality.SYNCED,
)
AIRED = AsRun(
    outcome=Outcome.AIRED,
    started_ns=40_000_000_000,
    ended_ns=99_500_000_000,
    digest=Digest("sha256:" + "a" * 64),
    volume=70,
    frames=48_000 * 59,
    underruns=1,
    preempted_count=2,
    proof=1,
)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    for schema in (kept.SCHEMA, asrun_file.SCHEMA, outbox.SCHEMA):
        connection.executescript(schema)
    yield connection
    connection.close()


def write(
    connection: sqlite3.Connection,
    order: str,
    asrun: AsRun = AIRED,
    *,
    timebase: Timebase = NOON,
    planned_ns: int | None = None,
) -> int:
    return record(
        connection,
        order_id=OrderId(order),
        issuer=Issuer("xa-vi-huong"),
        verb="play",
        precedence=Precedence.PRIORITY,
        asrun=asrun,
        timebase=timebase,
        topic=REPORT,
        planned_ns=planned_ns,
    )


def waiting_reports(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    return [
        json.loads(payload) for (payload,) in connection.execute("SELECT payload FROM outbox ORDER BY entry")
    ]


def test_an_entry_says_what_happened_and_when(connection: sqlite3.Connection) -> None:
    assert write(connection, "A", planned_ns=39_000_000_000) == 1
    (report,) = waiting_reports(connection)
    assert report["asrun"] == {
        "number": 1,
        "id": "A",
        "issuer": "xa-vi-huong",
        "verb": "play",
        "class": "priority",
        "outcome": "AIRED",
        "code": None,
        "reason": None,
        "recorded": "2026-11-24T12:00:00.000Z",
        "recorded_ms": 100_000,
        "planned": "2026-11-24T11:58:59.000Z",
        "planned_ms": 39_000,
        "started": "2026-11-24T11:59:00.000Z",
        "started_ms": 40_000,
        "ended": "2026-11-24T11:59:59.500Z",
        "ended_ms": 99_500,
        "clock": "synced",
        "boot": "boot-1",
        "media": "sha256:" + "a" * 64,
        "volume": 70,
        "sounded_ms": 59_000,
        "frames": 2_832_000,
        "underruns": 1,
        "preempted": 2,
        "pages": 0,
        "proof": 1,
    }


def test_zones_stand_there_when_they_are_named(connection: sqlite3.Connection) -> None:
    write(connection, "A", replace(AIRED, zones=("cho", "dinh")))
    write(connection, "B")
    named, everywhere = waiting_reports(connection)
    assert named["asrun"]["zones"] == ["cho", "dinh"]
    assert "zones" not in everywhere["asrun"]
    assert [entry.zones for entry in asrun_file.entries(connection)] == [("cho", "dinh"), ()]


def test_what_did_not_happen_has_no_time_and_a_reason(connection: sqlite3.Connection) -> None:
    reason = Reason(ReasonCode.NO_MEDIA, "The server has no such file. " * 100)
    write(connection, "A", AsRun(outcome=Outcome.FAILED, reason=reason))
    (entry,) = asrun_file.entries(connection)
    assert (entry.outcome, entry.code, entry.started, entry.ended_ms) == ("FAILED", "no_media", None, None)
    assert entry.reason is not None
    assert len(entry.reason) == 500, "a long story is cut short"


def test_with_an_unknown_clock_there_are_no_dates(connection: sqlite3.Connection) -> None:
    clock = VirtualClock(Counter(5_000_000_000))
    clock.lose()
    sight = Sight(quality=Quality.UNKNOWN, now=clock.utc_now(), floor=NOON.utc)
    write(connection, "A", timebase=Timebase.read(clock, sight))
    (entry,) = asrun_file.entries(connection)
    assert (entry.clock, entry.recorded, entry.recorded_ms, entry.started) == ("unknown", None, 5000, None)
    assert entry.started_ms == 40_000


def test_each_request_has_exactly_one_entry(connection: sqlite3.Connection) -> None:
    assert write(connection, "A") == 1
    assert write(connection, "B") == 2
    assert write(connection, "A", AsRun(outcome=Outcome.FAILED)) == 1
    assert [entry.id for entry in asrun_file.entries(connection)] == ["A", "B"]
    assert len(waiting_reports(connection)) == 2
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute("INSERT INTO asrun VALUES (3, 'A', '{}', '', '')")


def test_the_server_can_check_the_chain_by_the_bytes_it_received() -> None:
    room = PostRoom()

    async def main() -> CommandedSession:
        for order in "ABC":
            await room.database.run(lambda connection, order=order: write(connection, order))  # type: ignore[misc] # a default for the loop variable
        return await room.drain(CommandedSession())

    session = room.run(main())
    (batch,) = session.messages
    previous = NO_HASH
    for piece in batch.payload.split(b'"asrun":')[1:]:
        entry, _, rest = piece.partition(b',"previous":')
        assert json.loads(b'{"previous":' + rest.split(b"}")[0] + b"}")["previous"] == previous
        previous = entry_hash(previous, entry)
        assert previous.encode() in rest
    assert [line["asrun"]["id"] for line in session.lines()] == ["A", "B", "C"]
    assert session.numbers() == [1, 2, 3]


def test_a_good_chain_is_found_good(connection: sqlite3.Connection) -> None:
    assert verify_chain(connection) == asrun_file.ChainCheck(entries=0, broken_at=None)
    for index in range(20):
        write(connection, f"order-{index}")
    assert verify_chain(connection) == asrun_file.ChainCheck(entries=20, broken_at=None)


def rehash(connection: sqlite3.Connection) -> None:
    """Somebody edits an entry and puts its own hash right."""
    text, previous = connection.execute("SELECT entry, previous FROM asrun WHERE number = 5").fetchone()
    text = text.replace("AIRED", "FAILED")
    connection.execute(
        "UPDATE asrun SET entry = ?, hash = ? WHERE number = 5", (text, entry_hash(previous, text.encode()))
    )


@pytest.mark.parametrize(
    ("tamper", "broken_at"),
    [
        (
            lambda c: c.execute(
                "UPDATE asrun SET entry = replace(entry, 'AIRED', 'FAILED') WHERE number = 5"
            ),
            5,
        ),
        (lambda c: c.execute("UPDATE asrun SET order_id = 'other' WHERE number = 5"), 5),
        (lambda c: c.execute("DELETE FROM asrun WHERE number = 5"), 6),
        (lambda c: c.execute("UPDATE asrun SET previous = hash WHERE number = 1"), 1),
        (rehash, 6),
    ],
)
def test_a_change_behind_our_back_is_found(
    connection: sqlite3.Connection, tamper: Callable[[sqlite3.Connection], object], broken_at: int
) -> None:
    for index in range(10):
        write(connection, f"order-{index}")
    tamper(connection)
    assert verify_chain(connection).broken_at == broken_at


def test_the_log_is_bounded_and_the_chain_begins_with_the_oldest_kept(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asrun_file, "ENTRIES_MAX", 10)
    for index in range(25):
        write(connection, f"order-{index}")
    assert verify_chain(connection) == asrun_file.ChainCheck(entries=10, broken_at=None)
    assert asrun_file.entries(connection)[0].number == 16


def test_entry_and_report_are_written_both_or_not_at_all() -> None:
    room = PostRoom()

    def work(connection: sqlite3.Connection) -> tuple[int, int]:
        numbers = connection.execute("SELECT COUNT(*) FROM asrun").fetchone()[0]
        return numbers, shelf.counts(connection).waiting

    async def main() -> None:
        await room.database.run(lambda connection: write(connection, "A"))
        room.database.cut_at(room.database.runs)
        with pytest.raises(DatabaseError):
            await room.database.run(lambda connection: write(connection, "B"))
        room.power_cut()
        assert await room.database.run(work) == (1, 1)
        assert await room.database.run(lambda connection: write(connection, "B")) == 2
        assert (await room.database.run(verify_chain)).entries == 2

    room.run(main())
