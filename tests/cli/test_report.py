"""`edge-agent report`: what is asked of the node page by page, what is written where, and the exit codes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge_agent.catalogue import Language
from edge_agent.cli import box, carry_out
from edge_agent.cli.month import BootSpan
from edge_agent.cli.report import PAGE, gather
from edge_agent.report.asrun import AsRunEntry, rfc3339

AT = rfc3339(datetime(2026, 11, 20, tzinfo=UTC))
ENTRY: dict[str, Any] = {
    "number": 1, "id": "A", "issuer": "xa-vi-huong", "verb": "play", "class": "priority", "outcome": "AIRED",
    "code": None, "reason": None, "recorded": AT, "recorded_ms": 1, "planned": AT, "planned_ms": 1, "started": AT,
    "started_ms": 1, "ended": AT, "ended_ms": 1, "clock": "synced", "boot": "b1", "media": None, "volume": 70,
    "sounded_ms": 90_000, "frames": 1, "underruns": 0, "preempted": 0, "pages": 0, "proof": 1,
}  # fmt: skip
BOOT: dict[str, Any] = {
    "boot": "b1",
    "offset_ms": 1_795_000_000_000,
    "first": "2026-11-01T00:00:00.000Z",
    "last": "2026-11-21T00:00:00.000Z",
}
REFUSED = {"ok": False, "code": "bad_args", "text": "There is no such request."}


class Node:
    """Stands for the node behind `box.reach`."""

    def __init__(self, entries: int = 3) -> None:
        self.entries = [ENTRY | {"number": number, "id": f"o{number}"} for number in range(1, entries + 1)]
        self.asked: list[dict[str, Any]] = []
        self.answer: dict[str, Any] | None = {}

    def reach(
        self, asked: dict[str, Any], _path: Path, _tongue: Language, **_: float
    ) -> dict[str, Any] | None:
        self.asked.append(asked)
        if self.answer is None:
            return None
        page = [each for each in self.entries if each["number"] > asked["after"]][: asked["limit"]]
        return {"ok": True, "entries": page, "boots": [BOOT], "node": "thon-3"} | self.answer


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Node:
    node = Node()
    monkeypatch.setattr(box, "reach", node.reach)
    monkeypatch.delenv("EDGE_AGENT_LANG", raising=False)
    return node


def run(*words: str) -> int:
    return carry_out(["report", "--month", "2026-11", "--socket", "nowhere", *words])


def test_entries_are_asked_for_page_by_page_until_there_are_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = Node(2 * PAGE + 7)
    monkeypatch.setattr(box, "reach", node.reach)
    gathered = gather(Path("nowhere"), Language.VI)
    assert gathered is not None
    entries, boots, name = gathered
    assert [entry.number for entry in entries] == list(range(1, 2 * PAGE + 8))
    assert boots == [BootSpan("b1", 1_795_000_000_000, BOOT["first"], BOOT["last"])]
    assert name == "thon-3"
    assert node.asked == [
        {"do": "entries", "after": after, "limit": PAGE} for after in (0, PAGE, 2 * PAGE, 2 * PAGE + 7)
    ]


def test_a_node_that_repeats_itself_is_not_asked_for_ever(node: Node) -> None:
    node.answer = {"entries": node.entries}
    gathered = gather(Path("nowhere"), Language.VI)
    assert gathered is not None
    assert len(gathered[0]) == 3
    assert len(node.asked) == 2


def test_on_the_terminal_in_both_languages(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    assert node.entries
    assert run() == 0
    assert "Tổng thời lượng đã phát: 4,5 phút, 3 trên 3 lượt" in capsys.readouterr().out
    assert run("--lang", "en") == 0
    assert "Sounded in all: 4.5 min; 3 of 3 turns" in capsys.readouterr().out


def test_json_is_for_machines(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["node"], told["month"], told["planned"]) == ("thon-3", "2026-11", len(node.entries))
    assert told["sounded_ms"]["by_class"] == {"emergency": 0, "priority": 270_000, "routine": 0}
    assert told["sounded_ms"]["by_zone"] == {"": 270_000}


def test_files_hold_the_page_and_the_spreadsheet(
    node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, sheet = tmp_path / "thang-11.html", tmp_path / "thang-11.csv"
    assert run("--html", "--out", str(page)) == 0
    assert run("--csv", "--out", str(sheet)) == 0
    assert "Xác nhận của UBND xã" in page.read_text(encoding="utf-8")
    assert sheet.read_bytes().startswith(b"\xef\xbb\xbf")
    assert sheet.read_bytes().count(b"\r\n") == 1 + len(node.entries)
    said = capsys.readouterr()
    assert said.out == ""
    assert str(page) in said.err


def test_the_exit_codes(node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--html", "--csv") == 2
    assert run("--html", "--out", str(tmp_path)) == 2
    for month in ("2026-13", "2026-1", "1999-01", "11/2026", "２０２６-11", "2026-11\n"):
        assert carry_out(["report", "--month", month, "--socket", "nowhere"]) == 2
    assert carry_out(["report"]) == 2
    node.answer = None
    assert run() == 3
    node.answer = {"entries": [{"number": "one"}]}
    capsys.readouterr()
    assert run() == 3
    assert "cùng phiên bản" in capsys.readouterr().err
    node.answer = REFUSED
    assert run() == 1
    assert "bad_args" in capsys.readouterr().err


def test_nobody_at_the_socket(tmp_path: Path) -> None:
    assert carry_out(["report", "--month", "2026-11", "--socket", str(tmp_path / "none.sock")]) == 3


def test_an_entry_of_the_test_is_one_that_the_node_would_send() -> None:
    assert msgspec.to_builtins(msgspec.convert(ENTRY, AsRunEntry)) == ENTRY
