"""The demo itself, as anybody runs it: broker, media server, node, orders, ears."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mosquitto import MISSING, PROGRAM

pytestmark = pytest.mark.realtime

FONT = Path("/usr/share/fonts/opentype/unifont/unifont.otf")


@pytest.mark.skipif(PROGRAM is None, reason=MISSING)
@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
@pytest.mark.skipif(not FONT.exists(), reason="fonts-unifont is not installed")
def test_a_bulletin_an_emergency_and_a_notice_are_heard_and_seen(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edge_agent", "demo", "--json", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["ok"] is True
    assert (result["aired"], result["preempted"], result["resumed"]) == (2, 1, 1)
    assert result["gaps_ms"] == 0
    assert result["amplifier_faults"] == 0
    assert result["board_pages"] >= 1
    assert result["as_run"] == {"notice": "AIRED", "bulletin": "AIRED", "alarm": "AIRED"}
    assert result["seconds"] < 90
    assert Path(result["heard_wav"]).stat().st_size > 48_000 * 2 * 20
    assert list(Path(result["board_dir"]).glob("*.png"))


def test_a_programme_that_is_not_there_is_said_in_a_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edge_agent", "demo", "--programme", str(tmp_path / "none.mp3")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert "none.mp3" in done.stderr
    assert "Traceback" not in done.stderr
