"""The units: systemd takes them without a word, and leaves the daemon little that it could break."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from edge_agent.cli import carry_out
from edge_agent.local.settings import RUNTIME

SYSTEMD = Path(__file__).resolve().parents[2] / "systemd"
UNITS = ("edge-agent.service", "edge-agent-silence.service")
PROGRAM = "/opt/edge-agent/current/bin/edge-agent"

NEEDS_254 = ("RestartSteps", "RestartMaxDelaySec")
"""Keys that Raspberry Pi OS bookworm's systemd 252 does not know and leaves out, aloud."""


def tool(name: str, package: str = "systemd") -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (apt install {package})")
    return found


def release(program: str) -> int:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\d+", said)
    assert found is not None
    return int(found[0])


def settings(unit: str) -> dict[str, list[str]]:
    """Every `Key=value` of a unit, repeated ones together."""
    found: dict[str, list[str]] = {}
    for line in (SYSTEMD / unit).read_text(encoding="utf-8").splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units with a program that exists here in place of the installed one."""
    for unit in UNITS:
        text = (SYSTEMD / unit).read_text(encoding="utf-8")
        assert PROGRAM in text
        (tmp_path / unit).write_text(text.replace(PROGRAM, "/bin/true"), encoding="utf-8")
    return tmp_path


def test_systemd_takes_the_units_without_a_word(units: Path) -> None:
    analyze = tool("systemd-analyze")
    done = subprocess.run(
        [analyze, "verify", *(str(units / unit) for unit in UNITS)],
        capture_output=True,
        text=True,
        check=False,
    )
    said = (done.stdout + done.stderr).splitlines()
    if release(analyze) < 254:
        said = [line for line in said if not any(f"'{key}'" in line for key in NEEDS_254)]
    assert said == []
    assert done.returncode == 0


@pytest.mark.parametrize(("unit", "most"), [("edge-agent.service", 1.7), ("edge-agent-silence.service", 0.5)])
def test_little_is_exposed(unit: str, most: float, units: Path) -> None:
    analyze = tool("systemd-analyze")
    done = subprocess.run(
        [analyze, "security", "--offline=true", "--threshold=20", "--no-pager", str(units / unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    level = re.search(r"exposure level for \S+: (\d+\.\d+)", done.stdout)
    assert level is not None, done.stdout
    assert float(level[1]) <= most


@pytest.mark.parametrize("unit", UNITS)
def test_the_units_call_what_the_command_line_has(unit: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = settings(unit)
    for command in [*found["ExecStart"], *found.get("ExecStopPost", [])]:
        program, *words = shlex.split(command)
        assert program.removeprefix("-") == PROGRAM
        code: object
        try:
            code = carry_out([*words, "--help"])
        except SystemExit as left:  # of argparse
            code = left.code
        assert code == 0
        assert words[-2:] == ["--config", "/etc/edge-agent/node.toml"]
    capsys.readouterr()


def test_the_daemon_is_watched_restarted_for_ever_and_silenced_after_every_end() -> None:
    found = settings("edge-agent.service")
    assert found["Type"] == ["notify"]
    assert found["WatchdogSec"]
    assert found["Restart"] == ["always"]
    assert found["StartLimitIntervalSec"] == ["0"]
    assert found["ExecStopPost"] == [
        f"{PROGRAM} silence --config /etc/edge-agent/node.toml",
        f"-{PROGRAM} board release --after-stop --config /etc/edge-agent/node.toml",
    ], "silence first; a board that is stuck must not keep it"
    assert found["OnFailure"] == ["edge-agent-silence.service"]
    assert "network" not in " ".join(found["After"] + found["Wants"]), "it plays without a network"


def test_the_daemon_reaches_its_hardware_and_nothing_else() -> None:
    found = settings("edge-agent.service")
    assert found["DevicePolicy"] == ["closed"]
    assert set(found["DeviceAllow"]) == {
        f"char-{device} rw"
        for device in ("alsa", "gpiochip", "ttyAMA", "ttyS", "ttyUSB", "ttyACM", "fb", "drm")
    }
    assert settings("edge-agent-silence.service")["DeviceAllow"] == ["char-gpiochip rw"]


def test_the_box_is_open_to_its_group_only() -> None:
    """The control socket (0660) lies in a directory that only the daemon's own group may enter."""
    found = settings("edge-agent.service")
    assert RUNTIME.parent == Path("/run", found["RuntimeDirectory"][0])
    assert (found["RuntimeDirectoryMode"], found["Group"]) == (["0750"], ["edge-agent"])
    assert "AF_UNIX" in found["RestrictAddressFamilies"][0]


def test_silence_comes_first_at_boot() -> None:
    found = settings("edge-agent-silence.service")
    assert found["Type"] == ["oneshot"]
    assert found["Before"] == ["edge-agent.service"]
    assert found["WantedBy"] == ["multi-user.target"]


def test_the_user_and_its_groups_come_to_be(tmp_path: Path) -> None:
    sysusers = tool("systemd-sysusers")
    (tmp_path / "etc").mkdir()
    subprocess.run(
        [sysusers, f"--root={tmp_path}", str(SYSTEMD / "sysusers.d/edge-agent.conf")],
        capture_output=True,
        check=True,
    )
    lines = (tmp_path / "etc/group").read_text(encoding="utf-8").splitlines()
    groups = {line.split(":")[0]: line.split(":")[3] for line in lines}
    for group in ("audio", "dialout", "gpio", "video", "render"):
        assert groups[group] == "edge-agent"
    assert "/usr/sbin/nologin" in (tmp_path / "etc/passwd").read_text(encoding="utf-8")


def test_the_credentials_are_for_root_only(tmp_path: Path) -> None:
    lines = (SYSTEMD / "tmpfiles.d/edge-agent.conf").read_text(encoding="utf-8")
    assert re.search(r"^d\s+/etc/edge-agent/credentials\s+0700\s+root\s+root", lines, re.MULTILINE)
    tmpfiles = tool("systemd-tmpfiles")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nedge-agent:x:996:996::/:/bin/false\n")
    (tmp_path / "etc/group").write_text("root:x:0:\nedge-agent:x:996:\n")
    done = subprocess.run(
        [tmpfiles, "--create", f"--root={tmp_path}", str(SYSTEMD / "tmpfiles.d/edge-agent.conf")],
        capture_output=True,
        text=True,
        check=False,
    )
    if "Operation not permitted" in done.stderr:
        pytest.skip("systemd-tmpfiles may not give files away here (not root)")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "etc/edge-agent/credentials").stat().st_mode & 0o777 == 0o700


def test_udev_takes_the_rules() -> None:
    udevadm = tool("udevadm", "udev")
    if release(udevadm) < 254:
        pytest.skip("udevadm before 254 has no verify")
    done = subprocess.run(
        [udevadm, "verify", str(SYSTEMD / "udev/60-edge-agent.rules")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_file_says_what_it_is_for() -> None:
    for path in sorted(SYSTEMD.rglob("*")):
        if path.is_file():
            assert path.read_text(encoding="utf-8").startswith("# "), path
