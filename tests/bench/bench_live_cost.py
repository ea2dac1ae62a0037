"""Live sound through the real driver into PulseAudio's null sink: CPU and memory, against GStreamer, mpv and ffplay.

All play the same RTP/Opus packets (32 kb/s, in-band FEC, no redundancy, which mpv and ffplay do not know), then the
same MP3 over HTTP, into the same sink in the same run, in turn. A player's figure is its own process; `with_server` adds what
the sound server used meanwhile.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from edge_agent.model import OrderState
from tests.bench.bench_playing import PROGRAMME, Taken, watch
from tests.bench.measure import figure, pause
from tests.bench.node import running, server
from tests.hal.pulse import PulseDaemon, missing
from tests.hal.webcast_scenes import Connection, Server
from tests.process.pair import free_ports

RUNS = 5
_HALF_S = 0.5
_MP3_BYTES_PER_S = 16_000
_SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} RTP/AVP 96\na=rtpmap:96 opus/48000/2\n"
_CAPS = "application/x-rtp,media=audio,encoding-name=OPUS,payload=96,clock-rate=48000"


def main() -> None:
    """Print CPU and peak memory of each player for each kind of stream."""
    why = missing()
    if why is not None:
        print(f"skipped: {why}", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as name, PulseDaemon() as pulse:
        directory = Path(name)
        mp3 = directory / "programme.mp3"
        subprocess.run(
            ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", PROGRAMME, "-t", "60", "-ac", "2", "-b:a", "128k", str(mp3)],
            check=True,
        )  # fmt: skip
        pulse.settled()
        found: dict[tuple[str, str], list[Taken]] = {}
        for _ in range(RUNS):
            for kind, player, taken in _in_turn(directory, mp3, pulse):
                found.setdefault((kind, player), []).append(taken)
        _tell(found)


def _tell(found: dict[tuple[str, str], list[Taken]]) -> None:
    for (kind, player), all_taken in found.items():
        ours = player == "node"
        with_server = round(median(taken.with_server for taken in all_taken), 3)
        cpu = [taken.cpu for taken in all_taken]
        aim = "<= gstreamer" if ours and kind == "rtp" else ""
        figure(f"live_{kind}_cpu_{player}", cpu, "% of a core", aim=aim, with_server=with_server)
        peaks = [taken.peak for taken in all_taken]
        figure(f"live_{kind}_peak_rss_{player}", peaks, "MiB", aim="<= 105" if ours else "")


def _in_turn(directory: Path, mp3: Path, pulse: PulseDaemon) -> Iterator[tuple[str, str, Taken]]:
    (port,) = free_ports(1)
    sdp = directory / "live.sdp"
    sdp.write_text(_SDP.format(port=port))
    quiet = ["-loglevel", "quiet"]
    listen = ["-protocol_whitelist", "file,rtp,udp"]
    rtp: dict[str, list[str]] = {
        "gstreamer": [
            *("gst-launch-1.0", "-q", "udpsrc", f"port={port}", f"caps={_CAPS}", "!", "rtpjitterbuffer", "latency=200"),
            *("do-lost=true", "!", "rtpopusdepay", "!", "opusdec", "plc=true", "use-inband-fec=true", "!", "audioconvert"),
            *("!", "audioresample", "!", "pulsesink"),
        ],
        "mpv": ["mpv", "--no-video", "--really-quiet", "--ao=pulse", "--demuxer-lavf-o=protocol_whitelist=[file,rtp,udp]", str(sdp)],
        "ffplay": ["ffplay", *quiet, "-nodisp", *listen, str(sdp)],
    }  # fmt: skip
    with _studio(mp3, port):
        yield "rtp", "node", asyncio.run(_node(pulse, {"rtp": {"port": port, "red_type": None}}))
        for player, command in rtp.items():
            yield "rtp", player, _peer(command, pulse)
    with _station(mp3) as url:
        yield "http", "node", asyncio.run(_node(pulse, {"stream": {"url": url}}))
        http = {
            "gstreamer": ["gst-launch-1.0", "-q", "playbin", f"uri={url}", "audio-sink=pulsesink"],
            "mpv": ["mpv", "--no-video", "--really-quiet", "--ao=pulse", url],
            "ffplay": ["ffplay", *quiet, "-nodisp", url],
        }
        for player, command in http.items():
            yield "http", player, _peer(command, pulse)


@contextmanager
def _studio(file: Path, port: int) -> Iterator[None]:
    """Packets all the time, to one port."""
    command = [sys.executable, "-m", "edge_agent", "send", str(file), "--loop", "--red-offset", "0"]
    sending = subprocess.Popen([*command, "--to", f"127.0.0.1:{port}"], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        sending.terminate()
        sending.wait(10)


@contextmanager
def _station(file: Path) -> Iterator[str]:
    """The file as an endless stream, at its pace after a burst of four seconds."""
    blob = file.read_bytes()

    def script(connection: Connection) -> None:
        connection.head()
        connection.say(blob[: 4 * _MP3_BYTES_PER_S])
        at = 4 * _MP3_BYTES_PER_S
        while not connection.closing.wait(_HALF_S):
            connection.say(blob[at : at + _MP3_BYTES_PER_S // 2])
            at = (at + _MP3_BYTES_PER_S // 2) % (len(blob) - _MP3_BYTES_PER_S)

    station = Server(script, None)
    try:
        yield f"http://127.0.0.1:{station.port}/live"
    finally:
        station.close()


def _peer(command: list[str], pulse: PulseDaemon) -> Taken:
    assert shutil.which(command[0]), f"{command[0]} is not installed: make bench installs it"
    process = subprocess.Popen(
        command,
        env=pulse.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        taken = watch(process.pid, pulse)
        assert process.poll() is None, f"{command[0]} ended by itself"
        return taken
    finally:
        process.terminate()
        process.wait(10)


async def _node(pulse: PulseDaemon, live: dict[str, Any]) -> Taken:
    doors = ("--set", "hardware.sound=linux", "--set", "hardware.board=none")
    with running(*doors, env=pulse.environment()) as (node, url):
        async with server(url) as ours:
            order, _ = await ours.order("live_start", live)
            await ours.until(order, OrderState.EXECUTING)
            await asyncio.to_thread(pause, 3.0)  # the amplifier settles, the buffer fills
            return await asyncio.to_thread(watch, node.pid, pulse)


if __name__ == "__main__":
    main()
