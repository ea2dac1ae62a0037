"""Order published to first sample at the card, beyond amplifier settling; and stop to silence.

Measured on the virtual card in real time: `heard.wav` is what the card was given, sample by sample,
and `heard.json` says when its first frame was.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_agent.cli.demo_judgement import hear
from edge_agent.cli.demo_stage import digest_of, media_server
from edge_agent.model import NS, OrderState, Precedence
from tests.bench.measure import figure, pause
from tests.bench.node import Server, running, server

RUNS = 5
SETTLING_S = 2.0 + 0.1 + 0.1
"""settle_time_s, unmute_delay_s and lead_in_s of the default config."""
AUDIBLE = 0.005
RATE_HZ = 48_000


def main() -> None:
    """Print the three latencies."""
    cold, urgent, stop = asyncio.run(_measure())
    figure("order_to_sound_beyond_settling", cold, "ms", aim="<= 150", amplifier="off", cached="yes")
    figure("emergency_to_sound_preempting", urgent, "ms", aim="<= 150", amplifier="live", cached="yes")
    figure("stop_to_silence", stop, "ms", aim="<= 150")


async def _measure() -> tuple[list[float], list[float], list[float]]:
    cold_ns: list[int] = []
    urgent_ns: list[int] = []
    stop_ns: list[int] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        low, high = Path(name, "low.wav"), Path(name, "high.wav")
        _tone(low, 300, 20)
        _tone(high, 2400, 1.5)
        doors = (
            "--set",
            "hardware.board=none",
            "--set",
            "amplifier.hang_time_s=0.5",
            "--set",
            "amplifier.off_on_delay_s=0.5",
        )
        with media_server(Path(name)) as media, running(*doors, env=os.environ) as (node, url):
            async with server(url) as ours:
                for file in (low, high):
                    await _cache(ours, file, media)
                for _ in range(RUNS):
                    routine, at_ns = await ours.order("play", {"media": digest_of(low)})
                    cold_ns.append(at_ns)
                    await ours.until(routine, OrderState.EXECUTING)
                    await asyncio.to_thread(pause, 4.0)
                    urgent, at_ns = await ours.order("play", {"media": digest_of(high)}, Precedence.EMERGENCY)
                    urgent_ns.append(at_ns)
                    await ours.until(urgent)
                    await asyncio.to_thread(pause, 1.0)
                    stop, at_ns = await ours.order("stop", {"order": routine}, Precedence.EMERGENCY)
                    stop_ns.append(at_ns)
                    await ours.until(stop)
                    await asyncio.to_thread(pause, 3.0)
            sim_dir = node.sim_dir
            await asyncio.to_thread(pause, 1.0)
            node.process.terminate()
            node.process.wait(20)
            heard, start_ns = hear(sim_dir)
    level = np.abs(heard)
    high_band = np.abs(np.diff(heard)) > 0.6 * 2 * np.pi * 2400 / RATE_HZ * float(level.max()) / 3
    return (
        [ms - SETTLING_S * 1000 for ms in _first(level > AUDIBLE, cold_ns, start_ns)],
        _first(high_band, urgent_ns, start_ns),
        [_silence(level, at_ns, start_ns) for at_ns in stop_ns],
    )


async def _cache(ours: Server, file: Path, media: str) -> None:
    order, _ = await ours.order(
        "play", {"media": digest_of(file), "url": f"{media}/{file.name}", "volume": 0}
    )
    await ours.until(order, OrderState.EXECUTING)
    stop, _ = await ours.order("stop", {"order": order}, Precedence.EMERGENCY)
    await ours.until(stop)
    await asyncio.to_thread(pause, 3.0)


def _first(flags: np.ndarray, at_ns: Sequence[int], start_ns: int) -> list[float]:
    """For each instant, ms until the first True at or after it."""
    where = np.flatnonzero(flags)
    found = []
    for instant in at_ns:
        index = (instant - start_ns) * RATE_HZ / NS
        later = where[where >= index]
        found.append((float(later[0]) - index) / RATE_HZ * 1000)
    return found


def _silence(level: np.ndarray, at_ns: int, start_ns: int) -> float:
    """Ms from an instant until nothing audible follows for half a second."""
    index = int((at_ns - start_ns) * RATE_HZ / NS)
    loud = np.flatnonzero(level[index : index + 2 * RATE_HZ] > AUDIBLE)
    return float(loud[-1]) / RATE_HZ * 1000 if len(loud) else 0.0


def _tone(path: Path, hertz: float, length_s: float) -> None:
    import wave

    t = np.arange(int(length_s * RATE_HZ)) / RATE_HZ
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((np.sin(2 * np.pi * hertz * t) * 12000).astype("<i2").tobytes())


if __name__ == "__main__":
    main()
