"""The recorder: what virtual hardware did, as files an outsider can measure."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
import wave
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from hal.linux.clock import SystemClock
from hal.ports import LineSpec
from hal.sim.clock import VirtualClock
from hal.sim.gpio import VirtualLines
from hal.sim.loop import NS, Counter, run
from hal.sim.record import _MOST_FRAMES, Recorder
from hal.sim.sound import VirtualCard

RATE = 48_000


class Stage:
    """A recorder at a virtual card and virtual lines, in virtual time."""

    def __init__(self, sim_dir: Path, *, drift_ppm: float = 0.0) -> None:
        self.dir = sim_dir
        self.counter = Counter()
        self.clock = VirtualClock(self.counter)
        self.start_ns = self.counter.ns
        self.recorder = Recorder(sim_dir, self.clock)
        self.card = VirtualCard(self.clock, self.recorder, drift_ppm)
        self.lines = VirtualLines(self.clock, watches=[self.recorder])

    def play(self, main: Any) -> None:
        run(main, self.counter)

    async def open(self) -> Any:
        return await self.card.open(rate_hz=RATE, period_frames=960, ring_frames=7_200)

    def facts(self) -> dict[str, Any]:
        return dict(json.loads((self.dir / "heard.json").read_text()))

    def line_records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.dir / "lines.jsonl").read_text().splitlines()]


def read_wav(path: Path) -> npt.NDArray[np.int16]:
    with wave.open(str(path)) as reader:
        assert (reader.getframerate(), reader.getnchannels(), reader.getsampwidth()) == (RATE, 1, 2)
        raw = reader.readframes(reader.getnframes())
        assert len(raw) == 2 * reader.getnframes(), "the header promises more than the file holds"
    return np.frombuffer(raw, dtype="<i2")


def ramp(count: int) -> npt.NDArray[np.float32]:
    """Frames that are all different and never zero, so that one cut or doubled would show."""
    return ((np.arange(count) % 30_000 + 1) / 32_767).astype(np.float32)


def test_a_recording_is_continuous_and_each_frame_lies_at_its_time(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "sim")

    async def main() -> None:
        await asyncio.sleep(1.0)
        stream = await stage.open()
        await asyncio.sleep(0.25)
        await stream.write(ramp(20_000))
        await stream.drain()
        await asyncio.sleep(0.5)
        await stream.close()
        await asyncio.sleep(0.5)
        again = await stage.open()
        await again.write(ramp(4_800))
        await again.drain()
        await again.close()
        await asyncio.sleep(1.0)

    stage.play(main())
    stage.recorder.close()
    heard = read_wav(stage.dir / "heard.wav")
    expected = np.concatenate(
        [np.zeros(60_000), np.arange(1, 20_001), np.zeros(48_000), np.arange(1, 4_801), np.zeros(48_000)]
    )
    assert len(heard) == pytest.approx(len(expected), abs=5)
    (first, second) = np.flatnonzero(heard == 1)
    assert first == pytest.approx(60_000, abs=3)
    assert second == pytest.approx(128_000, abs=5)
    np.testing.assert_array_equal(heard[first : first + 20_000], np.arange(1, 20_001))
    np.testing.assert_array_equal(heard[second : second + 4_800], np.arange(1, 4_801))
    assert np.count_nonzero(heard) == 24_800


def test_the_facts_tell_start_sessions_and_underruns(tmp_path: Path) -> None:
    stage = Stage(tmp_path)

    async def main() -> None:
        stream = await stage.open()
        await stream.write(ramp(4_800))
        await asyncio.sleep(0.3)
        await stream.write(ramp(4_800))
        await stream.drain()
        await stream.close()

    stage.play(main())
    stage.recorder.close()
    facts = stage.facts()
    assert facts["rate_hz"] == RATE
    assert facts["channels"] == 1
    assert facts["start_monotonic_ns"] == stage.start_ns
    assert facts["start_wall_ns"] == int(VirtualClock(Counter()).utc_now().timestamp()) * NS
    assert facts["underruns"] == 1
    assert facts["inserted_silence_frames"] == pytest.approx(0.2 * RATE, abs=2)
    (session,) = facts["sessions"]
    assert session["frames"] == 9_600
    assert session["opened_ns"] == stage.start_ns
    assert session["closed_ns"] == pytest.approx(stage.start_ns + 0.4 * NS, abs=NS / 1000)
    heard = read_wav(stage.dir / "heard.wav")
    (first, second) = np.flatnonzero(heard == 1)
    assert second - first == pytest.approx(0.3 * RATE, abs=2), "inserted silence lies where it was heard"


def test_hundreds_of_sessions_never_cut_a_frame_nor_lose_the_time(tmp_path: Path) -> None:
    stage = Stage(tmp_path)

    async def main() -> None:
        for index in range(300):
            stream = await stage.open()
            await stream.write(ramp(1_000 + index))
            await stream.drain()
            await stream.close()
            await asyncio.sleep(0.0123 if index % 2 else 0)

    stage.play(main())
    stage.recorder.close()
    heard = read_wav(stage.dir / "heard.wav")
    starts = np.flatnonzero(heard == 1)
    assert len(starts) == 300
    for index, start in enumerate(starts.tolist()):
        np.testing.assert_array_equal(heard[start : start + 1_000 + index], np.arange(1, 1_001 + index))
    assert stage.facts()["session_count"] == 300
    assert len(heard) == pytest.approx((stage.counter.ns - stage.start_ns) * RATE / NS, abs=960)


def test_a_drifting_card_comes_back_to_the_clock_in_its_pauses(tmp_path: Path) -> None:
    stage = Stage(tmp_path, drift_ppm=20_000)

    async def main() -> None:
        stream = await stage.open()
        for _ in range(4):
            await stream.write(ramp(30_000))
            await stream.drain()
            await asyncio.sleep(1.0)
        await stream.close()

    stage.play(main())
    stage.recorder.close()
    starts = np.flatnonzero(read_wav(stage.dir / "heard.wav") == 1)
    spoken_s = 30_000 / (RATE * 1.02)
    for index, start in enumerate(starts.tolist()):
        assert start == pytest.approx(index * (1 + spoken_s) * RATE, abs=1_000)


def test_the_file_is_readable_while_it_is_written(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    assert len(read_wav(stage.dir / "heard.wav")) == 0

    async def main() -> None:
        stream = await stage.open()
        for second in range(1, 6):
            await stream.write(ramp(RATE))
            heard = read_wav(stage.dir / "heard.wav")
            assert len(heard) >= (second - 1) * RATE
            assert stage.facts()["frames"] == len(heard)

    stage.play(main())
    stage.recorder.close()


def test_an_idle_hour_costs_no_disk_until_close_and_little_after(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.counter.advance(3600 * NS)
    assert (stage.dir / "heard.wav").stat().st_size == 44
    stage.recorder.close()
    stat = (stage.dir / "heard.wav").stat()
    assert stat.st_size == 44 + 2 * 3600 * RATE
    assert stat.st_blocks * 512 < 1_000_000, "silence is a hole in the file"


def test_what_no_wav_can_hold_is_counted_and_the_file_stays_valid(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.counter.advance(_MOST_FRAMES * NS // RATE)

    async def main() -> None:
        stream = await stage.open()
        await stream.write(ramp(RATE))
        await stream.close()

    stage.play(main())
    stage.recorder.close()
    assert stage.facts()["frames_not_kept"] > 0
    with wave.open(str(stage.dir / "heard.wav")) as reader:
        assert reader.getnframes() == _MOST_FRAMES


def test_loud_frames_are_clipped_not_wrapped(tmp_path: Path) -> None:
    stage = Stage(tmp_path)

    async def main() -> None:
        stream = await stage.open()
        await stream.write(np.array([1.5, 1.0, 0.5, -1.0, -1.5], dtype=np.float32))
        await stream.drain()

    stage.play(main())
    stage.recorder.close()
    heard = read_wav(stage.dir / "heard.wav")
    assert heard[:5].tolist() == [32767, 32767, 16384, -32767, -32767]


def test_every_change_of_a_line_is_one_flushed_json_line(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    relay = stage.lines.output(LineSpec(name="relay", chip=0, offset=5, active_low=True))
    assert len(stage.line_records()) == 1
    stage.counter.advance(NS)
    relay.set(active=True)
    records = stage.line_records()
    wall = int(stage.clock.utc_now().timestamp()) * NS
    assert records == [
        {
            "mono_ns": stage.start_ns,
            "wall_ns": wall - NS,
            "line": "relay",
            "active": False,
            "level": 1,
        },
        {"mono_ns": stage.start_ns + NS, "wall_ns": wall, "line": "relay", "active": True, "level": 0},
    ]
    stage.lines.close()
    stage.recorder.close()
    stage.recorder.close()
    assert stage.line_records()[-1]["active"] is False


_KILLED = """
import asyncio, sys
from pathlib import Path
import numpy as np
from hal.linux.clock import SystemClock
from hal.sim.record import Recorder
from hal.sim.sound import VirtualCard

async def main() -> None:
    clock = SystemClock()
    card = VirtualCard(clock, Recorder(Path(sys.argv[1]), clock))
    stream = await card.open(rate_hz=48_000, period_frames=960, ring_frames=7_200)
    print("playing", flush=True)
    while True:
        await stream.write(np.full(960, 0.25, dtype=np.float32))

asyncio.run(main())
"""


@pytest.mark.realtime
def test_a_killed_process_leaves_a_readable_file_that_ends_a_second_ago_at_most(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(tmp_path)],
        cwd=root,
        env={"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(2.5)  # noqa: TID251 - a process that is killed lives in real time
    process.kill()
    process.wait()
    killed_ns = SystemClock().monotonic_ns()
    process.stdout.close()
    heard = read_wav(tmp_path / "heard.wav")
    facts = json.loads((tmp_path / "heard.json").read_text())
    end_ns = facts["start_monotonic_ns"] + len(heard) * NS // RATE
    assert killed_ns - end_ns < 1.2 * NS
    assert np.count_nonzero(heard) >= 1.2 * RATE
