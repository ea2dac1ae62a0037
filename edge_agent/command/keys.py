"""The keys document: which authorities there are, what each may order, and the roots that say so. Pure.

It is a DSSE envelope like an order, signed by root keys that are kept offline. Trust goes on from
version to version as in The Update Framework (TUF 1.0, 5.3): a newer version counts when enough
of the roots in force signed it, and enough of its own.

    opened     bytes -> a well-formed document, or every fault in it
    begins     its own roots signed it: enough for the file that the technician installed
    follows    the roots in force signed it, too: enough for one from afar
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge_agent.command import envelope
from edge_agent.command.envelope import Sealed, printable, said_once, unwrap, worded
from edge_agent.command.signing import PUBLIC_BYTES, verify
from edge_agent.errors import Fault, KeysRefused, OrderRefused
from edge_agent.hours import minute_of
from edge_agent.model import Precedence, ReasonCode

PAYLOAD_TYPE = "application/vnd.pa.keys+json"
VERSION = 1

KID_PATTERN = r"^[a-z0-9._-]{2,64}\Z"
AUTHORITY_PATTERN = r"^[a-z0-9][a-z0-9._-]{1,63}\Z"
_PUB_PATTERN = r"^[A-Za-z0-9+/]{43}=\Z"
_TIME_PATTERN = r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)\Z"
_GROUP_PATTERN = r"^[a-z0-9-]{3,40}\Z"
_VERB_PATTERN = r"^[a-z_]{1,32}\Z"

FORMS = envelope.FORMS | {
    KID_PATTERN: "a key's name of 2 to 64 of a-z, 0-9, `.`, `_`, `-`",
    _PUB_PATTERN: "32 bytes in base64",
    _TIME_PATTERN: "a time of day like 05:00",
    _GROUP_PATTERN: "a group's name of 3 to 40 of a-z, 0-9, `-`",
}

_Kid = Annotated[str, Meta(pattern=KID_PATTERN, description="name of a key, unique in the document")]
_Pub = Annotated[str, Meta(pattern=_PUB_PATTERN, description="Ed25519 public key, 32 bytes in base64")]
_When = Annotated[datetime, Meta(tz=True)]
_Class = Literal["routine", "priority", "emergency"]
_Count = Annotated[int, Meta(ge=1, le=envelope.SIGNATURES_MAX)]


class RootKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key that signs keys documents and nothing else; kept offline."""

    kid: _Kid
    pub: _Pub


