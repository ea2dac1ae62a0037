"""Storage that has grown large: an outbox of months without a server, a cellar of very many small files."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator

from edge_agent.cache import assets
from edge_agent.model import Digest
from edge_agent.report import shelf

REPORT = "pa/v1/thon-3/up/report"
ALERT = "pa/v1/thon-3/up/alert/disk_low"

PAYLOAD = bytes(range(256))
"""Every file has these bytes: their names do not fit them, and nobody hashes what has a row."""


def fill_outbox(connection: sqlite3.Connection, count: int) -> None:
    """So many reports, in one go."""
    shelf.limit(connection, count + 100)
    connection.executemany(
        "INSERT INTO outbox (lane, topic, payload, retain) VALUES (2, ?, ?, 0)",
        ((REPORT, b'{"text":"r%d"}' % number) for number in range(count)),
    )


def digests(count: int) -> Iterator[Digest]:
    """So many names of files."""
    for number in range(count):
        yield Digest(f"sha256:{hashlib.sha256(str(number).encode()).hexdigest()}")


def fill_table(connection: sqlite3.Connection, count: int) -> None:
    """Rows of so many assets, used one after another."""
    connection.executemany(
        "INSERT INTO asset (digest, size, verified, used, added) VALUES (?, ?, 1, ?, '')",
        ((digest, len(PAYLOAD), used) for used, digest in enumerate(digests(count), start=1)),
    )


def paths(count: int) -> Iterator[str]:
    """Where their files lie."""
    return (assets.path_of(digest) for digest in digests(count))
