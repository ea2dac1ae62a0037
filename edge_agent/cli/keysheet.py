"""Keys documents as they are drafted, changed and signed. Pure: bytes and values in, bytes and values out.

A draft is the document in plain JSON, for people to read and edit. A signed document is its
envelope. Each change of a signed one makes the draft of the next version.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from edge_agent.cli import speech
from edge_agent.cli.keyfile import Public
from edge_agent.command import keys
from edge_agent.command.envelope import Signature, signature_bytes, wrap
from edge_agent.command.keys import Authority, Key, KeysDocument, RootKey, Roots
from edge_agent.command.signing import Signer, verify


@dataclass(frozen=True, slots=True)
class Sheet:
    """A well-formed document, and whether it came in an envelope."""

    opened: keys.Opened
    signed: bool

    @property
    def document(self) -> KeysDocument:
        """What it says."""
        return self.opened.document


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """From when until when a new key counts."""

    not_before: datetime
    expires: datetime


def read(blob: bytes) -> Sheet:
    """A draft or an envelope. Raises KeysRefused with everything that is wrong in it."""
    try:
        fields = msgspec.json.decode(blob)
    except (msgspec.MsgspecError, ValueError):
        fields = None
    if isinstance(fields, dict) and "payloadType" in fields:
        return Sheet(keys.opened(blob), signed=True)
    return Sheet(keys.opened(wrap(keys.PAYLOAD_TYPE, blob)), signed=False)


def draft(document: KeysDocument) -> bytes:
    """The document for people."""
    return msgspec.json.format(keys.compose(document), indent=2) + b"\n"


def next_of(sheet: Sheet, now: datetime) -> KeysDocument:
    """What a change begins with: a draft goes on as it is, a signed document gets a successor."""
    if not sheet.signed:
        return sheet.document
    return replace(sheet.document, version=sheet.document.version + 1, issued=now)


def begin(roots: Sequence[Public], *, threshold: int, now: datetime) -> KeysDocument:
    """Version 1: roots, and nobody who may order."""
    return KeysDocument(
        v=1,
        version=1,
        issued=now,
        roots=Roots(threshold=threshold, keys=tuple(RootKey(kid=root.kid, pub=root.pub) for root in roots)),
        authorities=(),
    )


def admit(
    document: KeysDocument, authority: str, public: Public, rights: dict[str, Any], validity: Validity
) -> KeysDocument:
    """A key for an authority. Only one that is new gets `rights`; those of a known one stay as they are."""
    key = _key(public, validity)
    for number, known in enumerate(document.authorities):
        if known.id == authority:
            if rights:
                raise speech.Usage("authority_known", name=authority)
            return _with_authority(document, number, replace(known, keys=(*known.keys, key)))
    if not {"verbs", "max_class"} <= rights.keys():
        raise speech.Usage("authority_new", name=authority)
    return replace(
        document, authorities=(*document.authorities, Authority(id=authority, keys=(key,), **rights))
    )


def rotate(
    document: KeysDocument, kid: str, public: Public, validity: Validity, *, keep: bool
) -> KeysDocument:
    """A new key in the place of `kid`, an authority's or a root. An authority's old one is retired, or with
    `keep` stays active beside it; an old root leaves."""
    roots = document.roots
    if kid in {root.kid for root in roots.keys}:
        if keep:
            raise speech.Usage("root_not_kept", name=kid)
        others = tuple(root for root in roots.keys if root.kid != kid)
        successor = RootKey(kid=public.kid, pub=public.pub)
        return replace(document, roots=replace(roots, keys=(*others, successor)))
    number, authority = _owner(document, kid)
    old = tuple(
        replace(key, status="retired") if key.kid == kid and not keep else key for key in authority.keys
    )
    return _with_authority(document, number, replace(authority, keys=(*old, _key(public, validity))))


def revoke(document: KeysDocument, kids: Collection[str]) -> KeysDocument:
    """These keys are believed no more, nor is what they ordered. A root among them leaves the roots."""
    roots = document.roots
    for kid in kids:
        if kid in {root.kid for root in roots.keys}:
            roots = replace(roots, keys=tuple(root for root in roots.keys if root.kid != kid))
            if len(roots.keys) < roots.threshold:
                raise speech.Usage("root_needed", name=kid)
            continue
        number, authority = _owner(document, kid)
        revoked = tuple(replace(key, status="revoked") if key.kid == kid else key for key in authority.keys)
        document = _with_authority(document, number, replace(authority, keys=revoked))
    news = tuple(kid for kid in dict.fromkeys(kids) if kid not in document.revoked)
    return replace(document, roots=roots, revoked=(*document.revoked, *news))


def sign(sheet: Sheet, signers: Sequence[Signer]) -> bytes:
    """The envelope with these signatures, too. An envelope's bytes stay as they are."""
    payload = sheet.opened.sealed.payload if sheet.signed else keys.compose(sheet.document)
    made = msgspec.json.decode(wrap(keys.PAYLOAD_TYPE, payload, signers))
    renewed = {signer.kid for signer in signers}
    before = [
        msgspec.to_builtins(each) for each in sheet.opened.sealed.signatures if each.keyid not in renewed
    ]
    made["signatures"] = [*before, *made["signatures"]]
    return msgspec.json.encode(made)


def signed_by(sheet: Sheet, roots: Roots) -> tuple[str, ...]:
    """Which of these roots have signed it."""
    return tuple(root.kid for root in roots.keys if _signed(sheet, root))


def enough(sheet: Sheet, previous: Sheet | None) -> bool:
    """Whether nodes would take it: as their first document, or after `previous`."""
    judged = [sheet.document.roots] if previous is None else [previous.document.roots, sheet.document.roots]
    newer = previous is None or sheet.document.version > previous.document.version
    return sheet.signed and newer and all(len(signed_by(sheet, roots)) >= roots.threshold for roots in judged)


def _signed(sheet: Sheet, root: RootKey) -> bool:
    sealed = sheet.opened.sealed
    mine: list[Signature] = [each for each in sealed.signatures if each.keyid == root.kid]
    raw = signature_bytes(mine[0]) if mine else None
    return raw is not None and verify(keys.public_bytes(root), sealed.payload_type, sealed.payload, raw)


def _key(public: Public, validity: Validity) -> Key:
    return Key(kid=public.kid, pub=public.pub, not_before=validity.not_before, expires=validity.expires)


def _owner(document: KeysDocument, kid: str) -> tuple[int, Authority]:
    for number, authority in enumerate(document.authorities):
        if kid in {key.kid for key in authority.keys}:
            return number, authority
    raise speech.Usage("no_such_kid", name=kid)


def _with_authority(document: KeysDocument, number: int, authority: Authority) -> KeysDocument:
    before, after = document.authorities[:number], document.authorities[number + 1 :]
    return replace(document, authorities=(*before, authority, *after))