class Roots(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The roots, and how many of them must sign."""

    threshold: _Count
    keys: Annotated[tuple[RootKey, ...], Meta(min_length=1, max_length=16)]


class Thresholds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many different keys must sign an order of each class."""

    routine: _Count = 1
    priority: _Count = 1
    emergency: _Count = 1

    def of(self, klass: object) -> int:
        """The threshold of a class by its name on the wire; of an unknown class the highest."""
        known = {"routine": self.routine, "priority": self.priority, "emergency": self.emergency}
        return known.get(klass, max(known.values())) if isinstance(klass, str) else max(known.values())


class Hours(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the day, local time (UTC+7); over midnight when `to` comes before `from`."""

    begin: Annotated[str, Meta(pattern=_TIME_PATTERN)] = msgspec.field(name="from")
    to: Annotated[str, Meta(pattern=_TIME_PATTERN)]

    def covers(self, minute: int) -> bool:
        """Whether a minute of the day (0-1439) lies in it; `to` itself does not."""
        begin, end = minute_of(self.begin), minute_of(self.to)
        return begin <= minute < end if begin < end else minute >= begin or minute < end


class Key(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An authority's key. `retired`: takes no new orders, what was accepted stands. `revoked`: nothing of it stands."""

    kid: _Kid
    pub: _Pub
    not_before: _When
    expires: _When
    status: Literal["active", "retired", "revoked"] = "active"


class Authority(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may order, and how far. `tier` is a label for people: administrative levels change."""

    id: Annotated[str, Meta(pattern=AUTHORITY_PATTERN)]
    tier: Annotated[str, Meta(max_length=60)] = ""
    areas: Annotated[tuple[Annotated[str, Meta(max_length=60)], ...], Meta(max_length=64)] = ()
    """Geocodes for which it may alert."""
    verbs: Annotated[tuple[Annotated[str, Meta(pattern=_VERB_PATTERN)], ...], Meta(max_length=32)]
    max_class: _Class
    groups: (
        Annotated[tuple[Annotated[str, Meta(pattern=_GROUP_PATTERN)], ...], Meta(max_length=64)] | None
    ) = None
    """Whose nodes it may address; null: any."""
    hours: Annotated[tuple[Hours, ...], Meta(max_length=8)] | None = None
    """When its orders may begin to sound; null: at any time."""
    keys: Annotated[tuple[Key, ...], Meta(max_length=16)]

    @property
    def highest(self) -> Precedence:
        """Its highest class."""
        return Precedence.from_wire(self.max_class)


class KeysDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole document, as it is signed."""

    v: Literal[1]
    version: Annotated[int, Meta(ge=1, le=2**31 - 1)]
    issued: _When
    roots: Roots
    thresholds: Thresholds = Thresholds()
    authorities: Annotated[tuple[Authority, ...], Meta(max_length=128)]
    revoked: Annotated[tuple[_Kid, ...], Meta(max_length=1024)] = ()
    """Keys that must never be believed again, whether or not they are still listed."""

    def all_keys(self) -> Iterator[tuple[str, RootKey | Key]]:
        """Every key with its place in the document."""
        for number, root in enumerate(self.roots.keys):
            yield f"$.roots.keys[{number}]", root
        for place, authority in enumerate(self.authorities):
            for number, key in enumerate(authority.keys):
                yield f"$.authorities[{place}].keys[{number}]", key


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A well-formed document, not yet trusted."""

    sealed: Sealed
    document: KeysDocument
    digest: str
    """`sha256:` and 64 hex digits over the signed bytes."""
    blob: bytes
    """The envelope as it came."""


def opened(blob: bytes) -> Opened:
    """Read a document. Raises KeysRefused(bad_envelope) with what is wrong in it."""
    try:
        sealed = unwrap(blob, payload_type=PAYLOAD_TYPE)
        said_once(sealed.payload)
    except OrderRefused as refusal:
        raise KeysRefused(refusal.code, refusal.text) from None
    try:
        document = msgspec.json.decode(sealed.payload, type=KeysDocument)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _malformed((_fault_of(error),)) from None
    faults = tuple(_faults(document))
    if faults:
        raise _malformed(faults)
    return Opened(
        sealed=sealed,
        document=document,
        digest=f"sha256:{hashlib.sha256(sealed.payload).hexdigest()}",
        blob=blob,
    )


def begins(first: Opened) -> None:
    """Nothing is trusted yet: its own roots must have signed it. Raises KeysRefused(bad_signature)."""
    _signed(first, first.document.roots, "its own roots")


def follows(newer: Opened, current: KeysDocument) -> None:
    """The roots in force and its own must have signed it. Raises KeysRefused(bad_signature)."""
    _signed(newer, current.roots, f"the roots of version {current.version}, which is in force")
    _signed(newer, newer.document.roots, "its own roots")


def compose(document: KeysDocument) -> bytes:
    """The bytes of a document that are to be signed."""
    return msgspec.json.encode(document)


def public_bytes(key: RootKey | Key) -> bytes:
    """The raw public key."""
    return binascii.a2b_base64(key.pub)


def _signed(document: Opened, roots: Roots, whose: str) -> None:
    """Signatures are counted by root key, so the same signature twice is one."""
    sealed, count = document.sealed, 0
    for root in roots.keys:
        signatures = [envelope.signature_bytes(s) for s in sealed.signatures if s.keyid == root.kid]
        if signatures and signatures[0] is not None:
            count += verify(public_bytes(root), PAYLOAD_TYPE, sealed.payload, signatures[0])
    if count < roots.threshold:
        raise KeysRefused(
            ReasonCode.BAD_SIGNATURE,
            f"The keys document is signed by {count} of {whose}; {roots.threshold} must sign. Sign it with these, too.",
        )


def _faults(document: KeysDocument) -> Iterator[Fault]:
    """What a shape cannot say."""
    if document.roots.threshold > len(document.roots.keys):
        yield Fault("$.roots.threshold", "More roots must sign than there are.")
    yield from _twice("kid", [(place, key.kid) for place, key in document.all_keys()])
    yield from _twice("pub", [(place, key.pub) for place, key in document.all_keys()])
    yield from _twice(
        "id", [(f"$.authorities[{n}]", authority.id) for n, authority in enumerate(document.authorities)]
    )
    for place, key in document.all_keys():
        if not _canonical(key.pub):
            yield Fault(f"{place}.pub", "It is not 32 bytes in base64.")
        if isinstance(key, Key) and key.expires <= key.not_before:
            yield Fault(f"{place}.expires", "The key expires before it begins.")
    for number, authority in enumerate(document.authorities):
        for which, hours in enumerate(authority.hours or ()):
            if hours.begin in {hours.to, "24:00"}:
                yield Fault(
                    f"$.authorities[{number}].hours[{which}]", "From and to must be two times of a day."
                )
    for number, root in enumerate(document.roots.keys):
        if root.kid in document.revoked:
            yield Fault(f"$.roots.keys[{number}]", "A revoked key cannot be a root; take it out.")


def _twice(field: str, values: list[tuple[str, str]]) -> Iterator[Fault]:
    first: dict[str, str] = {}
    for place, value in values:
        if value in first:
            yield Fault(
                f"{place}.{field}", f"The same {field} stands at {first[value]}; each must be unique."
            )
        first.setdefault(value, place)


def _canonical(pub: str) -> bool:
    raw = binascii.a2b_base64(pub)
    return len(raw) == PUBLIC_BYTES and binascii.b2a_base64(raw, newline=False).decode() == pub


def _fault_of(error: Exception) -> Fault:
    text = worded(error, FORMS)
    at = re.search(r" - at `(\$[^`]*)`", text)
    return Fault(at.group(1) if at else "$", printable(text[: at.start()] if at else text) + ".")


def _malformed(faults: tuple[Fault, ...]) -> KeysRefused:
    first = faults[0]
    return KeysRefused(
        ReasonCode.BAD_ENVELOPE,
        f"The keys document has {len(faults)} fault(s), the first at {first.path}: {first.message}",
        faults,
    )
