"""The command line as people meet it: help, version, and bad usage answered in their language."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from edge_agent import __version__
from edge_agent.cli import carry_out


@pytest.fixture(autouse=True)
def _vietnamese(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGE_AGENT_LANG", raising=False)
    monkeypatch.delenv("EDGE_AGENT_BROKER", raising=False)


@pytest.mark.parametrize("arguments", [["--help"], []])
def test_help_lists_every_verb(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert carry_out(arguments) == 0
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)  # some CI makes rich colour its help
    for verb in ("run", "silence", "check", "order"):
        assert f" {verb} " in shown


def test_version_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert carry_out(["--version"]) == 0
    assert capsys.readouterr().out == f"edge-agent {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["sing"],
        ["--loud"],
        ["check"],
        ["check", "a", "b"],
        ["check", "a", "--lang", "fr"],
        ["order"],
        ["order", "sing", "--broker", "mqtt://x"],
        ["order", "ping"],
        ["order", "volume", "--broker", "mqtt://x", "--node", "abc"],
        ["order", "volume", "101", "--broker", "mqtt://x", "--node", "abc"],
        ["run", "--loud"],
        ["run", "--hardware", "real"],
        ["silence", "now"],
    ],
    ids=" ".join,
)
def test_bad_usage_is_a_sentence_and_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = carry_out(arguments)
    except SystemExit as left:  # argparse leaves this way
        code = int(str(left.code))
    assert code == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("Dùng sai lệnh: ")
    assert said[-1].startswith("Xem: edge-agent")
    assert len(said) <= 4


def test_bad_usage_in_english(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert carry_out(["order", "ping", "--lang", "en"]) == 2
    assert capsys.readouterr().err.startswith("Wrong usage: ")
    monkeypatch.setenv("EDGE_AGENT_LANG", "en")
    assert carry_out(["sing"]) == 2
    assert capsys.readouterr().err.startswith("Wrong usage: ")


def test_the_daemon_loads_nothing_that_only_people_need() -> None:
    program = (
        "import sys\n"
        "from edge_agent.cli import carry_out\n"
        "assert carry_out(['run', '--config', '/nowhere/node.toml', '--state-dir', '/nowhere']) == 1\n"
        "heavy = {'typer', 'rich', 'click', 'numpy', 'av', 'PIL', 'sounddevice', 'urllib3', 'paho', 'gpiozero'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"


def test_the_module_can_be_run() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edge_agent", "--version"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == f"edge-agent {__version__}\n"


def test_a_terminal_without_vietnamese_letters_gets_escapes_and_no_traceback() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "edge_agent", "check", "/nowhere/node.toml", "--lang", "vi"],
        env={"PYTHONIOENCODING": "ascii", "PATH": "/usr/bin"},
        capture_output=True,
        check=False,
    )
    assert ended.returncode == 3
    assert rb"t\u1ec7p" in ended.stdout
    assert ended.stderr == b""
