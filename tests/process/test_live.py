"""Live sound through real processes: a studio's tool, two nodes with crystals that differ, and what each of them gave off."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.playout.media import speech_like, wav
from tests.process.conftest import Outside, OutsideMaker
from tests.process.node import NAME, ROOT, Node, order, pause, seal
from tests.process.pair import DRIFTS_PPM, NS, RATE_HZ, SECOND, free_ports, offsets_ms, send

pytestmark = pytest.mark.realtime


@dataclass(frozen=True)
class Pair:
    """Two nodes that run."""

    outside: Outside
    nodes: tuple[Node, Node]

    def order(self, verb: str, *args: dict[str, Any], within: timedelta = timedelta(minutes=5)) -> list[str]:
        """The same verb to both, with these arguments."""
        ids = []
        for name, its in zip((NAME, SECOND), args, strict=True):
            exp = (datetime.now(UTC) + within).isoformat()  # noqa: TID251 - the world outside has its own clock
            body = order(verb, its, aud=[f"n:{name}"], exp=exp)
            self.outside.server.publish(f"{ROOT}/{name}/dn/cmd/{verb}", seal(body))
            ids.append(str(body["id"]))
        return ids


@pytest.fixture
def pair(make_outside: OutsideMaker) -> Pair:
    outside = make_outside("--set", f"sim.drift_ppm={DRIFTS_PPM[0]}")
    outside.begin()
    other = outside.another(SECOND, "--set", f"sim.drift_ppm={DRIFTS_PPM[1]}", "--set", f"node.id={SECOND}")
    before = len(outside.server.received)
    other.start()
    outside.server.online(after=before)
    return Pair(outside, (outside.node, other))


def test_two_processes_say_one_stream_together(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "voice.wav").write_bytes(wav(speech_like(8.0, seed=5, rms=0.15)))
    ports = free_ports(2)
    live = [{"rtp": {"port": port}, "mode": "group", "delay_ms": 500, "lost_s": 20} for port in ports]
    orders = pair.order("live_start", *live)
    for each in orders:
        pair.outside.server.state(each, "executing")
    sending = send(tmp_path / "voice.wav", ports)
    for each in orders:
        assert pair.outside.server.state(each, within_s=40)["state"] == "successful"
    assert sending.wait(20) == 0
    for node in pair.nodes:
        node.end()
    found = offsets_ms(pair.nodes)
    assert len(found) >= 8
    assert float(np.median(np.abs(found))) < 2
    assert float(np.percentile(np.abs(found), 95)) < 5


def test_two_processes_begin_a_recording_at_one_instant(pair: Pair) -> None:
    args = pair.outside.put("ban-tin.wav", wav(speech_like(5.0, seed=6, rms=0.15)))
    starts = (datetime.now(UTC) + timedelta(seconds=4)).isoformat()  # noqa: TID251 - see above
    orders = pair.order("play", *[args | {"start_at": starts}] * 2)
    for each in orders:
        assert pair.outside.server.state(each, within_s=30)["state"] == "successful"
    for node in pair.nodes:
        node.end()
    found = offsets_ms(pair.nodes)
    assert len(found) >= 5
    assert float(np.median(np.abs(found))) < 2
    begins_s = pair.nodes[0].heard_facts()["start_wall_ns"] / NS
    loud = np.flatnonzero(np.abs(pair.nodes[0].heard()) > 0.002)[0] / RATE_HZ
    assert abs(begins_s + loud - datetime.fromisoformat(starts).timestamp()) < 0.05


def test_an_encrypted_voice_is_heard_and_its_key_is_in_no_file(outside: Outside, tmp_path: Path) -> None:
    key = tmp_path / "khoa.txt"
    assert (
        subprocess.run(
            [sys.executable, "-m", "edge_agent", "send", "--new-key", str(key)], check=True
        ).returncode
        == 0
    )
    (tmp_path / "voice.wav").write_bytes(wav(speech_like(4.0, seed=7, rms=0.15)))
    (port,) = free_ports(1)
    rtp = {"port": port, "srtp": key.read_text().strip()}
    live = outside.server.order("live_start", {"rtp": rtp, "mode": "talk"})
    outside.server.state(live, "executing")
    sending = send(tmp_path / "voice.wav", [port], "--key-file", str(key))
    assert outside.server.state(live, within_s=30)["state"] == "successful"
    assert sending.wait(20) == 0
    pause(0.3)
    outside.node.end()
    assert float(np.sqrt((outside.node.heard() ** 2).mean())) > 0.01
    secret = key.read_text().strip()
    assert secret not in outside.node.logs()
    for entry in outside.server.entries().values():
        assert secret not in str(entry)
