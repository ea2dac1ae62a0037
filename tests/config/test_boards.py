"""Boards in the config: a model's file lies under a board's own table; no two on one device."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.config import ConfigInvalid, models, parse

LEAST = '[node]\nid = "thon-1"\n[broker]\nurl = "mqtt://a"\n[amplifier]\npower = {chip = 0, offset = 1}\n'


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(models.lay_under, "__kwdefaults__", {"places": (tmp_path,)})
    (tmp_path / "cho-to.toml").write_text('rows = 31\ncolumns = 192\nbaud = 19200\ncolours = "red_green"\n')
    return tmp_path


def refused(text: str) -> list[tuple[str, str, int | None]]:
    with pytest.raises(ConfigInvalid) as invalid:
        parse(LEAST + text)
    return [(problem.code, problem.key, problem.line) for problem in invalid.value.problems]


def test_without_a_word_there_is_one_board_called_main() -> None:
    assert list(parse(LEAST).every_board()) == ["main"]
    assert parse(LEAST, ["hardware.board=none"]).every_board() == {}


@pytest.mark.usefixtures("site")
def test_a_model_says_what_the_board_does_not() -> None:
    settings = parse(LEAST + '[boards.cho]\nmodel = "cho-to"\nbaud = 9600\ndevice = "/dev/b"\n')
    board = settings.every_board()["cho"]
    assert (board.rows, board.columns, board.baud, board.colours) == (31, 192, 9600, "red_green")
    assert settings.board.rows == 16


@pytest.mark.usefixtures("site")
def test_an_unknown_model_is_refused_with_those_that_there_are() -> None:
    assert refused('[board]\nmodel = "cho-nho"\n') == [("no_such_model", "board.model", 8)]


def test_a_broken_model_file_is_refused(site: Path) -> None:
    (site / "hong.toml").write_text("rows = \n")
    assert refused('[board]\nmodel = "hong"\n') == [("bad_model", "board.model", 8)]


def test_a_wrong_value_in_a_model_is_a_problem_of_the_board(site: Path) -> None:
    (site / "thap.toml").write_text("rows = 3\n")
    assert refused('[boards.cho]\nmodel = "thap"\ndevice = "/dev/b"\n') == [
        ("out_of_bounds", "boards.cho.rows", 7)
    ]


def test_two_boards_do_not_share_a_device() -> None:
    assert refused("[boards.cho]\nrows = 16\n") == [("device_twice", "boards.cho.device", 7)]
    parse(LEAST + "[boards.cho]\nrows = 16\n", hardware="sim")


def test_the_first_boards_name_is_taken() -> None:
    assert refused('[boards.main]\ndevice = "/dev/b"\n') == [("name_taken", "boards.main", 7)]


def test_a_boards_name_is_short_and_plain() -> None:
    assert refused('[boards."Chợ"]\ndevice = "/dev/b"\n') == [("bad_form", 'boards."Chợ"', 7)]


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ("rows = 32", ("out_of_bounds", "board.rows", 8)),
        ("columns = 256", ("out_of_bounds", "board.columns", 8)),
        ('colours = "rgb"', ("bad_choice", "board.colours", 8)),
        ("requisitioned = true", ("cannot_hand_back", "board.requisitioned", 8)),
    ],
)
def test_what_a_boards_language_cannot_do_is_refused(keys: str, problem: tuple[str, str, int]) -> None:
    assert refused(f"[board]\n{keys}\n") == [problem]


def test_a_lent_boards_brightness_is_its_owners() -> None:
    text = '[board]\nprotocol = "jetfile"\nrequisitioned = true\nbrightness = ["06:00 100"]\n'
    assert refused(text) == [("not_with", "board.brightness", 10)]


def test_it_is_refused_in_further_boards_too() -> None:
    text = '[boards.cho]\ndevice = "/dev/b"\nprotocol = "hanover"\ncolours = "rgb"\n'
    assert refused(text) == [("bad_choice", "boards.cho.colours", 10)]
