"""Live sound through real processes: a studio's tool, two nodes with crystals that differ, and what each of them gave off."""

from __future__ import annotations

import socket
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.playout.media import speech_like, wav
from tests.process.conftest import Outside, OutsideMaker
from tests.process.node import NAME, ROOT, Node, order, pause, seal

pytestmark = pytest.mark.realtime

RATE_HZ = 48_000
NS = 1_000_000_000
DRIFTS_PPM = (100.0, -100.0)
SECOND = "thon-hai"
Sound = npt.NDArray[np.float64]


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


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def send(file: Path, ports: list[int], *more: str) -> subprocess.Popen[bytes]:
    to = [word for port in ports for word in ("--to", f"127.0.0.1:{port}")]
    return subprocess.Popen([sys.executable, "-m", "edge_agent", "send", str(file), *to, *more])


def given_off(node: Node, drift_ppm: float) -> tuple[float, Sound]:
    """(CLOCK_BOOTTIME of the first sample, s; samples at 48 kHz of true time) of the node's only turn."""
    facts, frames = node.heard_facts(), node.heard()
    session = max(facts["sessions"], key=lambda each: each["frames"])
    first = session["first_frame"]
    played = frames[first : first + session["frames"]]
    begins_s = facts["start_monotonic_ns"] / NS + first / RATE_HZ
    rate = RATE_HZ * (1 + drift_ppm / 1e6)
    places = np.arange(int(played.size / (1 + drift_ppm / 1e6))) * rate / RATE_HZ
    return begins_s, np.interp(places, np.arange(played.size), played)


def offsets_ms(nodes: tuple[Node, Node]) -> list[float]:
    """How much later the second node is heard than the first, for each half second in which both are."""
    (first_s, first), (second_s, second) = (given_off(n, d) for n, d in zip(nodes, DRIFTS_PPM, strict=True))
    shift = round((first_s - second_s) * RATE_HZ)
    piece, reach, found = RATE_HZ // 2, RATE_HZ // 20, []
    for at in range(reach, first.size - piece - reach, piece):
        there = at + shift - reach
        window = second[max(0, there) : there + piece + 2 * reach]
        mine = first[at : at + piece]
        if there < 0 or window.size < piece + 2 * reach or np.sqrt((mine**2).mean()) < 0.005:
            continue
        alike = np.correlate(window, mine, "valid")
        best = int(np.argmax(alike))
        power = np.linalg.norm(mine) * np.linalg.norm(window[best : best + piece]) + 1e-9
        if alike[best] / power > 0.8:
            exact = (first_s - second_s) * RATE_HZ - shift
            found.append((best - reach - exact) / RATE_HZ * 1_000)
    return found


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
