"""`edge-agent run`: what the daemon is started with, and how it refuses to start."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import pytest

import edge_agent
from edge_agent import config
from edge_agent.cli import carry_out, log_lines
from edge_agent.config import Problem, Settings

GOOD = '[node]\nid = "thon-3"\n[broker]\nurl = "mqtt://127.0.0.1"\n[amplifier.power]\noffset = 17\n'


class Agent(ModuleType):
    """Stands for `edge_agent.agent`: remembers what it was run with, and confirms its config."""

    def __init__(self) -> None:
        super().__init__("edge_agent.agent")
        self.settings: list[Settings] = []
        self.problems: tuple[Problem, ...] = ()
        self.config_path: Path | None = None

    async def run(self, settings: Settings, *, problems: Sequence[Problem] = (), config_path: Path) -> int:
        self.settings.append(settings)
        self.problems = tuple(problems)
        self.config_path = config_path
        config.confirm(Path(settings.storage.state_dir))
        return 0


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.delenv("EDGE_AGENT_LANG", raising=False)
    agent = Agent()
    monkeypatch.setitem(sys.modules, "edge_agent.agent", agent)
    monkeypatch.setattr(edge_agent, "agent", agent, raising=False)
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield agent
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    for ours in ("edge_agent", "hal"):
        logging.getLogger(ours).setLevel(logging.NOTSET)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "node.toml"
    path.write_text(GOOD)
    return path


def test_the_agent_gets_its_settings(agent: Agent, path: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    code = carry_out(
        [
            "run",
            "--config",
            str(path),
            "--state-dir",
            str(state),
            "--set",
            "playout.volume=5",
            "--set",
            "log.level=error",
        ]
    )
    assert code == 0
    (settings,) = agent.settings
    assert settings.node.id == "thon-3"
    assert settings.playout.volume == 5
    assert settings.storage.state_dir == str(state)
    assert agent.config_path == path
    assert agent.problems == ()


def test_virtual_hardware_keeps_its_state_beside_what_it_did(
    agent: Agent, path: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert carry_out(["run", "--config", str(path), "--hardware", "sim", "--sim-dir", str(out)]) == 0
    (settings,) = agent.settings
    assert settings.hardware.sound == settings.hardware.clock == "sim"
    assert settings.sim.dir == str(out)
    assert settings.storage.state_dir == str(out / "state")


def test_systemd_says_where_state_is_kept(
    agent: Agent, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "var"))
    assert carry_out(["run", "--config", str(path)]) == 0
    assert agent.settings[0].storage.state_dir == str(tmp_path / "var")


def test_an_invalid_config_runs_the_last_good_one_and_hands_over_the_problems(
    agent: Agent, path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = ["run", "--config", str(path), "--state-dir", str(tmp_path / "state")]
    path.write_text(GOOD + "[playout]\nvolume = 42\n")
    assert carry_out(start) == 0
    path.write_text(GOOD + "[playout]\nvolume = 420\nvolum = 1\n")
    assert carry_out([*start, "--lang", "en"]) == 0
    assert agent.settings[-1].playout.volume == 42
    assert [problem.key for problem in agent.problems] == ["playout.volume", "playout.volum"]
    said = capsys.readouterr().err
    assert "has 2 problem(s); running with the last good one" in said
    assert "line 8: playout.volume: The value 420 is out of bounds." in said


def test_without_a_last_good_one_it_refuses_and_lists_everything(
    agent: Agent, path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_text(GOOD + "[playout]\nvolume = 420\nvolum = 1\n")
    assert carry_out(["run", "--config", str(path), "--state-dir", str(tmp_path / "state")]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"Không khởi động được: tệp cấu hình {path} có 2 lỗi")
    assert "dòng 8: playout.volume" in said
    assert "dòng 9: playout.volum" in said
    assert not agent.settings


def test_a_missing_file_is_refused_clearly(
    agent: Agent, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = carry_out(
        ["run", "--config", str(tmp_path / "none.toml"), "--state-dir", str(tmp_path), "--lang", "en"]
    )
    assert code == 1
    assert "cannot be read (No such file or directory)" in capsys.readouterr().err
    assert not agent.settings


def test_a_state_directory_that_cannot_be_written_is_code_3(
    agent: Agent, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert carry_out(["run", "--config", str(path), "--state-dir", str(path / "below-a-file")]) == 3
    assert "--state-dir" in capsys.readouterr().err
    assert not agent.settings


def test_a_simulation_that_cannot_be_written_is_refused_clearly(
    agent: Agent, path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = str(tmp_path / "state")
    start = ["run", "--config", str(path), "--hardware", "sim", "--state-dir", state, "--lang", "en"]
    assert carry_out([*start, "--sim-dir", str(path)]) == 3
    assert "give another --sim-dir" in capsys.readouterr().err
    assert not agent.settings


# ---------------------------------------------------------------- log lines


def entry(level: int, text: str) -> logging.LogRecord:
    return logging.LogRecord("edge_agent.playout", level, "x.py", 1, text, (), None)


@pytest.mark.parametrize(
    ("level", "prefix"),
    [
        (logging.DEBUG, "<7>"),
        (logging.INFO, "<6>"),
        (logging.WARNING, "<4>"),
        (logging.ERROR, "<3>"),
        (logging.CRITICAL, "<2>"),
    ],
)
def test_journald_gets_a_priority_on_every_line(level: int, prefix: str) -> None:
    lines = (
        log_lines.JournalLines("%(name)s: %(message)s").format(entry(level, "One.\nTwo. a=1")).splitlines()
    )
    assert lines == [f"{prefix}edge_agent.playout: One.", f"{prefix}Two. a=1"]


def test_a_terminal_is_not_the_journal(tmp_path: Path) -> None:
    with (tmp_path / "stream").open("w") as stream:
        found = os.fstat(stream.fileno())
        right = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        assert log_lines.to_journal(right, stream.fileno())
        assert not log_lines.to_journal({"JOURNAL_STREAM": "1:2"}, stream.fileno())
        assert not log_lines.to_journal({}, stream.fileno())


@pytest.mark.usefixtures("agent")
def test_strangers_are_heard_only_when_they_warn(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    log_lines.begin("debug")
    logging.getLogger("edge_agent.x").debug("Ours.")
    logging.getLogger("asyncio").info("Theirs.")
    logging.getLogger("asyncio").warning("Theirs, serious.")
    said = [line.rsplit(": ", maxsplit=1)[1] for line in written.getvalue().splitlines()]
    assert said == ["Ours.", "Theirs, serious."]
