"""The keys in force: kept in the database, begun by a local file, renewed from afar, reported on.

First trust is the technician's: `[trust] keys_file`. From then on only a document that the roots
in force have signed takes its place. Only another local file, brought to the node by hand,
may begin anew under other roots.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from edge_agent.clocktrust import Sight
from edge_agent.command import keys
from edge_agent.command.acceptance import Trust
from edge_agent.command.ring import Ring
from edge_agent.errors import Fault, KeysRefused
from edge_agent.model import Issuer, Reason, ReasonCode
from edge_agent.report import shelf
from edge_agent.report.alerts import Alerts
from hal.errors import DatabaseError, DiskError
from hal.ports import Database

logger = logging.getLogger(__name__)

SCHEMA = """
CREATE TABLE IF NOT EXISTS keyring (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    version  INTEGER NOT NULL,
    envelope BLOB NOT NULL,              -- as it came, to be read again at each start
    local    TEXT NOT NULL               -- hash of the local file that was last judged, taken or not
);
"""

FAULTS_MAX = 20

Status = Literal["applied", "ignored", "rejected"]


class WireFault(msgspec.Struct, frozen=True):
    """Where a document is wrong, and how."""

    path: str
    line: int | None
    message: str


def wired(faults: Sequence[Fault]) -> list[WireFault]:
    """The first faults, as they are reported."""
    return [WireFault(fault.path, fault.line, fault.message[:300]) for fault in faults[:FAULTS_MAX]]


class Reported(msgspec.Struct, frozen=True, kw_only=True):
    """`up/reported/keys`, retained: what became of the latest document. `in_force` is the version that counts."""

    version: int | None
    hash: str | None
    status: Status
    errors: Sequence[WireFault] = ()
    in_force: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of a document; `news`: other keys are in force now."""

    status: Status
    code: ReasonCode | None = None
    text: str = ""
    news: bool = False


