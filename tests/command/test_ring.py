"""Who may order what, step by step in the protocol's order; and nobody else may order anything."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.clocktrust import Quality, Sight
from edge_agent.command import keys
from edge_agent.command.acceptance import (
    Arrival,
    Circumstances,
    Junk,
    Stray,
    Trust,
    Unproven,
    Verdict,
    judge,
    stands,
)
from edge_agent.command.envelope import Order, compose, seal, unwrap, wrap
from edge_agent.command.messages import ARGS_OF_VERB
from edge_agent.command.replay import Seat
from edge_agent.command.ring import Ring
from edge_agent.command.settings import OrderSettings
from edge_agent.command.topics import Topics
from edge_agent.model import Issuer, NodeId, OrderState, Precedence, ReasonCode
from tests.command.scene import GROUP, NODE, ROOT, an_order
from tests.entries import START
from tests.signers import LONG_AGO, authority, document, key, signer

XA, HUYEN = "xa-vi-huong", "huyen-bach-thong"
BY_XA, BY_HUYEN = f"{XA}-2026", f"{HUYEN}-2026"
TOPICS = Topics(root=ROOT, node=NodeId(NODE), groups=(GROUP,))
NOON = datetime(2026, 11, 23, 5, tzinfo=UTC)
"""Twelve o'clock in Viet Nam."""


def sight(now: datetime = START, quality: Quality = Quality.SYNCED) -> Sight:
    return Sight(quality=quality, now=now, floor=START - timedelta(days=1))


def verdict(
    blob: bytes,
    *authorities: keys.Authority,
    seen: Sight | None = None,
    trust: Trust | None = None,
    **more: Any,
) -> Junk | Unproven | Stray | Verdict:
    """What a node with these authorities thinks of an envelope."""
    ring = Ring(document(*(authorities or (authority(XA), authority(HUYEN))), **more))
    return judge(
        Arrival(blob=blob, topic_verb=None),
        Circumstances(now_ns=10, boot="b", sight=seen or sight(), birth_nonce="n-1"),
        topics=TOPICS,
        settings=OrderSettings(),
        verbs=ARGS_OF_VERB,
        trust=trust or Trust(ring=ring),
    )


def code(*args: Any, **more: Any) -> str | None:
    """The code of the refusal; None when it is accepted."""
    match verdict(*args, **more):
        case Junk(reason=reason) | Unproven(reason=reason):
            return str(reason.code)
        case Stray(entry=entry) | Verdict(entry=entry):
            return None if entry.reason is None else str(entry.reason.code)


def by(order: Order, *kids: str) -> bytes:
    return seal(order, signers=[signer(kid) for kid in kids])


PLAY = an_order(7, "play", precedence=Precedence.PRIORITY)
GOOD = by(PLAY, BY_XA)


def test_an_order_of_an_authority_is_accepted_and_takes_its_keys_seat() -> None:
    found = verdict(GOOD)
    assert isinstance(found, Verdict)
    assert found.entry.state is OrderState.ACCEPTED
    assert found.intent is not None
    assert found.seat == Seat(Issuer(XA), BY_XA, 7)


# ---------------------------------------------------------------- keys and signatures


def test_without_a_document_nobody_is_believed() -> None:
    assert code(GOOD, trust=Trust()) == "unknown_key"
    assert isinstance(verdict(GOOD, trust=Trust()), Unproven)


def test_unsigned_orders_are_taken_only_where_that_was_asked_for() -> None:
    assert code(seal(PLAY)) == "unknown_key"
    assert code(seal(PLAY), trust=Trust(unsigned=True)) is None
    ring = Ring(document(authority(XA)))
    assert code(seal(PLAY), trust=Trust(ring=ring, unsigned=True)) is None
    assert code(by(PLAY, "stranger"), trust=Trust(ring=ring, unsigned=True)) == "unknown_key", (
        "a signature that is there is looked at"
    )


def test_what_nobody_proved_is_neither_stray_nor_journalled() -> None:
    for blob in (by(PLAY, "stranger"), by(replace(PLAY, audience=("n:thon-4",)), "stranger"), seal(PLAY)):
        assert isinstance(verdict(blob), Unproven)


