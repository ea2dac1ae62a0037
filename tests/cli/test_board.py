"""`edge-agent board` and `edge-agent sim board`: the exact dots, a self-test that can be read, a board for who has none."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from edge_agent.board.lease import Lease
from edge_agent.cli import carry_out, simulate
from edge_agent.config import models
from edge_agent.doors import DATABASE
from edge_agent.rooms import SCHEMAS
from hal.linux.clock import SystemClock
from hal.linux.database import open_database
from hal.sim.boards import board_of
from hal.sim.emulator import Emulator
from hal.sim.jetfile import JetfileSign
from hal.sim.pty import PtyMount

NODE = '[node]\nid = "thon-3"\n[broker]\nurl = "mqtt://127.0.0.1"\n[amplifier.power]\noffset = 17\n'


def run(*words: str) -> int:
    return carry_out(["board", *words])


# ---------------------------------------------------------------- preview


def test_a_preview_is_the_dots_themselves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "page.png"
    assert run("preview", "Họp lúc 19h", "--model", "commune-p10", "-o", str(path), "--json") == 0
    (page,) = json.loads(capsys.readouterr().out)["pages"]
    assert page["text"] == "Họp lúc 19h"
    assert page["digest"].startswith("sha256:")
    image = Image.open(path)
    assert image.size == (96 * 8, 16 * 8)
    small = image.resize((96, 16), Image.Resampling.NEAREST).convert("L")
    assert sum(map(bool, small.tobytes())) == round(page["percent"] * 96 * 16 / 100)


def test_further_pages_go_to_further_files_and_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "page.png"
    text = "Mời bà con đến nhà văn hóa thôn họp"
    assert run("preview", text, "-o", str(path), "--show", "--leds") == 0
    out = capsys.readouterr().out
    assert "Trang 1/" in out
    assert "█" in out
    assert (tmp_path / "page-2.png").exists()


def test_what_cannot_be_shown_is_refused_with_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "page.png"
    assert run("preview", "ViÖt Nam häp", "-o", str(path)) == 1
    assert "TCVN3" in capsys.readouterr().err
    assert not path.exists()
    assert run("preview", "--qr", "https://xa.vn", "-o", str(path), "--json") == 1
    assert json.loads(capsys.readouterr().out)["code"] == "bad_args"


@pytest.mark.parametrize(
    "words",
    [
        ("preview",),
        ("preview", "Họp", "--clock"),
        ("preview", "Họp", "--model", "none"),
        ("preview", "Họp", "--colours", "pink"),
        ("preview", "--image", "/nowhere.png"),
        ("test", "--model", "none"),
    ],
)
def test_a_wrong_command_line_is_code_2(words: tuple[str, ...]) -> None:
    assert run(*words) == 2


def test_the_clock_an_image_and_a_code_can_be_previewed(tmp_path: Path) -> None:
    picture = tmp_path / "in.png"
    Image.new("RGB", (64, 64), (255, 0, 0)).save(picture)
    wall = ("--model", "district-led-wall", "-o", str(tmp_path / "out.png"))
    assert run("preview", "--clock", *wall) == 0
    assert run("preview", "--image", str(picture), *wall) == 0
    assert run("preview", "--qr", "https://xa.vn", "--caption", "Góp ý", *wall) == 0
    assert run("preview", "Lũ quét", "--emergency", *wall) == 0


def test_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "--json") == 0
    names = [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()]
    assert {"commune-p10", "jetfile-192x32", "hanover-esp32-p10", "wled-matrix", "tv-1080p"} <= set(names)


def test_one_bad_model_hides_no_other_and_a_size_beyond_the_language_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.toml").write_text("protocol = 3\n")
    (tmp_path / "good.toml").write_text('protocol = "jetfile"\n')
    places = (tmp_path,)
    monkeypatch.setattr(models.names, "__defaults__", (places,))
    monkeypatch.setattr(models.read, "__defaults__", (places,))
    assert run("models", "--json", "--lang", "en") == 1
    told = capsys.readouterr()
    assert [json.loads(line)["name"] for line in told.out.splitlines()] == ["good"]
    assert "bad" in told.err
    (tmp_path / "high.toml").write_text("rows = 40\n")
    assert run("preview", "x", "--model", "high", "-o", str(tmp_path / "p.png"), "--lang", "en") == 2
    assert "rows" in capsys.readouterr().err
    assert not (tmp_path / "p.png").exists()


# ---------------------------------------------------------------- on a board


@contextlib.contextmanager
def mounted(sign: Emulator) -> Iterator[str]:
    """A board on a PTY, served by a thread of its own, because the command has a loop of its own."""
    ready, over = threading.Event(), threading.Event()
    path: list[str] = []

    def serve() -> None:
        async def main() -> None:
            mount = PtyMount(sign, SystemClock())
            life = asyncio.create_task(mount.life())
            path.append(mount.path)
            ready.set()
            while not over.is_set():  # noqa: ASYNC110 - set by another thread
                await asyncio.sleep(0.01)
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)
            mount.close()

        asyncio.run(main())

    thread = threading.Thread(target=serve)
    thread.start()
    ready.wait(10)
    try:
        yield path[0]
    finally:
        over.set()
        thread.join()


@pytest.mark.realtime
@pytest.mark.parametrize(("model", "protocol"), [("jetfile-p10", "jetfile"), ("wled-matrix", "adalight")])
def test_the_self_test_shows_every_picture_and_tells_what_to_look_for(
    model: str, protocol: str, capsys: pytest.CaptureFixture[str]
) -> None:
    columns, rows = (96, 16) if protocol == "jetfile" else (64, 32)
    sign = board_of(protocol, columns=columns, rows=rows, baud=921_600)
    with mounted(sign) as path:
        assert run("test", "--model", model, "--device", path, "--seconds", "0", "--lang", "en") == 0
    out = capsys.readouterr().out
    assert "All four edges must be whole" in out
    assert "Every mark must be clear" in out
    assert ("31 °C" in out) == (protocol == "jetfile")
    assert not sign.violations
    sights = [shown for shown in sign.shown if shown.lit]
    assert len(sights) >= 5
    edge = [sights[0].dots[y][x] for y in (0, rows - 1) for x in range(columns)]
    assert all(edge), "the frame comes first"


@pytest.mark.realtime
def test_a_board_that_is_not_there_is_said_with_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    device = str(tmp_path / "ttyUSB9")
    assert run("test", "--model", "commune-p10", "--device", device, "--lang", "en") == 1
    assert "dialout" in capsys.readouterr().out


@pytest.mark.realtime
def test_after_a_stop_the_board_is_released_and_after_a_crash_it_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign = JetfileSign()
    sign.foreign(0, b"LU QUET")
    with mounted(sign) as path:
        config = tmp_path / "node.toml"
        config.write_text(f'{NODE}[board]\nprotocol = "jetfile"\ndevice = "{path}"\n')
        monkeypatch.setenv("SERVICE_RESULT", "watchdog")
        assert run("release", "--config", str(config), "--after-stop") == 0
        assert sign.frames == 0
        monkeypatch.setenv("SERVICE_RESULT", "success")
        assert run("release", "--config", str(config), "--after-stop") == 0
        assert sign.frames > 0
        assert sign.current.lit, "what its owner shows is left"


@pytest.mark.realtime
def test_after_a_stop_a_lent_board_is_handed_back_and_another_one_is_not_touched(tmp_path: Path) -> None:
    sign = JetfileSign()
    sign.owner_plays(0, b"SALE")
    with mounted(sign) as path:
        config = tmp_path / "node.toml"
        board = f'[board]\nprotocol = "jetfile"\nrequisitioned = true\ndevice = "{path}"\n'
        config.write_text(f'{NODE}{board}[storage]\nstate_dir = "{tmp_path}"\n')
        assert run("release", "--config", str(config), "--after-stop") == 0
        assert sign.frames == 0

        async def lent() -> None:
            database = await open_database(tmp_path / DATABASE, SCHEMAS)
            await Lease(board="main", database=database).take(found_dark=True)
            await database.close()

        asyncio.run(lent())
        assert run("release", "--config", str(config), "--after-stop") == 0
        assert sign.frames > 0
        assert sign.current.kind == "blank", "its owner had switched it off"
        frames = sign.frames
        assert run("release", "--config", str(config), "--after-stop") == 0
        assert sign.frames == frames, "once"


# ---------------------------------------------------------------- a board for who has none


@pytest.mark.realtime
def test_an_emulated_board_serves_on_a_pty_and_takes_faults(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "edge_agent",
        "sim",
        "board",
        "--protocol",
        "hanover",
        "--size",
        "8x8",
        "--pty",
    ]
    process = subprocess.Popen(
        [*command, "--json", "--dir", str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        facts = json.loads(process.stdout.readline())
        assert facts["protocol"] == "hanover"
        with open(facts["path"], "wb", buffering=0) as line:  # noqa: PTH123 - a PTY, unbuffered
            line.write(b"\x021108" + b"FF" * 8 + b"\x03")
            line.write(b"%02X" % (-sum(b"1108" + b"FF" * 8 + b"\x03") & 0xFF))
            told = [json.loads(process.stdout.readline()) for _ in range(2)]
            assert [one["shown"] for one in told] == ["blank", "run"]
            assert told[1]["lit"] == 64
            process.stdin.write("power-cycle\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["shown"] == "blank"
        process.stdin.write("quit\n")
        process.stdin.flush()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
    assert (tmp_path / "board.jsonl").exists()


def test_every_fault_has_a_name() -> None:
    sign = board_of("alpha", columns=96, rows=16, baud=9600)
    for line in (
        "late 0.5",
        "nak 2",
        "deaf 5",
        "drop 97",
        "noise",
        "silent",
        "dead 3,4",
        "foreign SALE",
        "power-cycle",
    ):
        word, _, rest = line.partition(" ")
        simulate.fault(sign, word, rest, 0)
    assert (sign.late_ns, sign.refuse_next, sign.drop_every, sign.silent) == (500_000_000, 2, 97, True)
    assert sign.dead_dots == {(3, 4)}
    simulate.fault(sign, "well", "", 0)
    assert not sign.silent
    for word, rest in (("late", "x"), ("dead", "3"), ("fly", "")):
        with pytest.raises(ValueError, match=r"."):
            simulate.fault(sign, word, rest, 0)


def test_a_wrong_size_or_language_is_code_2() -> None:
    assert carry_out(["sim", "board", "--size", "96"]) == 2
    assert carry_out(["sim", "board", "--protocol", "onbon"]) == 2