class Keyring:
    """Holds the ring. `open` comes first; then `apply` for whatever comes from afar."""

    def __init__(self, *, database: Database, alerts: Alerts, topic: str, unsigned: bool) -> None:
        """`topic`: where results are reported. `unsigned`: orders without a signature are taken, too."""
        self._database = database
        self._alerts = alerts
        self._topic = topic
        self._unsigned = unsigned
        self._current: keys.Opened | None = None
        self._ring: Ring | None = None
        self._fault: str | None = None
        self._told: bytes | None = None
        self._judged = ""
        """Hash of the local file that was last judged. It must not be judged again under later roots, to whom
        an old file may look like the technician's wish to begin anew."""

    @property
    def trust(self) -> Trust:
        """What proves an order now."""
        return Trust(ring=self._ring, unsigned=self._unsigned)

    @property
    def ring(self) -> Ring | None:
        """Who may order what; None while there are no keys."""
        return self._ring

    def may_sound(self, issuer: Issuer, sight: Sight) -> Reason | None:
        """Why what an issuer has scheduled may not begin at this time of day, or None."""
        return None if self._ring is None else self._ring.may_begin(issuer, "play", sight)

    @property
    def have(self) -> dict[str, int]:
        """For the birth: the version in force."""
        return {} if self._ring is None else {"keys": self._ring.version}

    async def open(self, local: bytes | None) -> None:
        """Take up what is kept, then look at the technician's file. Raises DatabaseError, DiskError."""
        row = await self._database.run(
            lambda connection: connection.execute("SELECT envelope, local FROM keyring").fetchone()
        )
        if row is not None:
            self._judged = row[1]
            try:
                self._hold(keys.opened(row[0]))
            except KeysRefused as refusal:  # only another release can have written it
                logger.error("The kept keys document cannot be read. reason=%s", refusal.text)  # noqa: TRY400 - the sentence says it all
                self._fault = refusal.text
        digest = "" if local is None else hashlib.sha256(local).hexdigest()
        if local is not None and (digest != self._judged or self._ring is None):
            await self._look_at(local, digest)
        if self._unsigned:
            logger.warning(
                "ORDERS WITHOUT A SIGNATURE ARE TAKEN, from anybody who reaches the broker: for a bench, not for a village."
            )
        await self._tell_if_none()

    async def apply(self, blob: bytes, *, tell: bool = True) -> Result:
        """A document from afar. Raises DatabaseError, DiskError: then nothing has changed.

        `tell` says whether one that changes nothing is reported, too.
        """
        opened: keys.Opened | None = None
        try:
            opened = keys.opened(blob)
            current = self._current
            if current is None:
                raise KeysRefused(
                    ReasonCode.UNKNOWN_KEY,
                    "This node trusts no roots yet: the first keys document is installed by hand, in [trust] keys_file.",
                )
            version, held = opened.document.version, current.document.version
            if opened.digest == current.digest:
                return await self._report(opened, Result(status="applied"), tell=tell)
            if version <= held:
                text = f"Version {version} is not newer than {held}, which is in force."
                ignored = Result(status="ignored", code=ReasonCode.REPLAYED, text=text)
                return await self._report(opened, ignored, tell=tell)
            keys.follows(opened, current.document)
        except KeysRefused as refusal:
            result = Result(status="rejected", code=refusal.code, text=refusal.text)
            return await self._report(opened, result, refusal.faults, tell=tell)
        await self._keep(opened)
        logger.info("New keys are in force. version=%d from=%d", version, held)
        return Result(status="applied", news=True)

    async def renew(self) -> None:
        """Report once more: the broker did not remember us, perhaps nothing at all. Raises DatabaseError, DiskError."""
        if self._current is not None:
            said = self._told or self._reported(self._current, Result(status="applied"), ())
            await self._put(said)

    async def look(self, sight: Sight) -> None:
        """Say by an alert which keys are about to expire; what is not known today is not said."""
        await self._tell_if_none()
        if self._ring is None or not sight.quality.trusted:
            return
        expiring = self._ring.expiring(sight.now)
        if expiring:
            await self._alerts.raised(
                "key_expiring",
                f"Keys expire soon, or have: {', '.join(expiring)}. Sign a keys document with younger ones.",
            )
        else:
            await self._alerts.solved("key_expiring")

    async def _look_at(self, local: bytes, digest: str) -> None:
        """The technician's file is new here."""
        try:
            opened = keys.opened(local)
            keys.begins(opened)
            if self._current is not None and not self._begins_anew(opened, self._current):
                logger.info(
                    "The local keys file is not newer than what is in force. version=%d in_force=%d",
                    opened.document.version,
                    self._current.document.version,
                )
                await self._remember_judged(digest)
                return
        except KeysRefused as refusal:
            logger.error("The local keys file is not taken. reason=%s", refusal.text)  # noqa: TRY400 - the sentence says it all
            self._fault = refusal.text
            return
        self._judged = digest
        try:
            await self._keep(opened)
        except (DatabaseError, DiskError) as error:
            # The file itself stays where the technician put it: it can be believed before it is stored.
            logger.warning("The local keys file is believed but cannot be stored yet. error=%s", error)
            self._fault = None
            self._hold(opened)
        logger.info("The local keys file is in force. version=%d", opened.document.version)

    def _begins_anew(self, opened: keys.Opened, current: keys.Opened) -> bool:
        """Whether a file brought by hand takes the place of what is in force."""
        try:
            keys.follows(opened, current.document)
        except KeysRefused:
            logger.warning("The local keys file has other roots; the node begins anew with it.")
            return True
        return opened.document.version > current.document.version

    async def _remember_judged(self, digest: str) -> None:
        """The local file was turned down for good."""
        self._judged = digest

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE keyring SET local = ?", (digest,))

        try:
            await self._database.run(work)
        except (DatabaseError, DiskError) as error:
            logger.warning("That the local keys file was judged cannot be stored yet. error=%s", error)

    async def _keep(self, opened: keys.Opened) -> None:
        """Store, and only then believe."""
        version, judged = opened.document.version, self._judged
        said = self._reported(opened, Result(status="applied"), (), in_force=version)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT OR REPLACE INTO keyring VALUES (1, ?, ?, ?)", (version, opened.blob, judged)
            )
            shelf.put(connection, topic=self._topic, payload=said, kind="alert", retain=True)

        await self._database.run(work)
        self._told = said
        self._fault = None
        self._hold(opened)
        await self._tell_if_none()

    def _hold(self, opened: keys.Opened) -> None:
        self._current, self._ring = opened, Ring(opened.document)

    async def _report(
        self,
        opened: keys.Opened | None,
        result: Result,
        faults: Sequence[Fault] = (),
        *,
        tell: bool,
    ) -> Result:
        """Report a result that changes nothing; one that was just reported costs nothing."""
        said = self._reported(
            opened, result, faults or ((Fault("$.version", result.text),) if result.text else ())
        )
        if tell and said != self._told:
            await self._put(said)
        return result

    async def _put(self, said: bytes) -> None:
        await self._database.run(
            lambda connection: shelf.put(
                connection, topic=self._topic, payload=said, kind="alert", retain=True
            )
        )
        self._told = said

    def _reported(
        self,
        opened: keys.Opened | None,
        result: Result,
        faults: Sequence[Fault],
        *,
        in_force: int | None = None,
    ) -> bytes:
        return msgspec.json.encode(
            Reported(
                version=None if opened is None else opened.document.version,
                hash=None if opened is None else opened.digest,
                status=result.status,
                errors=wired(faults),
                in_force=in_force or (None if self._ring is None else self._ring.version),
            )
        )

    async def _tell_if_none(self) -> None:
        if self._ring is not None or self._unsigned:
            await self._alerts.solved("no_keys")
            return
        why = self._fault or "no keys_file is set in [trust], or it cannot be read."
        await self._alerts.raised("no_keys", f"The node believes nobody, every order is refused: {why}")
