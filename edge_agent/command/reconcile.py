"""Desired documents: verified, understood, stored, taken; and reported on. What was good stays until better comes.

On each connect the broker sends the retained documents again, so this is the reconciliation, too. The order of
checks is that of orders: envelope, key, signature, scope, version, then what is inside. A document
counts once it is stored; the rooms get it after that, and again after each start. One whose keys are
revoked later is taken out of force, and stands again if its keys do.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import msgspec

from edge_agent.clocktrust import ClockTrust
from edge_agent.command import documents
from edge_agent.command.acceptance import Trust
from edge_agent.command.documents import Document
from edge_agent.command.json_lines import line_of
from edge_agent.command.keyring import FAULTS_MAX, Keyring, WireFault, wired
from edge_agent.command.ring import Reach
from edge_agent.command.topics import Topics
from edge_agent.desired import Doc, Signed, Taker, Understood
from edge_agent.errors import DocumentRefused, Fault, MediaRefused, OrderRefused
from edge_agent.model import Digest, ReasonCode
from edge_agent.report import shelf
from hal.errors import DatabaseError, DiskError
from hal.ports import Database

logger = logging.getLogger(__name__)

SCHEMA = """
CREATE TABLE IF NOT EXISTS desired (
    doc      TEXT PRIMARY KEY,           -- schedule, media, board, config
    version  INTEGER NOT NULL,
    digest   TEXT NOT NULL,              -- sha256 of the signed bytes
    envelope BLOB NOT NULL,              -- as it came, to be verified again at each start
    body     BLOB NOT NULL
) WITHOUT ROWID;
"""

Status = Literal["applied", "pending", "ignored", "rejected"]

_FETCH_AGAIN_S = (60.0, 3600.0)


class Reported(msgspec.Struct, frozen=True, kw_only=True):
    """`up/reported/<doc>`, retained: what became of the latest document. `in_force` is the version that counts."""

    version: int | None
    hash: str | None
    status: Status
    code: str | None = None
    errors: Sequence[WireFault] = ()
    warnings: Sequence[WireFault] = ()
    in_force: int | None


class Larder(Protocol):
    """Where a document behind a pointer comes from."""

    async def fetched(self, digest: Digest, url: str, *, most: int) -> bytes:
        """The whole of it, verified. Raises MediaRefused, DiskError, DatabaseError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """What is kept of one document."""

    document: Document
    body: bytes


Spawn = Callable[..., asyncio.Task[None]]


