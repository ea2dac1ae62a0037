"""Small facts kept over restarts: names and texts (volume, time floor, counters), and when this agent ran."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

SCHEMA = """
CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS run (
    boot      TEXT NOT NULL,             -- the kernel's id
    began_ms  INTEGER NOT NULL,          -- of this run of the agent, ms since boot
    last_ms   INTEGER NOT NULL,          -- when it was last known to live
    offset_ms INTEGER,                   -- wall time, ms since 1970, less ms since boot; NULL: never known in this run
    PRIMARY KEY (boot, began_ms)
) WITHOUT ROWID;
"""


RUNS_MAX = 5_000
"""Power cuts of more than a year at ten a day."""


class Run(NamedTuple):
    """One run of the agent: its boot, when it lived (ms since boot), and the date of that boot where it was learnt."""

    boot: str
    began_ms: int
    last_ms: int
    offset_ms: int | None


def note_run(
    connection: sqlite3.Connection, boot: str, *, began_ms: int, offset_ms: int | None, last_ms: int
) -> None:
    """This run lives, in the caller's transaction. Once the date is known it is known for the whole boot."""
    connection.execute(
        "INSERT INTO run VALUES (?, ?, ?, ?) ON CONFLICT (boot, began_ms) DO UPDATE"
        " SET last_ms = excluded.last_ms, offset_ms = coalesce(excluded.offset_ms, offset_ms)",
        (boot, began_ms, last_ms, offset_ms),
    )
    if offset_ms is not None:
        connection.execute(
            "UPDATE run SET offset_ms = ? WHERE boot = ? AND offset_ms IS NULL", (offset_ms, boot)
        )
    connection.execute(
        "DELETE FROM run WHERE offset_ms < (SELECT offset_ms FROM run WHERE offset_ms IS NOT NULL"
        " ORDER BY offset_ms DESC LIMIT 1 OFFSET ?)",
        (RUNS_MAX,),
    )


def runs(connection: sqlite3.Connection) -> list[Run]:
    """Every run that is kept."""
    rows = connection.execute(
        "SELECT boot, began_ms, last_ms, offset_ms FROM run ORDER BY offset_ms, began_ms"
    )
    return [Run(*row) for row in rows]


def offset_of(connection: sqlite3.Connection, boot: str) -> int | None:
    """What an earlier run of this boot knew of the date."""
    row = connection.execute(
        "SELECT offset_ms FROM run WHERE boot = ? AND offset_ms IS NOT NULL ORDER BY began_ms DESC LIMIT 1",
        (boot,),
    ).fetchone()
    return None if row is None else int(row[0])


def get(connection: sqlite3.Connection, name: str) -> str | None:
    """The fact's text, or None when it was never kept."""
    row = connection.execute("SELECT value FROM kept WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def put(connection: sqlite3.Connection, name: str, value: str) -> None:
    """Keep a fact, in the caller's transaction."""
    connection.execute(
        "INSERT INTO kept VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )
