"""CAP messages from text: what is read, what is refused with which sentence, and that nothing hostile acts."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.command import cap
from edge_agent.errors import OrderRefused
from edge_agent.model import ReasonCode
from tests import alerts

SENT = datetime(2026, 11, 24, 8, 30, tzinfo=alerts.VIETNAM)
FLOOD = alerts.alert("lu-1", SENT, alerts.block(expires=SENT + timedelta(hours=2)))


def refusal(text: str) -> OrderRefused:
    with pytest.raises(OrderRefused) as caught:
        cap.parse(text)
    return caught.value


def test_an_alert_is_read() -> None:
    alert = cap.parse(FLOOD)
    assert alert.identity == cap.Identity(alerts.SENDER, "lu-1", datetime(2026, 11, 24, 1, 30, tzinfo=UTC))
    assert (alert.status, alert.kind, alert.scope) == ("Actual", "Alert", "Public")
    (block,) = alert.blocks
    assert (block.language, block.headline) == ("vi-VN", alerts.HEADLINE)
    assert block.expires == datetime(2026, 11, 24, 3, 30, tzinfo=UTC)
    assert block.areas[0].geocodes == (alerts.CODE,)


def test_a_byte_order_mark_and_a_foreign_signature_do_not_matter() -> None:
    signature = (
        '<Signature xmlns="http://www.w3.org/2000/09/xmldsig#"><status>Draft</status></Signature></alert>'
    )
    assert cap.parse("\ufeff" + FLOOD.replace("</alert>", signature)) == cap.parse(FLOOD)


def test_a_cancel_needs_no_block_but_something_to_take_back() -> None:
    alert = cap.parse(alerts.alert("huy-1", SENT, kind="Cancel", references=[("lu-1", SENT), ("lu-2", SENT)]))
    assert [one.identifier for one in alert.references] == ["lu-1", "lu-2"]
    assert not alert.blocks
    assert "references" in refusal(alerts.alert("huy-1", SENT, kind="Cancel")).text


def test_the_same_instant_in_another_zone_is_the_same_alert() -> None:
    there = FLOOD.replace("2026-11-24T08:30:00+07:00", "2026-11-24T01:30:00-00:00")
    assert cap.parse(there).identity == cap.parse(FLOOD).identity


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("+07:00</sent>", "Z</sent>", "never Z"),
        ("+07:00</sent>", "</sent>", "never Z"),
        ("<status>Actual", "<status>actual", "one of Actual"),
        ("<status>Actual</status>", "", "`status` is missing"),
        ("</sender>", "</sender><sender>x</sender>", "2 times"),
        ("<identifier>lu-1", "<identifier>lu 1", "without space"),
        ("<urgency>Immediate", "<urgency>Now", "`urgency` is 'Now'"),
        ("<language>vi-VN", "<language>tiếng Việt", "such as vi-VN"),
        ("<event>Lũ quét</event>", "", "`event` is missing"),
        (alerts.HERE, "<polygon>1,2 3,4 5,6 7,8</polygon>", "first point"),
        (alerts.HERE, "<polygon>1,2 3,4 1,2</polygon>", "4 to"),
        (alerts.HERE, "<circle>1,2</circle>", "radius"),
        (alerts.HERE, "<circle>91,2 3</circle>", "not on Earth"),
        ("</alert>", "", "not well-formed"),
        ("<event>", "<event>&x;", "not well-formed"),
        ("<event>", "<event>\x01", "not well-formed"),
    ],
)
def test_what_is_wrong_is_named(old: str, new: str, says: str) -> None:
    assert old in FLOOD
    found = refusal(FLOOD.replace(old, new, 1))
    assert found.code is ReasonCode.BAD_ARGS
    assert says in found.text


def test_another_version_is_told_so() -> None:
    assert refusal(FLOOD.replace("cap:1.2", "cap:1.1")).code is ReasonCode.UNSUPPORTED
    assert refusal("<alert/>").code is ReasonCode.UNSUPPORTED


# ---------------------------------------------------------------- hostile


class Ears:
    """What the interpreter does beneath us, while somebody listens."""

    def __init__(self) -> None:
        self.listening = False
        self.heard: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, _arguments: object) -> None:
        if self.listening and event.partition(".")[0] in {
            "open",
            "socket",
            "urllib",
            "subprocess",
            "os",
            "ctypes",
        }:
            self.heard.append(event)


EARS = Ears()

DOCTYPES = {
    "external entity": '<!DOCTYPE alert [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
    "parameter entity": '<!DOCTYPE alert [<!ENTITY % r SYSTEM "http://127.0.0.1:9/x"> %r;]>',
    "external subset": '<!DOCTYPE alert SYSTEM "http://127.0.0.1:9/x.dtd">',
    "public": '<!DOCTYPE alert PUBLIC "-//A//B//EN" "file:///etc/passwd">',
    "billion laughs": '<!DOCTYPE alert [<!ENTITY a "ha"><!ENTITY x "&a;&a;&a;&a;&a;&a;&a;&a;">]>',
    "empty": "<!DOCTYPE alert>",
}


@pytest.mark.parametrize("doctype", DOCTYPES.values(), ids=DOCTYPES)
def test_no_dtd_reads_a_file_or_opens_a_connection(doctype: str) -> None:
    cap.parse(FLOOD)  # whatever is imported, is imported now
    hostile = FLOOD.replace("?>", "?>" + doctype, 1).replace(alerts.HEADLINE, "&x;")
    EARS.heard.clear()
    EARS.listening = True
    try:
        found = refusal(hostile)
    finally:
        EARS.listening = False
    assert found.code is ReasonCode.BAD_ARGS
    assert "DTD or entities" in found.text
    assert EARS.heard == []


def test_a_stylesheet_and_an_inclusion_do_nothing() -> None:
    include = '<x xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="file:///etc/passwd"/></x><identifier>'
    text = FLOOD.replace("?>", '?><?xml-stylesheet type="text/xsl" href="http://127.0.0.1:9/x"?>', 1)
    EARS.heard.clear()
    EARS.listening = True
    try:
        alert = cap.parse(text.replace("<identifier>", include, 1))
    finally:
        EARS.listening = False
    assert alert == cap.parse(FLOOD)
    assert EARS.heard == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<a>" * 80_000, "deep"),
        ("<a>" + "<b/>" * 6_000 + "</a>", "elements"),
        (FLOOD + " " * cap.BYTES_MAX, "bytes"),
        ("<a " + " ".join(f'x{n}="y"' for n in range(20_000)), "well-formed"),
        ("<" + "a" * 200_000, "well-formed"),
        ("", "well-formed"),
        ("\ud800", "UTF-8"),
        ("{}", "well-formed"),
    ],
    ids=["depth", "elements", "size", "attributes", "name", "empty", "surrogate", "json"],
)
def test_what_is_too_much_is_refused_while_it_is_read(text: str, says: str) -> None:
    assert says in refusal(text).text


@settings(derandomize=True, deadline=None, max_examples=150)
@given(at=st.integers(0, len(FLOOD) - 1), character=st.characters() | st.sampled_from("<>&/\"'= \n]"))
def test_a_changed_character_is_read_or_refused_but_never_a_fault(at: int, character: str) -> None:
    why = ""
    try:
        cap.parse(FLOOD[:at] + character + FLOOD[at + 1 :])
    except OrderRefused as refused:
        why = refused.text
    assert why.isprintable()


def test_an_alert_cut_short_at_any_place_is_refused() -> None:
    for length in range(len(FLOOD)):
        refusal(FLOOD[:length])
