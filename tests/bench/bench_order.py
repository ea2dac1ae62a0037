"""Order published to first sample, beyond amplifier settling; emergency over a bulletin; stop to silence; live sound.

Measured twice: on the virtual card, whose `heard.wav` says sample by sample what it was given and when,
and at the monitor of PulseAudio's null sink behind the real driver, which adds what PortAudio and the
sound server hold. Assets are in the cache.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import tempfile
import wave
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.cli.demo_judgement import hear
from edge_agent.cli.demo_stage import digest_of, media_server
from edge_agent.model import NS, RATE_HZ, OrderState, Precedence
from tests.bench.ear import Ear
from tests.bench.measure import figure, pause
from tests.bench.node import Server, running, server
from tests.hal.pulse import PulseDaemon, missing
from tests.process.pair import free_ports

if TYPE_CHECKING:
    from hal.ports import Frames

RUNS = 5
SETTLING_MS = 2000.0 + 100.0 + 100.0
"""settle_time_s, unmute_delay_s and lead_in_s of the default config."""
AUDIBLE = 0.005
LOW_HZ, HIGH_HZ = 300, 2400
DOORS = (
    *("--set", "hardware.board=none"),
    *("--set", "amplifier.hang_time_s=0.5", "--set", "amplifier.off_on_delay_s=0.5"),
)


@dataclass(frozen=True, slots=True)
class Published:
    """CLOCK_BOOTTIME ns just before each order was published."""

    cold: list[int] = field(default_factory=list)
    urgent: list[int] = field(default_factory=list)
    stop: list[int] = field(default_factory=list)


def main() -> None:
    """Print the three latencies on both cards."""
    with running(*DOORS, env=os.environ, recorded=True) as (node, url):
        at = asyncio.run(_orders(url))
        node.end()  # the recording is whole when it has ended
        _tell("virtual card", at, *hear(node.sim_dir))
    for mode in ("talk", "solo"):
        _live(mode)
    why = missing()
    if why is not None:
        print(f"skipped: the real driver: {why}", file=sys.stderr)
        return
    with PulseDaemon() as pulse, Ear(pulse) as ear:
        pulse.settled()
        with running(*DOORS, "--set", "hardware.sound=linux", env=pulse.environment()) as (_, url):
            at = asyncio.run(_orders(url))
            _tell("PortAudio, PulseAudio null sink", at, *ear.heard())


def _live(mode: str) -> None:
    """From the order to the first live sample, while the studio already sends; from the stop to silence."""
    with running(*DOORS, env=os.environ, recorded=True) as (node, url), tempfile.TemporaryDirectory() as name:
        tone = Path(name, "tone.wav")
        _tone(tone, LOW_HZ, 20)
        (port,) = free_ports(1)
        command = [
            sys.executable,
            "-m",
            "edge_agent",
            "send",
            str(tone),
            "--loop",
            "--to",
            f"127.0.0.1:{port}",
        ]
        studio = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            at = asyncio.run(_live_orders(url, port, mode))
        finally:
            studio.terminate()
            studio.wait(10)
        node.end()
        heard, start_ns = hear(node.sim_dir)
    level = np.abs(heard)
    cold = [ms - SETTLING_MS for ms in _first(level > AUDIBLE, at.cold, start_ns)]
    figure("live_order_to_sound_beyond_settling", cold, "ms", mode=mode, card="virtual card")
    silent = [_silent(level, at_ns, start_ns) for at_ns in at.stop]
    figure("live_stop_to_silence", silent, "ms", aim="<= 150", mode=mode, card="virtual card")


async def _live_orders(url: str, port: int, mode: str) -> Published:
    at, phase = Published(), random.Random(2)
    async with server(url) as ours:
        for _ in range(RUNS):
            live, at_ns = await ours.order("live_start", {"rtp": {"port": port}, "mode": mode})
            at.cold.append(at_ns)
            await ours.until(live, OrderState.EXECUTING)
            await asyncio.to_thread(pause, 6.0 + phase.uniform(0, 0.1))
            stop, at_ns = await ours.order("stop", {"order": live}, Precedence.EMERGENCY)
            at.stop.append(at_ns)
            await ours.until(stop)
            await asyncio.to_thread(pause, 2.5)
    return at


async def _orders(url: str) -> Published:
    """Five times: a bulletin from cold, an emergency over it, the bulletin resumes, a stop."""
    at = Published()
    phase = random.Random(1)
    with tempfile.TemporaryDirectory(prefix="bench-") as name, media_server(Path(name)) as media:
        low, high = Path(name, "low.wav"), Path(name, "high.wav")
        _tone(low, LOW_HZ, 20)
        _tone(high, HIGH_HZ, 1.5)
        async with server(url) as ours:
            for file in (low, high):
                await _cache(ours, file, media)
            for _ in range(RUNS):
                routine, at_ns = await ours.order("play", {"media": digest_of(low)})
                at.cold.append(at_ns)
                await ours.until(routine, OrderState.EXECUTING)
                await asyncio.to_thread(pause, 3.5 + phase.uniform(0, 0.1))
                urgent, at_ns = await ours.order("play", {"media": digest_of(high)}, Precedence.EMERGENCY)
                at.urgent.append(at_ns)
                await ours.until(urgent)
                await asyncio.to_thread(pause, 1.5 + phase.uniform(0, 0.1))
                stop, at_ns = await ours.order("stop", {"order": routine}, Precedence.EMERGENCY)
                at.stop.append(at_ns)
                await ours.until(stop)
                await asyncio.to_thread(pause, 2.5)
    return at


def _tell(card: str, at: Published, heard: Frames, start_ns: int) -> None:
    level = np.abs(heard)
    high = np.abs(heard[1:] - heard[:-1]) > 3 * _step(LOW_HZ) * float(level.max())
    assert 3 * _step(LOW_HZ) < _step(HIGH_HZ) / 2
    cold = [ms - SETTLING_MS for ms in _first(level > AUDIBLE, at.cold, start_ns)]
    figure("order_to_sound_beyond_settling", cold, "ms", aim="<= 150", card=card, amplifier="off before")
    figure(
        "emergency_over_bulletin_to_sound", _first(high, at.urgent, start_ns), "ms", aim="<= 150", card=card
    )
    silent = [_silent(level, at_ns, start_ns) for at_ns in at.stop]
    figure("stop_to_silence", silent, "ms", aim="<= 150", card=card)


async def _cache(ours: Server, file: Path, media: str) -> None:
    args = {"media": digest_of(file), "url": f"{media}/{file.name}", "volume": 0}
    order, _ = await ours.order("play", args)
    await ours.until(order, OrderState.EXECUTING)
    stop, _ = await ours.order("stop", {"order": order}, Precedence.EMERGENCY)
    await ours.until(stop)
    await asyncio.to_thread(pause, 2.5)


def _first(flags: np.ndarray, at_ns: list[int], start_ns: int) -> list[float]:
    """For each instant, ms until the first True at or after it."""
    where = np.flatnonzero(flags)
    found = []
    for instant in at_ns:
        index = (instant - start_ns) * RATE_HZ / NS
        later = where[np.searchsorted(where, index)]
        found.append((float(later) - index) / RATE_HZ * 1000)
    return found


def _silent(level: Frames, at_ns: int, start_ns: int) -> float:
    """Ms from an instant until nothing audible follows in the next 2 s."""
    index = int((at_ns - start_ns) * RATE_HZ / NS)
    loud = np.flatnonzero(level[index : index + 2 * RATE_HZ] > AUDIBLE)
    assert loud.size, "it sounded when it was stopped"
    return float(loud[-1]) / RATE_HZ * 1000


def _step(hertz: float) -> float:
    """The largest difference between two samples of a tone of amplitude 1."""
    return float(2 * np.sin(np.pi * hertz / RATE_HZ))


def _tone(path: Path, hertz: float, length_s: float) -> None:
    at_s = np.arange(int(length_s * RATE_HZ)) / RATE_HZ
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((np.sin(2 * np.pi * hertz * at_s) * 12000).astype("<i2").tobytes())


if __name__ == "__main__":
    main()
