"""A schedule document: every fault at once, each with its place; and what a good one means."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from edge_agent.desired import Signed
from edge_agent.errors import DocumentRefused
from edge_agent.model import Issuer, LineIn, Precedence, Recording, Relay, Voice
from edge_agent.schedule.plan import read

NOW = datetime(2026, 11, 30, tzinfo=UTC)
MEDIA = "sha256:" + "a" * 64


def signed(highest: Precedence = Precedence.ROUTINE) -> Signed:
    return Signed(issuer=Issuer("xa"), highest=highest, version=1, issued_at=NOW)


def rule(**changes: Any) -> dict[str, Any]:
    return {"id": "mot", "at": ["05:30"], "programme": [{"say": "x"}]} | changes


def faults(*rules: dict[str, Any], **more: Any) -> list[tuple[str, str]]:
    with pytest.raises(DocumentRefused) as refused:
        read(json.dumps({"rules": list(rules)} | more).encode(), signed())
    return [(fault.path, fault.message) for fault in refused.value.faults]


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"at": ["5:30"]}, "$.rules[0].at[0]", "a time of day"),
        ({"at": []}, "$.rules[0].at", "length"),
        ({"id": "Bản tin"}, "$.rules[0].id", "a name of"),
        ({"colour": "red"}, "$.rules[0]", "colour"),
        ({"class": "priority"}, "$.rules[0].class", "signed for routine"),
        ({"late": {"policy": "always"}}, "$.rules[0].late.policy", "emergency"),
        ({"dates": ["2026-02-30"]}, "$.rules[0].dates[0]", "no 2026-02-30"),
        ({"from": "2026-12-02", "to": "2026-12-01"}, "$.rules[0].to", "before it begins"),
        ({"programme": [{}]}, "$.rules[0].programme[0]", "one of them"),
        ({"programme": [{"say": "x", "media": MEDIA}]}, "$.rules[0].programme[0]", "one of them"),
        ({"programme": [{"say": "x", "for_s": 60}]}, "$.rules[0].programme[0].for_s", "by itself"),
        ({"programme": [{"stream": {"url": "http://x/y"}}]}, "$.rules[0].programme[0].for_s", "needs"),
        (
            {"programme": [{"stream": {"url": "ftp://x"}, "for_s": 9}]},
            "$.rules[0].programme[0].stream.url",
            "http",
        ),
        ({"programme": [{"line_in": True, "for_s": 60}]}, "$.rules[0].programme[0].line_in", "no input"),
        ({"repeat": {"times": 48, "every_min": 60}}, "$.rules[0].repeat", "within a day"),
        (
            {"together": True, "programme": [{"stream": {"url": "http://x/y"}, "for_s": 60}]},
            "$.rules[0].programme[0]",
            "together",
        ),
    ],
)
def test_a_fault_has_its_place_and_a_sentence(changes: dict[str, Any], path: str, words: str) -> None:
    found = faults(rule(**changes))
    assert found[0][0] == path
    assert words in found[0][1]


def test_every_rule_s_faults_are_told_at_once() -> None:
    found = faults(rule(), rule(id="hai", at=["x"]), rule(id="ba", **{"class": "emergency"}), rule())
    assert [path for path, _ in found] == ["$.rules[1].at[0]", "$.rules[2].class", "$.rules[3].id"]


def test_no_more_than_twenty_faults_are_told() -> None:
    assert len(faults(*(rule(id=f"r{n}", at=["x"]) for n in range(50)))) == 20


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"rules": 3}', b'{"rules": [3]}', b"\xff", b'{"rules":' + b"[" * 90_000]
)
def test_what_is_no_schedule_is_refused(body: bytes) -> None:
    with pytest.raises(DocumentRefused):
        read(body, signed())


def test_a_programme_has_its_parts_in_order() -> None:
    programme = [
        {"media": MEDIA, "url": "http://m/x.mp3", "seconds": 30},
        {"say": "Kính mời", "language": "vi"},
        {"stream": {"url": "https://dai/x"}, "for_s": 600, "standby": {"media": MEDIA, "say": "Mất sóng"}},
        {"line_in": True, "for_s": 60},
    ]
    (one,) = read(json.dumps({"rules": [rule(programme=programme)]}).encode(), signed(), line_in=True).rules
    assert [type(part) for part in one.parts] == [Recording, Voice, Relay, LineIn]
    assert one.seconds is not None
    assert one.seconds > 690


def test_an_empty_list_is_a_schedule_too() -> None:
    assert read(b'{"rules": []}', signed()).rules == ()


def test_more_turns_than_anybody_can_hear_are_refused() -> None:
    every_minute = [f"{minute // 60:02}:{minute % 60:02}" for minute in range(48)]
    many = [rule(id=f"r{n}", at=every_minute) for n in range(420)]
    ((path, message),) = faults(*many)
    assert path == "$.rules"
    assert "20160 turns a day" in message
