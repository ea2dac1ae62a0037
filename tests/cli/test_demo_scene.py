"""What the demo's audience sees is what the virtual hardware kept and the node published, and nothing else."""

from __future__ import annotations

import json
import wave
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from edge_agent.cli.demo_scene import Scene, Tail
from edge_agent.cli.demo_view import board_text, dots_of, draw
from hal.sim.picture import png

ORDER = "01J00000000000000000000001"


def change(line: str, *, active: bool) -> str:
    return json.dumps({"mono_ns": 1, "wall_ns": 1, "line": line, "active": active}) + "\n"


def record(sim_dir: Path, *changes: str) -> None:
    with (sim_dir / "lines.jsonl").open("a") as file:
        file.writelines(changes)


def test_a_tail_gives_each_whole_line_once(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    tail = Tail(path)
    assert tail.news() == []
    path.write_text('{"a": 1}\n{"b"')
    assert tail.news() == [{"a": 1}]
    with path.open("a") as file:
        file.write(": 2}\n")
    assert tail.news() == [{"b": 2}]
    assert tail.news() == []


def test_the_amplifier_is_read_from_its_lines(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    seen = []
    for line, active in (
        ("zone_cho", False),
        ("amplifier_power", True),
        ("zone_cho", True),
        ("amplifier_unmute", True),
        ("amplifier_unmute", False),
        ("amplifier_power", False),
    ):
        record(tmp_path, change(line, active=active))
        scene.look()
        seen.append(scene.amplifier)
    assert seen == ["OFF", "SETTLING", "MUTED", "LIVE", "MUTED", "OFF"]


def test_the_level_is_that_of_the_last_tenth_of_a_second(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    with wave.open(str(tmp_path / "heard.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes(np.zeros(48_000, "<i2").tobytes())
        file.writeframes((np.sin(np.arange(4800) * 0.1) * 16384).astype("<i2").tobytes())
    scene.look()
    assert scene.level_dbfs == pytest.approx(-9.0, abs=0.2)
    for _ in range(10):
        scene.look()
    assert scene.level_dbfs == pytest.approx(-120.0)


def said(scene: Scene, part: str, content: dict[str, Any] | None) -> None:
    payload = json.dumps(content).encode() if content is not None else b""
    scene.said(f"pa/v1/thon/up/{part}", payload)


def test_states_reports_and_alerts_are_followed(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    said(scene, "state", {"state": "online"})
    for number, state in enumerate(("accepted", "accepted", "executing", "successful"), 1):
        said(scene, "cmd", {"n": number, "log": "abc", "id": ORDER, "state": state})
    said(scene, "report", {"log": "abc", "reports": [{"n": 5, "asrun": {"id": ORDER, "outcome": "AIRED"}}]})
    said(scene, "alert/board_dark", {"id": "board_dark", "text": "dark"})
    assert scene.online
    assert scene.states == {ORDER: ["accepted", "executing", "successful"]}
    assert scene.asrun[ORDER]["outcome"] == "AIRED"
    assert scene.reported == (5, "abc")
    assert scene.alerts == {"board_dark": "dark"}
    said(scene, "alert/board_dark", None)
    assert scene.alerts == {}


def test_noise_on_the_topics_is_passed_over(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.said("pa/v1/thon/up/cmd", b"\xff{")
    scene.said("pa/v1/thon/up/health", b"{}")
    assert scene.states == {}


def test_a_page_is_read_back_from_its_png_dot_by_dot(tmp_path: Path) -> None:
    picture = tuple(bytes((x * y) % 3 == 1 for x in range(24)) for y in range(16))
    file = tmp_path / "0001.png"
    file.write_bytes(png(picture))
    assert dots_of(file) == picture
    assert "█" in board_text(file).plain or "▀" in board_text(file).plain


def test_a_page_that_is_still_being_written_is_dark(tmp_path: Path) -> None:
    file = tmp_path / "0001.png"
    file.write_bytes(b"\x89PNG")
    assert dots_of(file) is None
    assert "dark" in board_text(file).plain


def test_the_picture_shows_every_part(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    record(tmp_path, change("amplifier_power", active=True), change("zone_cho", active=True))
    scene.look()
    said(scene, "cmd", {"n": 1, "log": "a", "id": ORDER, "state": "executing"})
    said(scene, "report", {"log": "a", "reports": [{"n": 2, "asrun": {"id": ORDER, "outcome": "PARTIAL", "code": "cancelled"}}]})  # fmt: skip
    console = Console(width=100, record=True, file=StringIO())
    console.print(draw(scene, {ORDER: "bulletin"}, headline="An act", elapsed_s=12.3))
    text = console.export_text()
    for part in ("An act", "MUTED", "dBFS", "cho:●", "bulletin", "executing", "PARTIAL cancelled"):
        assert part in text
