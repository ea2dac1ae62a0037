"""`edge-agent silence`: the amplifier's lines end inactive, whatever state a crash left them in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge_agent.cli import carry_out, silence
from edge_agent.config import parse
from hal.errors import LineError
from hal.ports import LineSpec

CONFIG = """\
[node]
id = "thon-3"
[broker]
url = "mqtt://127.0.0.1"
[amplifier]
mute = { offset = 27 }
power = { offset = 17, active_low = true }
zones = { cho = { offset = 5 } }
"""


class Chip:
    """Lines that remember what was asked; offset 5 is held by somebody else."""

    def __init__(self) -> None:
        self.asked: list[LineSpec] = []
        self.closed = False

    def output(self, spec: LineSpec) -> Any:
        if spec.offset == 5:
            raise LineError("line cho cannot be had: it is busy")
        self.asked.append(spec)

    def input(self, spec: LineSpec) -> Any:
        raise AssertionError("nothing is read")

    def close(self) -> None:
        self.closed = True


def test_each_line_is_asked_for_as_the_amplifier_drives_it_in_the_order_it_falls_silent() -> None:
    chip = Chip()
    silence.silence(chip, parse(CONFIG).amplifier.lines())
    assert [(spec.name, spec.offset, spec.active_low) for spec in chip.asked] == [
        ("amplifier_unmute", 27, True),  # the config's line mutes when high, so INACTIVE must be high
        ("amplifier_power", 17, True),
    ]


def test_a_line_that_refuses_does_not_keep_the_others_from_silence() -> None:
    chip = Chip()
    left = silence.silence(chip, parse(CONFIG).amplifier.lines())
    assert [spec.offset for spec in chip.asked] == [27, 17]
    assert [spec.offset for spec, _ in left] == [5]
    assert chip.closed


def test_virtual_lines_need_no_silence(tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    path.write_text(CONFIG)
    assert (
        carry_out(["silence", "--config", str(path), "--hardware", "sim", "--state-dir", str(tmp_path)]) == 0
    )


@pytest.mark.parametrize(
    ("addition", "code"), [("", 3), ("[log]\nlevel = 3\n", 3), ("[amplifier.powr]\n", 1)]
)
def test_a_problem_elsewhere_in_the_config_does_not_leave_the_amplifier_on(
    addition: str,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from hal.linux import gpio

    chips: list[Chip] = []

    def make() -> Chip:
        chips.append(Chip())
        return chips[-1]

    monkeypatch.setattr(gpio, "GpiozeroLines", make)
    path = tmp_path / "node.toml"
    path.write_text(CONFIG + addition)
    assert carry_out(["silence", "--config", str(path), "--state-dir", str(tmp_path), "--lang", "en"]) == code
    said = capsys.readouterr().err
    if code == 1:
        assert "amplifier.powr" in said
    else:
        assert [spec.offset for spec in chips[0].asked] == [27, 17]
        assert "Line zone_cho is held" in said
        assert "2 amplifier line(s) driven inactive" in said
