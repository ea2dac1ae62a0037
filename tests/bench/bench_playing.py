"""Playing an MP3 through PortAudio into PulseAudio's null sink: CPU and memory, against GStreamer and mpv.

All three play the same file into the same sink in the same run, in turn.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from edge_agent.cli.demo_stage import digest_of, media_server
from edge_agent.model import OrderState
from tests.bench.measure import cpu_seconds, figure, memory_mib, pause, seconds
from tests.bench.node import running, server
from tests.hal.pulse import PulseDaemon, missing

RUNS = 5
SETTLE_S = 4.0
WATCH_S = 8.0
PROGRAMME = "aevalsrc='0.3*sin(2*PI*220*t)*(0.5+0.5*sin(2*PI*3*t))+0.05*random(0)':s=44100"


def main() -> None:
    """Print CPU and peak memory of each player."""
    why = missing()
    if why is not None:
        print(f"skipped: {why}", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as name, PulseDaemon() as pulse:
        programme = Path(name) / "programme.mp3"
        subprocess.run(
            ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", PROGRAMME, "-t", "40", "-ac", "2", "-b:a", "128k", str(programme)],
            check=True,
        )  # fmt: skip
        pulse.settled()
        found: dict[str, list[tuple[float, float]]] = {"node": [], "gstreamer": [], "mpv": []}
        for _ in range(RUNS):
            found["node"].append(asyncio.run(_node(programme, pulse.environment())))
            for peer, command in _peers(programme).items():
                found[peer].append(_peer(command, pulse.environment()))
    for player, taken in found.items():
        if taken:
            aim = {"cpu": "<= gstreamer", "rss": "<= 105"} if player == "node" else {}
            figure(f"playing_cpu_{player}", [cpu for cpu, _ in taken], "% of a core", aim=aim.get("cpu", ""))
            figure(f"playing_peak_rss_{player}", [rss for _, rss in taken], "MiB", aim=aim.get("rss", ""))


def _peers(programme: Path) -> dict[str, list[str]]:
    commands = {
        "gstreamer": ["gst-launch-1.0", "-q", "playbin", f"uri=file://{programme}", "audio-sink=pulsesink"],
        "mpv": ["mpv", "--no-video", "--really-quiet", "--ao=pulse", str(programme)],
    }
    for peer, command in list(commands.items()):
        if shutil.which(command[0]) is None:
            print(f"skipped: {command[0]} is not installed", file=sys.stderr)
            del commands[peer]
    return commands


def _watch(pid: int) -> tuple[float, float]:
    """CPU in % of a core over the watch, and the peak resident size in MiB."""
    pause(SETTLE_S)
    before, begun = cpu_seconds(pid), seconds()
    pause(WATCH_S)
    return (cpu_seconds(pid) - before) / (seconds() - begun) * 100, memory_mib(pid, "VmHWM")


def _peer(command: list[str], env: Mapping[str, str]) -> tuple[float, float]:
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return _watch(process.pid)
    finally:
        process.terminate()
        process.wait(10)


async def _node(programme: Path, env: Mapping[str, str]) -> tuple[float, float]:
    doors = ("--set", "hardware.sound=linux", "--set", "hardware.board=none")
    with media_server(programme.parent) as media, running(*doors, env=env) as (node, url):
        async with server(url) as ours:
            args = {"media": digest_of(programme), "url": f"{media}/{programme.name}"}
            order, _ = await ours.order("play", args)
            await ours.until(order, OrderState.EXECUTING)
            return await asyncio.to_thread(_watch, node.pid)


if __name__ == "__main__":
    main()
