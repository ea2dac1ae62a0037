"""Bytes -> one order, or one refusal; and back. Pure.

An order travels as a DSSE envelope: JSON around the base64 of the exact bytes that are signed
(secure-systems-lab/dsse, envelope.md). It is opened in the order of PROTOCOL.md, "Acceptance",
so that each step costs little before the next one costs more:

    unwrap    size, JSON depth, envelope          -> Sealed
    identify  id, issuer and audience             -> Head     (enough to answer a repeated order)
    read      version, every field, verb          -> Order

Between `identify` and `read` the signatures are checked over `Sealed.payload`.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from edge_agent.command.signing import Signer, sign
from edge_agent.errors import OrderRefused
from edge_agent.model import Issuer, OrderId, Precedence, ReasonCode

VERSION = 1
PAYLOAD_TYPE = "application/vnd.pa.order+json"
SIZE_MAX = 65536
DEPTH_MAX = 16
SIGNATURES_MAX = 8
YEARS = (1970, 2199)

ID_PATTERN = (
    r"^([0-7][0-9A-HJKMNP-TV-Z]{25}"  # ULID: Crockford's base 32, upper case
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\Z"  # UUID: lower case
)
"""One spelling per id: an id that could be spelt in two ways could be used twice."""

ISS_PATTERN = r"^[a-z0-9][a-z0-9._-]{1,63}\Z"
_AUD_PATTERN = r"^[ng]:[a-z0-9-]{1,40}\Z"
_VERB_PATTERN = r"^[a-z_]{1,32}\Z"
_CLASS_PATTERN = r"^[a-z]{1,32}\Z"

FORMS = {
    ID_PATTERN: "a ULID in upper case or a UUID in lower case",
    ISS_PATTERN: "a name of 2 to 64 of a-z, 0-9, `.`, `_`, `-`",
    _AUD_PATTERN: "`n:` and a node's name, or `g:` and a group's",
    _VERB_PATTERN: "a verb in lower case",
    _CLASS_PATTERN: "routine, priority or emergency",
}
"""The patterns of this page in words: nobody should have to read them in a refusal."""

_Id = Annotated[str, Meta(pattern=ID_PATTERN)]
_Iss = Annotated[str, Meta(pattern=ISS_PATTERN)]
_Audience = Annotated[list[Annotated[str, Meta(pattern=_AUD_PATTERN)]], Meta(min_length=1, max_length=64)]
_When = Annotated[datetime, Meta(tz=True)]

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
"""A whole string (or an unfinished one, up to the end), or a bracket. Possessive: linear in any input."""


class Signature(msgspec.Struct, frozen=True):
    """One signature as it came; `sig` is base64 and is not looked at yet."""

    keyid: Annotated[str, Meta(max_length=128)]
    sig: Annotated[str, Meta(max_length=512)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """An opened envelope: the exact bytes that are signed, and the signatures."""

    payload_type: str
    payload: bytes
    fields: dict[str, Any]
    """The payload as JSON, not yet checked."""
    signatures: tuple[Signature, ...]


class Head(msgspec.Struct, frozen=True):
    """What is needed to recognise an order and to answer it, in any version."""

    id: _Id
    iss: _Iss
    aud: _Audience


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order as it was issued. Times are aware, UTC."""

    id: OrderId
    issuer: Issuer
    audience: tuple[str, ...]
    verb: str
    seq: int
    issued_at: datetime
    expires_at: datetime
    precedence: Precedence
    args: dict[str, Any]
    nonce: str | None = None
    supersedes: OrderId | None = None
    dry: bool = False


class _Envelope(msgspec.Struct, frozen=True):
    """DSSE; unknown members are ignored, as its specification demands."""

    payload_type: str = msgspec.field(name="payloadType")
    payload: str = msgspec.field()
    signatures: Annotated[list[Signature], Meta(max_length=SIGNATURES_MAX)] = msgspec.field()


