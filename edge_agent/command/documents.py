"""Bytes -> one desired document, or one refusal; and back. Pure.

A desired document is a DSSE envelope like an order. Its payload names the document, its version, its issuer, its
audience and the highest class in it, and carries the content itself (`body`) or says where it lies (`pointer`).
It never expires: it holds until a higher version comes, so that a node without network keeps its word.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edge_agent.command import audible, envelope
from edge_agent.command.envelope import Order, Sealed, said_once, unwrap, worded, wrap
from edge_agent.command.signing import Signer
from edge_agent.desired import Doc, Signed
from edge_agent.errors import DocumentRefused, Fault, OrderRefused
from edge_agent.model import Digest, Issuer, OrderId, Precedence, ReasonCode

PAYLOAD_TYPE = "application/vnd.pa.desired+json"
VERSION = 1
BODY_MAX = 8 << 20
"""The largest document behind a pointer, bytes."""

_AUD_PATTERN = r"^[ng]:[a-z0-9-]{1,40}\Z"


class Pointer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a document lies that is too large for a message; the digest is its identity."""

    url: audible.Url
    sha256: audible.Media
    size: Annotated[int, Meta(ge=2, le=BODY_MAX)]


class DocumentForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The signed bytes of a desired document, version 1: `body` or `pointer`, one of them."""

    v: Literal[1]
    doc: Doc
    version: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    iss: Annotated[str, Meta(pattern=envelope.ISS_PATTERN)]
    aud: Annotated[list[Annotated[str, Meta(pattern=_AUD_PATTERN)]], Meta(min_length=1, max_length=64)]
    iat: Annotated[datetime, Meta(tz=True)]
    klass: Literal["routine", "priority", "emergency"] = msgspec.field(name="class", default="routine")
    """The highest class of anything in it; it needs as many signatures as an order of that class."""
    body: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b""))
    pointer: Pointer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """An opened document; nothing is verified yet."""

    doc: Doc
    signed: Signed
    audience: tuple[str, ...]
    digest: str
    """sha256 of the signed bytes, hex."""
    sealed: Sealed
    blob: bytes
    body: bytes | None
    """None: behind `pointer`."""
    pointer: Pointer | None

    @property
    def as_order(self) -> Order:
        """The document as whoever judges scopes wants it: its verb is its name."""
        return Order(
            id=OrderId(f"{self.doc}-{self.signed.version}"),
            issuer=self.signed.issuer,
            audience=self.audience,
            verb=self.doc.value,
            seq=self.signed.version,
            issued_at=self.signed.issued_at,
            expires_at=self.signed.issued_at,
            precedence=self.signed.highest,
            args={},
        )


def opened(blob: bytes, *, expected: Doc | None = None) -> Document:
    """Open what came on the topic of `expected`; without it, whichever it is. Raises DocumentRefused."""
    try:
        sealed = unwrap(blob, payload_type=PAYLOAD_TYPE)
        said_once(sealed.payload)
        form = msgspec.json.decode(sealed.payload, type=DocumentForm)
    except OrderRefused as refusal:
        raise DocumentRefused(refusal.code, refusal.text) from None
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _bad(f"The document is malformed: {worded(error, envelope.FORMS | audible.FORMS)}.") from None
    if expected is not None and form.doc is not expected:
        raise _bad(f"The document is a {form.doc}, and came on the topic of {expected}; use its own.")
    if (form.pointer is None) == (not bytes(form.body)):
        raise _bad("A document carries `body` or `pointer`, one of them.")
    try:
        issued_at = form.iat.astimezone(UTC)
    except OverflowError:
        raise _bad("The date in `iat` is out of the calendar.") from None
    return Document(
        doc=form.doc,
        signed=Signed(
            issuer=Issuer(form.iss),
            highest=Precedence.from_wire(form.klass),
            version=form.version,
            issued_at=issued_at,
        ),
        audience=tuple(form.aud),
        digest=hashlib.sha256(sealed.payload).hexdigest(),
        sealed=sealed,
        blob=blob,
        body=None if form.pointer is not None else bytes(form.body),
        pointer=form.pointer,
    )


def compose(
    doc: Doc,
    *,
    version: int,
    issuer: str,
    audience: Sequence[str],
    issued_at: datetime,
    highest: Precedence,
    body: bytes | None = None,
    pointer: Pointer | None = None,
) -> bytes:
    """The bytes that are to be signed; `body` goes in as it stands, line by line."""
    whole: dict[str, Any] = {
        "v": VERSION,
        "doc": doc.value,
        "version": version,
        "iss": issuer,
        "aud": list(audience),
        "iat": issued_at,
        "class": highest.wire,
    }
    content = {"pointer": pointer} if pointer is not None else {"body": msgspec.Raw(body or b"{}")}
    return msgspec.json.encode(whole | content)


def seal(payload: bytes, signers: Sequence[Signer]) -> bytes:
    """Composed bytes in their envelope."""
    return wrap(PAYLOAD_TYPE, payload, signers)


def pointed_at(pointer: Pointer) -> Digest:
    """The asset that a pointer means."""
    return Digest(pointer.sha256)


def _bad(text: str) -> DocumentRefused:
    return DocumentRefused(ReasonCode.BAD_ENVELOPE, text, [Fault("$", text)])
