"""`edge-agent next`, `events`, `cache`, `desired --check`: what is asked, what people read, and the exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge_agent.catalogue import Language
from edge_agent.cli import box, carry_out

MEDIA = [f"sha256:{number:064x}" for number in range(700)]
TURN = {
    "at": "2026-11-28T05:30+07:00",
    "rule": "sang",
    "title": "Bản tin sáng",
    "class": "routine",
    "parts": 2,
}


class Node:
    """Stands for the node behind `box.reach`."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.spoilt: set[str] = set()
        self.refuses = False
        self.gone = False
        self.turns: list[dict[str, Any]] = [TURN]
        self.wall: str | None = "2026-11-27T00:00:00.000Z"
        self.waits = False
        self.files: list[dict[str, str]] = []

    def reach(
        self, asked: dict[str, Any], _path: Path, _tongue: Language, **_: float
    ) -> dict[str, Any] | None:
        self.asked.append(asked)
        if self.gone:
            return None
        if self.refuses:
            return {"ok": False, "code": "hardware_fault", "text": "The card is broken."}
        told: dict[str, Any]
        match asked["do"]:
            case "next":
                told = {"clock": "synced", "wall": self.wall, "turns": self.turns, "waits": self.waits}
            case "assets":
                page = [one for one in MEDIA if one > asked["after"]][: asked["limit"]]
                notes = [
                    {
                        "media": one,
                        "held": True,
                        "size": 1 << 20,
                        "wanted": True,
                        "kept": True,
                        "quarantined": None,
                    }
                    for one in page
                ]
                told = {"assets": notes, "total": len(MEDIA), "missing": 2, "surplus_mib": 3}
            case "verify":
                told = {"fault": "Its bytes have changed." if asked["media"] in self.spoilt else None}
            case "collect":
                told = {"removed": 4, "bytes": 5 << 20}
            case "import":
                told = {"files": self.files}
            case _:
                events = [
                    {"number": n, "boot": "b" * 36, "mono_ms": n * 1000, "wall": None if n % 2 else "2026-11-27T00:00:00.000Z",
                     "level": "info", "place": "command.inbox", "text": f"line {n}"}
                    for n in range(asked["after"] + 1, min(asked["after"] + asked["limit"], 400) + 1)
                ]  # fmt: skip
                told = {"events": events}
        return {"ok": True} | told


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Node:
    node = Node()
    monkeypatch.setattr(box, "reach", node.reach)
    monkeypatch.delenv("EDGE_AGENT_LANG", raising=False)
    return node


def run(*words: str) -> int:
    return carry_out([*words, "--socket", "nowhere"])


