"""Starts that must be refused in words, starts that are carried out with what was good before, and two agents."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.process.conftest import OutsideMaker
from tests.process.node import CONFIG, Node, pause

pytestmark = pytest.mark.realtime

BAD: dict[str, tuple[tuple[str, ...], Callable[[Node], object], int, str]] = {
    "set-nonsense": (("--set", "nonsense"), lambda _: None, 1, "section.key=value"),
    "set-unknown": (("--set", "nosuch.key=1"), lambda _: None, 1, "--set nosuch.key=1"),
    "set-out-of-bounds": (("--set", "playout.volume=101"), lambda _: None, 1, "≤ 100"),
    "port": (("--set", "broker.url=mqtt://127.0.0.1:99999"), lambda _: None, 1, "mqtt://host:1883"),
    "missing": ((), lambda node: node.config.unlink(), 1, "cannot be read"),
    "not-toml": ((), lambda node: node.config.write_text("[node\n"), 1, "not valid TOML"),
    "not-text": ((), lambda node: node.config.write_bytes(b"\xff\xfe\x00"), 1, "UTF-8"),
    "nested": ((), lambda node: node.config.write_text("a=" + "[" * 5000), 1, "nested"),
    "state-is-a-file": ((), lambda node: node.state_dir.write_text(""), 3, "--state-dir"),
    "sim-dir-is-a-file": ((), lambda node: (node.directory / "sim-1").write_text(""), 3, "--sim-dir"),
    "option": (("--nonsense",), lambda _: None, 2, "--nonsense"),
}


def test_a_start_that_cannot_be_is_refused_in_words(make_outside: OutsideMaker) -> None:
    outside = make_outside()
    for name, (arguments, spoil, code, said) in BAD.items():
        node = outside.another(name, *arguments)
        spoil(node)
        node.start(wait=False)
        assert node.ended_by_itself() == code, (name, node.log())
        assert said in node.log(), (name, node.log())


def test_an_invalid_config_runs_the_last_good_one_and_says_so_until_it_is_mended(
    make_outside: OutsideMaker,
) -> None:
    outside = make_outside()
    outside.begin()
    outside.node.end()
    outside.node.config.write_text(CONFIG + "[playout]\nvolume = 500\nvolum = 1\n")
    outside.begin()
    server = outside.server
    server.until(lambda: "config_invalid" in server.alerts(), what="an alert")
    assert "playout.volume" in outside.node.log()
    assert "Did you mean volume?" in outside.node.log()
    assert server.state(server.order("ping"))["result"]["volume"] == 70
    outside.node.end()
    outside.node.config.write_text(CONFIG)
    outside.begin()
    server.until(lambda: "config_invalid" not in server.alerts(), what="its end")


def test_a_second_agent_on_the_same_state_is_kept_out(make_outside: OutsideMaker) -> None:
    outside = make_outside()
    outside.begin()
    second = outside.another("second", state_dir=outside.node.state_dir)
    second.start(wait=False)
    assert second.ended_by_itself() == 3
    assert f"Another agent (process {outside.node.pid})" in second.log()
    assert outside.server.state(outside.server.order("ping"))["state"] == "successful"


def test_a_missing_password_file_is_said_and_needs_no_restart_when_it_comes(
    make_outside: OutsideMaker, tmp_path: Path
) -> None:
    word = tmp_path / "word"
    outside = make_outside(
        "--set", f"broker.password_file={word}", broker={"accounts": {"server": "a", "thon-thu": "b"}}
    )
    outside.node.start()
    outside.node.wait(lambda: f"The password file {word} cannot be read" in outside.node.log())
    word.write_text("b\n")
    outside.server.online()
    outside.node.end()
    assert outside.node.log().count("cannot be read") == 1, "a fault is logged once"


def test_a_corrupt_database_is_set_aside_and_reported(make_outside: OutsideMaker) -> None:
    outside = make_outside()
    outside.node.state_dir.mkdir()
    (outside.node.state_dir / "node.sqlite3").write_bytes(os.urandom(8192))
    outside.begin()
    server = outside.server
    server.until(lambda: "database_rebuilt" in server.alerts(), what="an alert")
    assert server.state(server.order("ping"))["state"] == "successful"


def test_an_idle_node_is_quiet(make_outside: OutsideMaker) -> None:
    """No log line, no message and nearly no CPU; what a day costs is in tests/bench."""
    outside = make_outside()
    outside.begin()
    pause(0.5)
    said, heard = outside.node.log(), len(outside.server.received)
    switches = _switches(outside.node.pid)
    pause(1)
    assert outside.node.log() == said
    assert len(outside.server.received) == heard
    assert (_switches(outside.node.pid) - switches) < 30, "wake-ups a second"


def _switches(pid: int) -> int:
    """How often its threads have given up the processor of their own accord."""
    statuses = Path(f"/proc/{pid}/task").glob("*/status")
    lines = [line for status in statuses for line in status.read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))
