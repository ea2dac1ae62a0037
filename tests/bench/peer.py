"""GStreamer as the peer: the very same packets by UDP on loopback, in real time, into its jitter buffer and decoder."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.model import MS, NS
from tests.bench.measure import pause, seconds
from tests.process.pair import free_ports

if TYPE_CHECKING:
    from hal.ports import Frames

Wire = Sequence[tuple[int, bytes]]
AT_ONCE = 22
"""So many pipelines at a time; more would lose packets for want of CPU."""
_CAPS = "application/x-rtp,media=audio,clock-rate=48000,payload=96,encoding-name=OPUS"
_RAW = "audio/x-raw,format=F32LE,rate=48000,channels=1"


def missing() -> str | None:
    """Why GStreamer cannot be asked here; None when it can."""
    if shutil.which("gst-launch-1.0") is None:
        return "gst-launch-1.0 is not installed"
    for element in ("rtpjitterbuffer", "rtpreddec", "rtpopusdepay", "opusdec"):
        if subprocess.run(["gst-inspect-1.0", element], capture_output=True, check=False).returncode:
            return f"GStreamer's {element} is not installed"
    return None


def version() -> str:
    """As it says itself."""
    out = subprocess.run(["gst-launch-1.0", "--version"], capture_output=True, text=True, check=True).stdout
    return out.splitlines()[0].split()[-1]


def heard(wires: Sequence[Wire], *, latency_ms: int = 200, red: bool = False) -> list[Frames]:
    """What GStreamer makes of each wire of (time of arrival, datagram), in groups of `AT_ONCE`."""
    found: list[Frames] = []
    for begin in range(0, len(wires), AT_ONCE):
        found += _together(wires[begin : begin + AT_ONCE], latency_ms, red=red)
    return found


def _together(wires: Sequence[Wire], latency_ms: int, *, red: bool) -> list[Frames]:
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        ports = free_ports(len(wires))
        outs = [Path(name) / f"{port}.f32" for port in ports]
        peers = [
            subprocess.Popen(_command(port, out, latency_ms, red=red), stdout=subprocess.DEVNULL)
            for port, out in zip(ports, outs, strict=True)
        ]
        try:
            _until_bound(ports)
            _send(wires, ports)
            pause(latency_ms / 1_000 + 0.7)
        finally:
            for peer in peers:
                peer.send_signal(signal.SIGINT)
            for peer in peers:
                peer.wait(20)
        return [np.frombuffer(out.read_bytes(), np.float32) for out in outs]


def _command(port: int, out: Path, latency_ms: int, *, red: bool) -> list[str]:
    description = (
        f"udpsrc address=127.0.0.1 port={port} buffer-size=1000000 caps={_CAPS} ! "
        + ("rtpreddec pt=97 ! " if red else "")
        + f"rtpjitterbuffer latency={latency_ms} do-lost=true ! rtpopusdepay ! "
        f"opusdec plc=true use-inband-fec=true ! audioconvert ! audioresample ! {_RAW} ! audiorate ! "
        f"filesink location={out} sync=false"
    )
    return ["gst-launch-1.0", "-q", "-e", *description.split()]


def _until_bound(ports: Sequence[int]) -> None:
    deadline = seconds() + 30
    while seconds() < deadline:
        bound = {
            int(line.split()[1].split(":")[1], 16)
            for line in Path("/proc/net/udp").read_text().splitlines()[1:]
        }
        if bound.issuperset(ports):
            pause(0.3)
            return
        pause(0.05)
    raise TimeoutError("GStreamer did not open its ports")


def _send(wires: Sequence[Wire], ports: Sequence[int]) -> None:
    events = sorted((at, port, blob) for wire, port in zip(wires, ports, strict=True) for at, blob in wire)
    begin, first = seconds(), events[0][0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        for at, port, blob in events:
            left = (at - first) / NS - (seconds() - begin)
            if left > MS / 2 / NS:
                pause(left)
            out.sendto(blob, ("127.0.0.1", port))
