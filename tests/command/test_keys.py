"""A keys document is well formed or refused with the place of each fault; trust goes on only as the roots say."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from edge_agent.command import keys
from edge_agent.command.envelope import SIZE_MAX, wrap
from edge_agent.errors import KeysRefused
from edge_agent.model import ReasonCode
from tests.signers import authority, document, public, root, signed, signer

FIRST = document(authority("xa-vi-huong"))


def roots(threshold: int, *kids: str) -> keys.Roots:
    return keys.Roots(threshold=threshold, keys=tuple(root(kid) for kid in kids))


def refusal(blob: bytes) -> KeysRefused:
    with pytest.raises(KeysRefused) as caught:
        keys.opened(blob)
    assert caught.value.text.isprintable()
    return caught.value


def changed(path: str, value: Any) -> bytes:
    """The first document with one value changed, deep inside."""
    whole = json.loads(msgspec.json.encode(FIRST))
    *way, last = (int(step) if step.isdigit() else step for step in path.split("."))
    place = whole
    for step in way:
        place = place[step]
    place[last] = value
    return signed(whole)


def test_what_is_signed_is_read_again() -> None:
    opened = keys.opened(signed(FIRST))
    assert opened.document == FIRST
    assert opened.digest.startswith("sha256:")
    keys.begins(opened)


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        ("v", 2, "$.v"),
        ("version", 0, "$.version"),
        ("issued", "gestern", "$.issued"),
        ("roots.threshold", 2, "$.roots.threshold"),
        ("roots.keys", [], "$.roots.keys"),
        ("roots.keys.0.kid", "X", "$.roots.keys[0].kid"),
        ("authorities.0.keys.0.pub", "AAAA", "$.authorities[0].keys[0].pub"),
        ("authorities.0.keys.0.pub", "A" * 42 + "B=", "$.authorities[0].keys[0].pub"),
        ("authorities.0.keys.0.pub", public("goc-1"), "$.authorities[0].keys[0].pub"),
        ("authorities.0.keys.0.kid", "goc-1", "$.authorities[0].keys[0].kid"),
        ("authorities.0.keys.0.expires", "2019-01-01T00:00:00Z", "$.authorities[0].keys[0].expires"),
        ("authorities.0.keys.0.status", "sleeping", "$.authorities[0].keys[0].status"),
        ("authorities.0.max_class", "loud", "$.authorities[0].max_class"),
        ("authorities.0.hours", [{"from": "05:00", "to": "05:00"}], "$.authorities[0].hours[0]"),
        ("authorities.0.hours", [{"from": "5", "to": "6"}], "$.authorities[0].hours[0].from"),
        ("authorities.0.level", 3, "$.authorities[0]"),
        ("thresholds.emergency", 9, "$.thresholds.emergency"),
        ("revoked", ["goc-1"], "$.roots.keys[0]"),
    ],
)
def test_a_fault_is_told_with_its_place(path: str, value: Any, where: str) -> None:
    found = refusal(changed(path, value))
    assert found.code is ReasonCode.BAD_ENVELOPE
    assert where in [fault.path for fault in found.faults], found.faults
    assert all("regex" not in fault.message for fault in found.faults)


def test_every_fault_of_a_well_shaped_document_is_told_at_once() -> None:
    twice = authority("xa", "k1", "k1")
    found = refusal(signed(document(twice, authority("xa", "k2"), roots=roots(2, "goc-1"))))
    assert len(found.faults) == 4
    assert "4 fault(s)" in found.text


@pytest.mark.parametrize("blob", [b"", b"{}", b"[" * 1000, b"x" * (SIZE_MAX + 1), wrap("text/plain", b"{}")])
def test_what_is_no_document_is_refused(blob: bytes) -> None:
    assert refusal(blob).code is ReasonCode.BAD_ENVELOPE


def test_every_truncation_is_refused() -> None:
    blob = signed(FIRST)
    for length in range(0, len(blob), 3):
        assert refusal(blob[:length])


def test_an_order_cannot_be_taken_for_keys() -> None:
    """The type is among the signed bytes, so a signature for one kind is none for another."""
    payload = msgspec.json.encode(FIRST)
    sealed = wrap("application/vnd.pa.order+json", payload, [signer("goc-1")])
    posing = sealed.replace(b"vnd.pa.order", b"vnd.pa.keys")
    with pytest.raises(KeysRefused) as caught:
        keys.begins(keys.opened(posing))
    assert caught.value.code is ReasonCode.BAD_SIGNATURE


# ---------------------------------------------------------------- the chain

OLD = document(authority("xa"), roots=roots(2, "ra", "rb", "rc"))
NEW = document(authority("xa"), version=2, roots=roots(2, "rc", "rd", "re"))


@pytest.mark.parametrize(
    ("by", "follows"),
    [
        (("ra", "rb", "rd", "re"), True),
        (("rb", "rc", "rd"), True),  # rc counts on both sides
        (("ra", "rb", "rc"), False),  # one of its own only
        (("rc", "rd", "re"), False),  # one of the old ones only
        (("ra", "rb"), False),
        (("rd", "re"), False),
        ((), False),
        (("rc",), False),
        (("rc", "rc", "rc", "rc"), False),  # one key four times is one key
        (("rx", "ry", "rz"), False),
    ],
)
def test_a_newer_document_needs_the_roots_in_force_and_its_own(by: tuple[str, ...], *, follows: bool) -> None:
    blob = wrap(keys.PAYLOAD_TYPE, msgspec.json.encode(NEW), [signer(kid) for kid in by])
    if follows:
        keys.follows(keys.opened(blob), OLD)
        return
    with pytest.raises(KeysRefused) as caught:
        keys.follows(keys.opened(blob), OLD)
    assert caught.value.code is ReasonCode.BAD_SIGNATURE


def test_a_root_that_left_cannot_come_back() -> None:
    third = keys.opened(
        signed(document(authority("xa"), version=3, roots=roots(2, "ra", "rb", "rc")), "ra", "rb", "rc")
    )
    with pytest.raises(KeysRefused):
        keys.follows(third, NEW)


def test_a_signature_under_another_roots_name_does_not_count() -> None:
    payload = msgspec.json.encode(OLD)
    posing = [signer("ra"), type(signer("ra"))("rb", signer("ra").seed)]
    with pytest.raises(KeysRefused):
        keys.begins(keys.opened(wrap(keys.PAYLOAD_TYPE, payload, posing)))


def test_hours_may_go_over_midnight() -> None:
    day, night = keys.Hours(begin="05:00", to="21:30"), keys.Hours(begin="22:00", to="04:00")
    assert [day.covers(minute) for minute in (299, 300, 1289, 1290)] == [False, True, True, False]
    assert [night.covers(minute) for minute in (1319, 1320, 0, 239, 240)] == [False, True, True, True, False]
    assert keys.Hours(begin="00:00", to="24:00").covers(1439)


def test_a_document_that_two_readers_could_read_differently_is_refused() -> None:
    payload = msgspec.json.encode(document(authority("xa-vi-huong")))
    twice = payload.replace(b'"version":1', b'"version":1,"version":2')
    assert twice != payload
    with pytest.raises(KeysRefused) as caught:
        keys.opened(wrap(keys.PAYLOAD_TYPE, twice, [signer("goc-1")]))
    assert caught.value.code is ReasonCode.BAD_ENVELOPE
