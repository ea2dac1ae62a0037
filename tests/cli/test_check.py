"""`edge-agent check`: every problem with key, line, reason and remedy, for people and for machines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_agent.cli import carry_out

GOOD = '[node]\nid = "thon-3"\n[broker]\nurl = "mqtt://127.0.0.1"\n[amplifier.power]\noffset = 17\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "node.toml"
    path.write_text(GOOD)
    return path


def test_a_good_file_is_code_0(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert carry_out(["check", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: tốt, không có lỗi nào.\n"


def test_problems_are_code_1_each_with_place_reason_and_remedy(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_text(GOOD + "[playout]\nvolume = 101\nvolum_max = 3\n")
    assert carry_out(["check", str(path)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "dòng 8: playout.volume",
        "    Giá trị 101 nằm ngoài giới hạn.",
        "    Cách sửa: Chọn một số ≥ 0, ≤ 100.",
        "dòng 9: playout.volum_max",
        "    Mục này không có khóa nào tên là volum_max.",
        "    Cách sửa: Có phải ý bạn là volume_max? Sửa lại tên.",
        f"{path}: 2 lỗi.",
    ]


def test_the_same_in_english(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text(GOOD + "[playout]\nvolume = 101\n")
    assert carry_out(["check", str(path), "--lang", "en"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "line 8: playout.volume",
        "    The value 101 is out of bounds.",
        "    Remedy: Choose a number ≥ 0, ≤ 100.",
        f"{path}: 1 problem(s).",
    ]


def test_for_machines_it_is_one_json_object(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert carry_out(["check", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"ok": True, "file": str(path), "problems": []}
    path.write_text(GOOD + "[log]\nlevel = 'warn'\n")
    assert carry_out(["check", "--json", "--lang", "en", str(path)]) == 1
    said = json.loads(capsys.readouterr().out)
    assert not said["ok"]
    (problem,) = said["problems"]
    assert (problem["code"], problem["key"], problem["line"]) == ("bad_choice", "log.level", 8)
    assert problem["reason"]
    assert "warning" in problem["remedy"]


def test_a_file_that_cannot_be_read_is_code_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert carry_out(["check", str(tmp_path / "none.toml")]) == 3
    assert "Không đọc được tệp" in capsys.readouterr().out


def test_keys_can_be_set_as_run_would(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert carry_out(["check", str(path), "--hardware", "sim", "--set", "playout.volume=3"]) == 0
    assert carry_out(["check", str(path), "--set", "playout.volume=300", "--lang", "en"]) == 1
    assert "argument --set playout.volume=300: playout.volume" in capsys.readouterr().out
