"""Documents and a real node: published by the command line, kept over kill -9 without a broker, reported, looked up at the box."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from edge_agent.model import LOCAL_TIME
from hal.linux.clock import SystemClock
from tests.playout.media import tone, wav
from tests.process.conftest import Outside
from tests.process.node import NAME

pytestmark = [pytest.mark.realtime, pytest.mark.timeout(240)]


def edge_agent(*words: str) -> subprocess.CompletedProcess[str]:
    """The command line, in English."""
    command = [sys.executable, "-m", "edge_agent", *words]
    env = os.environ | {"EDGE_AGENT_LANG": "en"}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


def desired(
    outside: Outside, doc: str, body: dict[str, Any], *words: str
) -> subprocess.CompletedProcess[str]:
    file = outside.directory / f"{doc}.json"
    file.write_text(json.dumps(body))
    return edge_agent(
        "desired", doc, str(file), "--broker", outside.broker.url, "--node", NAME, "--wait", *words
    )


def at_the_box(outside: Outside, *words: str) -> subprocess.CompletedProcess[str]:
    return edge_agent(*words, "--socket", str(outside.node.state_dir / "control.sock"))


def test_a_schedule_outlives_a_kill_and_the_broker_and_says_what_it_did(outside: Outside) -> None:
    """Its time has come, its file has not; then the node is killed, the broker goes, and the file comes."""
    node, body = outside.node, wav(tone(1.0, hz=900))
    media = outside.put("bulletin.wav", body, delay_s=60)
    now = SystemClock(always_synced=True).utc_now().astimezone(LOCAL_TIME)
    rule = {
        "id": "thu",
        "title": "Thử",
        "at": [f"{now:%H:%M}"],
        "late": {"minutes": 10},
        "programme": [media],
    }
    done = desired(
        outside, "schedule", {"rules": [rule, rule | {"id": "mai", "days": [f"{now:%a}".lower()]}]}
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["status"], len(said["warnings"])) == ("applied", 1), "two at the same time"
    told = json.loads(at_the_box(outside, "next", "--json").stdout)
    assert told["turns"][0]["rule"] == "thu"
    node.end(signal.SIGKILL)
    outside.broker.stop()
    outside.put("bulletin.wav", body)
    node.start()
    node.wait(lambda: "A turn is due. key=thu@" in node.log())
    node.wait(lambda: _month(outside, f"{now:%Y-%m}")["outcomes"]["aired"]["turns"] == 2)
    assert "A turn is due. key=thu@" in at_the_box(outside, "events").stdout
    assert '"held": true' in at_the_box(outside, "cache", "list", "--json").stdout
    assert at_the_box(outside, "cache", "verify").returncode == 0
    node.end()
    with node.database() as database:
        rows = database.execute("SELECT entry FROM asrun").fetchall()
    assert [json.loads(entry)["outcome"] for (entry,) in rows] == ["AIRED", "AIRED"]
    assert node.sounded_while_not_live() == []


def _month(outside: Outside, month: str) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(at_the_box(outside, "report", "--month", month, "--json").stdout)
    return whole


def test_settings_that_lead_nowhere_take_themselves_back(outside: Outside) -> None:
    """The trial lasts five minutes; here only its beginning and a crash in the middle of it are waited for."""
    node, server = outside.node, outside.server
    before = len(server.received)
    done = desired(
        outside, "config", {"settings": {"broker": {"url": "mqtt://127.0.0.1:1"}}}, "--wait-s", "1"
    )
    assert done.returncode == 5
    assert node.ended_by_itself() == 0
    node.start()
    node.wait(lambda: "are on trial" in node.log())
    assert (node.state_dir / "config.trying.json").exists()
    node.end(signal.SIGKILL)
    node.start()
    server.online(after=before)
    node.wait(lambda: any(
        one.topic.endswith("/up/reported/config") and one.said["code"] == "timeout" for one in server.received
    ))  # fmt: skip
    assert (node.state_dir / "config.failed.json").exists()
