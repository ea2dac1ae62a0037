"""What docs/protocol.md tells studios to run is run, and heard: our own tool, FFmpeg and GStreamer, in clear and encrypted."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_agent.stream.modes import BufferSettings, Mode
from edge_agent.stream.reception import Reception, ReceptionSettings
from edge_agent.stream.srtp import Srtp
from hal.linux.clock import SystemClock
from hal.linux.datagram import UdpDatagrams
from tests.playout.media import tone, wav

pytestmark = pytest.mark.realtime

PAGE = Path(__file__).resolve().parents[2] / "docs" / "protocol.md"
RATE_HZ = 48_000
SECONDS = 3.0
HZ = 440.0
KEY = bytes(range(30))
_BLOCK = RATE_HZ // 20


def commands() -> dict[str, str]:
    """The sending command lines of the page, by name."""
    found: dict[str, str] = {}
    for block in re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.splitlines():
            if "203.0.113.20" in line and re.match(r"edge-agent send|ffmpeg|gst-launch", line):
                keyed = " encrypted" if "khoa.txt" in line else ""
                found[line.split()[0].removesuffix("-1.0") + keyed] = line
    return found


def runnable(line: str, directory: Path, port: int) -> list[str]:
    """The same with our file, our port, our key."""
    key = base64.b64encode(KEY).decode()
    (directory / "khoa.txt").write_text(key + "\n")
    line = line.replace("ban-tin.mp3", str(directory / "tone.wav")).replace('"$(cat khoa.txt)"', key)
    line = line.replace("khoa.txt", str(directory / "khoa.txt")).replace("203.0.113.20", "127.0.0.1")
    line = line.replace("=5004", f"={port}").replace(":5004", f":{port}")
    words = shlex.split(line)
    return [sys.executable, "-m", "edge_agent", *words[1:]] if words[0] == "edge-agent" else words


async def received(line: str, directory: Path, reception: Reception) -> np.ndarray:
    """Everything that a card would have played while the command ran."""
    clock = SystemClock()
    socket = await UdpDatagrams(clock).open(host="127.0.0.1", port=0, queue_packets=1024)
    out: list[np.ndarray] = []
    try:
        command = runnable(line, directory, socket.local[1])
        running = subprocess.Popen(  # noqa: ASYNC220 - it starts at once, and nothing else runs here
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=os.environ,
        )
        begin_ns = clock.monotonic_ns()
        try:
            while not reception.over and clock.monotonic_ns() - begin_ns < 25e9:
                for datagram in socket.take():
                    reception.put(datagram.payload, datagram.arrival_ns)
                played_ns = begin_ns + len(out) * _BLOCK * 1_000_000_000 // RATE_HZ
                if clock.monotonic_ns() < played_ns:
                    await asyncio.sleep(0.01)
                    continue
                out.append(reception.get(_BLOCK, played_ns + 150_000_000))
                if running.poll() is not None and reception.heard.waiting and reception.statistics.played_ms:
                    break
        finally:
            running.kill()
            _, said = running.communicate()
        assert reception.statistics.received, said.decode()
    finally:
        socket.close()
    return np.concatenate(out)


@pytest.mark.parametrize("name", sorted(commands()))
def test_what_the_page_says_is_heard(name: str, tmp_path: Path) -> None:
    (tmp_path / "tone.wav").write_bytes(wav(tone(SECONDS, hz=HZ, level=0.3)))
    keyed = name.endswith("encrypted")
    options = ReceptionSettings(
        payload_types=frozenset({96}),
        red_types=frozenset({97}),
        buffer=BufferSettings.of(Mode.SOLO, delay_ms=600),
    )
    reception = Reception(options, srtp=Srtp(KEY) if keyed else None)
    heard = asyncio.run(received(commands()[name], tmp_path, reception))
    report = reception.report()
    assert report["played_ms"] > (SECONDS - 0.4) * 1_000, report  # type: ignore[operator]
    assert report.get("refused", {}) == {}, report
    loud = np.flatnonzero(np.abs(heard) > 0.1)
    middle = heard[loud[0] : loud[-1]][RATE_HZ // 2 : 2 * RATE_HZ]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(middle.size)))
    assert abs(float(np.argmax(spectrum)) * RATE_HZ / middle.size - HZ) < 2
    if not name.startswith("ffmpeg"):
        assert reception.ended, "it says goodbye"


def test_the_page_has_every_sender() -> None:
    assert set(commands()) == {
        "edge-agent", "ffmpeg", "gst-launch", "edge-agent encrypted", "ffmpeg encrypted",
    }  # fmt: skip