def test_an_authority_cannot_order_in_anothers_name() -> None:
    assert code(by(PLAY, BY_HUYEN)) == "unknown_key"
    posing = signer(BY_HUYEN)
    assert code(seal(PLAY, signers=[type(posing)(BY_XA, posing.seed)])) == "bad_signature"


def test_a_signature_of_other_bytes_does_not_hold() -> None:
    other = wrap("application/vnd.pa.order+json", compose(replace(PLAY, seq=8)))
    moved = other.replace(b'"signatures":[]', GOOD[GOOD.index(b'"signatures"') : -1])
    assert code(moved) == "bad_signature"


def test_signatures_of_strangers_beside_a_good_one_do_no_harm() -> None:
    assert code(by(PLAY, "stranger", BY_XA, "another")) is None
    assert code(by(PLAY, *["stranger"] * 7, BY_XA)) is None
    assert code(by(PLAY, *["stranger"] * 8, BY_XA)) == "bad_envelope", "at most eight are looked at"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"status": "revoked"}, "revoked_key"),
        ({"status": "retired"}, "revoked_key"),
        ({"expires": START - timedelta(seconds=1)}, "unknown_key"),
        ({"not_before": START + timedelta(seconds=1)}, "unknown_key"),
        ({"not_before": START, "expires": START + timedelta(1)}, None),
    ],
)
def test_a_key_counts_while_it_is_active(changes: dict[str, Any], expected: str | None) -> None:
    assert code(GOOD, authority(XA, keys=(key(BY_XA, **changes),))) == expected


def test_a_revoked_name_counts_for_nothing_though_it_is_still_listed() -> None:
    assert code(GOOD, revoked=(BY_XA,)) == "revoked_key"
    assert code(GOOD, authority(HUYEN), revoked=(BY_XA,)) == "revoked_key", "nor when its authority is gone"
    assert code(by(PLAY, BY_XA, f"{XA}-2027"), authority(XA, BY_XA, f"{XA}-2027"), revoked=(BY_XA,)) is None


def test_with_a_doubtful_clock_only_what_is_certain_is_held_against_a_key() -> None:
    dark = sight(quality=Quality.UNKNOWN)
    order = by(replace(PLAY, nonce="n-1"), BY_XA)
    assert code(order, authority(XA, keys=(key(BY_XA, not_before=START + timedelta(1)),)), seen=dark) is None
    gone = authority(XA, keys=(key(BY_XA, expires=START - timedelta(days=2)),))
    assert code(order, gone, seen=dark) == "unknown_key", "it expired before the floor"


# ---------------------------------------------------------------- two signatures


@pytest.mark.parametrize(
    ("kids", "expected"),
    [
        ((BY_XA,), "bad_signature"),
        ((BY_XA, BY_XA), "bad_signature"),
        ((BY_HUYEN,), "unknown_key"),
        ((BY_XA, "stranger"), "bad_signature"),
        ((BY_XA, BY_HUYEN), None),
        ((BY_HUYEN, BY_XA), None),
        ((BY_XA, f"{XA}-2027"), None),
    ],
)
def test_a_threshold_counts_different_keys_and_one_must_be_the_issuers(
    kids: tuple[str, ...], expected: str | None
) -> None:
    two = keys.Thresholds(emergency=2)
    order = replace(PLAY, precedence=Precedence.EMERGENCY)
    cast = (authority(XA, BY_XA, f"{XA}-2027"), authority(HUYEN))
    assert code(by(order, *kids), *cast, thresholds=two) == expected
    assert code(by(PLAY, BY_XA), *cast, thresholds=two) is None, "other classes need one"


