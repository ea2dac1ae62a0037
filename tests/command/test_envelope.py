"""Bytes are one order or one refusal, and nothing else."""

from __future__ import annotations

import base64
import contextlib
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.command import envelope
from edge_agent.command.envelope import Order, compose, depth, identify, read, seal, unwrap, wrap
from edge_agent.errors import OrderRefused
from edge_agent.model import OrderId, Precedence, ReasonCode
from tests.command.scene import an_order
from tests.entries import START

VERBS = frozenset({"play", "stop", "ping"})
ORDER = an_order(
    7,
    "play",
    precedence=Precedence.EMERGENCY,
    nonce="n-1",
    supersedes=OrderId("0b1c2d3e-0001-7abc-8def-0123456789ab"),
)


def opened(blob: bytes) -> Order:
    sealed = unwrap(blob)
    identify(sealed)
    return read(sealed, verbs=VERBS)


def refusal(blob: bytes) -> OrderRefused:
    with pytest.raises(OrderRefused) as caught:
        opened(blob)
    assert caught.value.text.endswith(".")
    return caught.value


def inner(**changes: Any) -> bytes:
    """A sealed order with fields changed, or (None given as `...`) left out."""
    fields = json.loads(compose(ORDER)) | changes
    left = {name: value for name, value in fields.items() if value is not ...}
    return wrap(envelope.PAYLOAD_TYPE, json.dumps(left).encode())


def test_what_is_sealed_is_read_again() -> None:
    assert opened(seal(ORDER)) == ORDER


def test_the_payload_is_the_exact_bytes_that_will_be_signed() -> None:
    assert unwrap(seal(ORDER)).payload == compose(ORDER)


def test_url_safe_base64_and_extra_members_are_accepted_as_dsse_demands() -> None:
    payload = base64.urlsafe_b64encode(compose(replace(ORDER, args={"title": "Ồ>?~"}))).decode()
    blob = json.dumps({"payloadType": envelope.PAYLOAD_TYPE, "payload": payload, "signatures": [], "more": 1})
    assert opened(blob.encode()).args == {"title": "Ồ>?~"}


def test_any_offset_is_the_same_moment() -> None:
    assert opened(inner(iat="2026-11-23T07:00:00+07:00")).issued_at == START


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"PLAY",
        b"[]",
        b"null",
        b"{}",
        b"\xff\xfe",
        b"{" * 65_000,
        b'"' * 65_000,
        b'{"payloadType":"text/plain","payload":"e30=","signatures":[]}',
        b'{"payloadType":"application/vnd.pa.order+json","payload":"e30=","signatures":[{}]}',
        b'{"payloadType":"application/vnd.pa.order+json","payload":"e30","signatures":[]}',
        b'{"payloadType":"application/vnd.pa.order+json","payload":"\xc3\xa9","signatures":[]}',
        b'{"payloadType":"application/vnd.pa.order+json","payload":"W10=","signatures":[]}',
    ],
)
def test_what_is_no_envelope_is_refused(blob: bytes) -> None:
    assert refusal(blob).code is ReasonCode.BAD_ENVELOPE


def test_a_payload_that_is_too_large_is_not_even_parsed() -> None:
    blob = b" " * envelope.SIZE_MAX + seal(ORDER)
    assert "bytes" in refusal(blob).text


def test_nesting_is_bounded_before_anything_is_decoded() -> None:
    deep = inner(args={"a": json.loads("[" * 20 + "]" * 20)})
    assert "deep" in refusal(deep).text
    assert depth(b'{"a": "[[[[\\"[[[", "b": [1, {"c": 2}]}') == 3
    assert depth(b'"\\') == 0


@pytest.mark.parametrize("version", [0, 2, "1", 1.0, True, None])
def test_another_version_is_unsupported_whatever_else_it_holds(version: object) -> None:
    caught = refusal(inner(v=version, new_field=1))
    assert caught.code is ReasonCode.UNSUPPORTED
    assert f"version {version!r};" in caught.text


