"""Playing an MP3 through PortAudio into PulseAudio's null sink: CPU and memory, against GStreamer and mpv.

All play the same file into the same sink in the same run, in turn; once with nobody listening, once
with a recorder at the sink's monitor, which makes the sink ask for less at a time. `with_server` adds
what the sound server used meanwhile: GStreamer and mpv leave the resampling to it.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from edge_agent.cli.demo_stage import digest_of, media_server
from edge_agent.model import OrderState
from tests.bench.measure import cpu_seconds, figure, memory_mib, pause, seconds
from tests.bench.node import running, server
from tests.hal.pulse import PulseDaemon, missing

RUNS = 5
SETTLE_S = 3.0
WATCH_S = 7.0
PROGRAMME = "aevalsrc='0.3*sin(2*PI*220*t)*(0.5+0.5*sin(2*PI*3*t))+0.05*random(0)':s=44100"


@dataclass(frozen=True, slots=True)
class Taken:
    """What one player took: % of a core, alone and with the server; peak resident size, MiB."""

    cpu: float
    with_server: float
    peak: float


def main() -> None:
    """Print CPU and peak memory of each player, and of a node that shows a notice, too."""
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
        for recorded in (False, True):
            with pulse.record() if recorded else nullcontext():
                found: dict[str, list[Taken]] = {}
                for _ in range(RUNS):
                    for player, taken in _in_turn(programme, pulse):
                        found.setdefault(player, []).append(taken)
                _tell(found, recorded=recorded)
        boards = [asyncio.run(_node(programme, pulse, board="sim")).peak for _ in range(RUNS)]
        figure("playing_and_showing_peak_rss_node", boards, "MiB", aim="<= 100", board="virtual, in the node")


def _tell(found: Mapping[str, list[Taken]], *, recorded: bool) -> None:
    for player, all_taken in found.items():
        figure(
            f"playing_cpu_{player}",
            [taken.cpu for taken in all_taken],
            "% of a core",
            aim="<= gstreamer" if player == "node" else "",
            with_server=round(median(taken.with_server for taken in all_taken), 3),
            sink_recorded=recorded,
        )
    if not recorded:
        for player, all_taken in found.items():
            aim = "<= 100" if player == "node" else ""  # 105 MB
            figure(f"playing_peak_rss_{player}", [taken.peak for taken in all_taken], "MiB", aim=aim)


def _in_turn(programme: Path, pulse: PulseDaemon) -> Iterator[tuple[str, Taken]]:
    yield "node", asyncio.run(_node(programme, pulse, board="none"))
    peers = {
        "gstreamer": ["gst-launch-1.0", "-q", "playbin", f"uri=file://{programme}", "audio-sink=pulsesink"],
        "mpv": ["mpv", "--no-video", "--really-quiet", "--ao=pulse", str(programme)],
    }
    for peer, command in peers.items():
        if shutil.which(command[0]) is None:
            print(f"skipped: {command[0]} is not installed", file=sys.stderr)
        else:
            yield peer, _peer(command, pulse)


def watch(pid: int, pulse: PulseDaemon) -> Taken:
    """What a process takes over some seconds, once it has settled."""
    pause(SETTLE_S)
    mine, theirs, begun = cpu_seconds(pid), cpu_seconds(pulse.pid), seconds()
    pause(WATCH_S)
    mine, theirs, taken = cpu_seconds(pid) - mine, cpu_seconds(pulse.pid) - theirs, seconds() - begun
    return Taken(mine / taken * 100, (mine + theirs) / taken * 100, memory_mib(pid, "VmHWM"))


def _peer(command: list[str], pulse: PulseDaemon) -> Taken:
    process = subprocess.Popen(
        command, env=pulse.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        return watch(process.pid, pulse)
    finally:
        process.terminate()
        process.wait(10)


async def _node(programme: Path, pulse: PulseDaemon, *, board: str) -> Taken:
    doors = ("--set", "hardware.sound=linux", "--set", f"hardware.board={board}")
    with (
        media_server(programme.parent) as media,
        running(*doors, env=pulse.environment()) as (node, url),
    ):
        async with server(url) as ours:
            if board != "none":
                notice, _ = await ours.order("board_show", {"text": "Họp thôn lúc 19h30 tại nhà văn hóa"})
                await ours.until(notice, OrderState.EXECUTING, OrderState.SUCCESSFUL)
            args = {"media": digest_of(programme), "url": f"{media}/{programme.name}"}
            order, _ = await ours.order("play", args)
            await ours.until(order, OrderState.EXECUTING)
            return await asyncio.to_thread(watch, node.pid, pulse)


if __name__ == "__main__":
    main()