class _Inner(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The signed order, version 1. An unknown field is refused: it might have meant "do not"."""

    v: int
    id: _Id
    iss: _Iss
    aud: _Audience
    verb: Annotated[str, Meta(pattern=_VERB_PATTERN)]
    seq: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    iat: _When
    exp: _When
    nonce: Annotated[str, Meta(max_length=128)] | None = None
    klass: Annotated[str, Meta(pattern=_CLASS_PATTERN)] = msgspec.field(name="class")
    supersedes: _Id | None = None
    dry: bool = False
    args: dict[str, Any]


def unwrap(blob: bytes, *, size_max: int = SIZE_MAX, payload_type: str = PAYLOAD_TYPE) -> Sealed:
    """Open the envelope. Raises OrderRefused(bad_envelope)."""
    if len(blob) > size_max:
        raise _bad(
            f"The envelope has {len(blob)} bytes; at most {size_max} are looked at. Send less, or a URL."
        )
    envelope = _decode(blob, _Envelope, "envelope")
    if envelope.payload_type != payload_type:
        raise _bad(f"The payloadType is {envelope.payload_type[:80]!r}; use {payload_type!r}.")
    payload = _plain(envelope.payload)
    if payload is None:
        raise _bad("The payload is not base64 with padding; encode the order's bytes with it.")
    return Sealed(
        payload_type=payload_type,
        payload=payload,
        fields=_decode(payload, dict[str, Any], "payload"),
        signatures=tuple(envelope.signatures),
    )


def identify(sealed: Sealed) -> Head:
    """Whose order, which, for whom. Raises OrderRefused(bad_envelope)."""
    head: Head = _convert(sealed.fields, Head)
    return head


def read(sealed: Sealed, *, verbs: Collection[str]) -> Order:
    """The whole order. Raises OrderRefused(unsupported) for another version or an unknown verb,
    OrderRefused(bad_envelope) for a missing, malformed, repeated or unknown field."""
    said_once(sealed.payload)
    version = sealed.fields.get("v", VERSION)
    if type(version) is not int or version != VERSION:
        raise OrderRefused(
            ReasonCode.UNSUPPORTED,
            f"The order is of version {printable(repr(version))}; this node knows version {VERSION}. Send that, or update it.",
        )
    inner = _convert(sealed.fields, _Inner)
    try:
        precedence = Precedence.from_wire(inner.klass)
        issued_at, expires_at = inner.iat.astimezone(UTC), inner.exp.astimezone(UTC)
    except KeyError:
        raise _bad(f"The class is {inner.klass!r}; use routine, priority or emergency.") from None
    except OverflowError:
        raise _bad("A date is out of the calendar; check iat and exp.") from None
    if not (YEARS[0] <= issued_at.year <= YEARS[1] and YEARS[0] <= expires_at.year <= YEARS[1]):
        raise _bad(f"A date lies outside the years {YEARS[0]} to {YEARS[1]}; check iat and exp.")
    if expires_at < issued_at:
        raise _bad("The order expires before it was issued; check iat and exp.")
    if inner.verb not in verbs:
        raise OrderRefused(
            ReasonCode.UNSUPPORTED,
            f"The verb {inner.verb!r} is unknown here; this node knows {', '.join(sorted(verbs))}.",
        )
    return Order(
        id=OrderId(inner.id),
        issuer=Issuer(inner.iss),
        audience=tuple(inner.aud),
        verb=inner.verb,
        seq=inner.seq,
        issued_at=issued_at,
        expires_at=expires_at,
        precedence=precedence,
        args=inner.args,
        nonce=inner.nonce,
        supersedes=None if inner.supersedes is None else OrderId(inner.supersedes),
        dry=inner.dry,
    )


def signature_bytes(signature: Signature) -> bytes | None:
    """The raw signature; None when it is not base64."""
    return _plain(signature.sig)


def compose(order: Order) -> bytes:
    """The bytes of an order that are to be signed."""
    return msgspec.json.encode(
        {
            "v": VERSION,
            "id": order.id,
            "iss": order.issuer,
            "aud": order.audience,
            "verb": order.verb,
            "seq": order.seq,
            "iat": order.issued_at,
            "exp": order.expires_at,
            "nonce": order.nonce,
            "class": order.precedence.wire,
            "supersedes": order.supersedes,
            "dry": order.dry,
            "args": order.args,
        }
    )


def wrap(payload_type: str, payload: bytes, signers: Sequence[Signer] = ()) -> bytes:
    """The envelope around composed bytes, signed by each signer."""
    return msgspec.json.encode(
        {
            "payloadType": payload_type,
            "payload": _base64(payload),
            "signatures": [
                Signature(keyid=signer.kid, sig=_base64(sign(signer.seed, payload_type, payload)))
                for signer in signers
            ],
        }
    )


def seal(order: Order, *, signers: Sequence[Signer] = ()) -> bytes:
    """An order as it is published: composed, signed and wrapped."""
    return wrap(PAYLOAD_TYPE, compose(order), signers)


def depth(blob: bytes) -> int:
    """How deeply JSON is nested, without decoding it, counted up to one more than is allowed."""
    now = deepest = 0
    for token in _TOKEN.finditer(blob):
        match blob[token.start()]:
            case 0x5B | 0x7B:  # [ {
                now += 1
                deepest = max(deepest, now)
                if deepest > DEPTH_MAX:
                    break
            case 0x5D | 0x7D:  # ] }
                now -= 1
            case _:
                pass
    return deepest


def said_once(payload: bytes) -> None:
    """Refuse an object that names a member twice: of two values one reader takes the first and another the
    last, and whoever signs must mean what the node does. Raises OrderRefused(bad_envelope).

    It costs more than decoding did, so it is asked of what somebody signed.
    """

    def members(pairs: list[tuple[str, Any]]) -> None:
        names: set[str] = set()
        for name, _ in pairs:
            if name in names:
                raise _bad(f"The payload says {printable(name)[:40]!r} twice; say it once.")
            names.add(name)

    try:
        json.loads(payload.decode(), object_pairs_hook=members, parse_int=float)
    except ValueError:
        raise _bad("The payload is not JSON in UTF-8; encode it as that.") from None


def printable(thing: object) -> str:
    """A stranger's value, cut, and without characters that could disturb a log line."""
    return "".join(c if c.isprintable() else "?" for c in str(thing)[:160])


def worded(error: Exception, forms: Mapping[str, str]) -> str:
    """What msgspec found wrong, with patterns told in words."""
    text = str(error)
    for pattern, words in forms.items():
        text = text.replace(f"`str` matching regex {pattern!r}", words)
    return printable(text)


def _decode(blob: bytes, shape: type[Any], what: str) -> Any:
    if depth(blob) > DEPTH_MAX:
        raise _bad(f"The {what} is nested more than {DEPTH_MAX} deep; flatten it.")
    try:
        return msgspec.json.decode(blob, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise _bad(
            f"The {what} is not the JSON it should be: {worded(error, FORMS)}. Correct the sender."
        ) from None


def _convert(fields: dict[str, Any], shape: type[Any]) -> Any:
    try:
        return msgspec.convert(fields, shape)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        raise _bad(
            f"The order is malformed: {worded(error, FORMS)}. Correct it and send a new one."
        ) from None


def _plain(text: str) -> bytes | None:
    """What base64, standard or URL-safe, stands for; None when it is not the one spelling of these bytes."""
    standard = text.replace("-", "+").replace("_", "/")
    try:
        plain = binascii.a2b_base64(standard.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    return plain if _base64(plain) == standard else None


def _base64(plain: bytes) -> str:
    return binascii.b2a_base64(plain, newline=False).decode("ascii")


def _bad(text: str) -> OrderRefused:
    return OrderRefused(ReasonCode.BAD_ENVELOPE, text)