def test_whoever_signs_too_must_be_allowed_the_same() -> None:
    two = keys.Thresholds(emergency=2)
    order = by(replace(PLAY, precedence=Precedence.EMERGENCY), BY_XA, BY_HUYEN)
    for lesser in (
        authority(HUYEN, max_class="priority"),
        authority(HUYEN, verbs=("stop",)),
        authority(HUYEN, groups=()),
    ):
        assert code(order, authority(XA), lesser, thresholds=two) == "out_of_scope"
    retired = authority(HUYEN, keys=(key(BY_HUYEN, status="retired"),))
    assert code(order, authority(XA), retired, thresholds=two) == "bad_signature"


# ---------------------------------------------------------------- scope


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"verbs": ("stop",)}, "out_of_scope"),
        ({"verbs": ()}, "out_of_scope"),
        ({"max_class": "routine"}, "out_of_scope"),
        ({"max_class": "priority"}, None),
        ({"groups": ()}, "out_of_scope"),
        ({"groups": ("tinh",)}, "out_of_scope"),
        ({"groups": (GROUP,)}, None),
        ({"hours": ()}, "out_of_scope"),
        ({"hours": (keys.Hours(begin="05:00", to="21:30"),)}, None),
        ({"hours": (keys.Hours(begin="05:00", to="12:00"),)}, "out_of_scope"),
        ({"hours": (keys.Hours(begin="21:00", to="12:01"),)}, None),
    ],
)
def test_an_authority_is_held_within_its_scope(changes: dict[str, Any], expected: str | None) -> None:
    order = by(replace(PLAY, issued_at=NOON, expires_at=NOON + timedelta(minutes=5)), BY_XA)
    assert code(order, authority(XA, **changes), seen=sight(NOON)) == expected


def test_a_group_is_named_or_the_nodes_own() -> None:
    only = authority(XA, groups=(GROUP,))
    for audience in ((f"g:{GROUP}",), (f"n:{NODE}",), ("g:tinh", f"g:{GROUP}")):
        assert code(by(replace(PLAY, audience=audience), BY_XA), only) is None


def test_hours_bind_what_sounds_and_need_a_clock() -> None:
    never = authority(XA, hours=())
    assert code(by(an_order(1, "stop"), BY_XA), never) is None
    always = authority(XA, hours=(keys.Hours(begin="00:00", to="24:00"),))
    order = by(replace(PLAY, nonce="n-1"), BY_XA)
    assert code(order, always, seen=sight(quality=Quality.ESTIMATED)) == "clock_untrusted"
    assert code(order, seen=sight(quality=Quality.ESTIMATED)) is None


def test_the_first_refusal_in_the_protocols_order_is_told() -> None:
    """Each order below is wrong in everything that stands behind the step that refuses it, too."""
    wrong = replace(
        PLAY,
        audience=("n:thon-4",),
        precedence=Precedence.EMERGENCY,
        expires_at=START - timedelta(hours=1),
        issued_at=START - timedelta(hours=2),
        args={},
    )
    narrow = authority(XA, max_class="routine")
    assert code(by(wrong, "stranger"), narrow) == "unknown_key"
    assert code(by(wrong, BY_XA), narrow, revoked=(BY_XA,)) == "revoked_key"
    posing = type(signer(BY_XA))(BY_XA, signer("stranger").seed)
    assert code(seal(wrong, signers=[posing]), narrow) == "bad_signature"
    version = wrap(
        "application/vnd.pa.order+json", compose(wrong).replace(b'"v":1', b'"v":2'), [signer(BY_XA)]
    )
    assert code(version, narrow) == "unsupported"
    assert code(by(wrong, BY_XA), narrow) == "wrong_audience"
    ours = replace(wrong, audience=(f"n:{NODE}",))
    assert code(by(ours, BY_XA), narrow) == "out_of_scope"
    found = verdict(by(ours, BY_XA), narrow)
    assert isinstance(found, Verdict)
    assert found.seat is None, "out of scope, it takes no number"
    found = verdict(by(ours, BY_XA))
    assert isinstance(found, Verdict)
    assert found.entry.reason is not None
    assert found.entry.reason.code is ReasonCode.EXPIRED
    assert found.seat is not None, "expired, it does"
    fresh = replace(ours, issued_at=START, expires_at=START + timedelta(1))
    assert code(by(fresh, BY_XA)) == "bad_args"