class Reconciler:
    """Holds the desired state. `open` comes first, then `arrived` for whatever comes down."""

    def __init__(
        self,
        *,
        database: Database,
        trust: ClockTrust,
        keyring: Keyring,
        topics: Topics,
        takers: Mapping[Doc, Taker],
        larder: Larder,
        telling: Callable[[], None],
    ) -> None:
        """`telling` is called when something was laid into the outbox."""
        self._database = database
        self._trust = trust
        self._keyring = keyring
        self._topics = topics
        self._takers = takers
        self._larder = larder
        self._telling = telling
        self._held: dict[Doc, _Held] = {}
        self._in_force: set[Doc] = set()
        self._said: dict[Doc, bytes] = {}
        self._applying = asyncio.Lock()
        """Of two documents that come together the newer one stays."""
        self._fetching: dict[Doc, Document] = {}
        """The document whose body is being fetched."""

    @property
    def have(self) -> dict[str, int]:
        """For the birth: the versions in force."""
        return {doc.value: self._held[doc].document.signed.version for doc in sorted(self._in_force)}

    @property
    def awaited(self) -> frozenset[Digest]:
        """The bodies of documents that are being fetched: a stick may bring them, too."""
        pointers = (document.pointer for document in self._fetching.values())
        return frozenset(documents.pointed_at(pointer) for pointer in pointers if pointer is not None)

    async def open(self) -> None:
        """Take up what is kept. Raises DatabaseError, DiskError."""
        rows = await self._database.run(
            lambda connection: connection.execute("SELECT doc, envelope, body FROM desired").fetchall()
        )
        for name, blob, body in rows:
            try:
                document = documents.opened(bytes(blob), expected=Doc(name))
            except (DocumentRefused, ValueError) as error:  # another release wrote it
                logger.error("A kept document cannot be read. doc=%s error=%s", name, error)  # noqa: TRY400 - the sentence says it all
                continue
            self._held[document.doc] = _Held(document=document, body=bytes(body))
        await self.review()

    async def review(self) -> None:
        """Other keys may be in force: which documents are believed now? Raises DatabaseError, DiskError."""
        async with self._applying:
            await self._review()

    async def _review(self) -> None:
        trust = self._keyring.trust
        for doc, held in self._held.items():
            if doc not in self._takers:
                continue
            refusal = self._disbelieved(held.document, trust)
            if refusal is None and doc not in self._in_force:
                await self._take_again(doc, held)
            elif refusal is not None and doc in self._in_force:
                logger.warning("A document is believed no more. doc=%s reason=%s", doc, refusal.text)
                self._in_force.discard(doc)
                await self._takers[doc].take(None)
                await self._report(held.document, "rejected", refusal)

    async def renew(self) -> None:
        """Report once more: the broker did not remember us. Raises DatabaseError, DiskError."""
        for doc in self._takers:
            held = self._held.get(doc)
            if doc in self._said:
                await self._put(doc, self._said[doc], again=True)
            elif held is not None and doc in self._in_force:
                await self._report(held.document, "applied")

    async def arrived(self, doc: Doc, blob: bytes, *, tell: bool, spawn: Spawn) -> DocumentRefused | None:
        """Deal with what came on a document's topic; why it was refused, if it was.

        `tell`: results that change nothing are reported, too. `spawn` makes a task that fetches what a pointer
        points at. Raises DatabaseError, DiskError: then nothing has changed.
        """
        if not blob:
            logger.debug("A document was cleared at the broker; the node keeps its own. doc=%s", doc)
            return None
        document: Document | None = None
        try:
            document = documents.opened(blob, expected=doc)
            self._prove(document)
            if document.body is None and not self._old(document):
                await self._fetch_later(document, spawn)
                return None
            async with self._applying:
                if self._old(document):
                    await self._report_old(document, tell=tell)
                else:
                    await self._apply(document, document.body or b"")
        except DocumentRefused as refusal:
            if tell:
                await self._report(document, "rejected", refusal, doc=doc)
            return refusal
        return None

    # ------------------------------------------------------------ whether it counts

    def _prove(self, document: Document) -> None:
        """Key, signature, audience, scope. Raises DocumentRefused."""
        topics, trust, reach = self._topics, self._keyring.trust, self._reach(document)
        if not reach.audience:
            raise DocumentRefused(
                ReasonCode.WRONG_AUDIENCE,
                f"The document is for {', '.join(document.audience[:5])}; this node is {', '.join(sorted(topics.audience))}.",
            )
        if _unsigned(document, trust):
            return
        if trust.ring is None:
            raise DocumentRefused(
                ReasonCode.UNKNOWN_KEY,
                "This node has no keys document, so it believes nobody; install one and name it in [trust] keys_file.",
            )
        sight = self._trust.look()
        try:
            proof = trust.ring.prove(document.sealed, document.signed.issuer, sight)
        except OrderRefused as refusal:
            raise DocumentRefused(refusal.code, refusal.text) from None
        beyond = trust.ring.scope(document.as_order, proof, reach, sight)
        if beyond is not None:
            raise DocumentRefused(beyond.code, beyond.text)

    def _old(self, document: Document) -> bool:
        held = self._held.get(document.doc)
        return held is not None and document.signed.version <= held.document.signed.version

    async def _report_old(self, document: Document, *, tell: bool) -> None:
        held = self._held[document.doc].document
        if document.digest == held.digest:
            if document.doc not in self._in_force:
                await self._review()
            elif tell and document.doc not in self._said:
                await self._report(document, "applied")
            return
        text = (
            f"Version {document.signed.version} is not newer than {held.signed.version}, which this node has."
        )
        refusal = DocumentRefused(ReasonCode.REPLAYED, text, [Fault("$.version", text)])
        if tell:
            await self._report(document, "ignored", refusal)

    def _disbelieved(self, document: Document, trust: Trust) -> DocumentRefused | None:
        if _unsigned(document, trust):
            return None
        if trust.ring is None:
            return DocumentRefused(ReasonCode.UNKNOWN_KEY, "This node has no keys document any more.")
        why = trust.ring.stands(document.sealed, document.signed.issuer)
        why = why or trust.ring.reaches(document.as_order, self._reach(document))
        return None if why is None else DocumentRefused(why.code, why.text)

    def _reach(self, document: Document) -> Reach:
        topics = self._topics
        mine = tuple(name for name in document.audience if name in topics.audience)
        return Reach(audience=mine, node=topics.node, groups=topics.groups)

    # ------------------------------------------------------------ into force

    async def _apply(self, document: Document, body: bytes) -> None:
        """Understand, store, take. Raises DocumentRefused; DatabaseError, DiskError."""
        understood = await self._understood(document, body)
        row = (document.doc.value, document.signed.version, document.digest, document.blob, body)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO desired VALUES (?, ?, ?, ?, ?)", row)

        await self._database.run(work)
        self._held[document.doc] = _Held(document=document, body=body)
        self._in_force.add(document.doc)
        logger.info(
            "A document is in force. doc=%s version=%d issuer=%s",
            document.doc, document.signed.version, document.signed.issuer,
        )  # fmt: skip
        trial = await self._takers[document.doc].take(understood)
        refusal = None if trial is None else DocumentRefused(ReasonCode.BUSY, trial)
        said = _encoded(
            document, "applied" if trial is None else "pending", refusal=refusal, understood=understood,
            in_force=document.signed.version,
        )  # fmt: skip
        await self._put(document.doc, said)

    async def _take_again(self, doc: Doc, held: _Held) -> None:
        """A kept document, after a start, or because its keys are believed again."""
        try:
            understood = await self._understood(held.document, held.body)
        except DocumentRefused as refusal:  # this release is stricter than the one that took it
            logger.error("A kept document is not understood any more. doc=%s reason=%s", doc, refusal.text)  # noqa: TRY400 - the sentence says it all
            await self._report(held.document, "rejected", refusal)
            return
        self._in_force.add(doc)
        await self._takers[doc].take(understood)

    async def _understood(self, document: Document, body: bytes) -> Understood:
        taker = self._takers.get(document.doc)
        if taker is None:
            raise DocumentRefused(
                ReasonCode.UNSUPPORTED,
                f"This node has nothing that a {document.doc} document is for; see up/caps.",
            )
        try:
            return await asyncio.to_thread(_read, taker, body, document.signed)
        except DocumentRefused:
            raise
        except Exception:
            logger.exception("A document could not be read in a way nobody foresaw. doc=%s", document.doc)
            raise DocumentRefused(
                ReasonCode.INTERNAL, "This node failed over the document; see its log, and send another one."
            ) from None

    async def _fetch_later(self, document: Document, spawn: Spawn) -> None:
        """Its body is elsewhere: fetch it beside everything else; until then the one in force stays."""
        known = self._fetching.get(document.doc)
        if known is not None and known.digest == document.digest:
            return
        self._fetching[document.doc] = document
        text = "Its content is being fetched."
        await self._report(document, "pending", DocumentRefused(ReasonCode.BUSY, text))
        spawn(self._fetch(document), name=f"document {document.doc}")

    async def _fetch(self, document: Document) -> None:
        """Again and again, until it is here, or a newer one came."""
        wait_s = _FETCH_AGAIN_S[0]
        try:
            while self._fetching.get(document.doc) is document and not self._old(document):
                try:
                    if await self._fetched(document):
                        return
                except (DatabaseError, DiskError) as error:
                    logger.warning("A document cannot be stored yet. doc=%s error=%s", document.doc, error)
                except Exception:
                    logger.exception("A document failed in a way nobody foresaw. doc=%s", document.doc)
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, _FETCH_AGAIN_S[1])
        finally:
            if self._fetching.get(document.doc) is document:
                del self._fetching[document.doc]

    async def _fetched(self, document: Document) -> bool:
        """One attempt; whether it is settled, well or not. Raises DatabaseError, DiskError."""
        pointer = document.pointer
        assert pointer is not None
        try:
            body = await self._larder.fetched(documents.pointed_at(pointer), pointer.url, most=pointer.size)
            async with self._applying:
                self._prove(document)
                if not self._old(document):
                    await self._apply(document, body)
        except MediaRefused as refusal:
            logger.warning("A document cannot be fetched yet. doc=%s why=%s", document.doc, refusal.text)
            await self._report(document, "pending", DocumentRefused(refusal.code, refusal.text))
            return False
        except DocumentRefused as refusal:
            await self._report(document, "rejected", refusal)
        return True

    # ------------------------------------------------------------ what is told

    async def settled(self, doc: Doc, refusal: DocumentRefused | None) -> None:
        """A document that was on trial has stood it, or has not. Raises DatabaseError, DiskError."""
        held = self._held.get(doc)
        if held is not None:
            await self._report(held.document, "applied" if refusal is None else "rejected", refusal)

    async def _report(
        self,
        document: Document | None,
        status: Status,
        refusal: DocumentRefused | None = None,
        *,
        doc: Doc | None = None,
    ) -> None:
        doc = document.doc if document is not None else doc
        assert doc is not None
        in_force = self._held[doc].document.signed.version if doc in self._in_force else None
        await self._put(doc, _encoded(document, status, refusal=refusal, in_force=in_force))

    async def _put(self, doc: Doc, said: bytes, *, again: bool = False) -> None:
        if said == self._said.get(doc) and not again:
            return
        await self._database.run(lambda connection: self._shelve(connection, doc, said))
        self._said[doc] = said
        self._telling()

    def _shelve(self, connection: sqlite3.Connection, doc: Doc, said: bytes) -> None:
        shelf.put(
            connection, topic=self._topics.up(f"reported/{doc}"), payload=said, kind="alert", retain=True
        )


