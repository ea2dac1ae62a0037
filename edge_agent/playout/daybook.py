"""The governor's account of the day on the disk, so that no power cut makes a new day.

Functions over a connection. What is written when a turn begins is two small rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

from edge_agent.model import Digest
from edge_agent.playout.governor import Page

SCHEMA = """
CREATE TABLE IF NOT EXISTS airtime (
    only         INTEGER PRIMARY KEY CHECK (only = 1),
    page         INTEGER NOT NULL,
    day          INTEGER,               -- date as days since year 1; NULL: nobody knew it
    boot         TEXT NOT NULL,
    began_ns     INTEGER NOT NULL,
    ordinary_ns  INTEGER NOT NULL,
    emergency_ns INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS begun (
    page      INTEGER NOT NULL,
    asset     TEXT NOT NULL,
    emergency INTEGER NOT NULL,
    times     INTEGER NOT NULL,
    PRIMARY KEY (page, asset, emergency)
) WITHOUT ROWID;
"""

Line = tuple[Digest, bool]
"""An asset, and whether it began as an emergency."""


def read(connection: sqlite3.Connection) -> Page | None:
    """The page as it was last written; None when there never was one."""
    row = connection.execute(
        "SELECT page, day, boot, began_ns, ordinary_ns, emergency_ns FROM airtime"
    ).fetchone()
    if row is None:
        return None
    number, day, boot, began_ns, ordinary_ns, emergency_ns = row
    begun = connection.execute("SELECT asset, emergency, times FROM begun WHERE page = ?", (number,))
    return Page(
        number=number,
        day=day,
        boot=boot,
        began_ns=began_ns,
        airtime_ns={False: ordinary_ns, True: emergency_ns},
        begun={(Digest(asset), bool(emergency)): times for asset, emergency, times in begun},
    )


def write(connection: sqlite3.Connection, page: Page, lines: Mapping[Line, int]) -> None:
    """Write the page's sums, and those of its lines that have changed; earlier pages go."""
    sums: Iterable[int] = (page.airtime_ns.get(False, 0), page.airtime_ns.get(True, 0))
    connection.execute(
        "INSERT OR REPLACE INTO airtime VALUES (1, ?, ?, ?, ?, ?, ?)",
        (page.number, page.day, page.boot, page.began_ns, *sums),
    )
    connection.execute("DELETE FROM begun WHERE page <> ?", (page.number,))
    connection.executemany(
        "INSERT OR REPLACE INTO begun VALUES (?, ?, ?, ?)",
        [(page.number, asset, emergency, times) for (asset, emergency), times in lines.items()],
    )