# ---------------------------------------------------------------- what was accepted


def test_what_was_accepted_stands_until_its_key_is_revoked() -> None:
    found = verdict(GOOD)
    assert isinstance(found, Verdict)

    def still(*authorities: keys.Authority, **more: Any) -> str | None:
        why = stands(found.entry, Trust(ring=Ring(document(*authorities, version=2, **more))))
        return None if why is None else str(why.code)

    assert still(authority(XA)) is None
    assert still(authority(XA, keys=(key(BY_XA, status="retired"),))) is None
    assert still(authority(XA, keys=(key(BY_XA, expires=LONG_AGO + timedelta(1)),))) is None
    assert still(authority(XA, max_class="routine")) is None, "scope is judged when it comes"
    assert still(authority(XA, keys=(key(BY_XA, status="revoked"),))) == "revoked_key"
    assert still(authority(XA), revoked=(BY_XA,)) == "revoked_key"
    assert still(authority(HUYEN)) == "revoked_key"
    assert still(authority(XA, "xa-2027")) == "revoked_key"
    assert stands(found.entry, Trust()) is not None
    assert stands(found.entry, Trust(unsigned=True)) is None


def test_keys_that_expire_soon_are_named_unless_a_younger_one_is_there() -> None:
    soon = key("k-old", expires=START + timedelta(days=30))
    assert Ring(document(authority(XA, keys=(soon,)))).expiring(START) == ("k-old (2026-12-23)",)
    assert Ring(document(authority(XA, keys=(soon, key("k-new"))))).expiring(START) == ()
    assert Ring(document(authority(XA, keys=(soon,)))).expiring(START - timedelta(1)) == ()
    assert Ring(document(authority(XA, keys=(soon,)), revoked=("k-old",))).expiring(START) == ()


# ---------------------------------------------------------------- attacks on the bytes


def same_order(blob: bytes) -> bool:
    """Whether an envelope holds the very bytes, and a signature that holds, of GOOD."""
    return unwrap(blob).payload == unwrap(GOOD).payload


def test_no_flipped_bit_is_accepted() -> None:
    for place in range(len(GOOD)):
        for bit in range(8):
            flipped = bytearray(GOOD)
            flipped[place] ^= 1 << bit
            found = verdict(bytes(flipped))
            assert isinstance(found, (Junk, Unproven)), (place, bit, found)


def test_no_truncation_is_accepted_from_either_end() -> None:
    for length in range(len(GOOD)):
        assert isinstance(verdict(GOOD[:length]), Junk), length
        assert isinstance(verdict(GOOD[length + 1 :]), Junk), length


@settings(derandomize=True, deadline=None, max_examples=1500)
@given(data=st.data())
def test_no_changed_bytes_are_accepted(data: st.DataObject) -> None:
    """Bytes replaced, taken out or put in, anywhere. The other alphabet of base64 spells the same bytes,
    and space between JSON's parts means nothing: then it is the same order, and only then."""
    blob = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(blob) - 1))
        end = data.draw(st.integers(start, min(len(blob), start + 8)))
        blob[start:end] = data.draw(st.binary(max_size=8))
    found = verdict(bytes(blob))
    if isinstance(found, Verdict):
        assert same_order(bytes(blob))
    else:
        assert isinstance(found, (Junk, Unproven))


@settings(derandomize=True, deadline=None, max_examples=500)
@given(where=st.integers(0, 10_000), what=st.binary(min_size=1, max_size=4))
def test_no_payload_but_the_signed_one_is_accepted(where: int, what: bytes) -> None:
    """The attacker wraps properly, and keeps the signature."""
    payload = bytearray(compose(PLAY))
    where %= len(payload)
    payload[where : where + len(what)] = what
    envelope = wrap("application/vnd.pa.order+json", bytes(payload))
    forged = envelope.replace(b'"signatures":[]', GOOD[GOOD.index(b'"signatures"') : -1])
    if bytes(payload) == compose(PLAY):
        assert forged == GOOD
    else:
        assert isinstance(verdict(forged), (Junk, Unproven))
