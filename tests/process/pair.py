"""Two real nodes with crystals that differ, a studio's tool between them, and how far apart they are heard."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tests.mosquitto import Mosquitto
from tests.playout.media import speech_like, wav
from tests.process.node import NAME, ROOT, Node, Server, order, pause, seal

RATE_HZ = 48_000
NS = 1_000_000_000
DRIFTS_PPM = (100.0, -100.0)
SECOND = "thon-hai"
Sound = npt.NDArray[np.float64]


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


def real_pair_offsets_ms(directory: Path, *, seconds: float) -> list[float]:
    """A voice of that length through two real processes: how far apart they are heard, each half second."""
    directory.mkdir()
    voice = directory / "voice.wav"
    voice.write_bytes(wav(speech_like(seconds, seed=5, rms=0.15)))
    with ExitStack() as stack:
        broker = Mosquitto(directory)
        broker.start()
        stack.callback(broker.stop)
        server = stack.enter_context(Server(broker.url))
        nodes, ports = [], free_ports(2)
        for name, drift, port in zip((NAME, SECOND), DRIFTS_PPM, ports, strict=True):
            (directory / name).mkdir()
            node = Node(
                directory / name, broker.url, "--set", f"sim.drift_ppm={drift}", "--set", f"node.id={name}"
            )
            before = len(server.received)
            nodes.append(stack.enter_context(node))
            server.online(after=before)
            live = {"rtp": {"port": port}, "mode": "group", "delay_ms": 500, "lost_s": 20}
            body = order("live_start", live, aud=[f"n:{name}"])
            server.publish(f"{ROOT}/{name}/dn/cmd/live_start", seal(body))
            server.state(str(body["id"]), "executing")
        assert send(voice, ports).wait(seconds + 30) == 0
        pause(2.0)
        for node in nodes:
            node.end()
        return offsets_ms((nodes[0], nodes[1]))
