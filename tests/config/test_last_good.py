"""An invalid config means the last good one and the problems, never silence; without one, a refusal."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.config import ConfigInvalid, confirm, propose, start, state_dir
from edge_agent.config.last_good import LAST_GOOD, PROPOSED, STATE_DIR

GOOD = '[node]\nid = "thon-3"\n[broker]\nurl = "mqtt://127.0.0.1"\n[amplifier.power]\noffset = 17\n'
BETTER = GOOD + "[playout]\nvolume = 40\n"
BAD = GOOD + "[playout]\nvolume = 400\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "node.toml"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def run_once(path: Path, state: Path, text: str) -> None:
    """A start that comes to be ready."""
    path.write_text(text)
    propose(state, start(path, directory=state).text)
    confirm(state)


def test_a_bad_file_starts_with_the_last_good_one_and_tells_why(path: Path, state: Path) -> None:
    run_once(path, state, BETTER)
    path.write_text(BAD)
    started = start(path, directory=state)
    assert started.settings.playout.volume == 40
    assert [(problem.code, problem.line) for problem in started.problems] == [("out_of_bounds", 8)]


def test_a_file_that_is_gone_starts_with_the_last_good_one(path: Path, state: Path) -> None:
    run_once(path, state, GOOD)
    path.unlink()
    assert [problem.code for problem in start(path, directory=state).problems] == ["unreadable"]


def test_without_a_last_good_one_every_problem_is_in_the_refusal(path: Path, state: Path) -> None:
    path.write_text(BAD + "x = 1\n")
    with pytest.raises(ConfigInvalid) as caught:
        start(path, directory=state)
    assert len(caught.value.problems) == 2


def test_what_never_came_to_be_ready_is_not_the_last_good_one(path: Path, state: Path) -> None:
    run_once(path, state, GOOD)
    path.write_text(BETTER)
    propose(state, start(path, directory=state).text)  # and then it crashes
    path.write_text(BAD)
    assert start(path, directory=state).settings.playout.volume == 70
    confirm(state)  # the start with the last good one comes to be ready
    assert (state / LAST_GOOD).read_text() == GOOD


def test_overrides_are_not_kept_but_are_laid_over_it_again(path: Path, state: Path) -> None:
    path.write_text(GOOD)
    propose(state, start(path, directory=state, overrides=["playout.volume=10"]).text)
    confirm(state)
    path.write_text(BAD)
    assert start(path, directory=state).settings.playout.volume == 70
    assert start(path, directory=state, overrides=["playout.volume=11"]).settings.playout.volume == 11


def test_a_bad_override_does_not_silence_a_node_that_has_run(path: Path, state: Path) -> None:
    run_once(path, state, GOOD)
    started = start(path, directory=state, overrides=["playout.volume=loud"])
    assert started.settings.playout.volume == 70
    assert started.problems[0].override == "--set playout.volume=loud"


def test_the_same_text_is_not_written_again(path: Path, state: Path) -> None:
    run_once(path, state, GOOD)
    written = (state / LAST_GOOD).stat().st_mtime_ns, (state / LAST_GOOD).stat().st_ino
    run_once(path, state, GOOD)
    assert not (state / PROPOSED).exists()
    assert ((state / LAST_GOOD).stat().st_mtime_ns, (state / LAST_GOOD).stat().st_ino) == written


def test_a_last_good_one_that_no_longer_fits_is_a_refusal(path: Path, state: Path) -> None:
    state.mkdir()
    (state / LAST_GOOD).write_text("[node]\nid = 3\n")
    path.write_text(BAD)
    with pytest.raises(ConfigInvalid) as caught:
        start(path, directory=state)
    assert caught.value.problems[0].key == "playout.volume"


def test_confirming_nothing_is_nothing(state: Path) -> None:
    confirm(state)
    assert not state.exists()


def test_the_state_directory_is_known_without_the_file() -> None:
    systemd = {"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}
    assert state_dir(option="/o", environment=systemd, sim_dir="/s", configured="/c") == "/o"
    assert state_dir(option=None, environment=systemd, sim_dir="/s", configured="/c") == "/var/lib/a"
    assert state_dir(option=None, environment={}, sim_dir="/s", configured="/c") == "/c"
    assert state_dir(option=None, environment={}, sim_dir="/s") == "/s/state"
    assert state_dir(option=None, environment={}, sim_dir=None) == STATE_DIR
