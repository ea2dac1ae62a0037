"""`edge-agent stop`, `release`, `status`: what is sent through the socket, what people read, and the exit codes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.board.grade import Grade
from edge_agent.cli import carry_out
from edge_agent.local.settings import RUNTIME, LocalSettings
from hal.linux.control import short_path

pytestmark = pytest.mark.realtime

STATUS: dict[str, Any] = {
    "ok": True, "node": "thon-3", "agent": "0.1.0", "up_s": 61, "clock": "synced", "wall": "2026-11-23T00:00:00.000Z",
    "online": True, "volume": 70, "sounding": None, "waiting": 2, "suspended": 0, "amplifier": "off",
    "muted": [{"stop": "console-1", "issuer": "local-console", "order": None, "class": "priority", "until": None}],
    "quiet_hours": ["21:30-05:00"], "quiet": False, "today": {"used_s": 600, "most_s": 14400},
    "today_emergency": {"used_s": 0, "most_s": 28800}, "alerts": ["disk_low"],
    "boards": [
        {"name": "main", "state": "ok", "why": [], "showing": "bao-1", "page": "Bão gần bờ", "grade": "acked", "brightness": None},
        {"name": "cho", "state": "dark", "why": ["No such port."], "showing": None, "page": "", "grade": "none", "brightness": None},
    ],
}  # fmt: skip


class Daemon:
    """Stands for the daemon: answers each connection in turn, and keeps what was asked."""

    def __init__(self, path: Path) -> None:
        self.asked: list[Any] = []
        self.answers: list[bytes] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with short_path(path) as name:
            self._listener.bind(name)
        self._listener.listen(8)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.asked.append(json.loads(connection.makefile("rb").readline()))
                connection.sendall(self.answers.pop(0) if self.answers else b"")

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("EDGE_AGENT_LANG", raising=False)
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    return tmp_path / "control.sock"


@pytest.fixture
def daemon(path: Path) -> Iterator[Daemon]:
    daemon = Daemon(path)
    yield daemon
    daemon.close()


@pytest.fixture
def run(path: Path) -> Callable[..., int]:
    return lambda *arguments: carry_out([*arguments, "--socket", str(path)])


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["stop"], {"do": "stop", "class": None, "order": None, "for_s": 600}),
        (["stop", "--for", "30m"], {"do": "stop", "class": None, "order": None, "for_s": 1800}),
        (["stop", "--for", "0"], {"do": "stop", "class": None, "order": None, "for_s": 0}),
        (["stop", "--below", "emergency"], {"do": "stop", "class": "emergency", "order": None, "for_s": 600}),
        (["stop", "--order", "01J"], {"do": "stop", "class": None, "order": "01J", "for_s": 600}),
        (["release"], {"do": "release", "stop": None}),
        (["release", "console-1"], {"do": "release", "stop": "console-1"}),
        (["status"], {"do": "status"}),
    ],
)
def test_what_is_typed_is_what_is_asked(
    daemon: Daemon, run: Callable[..., int], arguments: list[str], asked: dict[str, Any]
) -> None:
    daemon.answers.append(b'{"ok": true}\n')
    assert run(*arguments, "--json") == 0
    assert daemon.asked == [asked]


@pytest.mark.parametrize(
    "arguments",
    [
        ["stop", "--for", "31d"],
        ["stop", "--for", "soon"],
        ["stop", "--below", "all"],
        ["stop", "--below", "routine", "--order", "x"],
        ["status", "more"],
    ],
)
def test_wrong_usage_is_code_2_and_nothing_is_asked(
    daemon: Daemon, run: Callable[..., int], arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    assert daemon.asked == []
    assert capsys.readouterr().err


@pytest.mark.parametrize("lang", ["vi", "en"])
def test_a_stop_a_release_and_a_status_are_told_in_both_languages(
    daemon: Daemon, run: Callable[..., int], lang: str, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.answers += [
        b'{"ok": true, "orders": ["a", "b"], "stop": "console-1", "until": "2026-11-23T00:10:00Z"}\n',
        b'{"ok": true, "orders": [], "stop": null, "until": null}\n',
        b'{"ok": true, "released": ["console-1"]}\n',
        b'{"ok": true, "released": []}\n',
        json.dumps(STATUS).encode() + b"\n",
    ]
    for verb in ("stop", "stop", "release", "release", "status"):
        assert run(verb, "--lang", lang) == 0
    said = capsys.readouterr().out
    words = {
        "vi": (
            "Đã dừng 2 lệnh",
            "edge-agent release console-1",
            "Đã bỏ",
            "Không có lệnh dừng nào",
            "10/240 phút",
            "Bảng main: tốt; đang hiện: “Bão gần bờ” (bảng đã nhận).",
            "Bảng cho: không tới được; đang hiện: không gì (chưa gửi).\n  No such port.\n",
            "sudo edge-agent board test cho",
        ),
        "en": (
            "2 order(s) stopped",
            "edge-agent release console-1",
            "is released",
            "No stop stands",
            "10/240 min",
            "Board main: well; showing: “Bão gần bờ” (the board has confirmed).",
            "Board cho: cannot be reached; showing: nothing (not sent).\n  No such port.\n",
            "sudo edge-agent board test cho",
        ),
    }
    for word in (*words[lang], "disk_low", "console-1"):
        assert word in said


@pytest.mark.parametrize("lang", ["vi", "en"])
def test_each_state_and_grade_of_a_board_has_its_words(
    daemon: Daemon, run: Callable[..., int], lang: str, capsys: pytest.CaptureFixture[str]
) -> None:
    boards = [
        STATUS["boards"][0] | {"name": f"{state}-{grade.word}", "state": state, "grade": grade.word}
        for state in ("ok", "degraded", "dark", "unknown")
        for grade in Grade
    ]
    daemon.answers.append(json.dumps(STATUS | {"boards": boards}).encode() + b"\n")
    assert run("status", "--lang", lang) == 0
    said = capsys.readouterr().out
    assert all(board["name"] in said for board in boards)


def test_json_is_the_answer_itself(
    daemon: Daemon, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.answers.append(json.dumps(STATUS).encode() + b"\n")
    assert run("status", "--json") == 0
    assert json.loads(capsys.readouterr().out) == STATUS


def test_a_refusal_is_code_1(
    daemon: Daemon, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.answers += [b'{"ok": false, "code": "busy", "text": "64 stops stand already."}\n'] * 2
    assert run("stop") == 1
    assert "64 stops stand already." in capsys.readouterr().err
    assert run("stop", "--json") == 1
    assert json.loads(capsys.readouterr().out)["code"] == "busy"


@pytest.mark.parametrize("answer", [b"", b"not json\n", b'{"ok": true', b"x" * 200_000 + b"\n"])
def test_a_daemon_that_hangs_up_or_babbles_is_code_3(
    daemon: Daemon, run: Callable[..., int], answer: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.answers.append(answer)
    assert run("status") == 3
    assert "systemctl status edge-agent" in capsys.readouterr().err


def test_no_daemon_is_code_3(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("stop") == 3
    assert "systemctl status edge-agent" in capsys.readouterr().err


@pytest.mark.usefixtures("daemon")
def test_no_right_is_code_3_and_says_which(
    path: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    if os.getuid() == 0:
        pytest.skip("root may do everything; try it as an ordinary user")
    path.chmod(0)
    assert run("stop") == 3
    assert "sudo" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["[node\n", '[node]\nid = "x"\n'])
def test_a_config_with_problems_does_not_keep_anybody_from_stopping(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def talk(path: Path, _line: bytes, _patience_s: float) -> bytes:
        asked.append(path)
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("edge_agent.cli.box._talk", talk)
    (tmp_path / "node.toml").write_text(text)
    assert carry_out(["stop", "--config", str(tmp_path / "node.toml")]) == 3
    assert asked == [RUNTIME]
    assert "sudo" in capsys.readouterr().err


def test_the_socket_is_where_the_config_says() -> None:
    assert LocalSettings().path(real_lines=True, state_dir="/s") == RUNTIME
    assert LocalSettings().path(real_lines=False, state_dir="/s") == Path("/s/control.sock")
    assert LocalSettings(socket="/x/y").path(real_lines=True, state_dir="/s") == Path("/x/y")


def test_a_real_daemon_is_stopped_looked_at_and_released(tmp_path: Path) -> None:
    config = tmp_path / "node.toml"
    config.write_text(
        '[node]\nid = "thon-3"\n[broker]\nurl = "mqtt://127.0.0.1:1"\n[governor]\nquiet_hours = ["21:30-05:00"]\n'
    )
    where = ["--config", str(config), "--hardware", "sim", "--state-dir", str(tmp_path / "state")]
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(str(tmp_path / "notify"))
    notify.settimeout(30)
    with (tmp_path / "log").open("wb") as log:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "edge_agent", "run", *where],
            stdout=log,
            stderr=log,
            env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")},
        )
    try:
        while b"READY=1" not in notify.recv(4096):
            pass

        def ask(*arguments: str) -> dict[str, Any]:
            answer: dict[str, Any] = json.loads(
                subprocess.run(
                    [sys.executable, "-m", "edge_agent", *arguments, *where, "--json"],
                    capture_output=True,
                    check=True,
                    timeout=30,
                ).stdout
            )
            return answer

        stopped = ask("stop", "--for", "1h", "--below", "emergency")
        status = ask("status")
        assert (status["node"], status["quiet_hours"]) == ("thon-3", ["21:30-05:00"])
        assert [each["stop"] for each in status["muted"]] == [stopped["stop"]]
        assert ask("release")["released"] == [stopped["stop"]]
        assert not ask("watch", "--once")
    finally:
        daemon.terminate()
        daemon.wait(20)
        notify.close()
    assert daemon.returncode == 0, (tmp_path / "log").read_text()