def test_an_unknown_verb_is_unsupported() -> None:
    caught = refusal(inner(verb="launch"))
    assert caught.code is ReasonCode.UNSUPPORTED
    assert "launch" in caught.text


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "1"},
        {"id": "01j00000000000000000000007"},
        {"id": "0B1C2D3E-0001-7ABC-8DEF-0123456789AB"},
        {"id": "01J00000000000000000000007\n"},
        {"id": ...},
        {"iss": "Xã"},
        {"aud": []},
        {"aud": ["thon-3"]},
        {"aud": "n:thon-3"},
        {"seq": -1},
        {"seq": 2**64},
        {"seq": 1.5},
        {"iat": "2026-11-23T00:00:00"},
        {"iat": 1_700_000_000},
        {"iat": "0001-01-01T00:00:00+14:00"},
        {"exp": "9999-12-31T23:59:59-12:00"},
        {"exp": "2026-11-22T00:00:00Z"},
        {"class": "EMERGENCY"},
        {"class": "urgent"},
        {"class": ...},
        {"supersedes": "x"},
        {"dry": "yes"},
        {"args": []},
        {"args": ...},
        {"v": ...},
        {"surprise": True},
    ],
)
def test_a_malformed_field_is_refused(changes: dict[str, Any]) -> None:
    caught = refusal(inner(**changes))
    assert caught.code is ReasonCode.BAD_ENVELOPE
    assert "regex" not in caught.text, "nobody should have to read a pattern"


def test_a_refusal_does_not_carry_control_characters_into_the_log() -> None:
    caught = refusal(inner(verb="launch", **{"a\x1b[31m\n": 1}))
    assert caught.text.isprintable()


def test_every_truncation_is_a_refusal() -> None:
    blob = seal(ORDER)
    for length in range(len(blob)):
        assert refusal(blob[:length]).code is ReasonCode.BAD_ENVELOPE


@settings(derandomize=True, deadline=None, max_examples=400)
@given(where=st.integers(0, 10_000), what=st.integers(0, 255), inside=st.booleans())
def test_any_changed_byte_gives_an_order_or_a_refusal(where: int, what: int, *, inside: bool) -> None:
    blob = bytearray(compose(ORDER) if inside else seal(ORDER))
    blob[where % len(blob)] = what
    with contextlib.suppress(OrderRefused):
        opened(wrap(envelope.PAYLOAD_TYPE, bytes(blob)) if inside else bytes(blob))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner_: st.lists(inner_, max_size=4) | st.dictionaries(st.text(max_size=8), inner_, max_size=4),
    max_leaves=10,
)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(name=st.sampled_from(sorted(json.loads(compose(ORDER)))), value=_JSON)
def test_any_value_in_any_field_gives_an_order_or_a_refusal(name: str, value: object) -> None:
    with contextlib.suppress(OrderRefused):
        opened(inner(**{name: value}))


def test_an_order_that_lasts_no_time_is_an_order() -> None:
    order = replace(ORDER, expires_at=ORDER.issued_at)
    assert opened(seal(order)) == order
    assert refusal(seal(replace(order, expires_at=order.issued_at - timedelta(seconds=1))))


@pytest.mark.parametrize(
    ("once", "twice"),
    [
        (b'"class":"routine"', b'"class":"routine","class":"emergency"'),
        (b'"class":"routine"', b'"class":"routine","cl\\u0061ss":"routine"'),
        (b'"args":{}', b'"args":{"a":{"b":1,"b":1}}'),
    ],
)
def test_what_two_readers_could_read_differently_is_refused(once: bytes, twice: bytes) -> None:
    payload = compose(replace(ORDER, precedence=Precedence.ROUTINE, args={}))
    assert once in payload
    found = refusal(wrap(envelope.PAYLOAD_TYPE, payload.replace(once, twice)))
    assert found.code is ReasonCode.BAD_ENVELOPE
    assert "twice" in found.text