def test_the_next_turns_are_told_in_vietnamese(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("next", "--days", "3") == 0
    assert node.asked == [{"do": "next", "days": 3}]
    assert capsys.readouterr().out == "2026-11-28 05:30  thường     sang  Bản tin sáng (2 phần)\n"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"turns": []}, "has nothing in the next 7 days"),
        ({"wall": None, "turns": []}, "does not know the date"),
        ({"waits": True}, "These turns WAIT"),
    ],
)
def test_what_stands_in_the_way_of_a_turn_is_told(
    node: Node, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], said: str
) -> None:
    for name, value in changes.items():
        setattr(node, name, value)
    assert run("next", "--lang", "en") == 0
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [("next",), ("events",), ("cache", "list"), ("cache", "verify"), ("cache", "collect")]
)
def test_a_node_that_refuses_or_is_away_has_its_exit_code(
    node: Node, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    node.refuses = True
    assert run(*words) == 1
    assert "The card is broken." in capsys.readouterr().err
    node.gone = True
    assert run(*words) == 3


def test_the_cache_is_listed_page_by_page(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("cache", "list", "--lang", "en") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 702
    assert lines[-2] == "700 file(s), 700.0 MiB; 2 wanted and missing."
    assert "raise cache.quota_mib" in lines[-1]
    assert [asked["after"] for asked in node.asked] == ["", MEDIA[299], MEDIA[599]]


def test_verifying_names_what_is_spoilt_and_says_so_by_its_code(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("cache", "verify", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"ok": True, "verified": 700, "spoilt": []}
    node.spoilt = {MEDIA[5]}
    assert run("cache", "verify", "--json") == 1
    assert json.loads(capsys.readouterr().out)["spoilt"] == [
        {"media": MEDIA[5], "fault": "Its bytes have changed."}
    ]


@pytest.mark.usefixtures("node")
def test_collecting_tells_what_was_gained(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("cache", "collect", "--lang", "en") == 0
    assert capsys.readouterr().out == "Removed 4 file(s), 5.0 MiB.\n"


def test_a_stick_is_copied_and_each_file_is_told_of(
    node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stick, state = tmp_path / "usb", tmp_path / "state"
    stick.mkdir()
    state.mkdir()
    (stick / "media.json").write_text("{}")
    (stick / "a.mp3").write_bytes(b"sound")
    (stick / ".hidden").write_bytes(b"no")
    node.files = [
        {"name": "media.json", "done": "applied", "why": ""},
        {"name": "a.mp3", "done": "refused", "why": "No signed document wants this file."},
    ]
    assert run("cache", "import", str(stick), "--state-dir", str(state), "--lang", "en") == 1
    assert sorted(file.name for file in (state / "import").iterdir()) == ["a.mp3", "media.json"]
    assert capsys.readouterr().out.lstrip() == (
        "media.json: applied.\na.mp3: REFUSED. No signed document wants this file.\n"
    )


def test_a_stick_that_is_not_there_is_wrong_usage(node: Node, tmp_path: Path) -> None:
    assert run("cache", "import", str(tmp_path / "nothing"), "--state-dir", str(tmp_path)) == 2
    assert not node.asked


@pytest.mark.usefixtures("node")
def test_the_last_lines_of_the_black_box(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("events", "-n", "3") == 0
    assert capsys.readouterr().out.splitlines() == [
        "2026-11-27T00:00:00.000Z INFO    command.inbox: line 398",
        "bbbbbbbb +399 s INFO    command.inbox: line 399",
        "2026-11-27T00:00:00.000Z INFO    command.inbox: line 400",
    ]


def check(tmp_path: Path, doc: str, body: str, *words: str) -> int:
    file = tmp_path / "doc.json"
    file.write_text(body)
    return carry_out(["desired", doc, str(file), "--check", *words])


def test_a_document_is_checked_with_every_fault_on_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = '{"rules": [\n {"id": "a", "at": ["5:30"], "programme": [{"say": "x"}]},\n {"id": "b", "at": ["05:30"], "programme": []}\n]}'
    assert check(tmp_path, "schedule", body) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("dòng 2: $.rules[0].at[0]: ")
    assert lines[1].startswith("dòng 3: $.rules[1].programme: ")


@pytest.mark.parametrize(
    ("doc", "body", "code"),
    [
        ("schedule", '{"rules": []}', 0),
        ("media", '{"assets": [{"media": "x", "url": "http://a/b"}]}', 1),
        ("media", '{"assets": []}', 0),
        ("board", '{"items": [{"id": "a", "text": ""}]}', 1),
        ("board", '{"items": [{"id": "a", "text": "Họp"}]}', 0),
        ("config", "{", 1),
        ("weather", "{}", 2),
    ],
)
def test_each_document_has_its_check(tmp_path: Path, doc: str, body: str, code: int) -> None:
    assert check(tmp_path, doc, body) == code


def test_a_collision_is_a_note_and_no_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rule = '{"id": "%s", "at": ["05:30"], "programme": [{"say": "x"}]}'
    assert check(tmp_path, "schedule", f'{{"rules": [{rule % "a"}, {rule % "b"}]}}', "--lang", "en") == 0
    assert capsys.readouterr().err.startswith("note, line 1: $.rules[1].at: Rules 'a' and 'b'")
