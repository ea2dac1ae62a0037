"""The checks of PROTOCOL.md, in its order: what arrived -> a verdict. Pure.

    size, envelope, whose                  here, `judge`
    known id                               at the journal (`scribe`), which also knows the capacity
    key, signature                         here, by the `ring`
    version, audience, scope               here
    replay window                          at the journal: it moves in the transaction that writes the order
    retained, topic, dates, arguments      here

The journal looks up the id even of an order that is refused here, so a repeated order is always
answered with what became of it first, and never with a second opinion. What the journal finds in
the replay window comes before a refusal for what stands behind it in this list.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import timedelta

from edge_agent.clocktrust import Dates, Quality, Sight, deadline_ns, fresh, time_left_s
from edge_agent.command import envelope, ledger
from edge_agent.command.envelope import Head, Order, Sealed
from edge_agent.command.messages import SOUNDING, Timing, intent_of
from edge_agent.command.replay import Seat
from edge_agent.command.ring import Proof, Reach, Ring
from edge_agent.command.settings import OrderSettings
from edge_agent.command.topics import Topics
from edge_agent.errors import OrderRefused
from edge_agent.model import Intent, Issuer, OrderId, OrderState, Precedence, Reason, ReasonCode

_NOBODY = Reason(
    ReasonCode.UNKNOWN_KEY,
    "This node has no keys document, so it believes nobody; install one and name it in [trust] keys_file.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One order's bytes and how they came. `topic_verb` is None when they came by another way than a verb's topic."""

    blob: bytes
    topic_verb: str | None
    in_group: bool = False
    retained: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """Time, read once for all checks of one order."""

    now_ns: int
    boot: str
    sight: Sight
    birth_nonce: str


@dataclass(frozen=True, slots=True)
class Trust:
    """What proves an order. With neither ring nor `unsigned` none is believed."""

    ring: Ring | None = None
    unsigned: bool = False
    """Orders that carry no signature are taken, too (and any, where there is no ring): a bench without relays."""


@dataclass(frozen=True, slots=True)
class Junk:
    """Not an order: only counted."""

    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Unproven:
    """Nobody who is believed signed it: only counted. Its id is looked up, and never written."""

    id: OrderId
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """An order for somebody else. Unsigned, it is answered, but its id is not remembered here."""

    entry: ledger.Entry
    signed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """An order for us. `entry.state` is accepted, rejected, or successful for a dry run."""

    entry: ledger.Entry
    intent: Intent | None = None
    """What to do; None when it was refused, or is dry."""
    seat: Seat | None = None
    """Its place in a key's replay window; None when it is unsigned, or was refused before that step."""
    kids: tuple[str, ...] = ()
    """The keys whose signatures hold."""


def judge(
    arrival: Arrival,
    now: Circumstances,
    *,
    topics: Topics,
    settings: OrderSettings,
    verbs: Collection[str],
    trust: Trust,
) -> Junk | Unproven | Stray | Verdict:
    """Check everything about an order that can be checked without the journal."""
    try:
        sealed = envelope.unwrap(arrival.blob, size_max=settings.payload_max_bytes)
        head = envelope.identify(sealed)
    except OrderRefused as refusal:
        return Junk(Reason(refusal.code, refusal.text))
    try:
        proof = _prove(sealed, head, now, trust)
    except OrderRefused as refusal:
        return Unproven(id=OrderId(head.id), reason=Reason(refusal.code, refusal.text))
    entry = _entry(head, arrival, now)
    try:
        order = envelope.read(sealed, verbs=verbs)
    except OrderRefused as refusal:
        return _turned_away(entry, head, topics, Reason(refusal.code, refusal.text), signed=proof is not None)
    entry = _filled(entry, order, now)
    if topics.audience.isdisjoint(head.aud):
        return Stray(entry=refused(entry, _wrong_audience(head, topics)), signed=proof is not None)
    return _for_us(
        order, entry, arrival, now, reach=_reach(head, topics), settings=settings, proof=proof, trust=trust
    )


def _for_us(
    order: Order,
    entry: ledger.Entry,
    arrival: Arrival,
    now: Circumstances,
    *,
    reach: Reach,
    settings: OrderSettings,
    proof: Proof | None,
    trust: Trust,
) -> Verdict:
    """Scope, and what stands behind it. An order that is in scope has a seat, whatever else is wrong with it."""
    seat = None
    if proof is not None:
        assert trust.ring is not None
        beyond = trust.ring.scope(order, proof, reach, now.sight)
        if beyond is not None:
            return Verdict(entry=refused(entry, beyond))
        seat = Seat(order.issuer, proof.own.key.kid, order.seq)
    try:
        _check(order, arrival, now, settings)
        intent = intent_of(order, _timing(now, since_ns=now.now_ns, deadline_ns=entry.deadline_ns))
    except OrderRefused as refusal:
        return Verdict(entry=refused(entry, Reason(refusal.code, refusal.text)), seat=seat)
    if order.dry:
        done = replace(
            entry, state=OrderState.SUCCESSFUL, result={"dry": True}, envelope=None, supersedes=None
        )
        return Verdict(entry=done, seat=seat)
    return Verdict(entry=entry, intent=intent, seat=seat, kids=() if proof is None else proof.kids)


def stands(entry: ledger.Entry, trust: Trust) -> Reason | None:
    """Why an order that was accepted earlier must not go on, or None: its keys may have been revoked since.

    One that this release cannot even open is not judged here: nothing can be made of it (see `reopened`).
    """
    assert entry.envelope is not None, "an open order keeps its envelope"
    try:
        sealed = envelope.unwrap(entry.envelope)
    except OrderRefused:
        return None
    if trust.unsigned and (trust.ring is None or not sealed.signatures):
        return None
    return _NOBODY if trust.ring is None else trust.ring.stands(sealed, entry.issuer)