def _unsigned(document: Document, trust: Trust) -> bool:
    """Whether it is taken without a signature: on a bench only."""
    return trust.unsigned and (trust.ring is None or not document.sealed.signatures)


def _encoded(
    document: Document | None,
    status: Status,
    *,
    refusal: DocumentRefused | None = None,
    understood: Understood | None = None,
    in_force: int | None,
) -> bytes:
    return msgspec.json.encode(
        Reported(
            version=None if document is None else document.signed.version,
            hash=None if document is None else document.digest,
            status=status,
            code=None if refusal is None else refusal.code.value,
            errors=wired(() if refusal is None else refusal.faults),
            warnings=wired(() if understood is None else understood.warnings),
            in_force=in_force,
        )
    )


def _read(taker: Taker, body: bytes, signed: Signed) -> Understood:
    """What a room makes of a body, each fault and warning with its line in it. Raises DocumentRefused."""
    try:
        understood = taker.understand(body, signed)
    except DocumentRefused as refusal:
        raise DocumentRefused(refusal.code, refusal.text, _on_lines(refusal.faults, body)) from None
    return replace(understood, warnings=_on_lines(understood.warnings, body))


def _on_lines(faults: Sequence[Fault], body: bytes) -> tuple[Fault, ...]:
    """The first faults."""
    return tuple(replace(fault, line=line_of(body, fault.path)) for fault in faults[:FAULTS_MAX])
