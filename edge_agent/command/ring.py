"""Who signed an order, and may they: the keys in force, asked. Pure.

    prove      the issuer's own key, known and active, and enough signatures for the class
    scope      verb, class, groups and hours of whoever signed
    stands     whether an order that was accepted earlier still has keys that are believed
    may_begin  whether the issuer may be heard at this time of day

An order needs a signature by a key of the authority in `iss`; where the keys document asks for
more than one for its class, the others come from different keys of any authorities that may
order the same thing themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from edge_agent.clocktrust import Quality, Sight
from edge_agent.command.envelope import Order, Sealed, Signature, printable, signature_bytes
from edge_agent.command.keys import Authority, Key, KeysDocument, public_bytes
from edge_agent.command.messages import SOUNDING
from edge_agent.command.signing import verify
from edge_agent.errors import OrderRefused
from edge_agent.model import Issuer, Precedence, Reason, ReasonCode

LOCAL = timezone(timedelta(hours=7))
"""Viet Nam has one time zone and no summer time."""
EXPIRING = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Held:
    """One key, and whose it is."""

    authority: Authority
    key: Key
    public: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The signatures that hold: the issuer's own first."""

    own: Held
    others: tuple[Held, ...] = ()

    @property
    def kids(self) -> tuple[str, ...]:
        """The keys' names."""
        return (self.own.key.kid, *(held.key.kid for held in self.others))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How an order addresses this node: names in its audience that mean it, and the node's groups."""

    audience: tuple[str, ...]
    node: str
    groups: tuple[str, ...]


class Ring:
    """The keys of one document."""

    def __init__(self, document: KeysDocument) -> None:
        self.document = document
        self.version = document.version
        self._revoked = frozenset(document.revoked) | {
            key.kid for authority in document.authorities for key in authority.keys if key.status == "revoked"
        }
        self._held = {
            key.kid: Held(authority, key, public_bytes(key))
            for authority in document.authorities
            for key in authority.keys
        }
        self._authorities = {authority.id: authority for authority in document.authorities}

    def authority(self, issuer: str) -> Authority | None:
        """The authority of this id."""
        return self._authorities.get(issuer)

    def prove(self, sealed: Sealed, issuer: str, sight: Sight) -> Proof:
        """Key, then signature. Raises OrderRefused(unknown_key, revoked_key or bad_signature)."""
        own = self._own(sealed, issuer, sight)
        proof = self._verified(sealed, own, lambda held: self._idle(held, sight) is None)
        if proof is None:
            raise OrderRefused(
                ReasonCode.BAD_SIGNATURE,
                f"The signature by {own[0].key.kid} does not hold for these bytes; sign exactly the payload that is sent.",
            )
        wanted = self.document.thresholds.of(sealed.fields.get("class"))
        found = 1 + len(proof.others)
        if found < wanted:
            raise OrderRefused(
                ReasonCode.BAD_SIGNATURE,
                f"An order of this class needs {wanted} signatures by different active keys; {found} hold(s).",
            )
        return proof

    def scope(self, order: Order, proof: Proof, reach: Reach, sight: Sight) -> Reason | None:
        """Why those who signed may not order this, or None."""
        why = _beyond(proof.own.authority, order, reach) or hours(proof.own.authority, order.verb, sight)
        if why is not None:
            return why
        wanted = self.document.thresholds.of(order.precedence.wire)
        refusals = [_beyond(held.authority, order, reach) for held in proof.others]
        if 1 + refusals.count(None) < wanted:
            others = next(why for why in refusals if why is not None)
            return Reason(
                ReasonCode.OUT_OF_SCOPE, f"Not enough of those who signed may order this. {others.text}"
            )
        return None

    def reaches(self, order: Order, reach: Reach) -> Reason | None:
        """Why an issuer may not order this any more, or no longer here, or None."""
        authority = self._authorities.get(order.issuer)
        if not reach.audience:
            return Reason(
                ReasonCode.WRONG_AUDIENCE, "It is for nobody that this node is, or belongs to, any more."
            )
        return None if authority is None else _beyond(authority, order, reach)

    def stands(self, sealed: Sealed, issuer: str) -> Reason | None:
        """Why an order that was accepted must not go on: its keys are believed no more. Neither a key that
        retired nor one that has expired since takes back what it ordered."""
        own = [held for _, held in self._signers(sealed) if held.authority.id == issuer]
        proof = self._verified(sealed, own, lambda _: True)
        wanted = self.document.thresholds.of(sealed.fields.get("class"))
        if proof is not None and 1 + len(proof.others) >= wanted:
            return None
        kids = ", ".join(printable(signature.keyid) for signature in sealed.signatures[:3]) or "none"
        return Reason(
            ReasonCode.REVOKED_KEY,
            f"The keys that signed the order ({kids}) are believed no more; sign a new one with a key in force.",
        )

    def believes(self, kids: Sequence[str], issuer: str, precedence: Precedence) -> bool:
        """Whether these keys, whose signatures held once, would still be enough."""
        held = [self._held[kid] for kid in kids if kid in self._held and kid not in self._revoked]
        own = any(one.authority.id == issuer for one in held)
        return own and len(held) >= self.document.thresholds.of(precedence.wire)

    def may_begin(self, issuer: Issuer, verb: str, sight: Sight) -> Reason | None:
        """Why an order of this issuer may not begin now, or None."""
        authority = self._authorities.get(issuer)
        return None if authority is None else hours(authority, verb, sight)

    def expiring(self, now: datetime) -> tuple[str, ...]:
        """Active keys that expire within thirty days, or have; a key that has a younger sister is not named."""
        found = []
        for authority in self.document.authorities:
            active = [
                key for key in authority.keys if key.status == "active" and key.kid not in self._revoked
            ]
            if active and all(key.expires - now <= EXPIRING for key in active):
                found += [f"{key.kid} ({key.expires:%Y-%m-%d})" for key in active]
        return tuple(found)

    def _own(self, sealed: Sealed, issuer: str, sight: Sight) -> list[Held]:
        """The issuer's keys among the signatures that are known and active."""
        if not sealed.signatures:
            raise OrderRefused(
                ReasonCode.UNKNOWN_KEY,
                f"The order carries no signature; sign it with a key of {printable(issuer)}.",
            )
        own = [held for _, held in self._signers(sealed) if held.authority.id == issuer]
        if not own:
            for signature in sealed.signatures:
                if signature.keyid in self._revoked:
                    raise OrderRefused(
                        ReasonCode.REVOKED_KEY,
                        f"The key {signature.keyid} was revoked; sign with one that is in force.",
                    )
            kids = ", ".join(printable(signature.keyid) for signature in sealed.signatures[:3])
            raise OrderRefused(
                ReasonCode.UNKNOWN_KEY,
                f"None of the keys ({kids}) is one of {printable(issuer)} in keys document {self.version}; "
                "sign with such a key, or send this node the newer document.",
            )
        active = [held for held in own if self._idle(held, sight) is None]
        if not active:
            idle = self._idle(own[0], sight)
            assert idle is not None
            raise OrderRefused(idle.code, idle.text)
        return active

    def _idle(self, held: Held, sight: Sight) -> Reason | None:
        """Why a known key takes no new orders now. Where the date is in doubt, only what is certain counts."""
        key = held.key
        if key.kid in self._revoked or key.status != "active":
            return Reason(
                ReasonCode.REVOKED_KEY, f"The key {key.kid} is {key.status}; sign with one that is in force."
            )
        latest = sight.now if sight.quality.trusted else sight.floor
        if key.expires < latest:
            return Reason(
                ReasonCode.UNKNOWN_KEY,
                f"The key {key.kid} expired on {key.expires:%Y-%m-%d}; sign with a newer one.",
            )
        if sight.quality.trusted and sight.now < key.not_before:
            return Reason(
                ReasonCode.UNKNOWN_KEY, f"The key {key.kid} is not valid before {key.not_before:%Y-%m-%d}."
            )
        return None

    def _signers(self, sealed: Sealed) -> Iterator[tuple[Signature, Held]]:
        """The first signature of each known key that is not revoked."""
        seen: set[str] = set()
        for signature in sealed.signatures:
            held = self._held.get(signature.keyid)
            if held is not None and signature.keyid not in seen and signature.keyid not in self._revoked:
                seen.add(signature.keyid)
                yield signature, held

    def _verified(self, sealed: Sealed, own: Sequence[Held], usable: Callable[[Held], bool]) -> Proof | None:
        """The signatures that hold. The issuer's are tried first: without one of them no other is looked at."""
        kids = {held.key.kid for held in own}
        mine: list[Held] = []
        for signature, held in self._signers(sealed):
            if held.key.kid in kids and _holds(sealed, signature, held):
                mine.append(held)
        if not mine:
            return None
        others = [
            held
            for signature, held in self._signers(sealed)
            if held.key.kid not in kids and usable(held) and _holds(sealed, signature, held)
        ]
        return Proof(own=mine[0], others=(*mine[1:], *others))