def believed(signed: ledger.Signed, trust: Trust) -> bool:
    """Whether an order that has ended may leave its notice up. Where there are no keys at all (a document
    that cannot be read, say) nothing is known against one that was signed."""
    if not signed.kids:
        return trust.unsigned
    return trust.ring is None or trust.ring.believes(signed.kids, signed.issuer, signed.precedence)


def refused(entry: ledger.Entry, reason: Reason) -> ledger.Entry:
    """The same order, rejected."""
    return replace(entry, state=OrderState.REJECTED, reason=reason, envelope=None, supersedes=None)


def reopened(entry: ledger.Entry, now: Circumstances, *, verbs: Collection[str]) -> tuple[Order, Timing]:
    """An open order from the journal, after a restart, with its times in this boot.

    Raises OrderRefused when this release no longer understands it.
    """
    assert entry.envelope is not None, "an open order keeps its envelope"
    order = envelope.read(envelope.unwrap(entry.envelope), verbs=verbs)
    if entry.boot == now.boot:
        return order, _timing(now, since_ns=entry.received_ns, deadline_ns=entry.deadline_ns)
    dates = dates_of(order)
    left_s = time_left_s(dates, now.sight)
    if order.verb in SOUNDING and now.sight.quality is Quality.UNKNOWN:
        left_s = -1.0  # nobody can say how long the power was away: better silent than late
    age_s = max(0.0, (now.sight.now - entry.received_at).total_seconds())
    return order, _timing(
        now,
        since_ns=now.now_ns - round(age_s * 1e9),
        deadline_ns=deadline_ns(now.now_ns, left_s),
    )


def dates_of(order: Order) -> Dates:
    """What clocktrust needs to know of an order."""
    return Dates(
        issued_at=order.issued_at,
        expires_at=order.expires_at,
        nonce=order.nonce,
        makes_sound=order.verb in SOUNDING,
    )


def _timing(now: Circumstances, *, since_ns: int, deadline_ns: int) -> Timing:
    """An order's times in this boot, with the date they began at where that is known."""
    since = now.sight.now - timedelta(microseconds=(now.now_ns - since_ns) // 1000)
    return Timing(
        since_ns=since_ns, deadline_ns=deadline_ns, since=since if now.sight.quality.trusted else None
    )


def _prove(sealed: Sealed, head: Head, now: Circumstances, trust: Trust) -> Proof | None:
    """Who signed it; None for an order that is taken unsigned."""
    if trust.unsigned and (trust.ring is None or not sealed.signatures):
        return None
    if trust.ring is None:
        raise OrderRefused(_NOBODY.code, _NOBODY.text)
    return trust.ring.prove(sealed, head.iss, now.sight)


def _reach(head: Head, topics: Topics) -> Reach:
    mine = tuple(name for name in head.aud if name in topics.audience)
    return Reach(audience=mine, node=topics.node, groups=topics.groups)


def _turned_away(
    entry: ledger.Entry, head: Head, topics: Topics, reason: Reason, *, signed: bool
) -> Stray | Verdict:
    """An order that cannot be read."""
    if topics.audience.isdisjoint(head.aud):
        return Stray(entry=refused(entry, reason), signed=signed)
    return Verdict(entry=refused(entry, reason))


def _check(order: Order, arrival: Arrival, now: Circumstances, settings: OrderSettings) -> None:
    if arrival.retained:
        raise OrderRefused(
            ReasonCode.BAD_ENVELOPE,
            "The broker had retained the order, so it would come again at every connect; publish it without retain.",
        )
    if arrival.topic_verb is not None and arrival.topic_verb != order.verb:
        raise OrderRefused(
            ReasonCode.BAD_ENVELOPE,
            f"The order says {order.verb} but came on the topic of {envelope.printable(arrival.topic_verb)}; use one.",
        )
    stale = fresh(dates_of(order), now.sight, birth_nonce=now.birth_nonce, skew_s=settings.clock_skew_s)
    if stale is not None:
        raise OrderRefused(stale.code, stale.text)


def _entry(head: Head, arrival: Arrival, now: Circumstances) -> ledger.Entry:
    """The journal's row as far as it can be written from the head alone."""
    return ledger.Entry(
        id=OrderId(head.id),
        issuer=Issuer(head.iss),
        verb=envelope.printable(arrival.topic_verb or "")[:32],
        precedence=Precedence.ROUTINE,
        seq=0,
        expires_at=now.sight.now,
        supersedes=None,
        in_group=arrival.in_group,
        envelope=arrival.blob,
        state=OrderState.ACCEPTED,
        reason=None,
        result=None,
        boot=now.boot,
        received_ns=now.now_ns,
        received_at=now.sight.now,
        deadline_ns=now.now_ns,
        changed_ns=now.now_ns,
    )


def _filled(entry: ledger.Entry, order: Order, now: Circumstances) -> ledger.Entry:
    return replace(
        entry,
        verb=order.verb,
        precedence=order.precedence,
        seq=order.seq,
        expires_at=order.expires_at,
        supersedes=order.supersedes,
        deadline_ns=deadline_ns(now.now_ns, time_left_s(dates_of(order), now.sight)),
    )


def _wrong_audience(head: Head, topics: Topics) -> Reason:
    wanted = ", ".join(head.aud[:5])
    return Reason(
        ReasonCode.WRONG_AUDIENCE,
        f"The order is for {wanted}; this node is {', '.join(sorted(topics.audience))}. Address it to one of these.",
    )
