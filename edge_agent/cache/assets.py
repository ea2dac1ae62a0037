"""The cellar's table: which assets are kept, how loud they are, and in which order they were used.

Order of use is a growing number, not a date: dates jump.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from edge_agent.model import Digest

SCHEMA = """
CREATE TABLE IF NOT EXISTS asset (
    digest TEXT PRIMARY KEY,             -- sha256:<64 hex>
    size INTEGER NOT NULL,
    verified INTEGER NOT NULL,           -- 0: found on the disk without a row; hashed before its first use
    used INTEGER NOT NULL,               -- grows with each use; the smallest goes first
    added TEXT NOT NULL,                 -- what the wall clock said, for people
    lufs REAL,
    gain_db REAL,
    peak_dbtp REAL,
    duration_s REAL,
    quarantined TEXT                     -- why the file was taken away; it may be fetched again
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS asset_used ON asset (used);
"""

_QUARANTINED_MAX = 100
"""So many sentences about spoilt files are remembered."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

ROOT = "media"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A sound file that is here, whole and verified. None: it was not measured yet."""

    digest: Digest
    size: int
    gain_db: float | None = None
    duration_s: float | None = None
    lufs: float | None = None
    peak_dbtp: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An asset as the table has it."""

    asset: Asset
    verified: bool
    quarantined: str | None


def well_formed(digest: str) -> bool:
    """Whether it is `sha256:` and 64 lower-case hex digits."""
    return _DIGEST.fullmatch(digest) is not None


def path_of(digest: Digest) -> str:
    """Where its file lies below the state directory."""
    assert well_formed(digest), digest
    hexadecimal = digest.removeprefix("sha256:")
    return f"{ROOT}/{hexadecimal[:2]}/{hexadecimal}"


def find(connection: sqlite3.Connection, digest: Digest) -> Row | None:
    """The row of one asset."""
    row = connection.execute(f"{_SELECT} WHERE digest = ?", (digest,)).fetchone()
    return None if row is None else _row(row)


def all_rows(connection: sqlite3.Connection) -> list[Row]:
    """Every row, least recently used first."""
    return [_row(row) for row in connection.execute(f"{_SELECT} ORDER BY used")]


def held(connection: sqlite3.Connection) -> frozenset[Digest]:
    """Every asset that is here, as far as the table knows."""
    rows = connection.execute("SELECT digest FROM asset WHERE quarantined IS NULL")
    return frozenset(Digest(digest) for (digest,) in rows)


def held_bytes(connection: sqlite3.Connection) -> int:
    """What all the files take together."""
    return int(connection.execute("SELECT TOTAL(size) FROM asset WHERE quarantined IS NULL").fetchone()[0])


def last_used(connection: sqlite3.Connection) -> int:
    """The highest number of use."""
    return int(connection.execute("SELECT COALESCE(MAX(used), 0) FROM asset").fetchone()[0])


def add(
    connection: sqlite3.Connection, *, digest: Digest, size: int, used: int, added: str, verified: bool
) -> None:
    """A file is there; what was known of an earlier copy is forgotten."""
    connection.execute(
        "INSERT OR REPLACE INTO asset (digest, size, verified, used, added) VALUES (?, ?, ?, ?, ?)",
        (digest, size, verified, used, added),
    )


def verify(connection: sqlite3.Connection, digest: Digest) -> None:
    """Its bytes were hashed and are right."""
    connection.execute("UPDATE asset SET verified = 1 WHERE digest = ?", (digest,))


def touch(connection: sqlite3.Connection, uses: Mapping[Digest, int]) -> None:
    """Write the numbers of use."""
    connection.executemany(
        "UPDATE asset SET used = ? WHERE digest = ?", ((used, digest) for digest, used in uses.items())
    )


def measure(
    connection: sqlite3.Connection,
    digest: Digest,
    *,
    gain_db: float,
    lufs: float,
    duration_s: float,
    peak_dbtp: float | None,
) -> Row | None:
    """Note how loud it is; returns the row, None when it is gone."""
    connection.execute(
        "UPDATE asset SET gain_db = ?, lufs = ?, duration_s = ?, peak_dbtp = ? WHERE digest = ?",
        (gain_db, lufs, duration_s, peak_dbtp, digest),
    )
    return find(connection, digest)


def quarantine(connection: sqlite3.Connection, digest: Digest, why: str) -> None:
    """Its file is not used any more; the reason is kept, for the last hundred."""
    connection.execute("UPDATE asset SET quarantined = ?, size = 0 WHERE digest = ?", (why, digest))
    connection.execute(
        "DELETE FROM asset WHERE quarantined IS NOT NULL AND digest NOT IN"
        " (SELECT digest FROM asset WHERE quarantined IS NOT NULL ORDER BY used DESC LIMIT ?)",
        (_QUARANTINED_MAX,),
    )


def forget(connection: sqlite3.Connection, digests: Collection[Digest]) -> None:
    """Remove rows."""
    connection.executemany("DELETE FROM asset WHERE digest = ?", ((digest,) for digest in digests))


def oldest(
    connection: sqlite3.Connection, *, short_bytes: int, spared: Collection[Digest]
) -> list[Digest] | None:
    """The least recently used that `short_bytes` are gained by, never one of `spared`; None when all are not enough."""
    gained, victims = 0, list[Digest]()
    for digest, size in connection.execute(
        "SELECT digest, size FROM asset WHERE quarantined IS NULL ORDER BY used"
    ):
        if gained >= short_bytes:
            break
        if digest not in spared:
            victims.append(digest)
            gained += size
    return victims if gained >= short_bytes else None


def evict(
    connection: sqlite3.Connection, *, short_bytes: int, spared: Collection[Digest]
) -> list[Digest] | None:
    """Take the `oldest` out of the table. None, and nothing is taken out, when that is not enough: nothing is
    thrown away in vain."""
    victims = oldest(connection, short_bytes=short_bytes, spared=spared)
    forget(connection, victims or ())
    return victims


_SELECT = "SELECT digest, size, gain_db, duration_s, lufs, peak_dbtp, verified, quarantined FROM asset"


def _row(
    row: tuple[Digest, int, float | None, float | None, float | None, float | None, int, str | None],
) -> Row:
    digest, size, gain_db, duration_s, lufs, peak_dbtp, verified, quarantined = row
    asset = Asset(
        digest=digest, size=size, gain_db=gain_db, duration_s=duration_s, lufs=lufs, peak_dbtp=peak_dbtp
    )
    return Row(asset=asset, verified=bool(verified), quarantined=quarantined)
