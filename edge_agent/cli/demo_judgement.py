"""The demo's result: every value measured from what the card, the lines and the board emulator received."""

from __future__ import annotations

import json
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_agent.cli.demo_run import Play
from edge_agent.cli.demo_scene import Scene, Tail
from edge_agent.cli.demo_verdict import RATE_HZ, SILENT, Airing, Frames, airing, block_rms
from edge_agent.model import NS
from edge_agent.playout.sources import open_media
from hal.sim.checkers import AmplifierRule, amplifier_walk, silent_unless_live

MISSING_MS_MAX = 60.0
"""An ear cannot tell; more than this at an interruption is a fault."""


@dataclass(frozen=True, slots=True)
class _Change:
    """One line of lines.jsonl, as the checkers want it."""

    at_ns: int
    line: str
    active: bool


async def judge(play: Play, scene: Scene) -> dict[str, Any]:
    """Compare the recordings with the originals."""
    heard, start_ns = hear(play.sim_dir)
    bulletin = airing(heard, await decode(play.bulletin))
    alarm = airing(heard, await decode(play.alarm))
    faults = _amplifier_faults(play.sim_dir, heard, start_ns)
    pages, violations = _board(play.sim_dir)
    aired = [part for part, verdict in (("bulletin", bulletin), ("alarm", alarm)) if verdict.complete]
    gaps = [*bulletin.gaps_ms, *alarm.gaps_ms]
    preempted = bulletin.found and alarm.found and bulletin.begin < alarm.begin and _cut_by(bulletin, alarm)
    resumed = preempted and (bulletin.resumed or _went_on(bulletin, alarm, heard))
    good = (
        alarm.complete and (bulletin.complete or play.stopped_early) and preempted and resumed and not gaps
        and abs(bulletin.missing_ms) <= MISSING_MS_MAX and bulletin.head_ms_lost == alarm.head_ms_lost == 0
        and not faults and pages > 0 and not violations and play.agent_exit == 0
    )  # fmt: skip
    return {
        "ok": bool(good),
        "aired": len(aired),
        "preempted": int(preempted),
        "resumed": int(resumed),
        "gaps_ms": round(sum(gaps), 1),
        "missing_ms": bulletin.missing_ms,
        "head_ms_lost": max(bulletin.head_ms_lost, alarm.head_ms_lost),
        "peak_dbfs": _dbfs(float(np.abs(heard).max(initial=0.0))),
        "bulletin_stopped_early": play.stopped_early,
        "board_pages": pages,
        "board_violations": violations,
        "amplifier_faults": len(faults),
        "amplifier_fault_texts": faults[:10],
        "orders": {part: scene.states.get(order, []) for part, order in play.order_of.items()},
        "as_run": {part: scene.asrun.get(order, {}).get("outcome") for part, order in play.order_of.items()},
        "agent_exit": play.agent_exit,
        "seconds": round(play.elapsed_s, 1),
        "heard_wav": str(play.sim_dir / "heard.wav"),
        "board_dir": str(play.sim_dir / "board"),
    }


def hear(sim_dir: Path) -> tuple[Frames, int]:
    """The recording of the virtual card, and the CLOCK_BOOTTIME ns of its first frame."""
    with wave.open(str(sim_dir / "heard.wav")) as recording:
        assert recording.getframerate() == RATE_HZ
        raw = recording.readframes(recording.getnframes())
    start_ns = json.loads((sim_dir / "heard.json").read_text())["start_monotonic_ns"]
    frames = np.frombuffer(raw, dtype="<i2").astype(np.float32) / np.float32(32768)
    return frames, int(start_ns)


async def decode(file: Path) -> Frames:
    """A whole programme, decoded as the node does."""
    with file.open("rb") as reader:
        source = await open_media(reader, 0.0)
        blocks = []
        try:
            while len(block := await source.read(RATE_HZ)):
                blocks.append(np.array(block, dtype=np.float32))
        finally:
            await source.close()
    return np.concatenate(blocks) if blocks else np.zeros(0, dtype=np.float32)


def _cut_by(bulletin: Airing, alarm: Airing) -> bool:
    return bulletin.interrupted and alarm.begin < bulletin.end


def _went_on(bulletin: Airing, alarm: Airing, heard: Frames) -> bool:
    """For a programme that was stopped early: something sounded after the alarm."""
    return not bulletin.complete and bool((block_rms(heard[alarm.end :]) > SILENT).any())


def _amplifier_faults(sim_dir: Path, heard: Frames, start_ns: int) -> list[str]:
    changes = [_Change(c["mono_ns"], c["line"], c["active"]) for c in Tail(sim_dir / "lines.jsonl").news()]
    end_ns = start_ns + len(heard) * NS // RATE_HZ
    live, faults = amplifier_walk(changes, AmplifierRule(), end_ns)
    audible = block_rms(heard) > SILENT
    edges = np.flatnonzero(np.diff(np.concatenate(([0], audible.astype(np.int8), [0]))))
    grain_ns = NS // 100
    loud = [(start_ns + int(a) * grain_ns, start_ns + int(b) * grain_ns) for a, b in edges.reshape(-1, 2)]
    return faults + silent_unless_live(loud, live)


def _board(sim_dir: Path) -> tuple[int, list[str]]:
    """How many different pages were shown, and what the emulator had to object to."""
    events = Tail(sim_dir / "board" / "board.jsonl").news()
    pages = {event["file"] for event in events if event["event"] == "shown" and event["lit"]}
    return len(pages), [text for event in events for text in event["violations"]]


def _dbfs(amplitude: float) -> float:
    return round(20 * float(np.log10(max(amplitude, 1e-6))), 1)