def hours(authority: Authority, verb: str, sight: Sight) -> Reason | None:
    """Why an authority may not be heard at this time of day, or None. Hours bind what makes sound."""
    if authority.hours is None or verb not in SOUNDING:
        return None
    if not sight.quality.trusted:
        doubt = "is not known" if sight.quality is Quality.UNKNOWN else "may be wrong"
        return Reason(
            ReasonCode.CLOCK_UNTRUSTED,
            f"{authority.id} may only be heard at certain hours, and this node's clock {doubt}; see its time source.",
        )
    local = sight.now.astimezone(LOCAL)
    if any(part.covers(local.hour * 60 + local.minute) for part in authority.hours):
        return None
    spans = ", ".join(f"{part.begin}-{part.to}" for part in authority.hours) or "never"
    return Reason(
        ReasonCode.OUT_OF_SCOPE,
        f"{authority.id} may be heard {spans}; here it is {local:%H:%M}. Send it then.",
    )


def _beyond(authority: Authority, order: Order, reach: Reach) -> Reason | None:
    """Why an order lies beyond what an authority may order, or None."""
    if order.verb not in authority.verbs:
        known = ", ".join(authority.verbs) or "nothing"
        return Reason(
            ReasonCode.OUT_OF_SCOPE, f"{authority.id} may not order {order.verb}; it may order {known}."
        )
    if order.precedence > authority.highest:
        return Reason(
            ReasonCode.OUT_OF_SCOPE,
            f"{authority.id} may order up to class {authority.max_class}, not {order.precedence.wire}.",
        )
    if authority.groups is not None and not _reaches(authority.groups, reach):
        return Reason(
            ReasonCode.OUT_OF_SCOPE,
            f"{authority.id} may address the groups {', '.join(authority.groups) or '(none)'}; "
            "neither the order nor this node belongs to one of them.",
        )
    return None


def _reaches(groups: tuple[str, ...], reach: Reach) -> bool:
    """A group's name must be allowed itself; a node's name is when the node belongs to an allowed group."""
    for name in reach.audience:
        kind, _, rest = name.partition(":")
        if rest in groups if kind == "g" else not set(groups).isdisjoint(reach.groups):
            return True
    return False


def _holds(sealed: Sealed, signature: Signature, held: Held) -> bool:
    raw = signature_bytes(signature)
    return raw is not None and verify(held.public, sealed.payload_type, sealed.payload, raw)
