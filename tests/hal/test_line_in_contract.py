"""The promise of `hal.ports.LineInput`, kept by the virtual input and by PortAudio.

PortAudio records the monitor of a private PulseAudio's null sink, in a process of its own because it reads its
surroundings once. Both are held to the same scenes (`line_in_scenes`).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hal.sim.clock import VirtualClock
from hal.sim.line_in import VirtualLineIn
from hal.sim.loop import Counter, run
from tests.hal import line_in_scenes as scenes
from tests.hal.pulse import PulseDaemon, missing

if TYPE_CHECKING:
    from hal.ports import Frames

RATE = 48_000

Told = tuple[dict[str, Any], "Frames"]
Play = Callable[[str], Told]


def virtual(scene: str, befalls: str = "unplug") -> Told:
    counter = Counter()
    clock = VirtualClock(counter)
    line_in = VirtualLineIn(clock, name="village")
    line_in.faults.missing = scene == "is_missing"

    async def say(frames: Frames) -> None:
        await asyncio.sleep(0.3)
        line_in.plays(frames)

    async def accident() -> None:
        await asyncio.sleep(1)
        getattr(line_in, befalls)()

    async def main() -> Told:
        async with asyncio.TaskGroup() as tasks:
            if scene == "is_lost":
                tasks.create_task(accident())
            return await scenes.SCENES[scene](line_in, say, clock.monotonic_ns)

    return run(main(), counter)


def start(daemon: PulseDaemon, scene: str, device: str, path: Path) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, str(scenes.__file__), scene, device, str(path)],
        env=daemon.environment() | {"PYTHONPATH": str(root)},
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # ALSA is loud about what it does not find
        text=True,
    )


def ended(process: subprocess.Popen[str], path: Path) -> Told:
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    return json.loads(out.splitlines()[-1]), np.fromfile(path, np.float32)


@pytest.fixture(scope="module")
def daemon() -> Iterator[PulseDaemon]:
    if (why := missing()) is not None:
        pytest.skip(f"PortAudio cannot listen here: {why}")
    with PulseDaemon() as daemon, daemon.record():
        daemon.settled()
        yield daemon


@pytest.fixture(params=["virtual", pytest.param("portaudio", marks=pytest.mark.realtime)])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Play:
    if request.param == "virtual":
        return virtual
    daemon = request.getfixturevalue("daemon")

    def real(scene: str) -> Told:
        device = "nowhere" if scene == "is_missing" else "village"
        return ended(start(daemon, scene, device, tmp_path / "heard"), tmp_path / "heard")

    return real


def test_what_is_said_is_heard_whole_at_the_pace_of_sound(play: Play) -> None:
    facts, heard = play("hears")
    said = scenes.chirp()
    size = 1 << (said.size + heard.size).bit_length()
    found = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(said, size)), size)
    at = int(np.argmax(found[: heard.size - said.size]))
    np.testing.assert_allclose(heard[at : at + said.size], said, atol=1e-3)
    assert facts["forms"] == ["1 float32"]
    assert facts["sizes"][0] >= 1
    assert facts["sizes"][1] <= 24_000
    assert facts["discarded"] == 0
    assert facts["close_s"] < 0.5
    assert facts["frames"] / RATE == pytest.approx(facts["seconds"], abs=0.3)


def test_half_a_second_waits_for_its_reader_and_the_rest_is_counted(play: Play) -> None:
    facts, _ = play("is_not_read")
    assert 20_000 < facts["waited"] <= 24_000
    assert facts["discarded"] == pytest.approx(RATE, abs=0.3 * RATE)
    assert 0 < facts["after"] < 12_000


def test_one_capture_at_a_time(play: Play) -> None:
    facts, heard = play("is_one_capture")
    assert "open already" in facts["refused"]
    assert heard.size


def test_cancelled_reads_lose_nothing_and_cancelled_opens_leave_the_device_free(play: Play) -> None:
    facts, heard = play("is_cancelled")
    assert facts["opened"] == 5
    assert heard.size


def test_a_missing_input_is_named_with_what_is_there(play: Play) -> None:
    facts, _ = play("is_missing")
    assert "no input device is called" in facts["refused"]


def _is_lost(facts: dict[str, Any], *, within_s: float) -> None:
    assert len(facts["refused"]) == 2, "once lost it is lost ever after"
    assert "the sound input failed while it was open" in facts["refused"][0]
    assert facts["seconds"] < within_s
    assert facts["close_s"] < 3


def test_a_virtual_input_is_lost_at_once_when_unplugged_and_after_three_seconds_of_nothing() -> None:
    _is_lost(virtual("is_lost")[0], within_s=1)
    facts, _ = virtual("is_lost", befalls="stall")
    _is_lost(facts, within_s=5)
    assert "nothing has come from it for 3 s" in facts["refused"][0]
    assert facts["seconds"] == pytest.approx(3.5, abs=0.1)


@pytest.mark.realtime
@pytest.mark.parametrize("what", [signal.SIGKILL, signal.SIGSTOP])
def test_an_input_whose_server_dies_or_hangs_is_lost_soon(what: signal.Signals, tmp_path: Path) -> None:
    if (why := missing()) is not None:
        pytest.skip(f"PortAudio cannot listen here: {why}")
    with PulseDaemon() as daemon:
        process = start(daemon, "is_lost", "village", tmp_path / "heard")
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
        os.kill(daemon.pid, what)
        _is_lost(ended(process, tmp_path / "heard")[0], within_s=5)


def test_a_silent_input_is_there_and_gives_zeros() -> None:
    counter = Counter()
    line_in = VirtualLineIn(VirtualClock(counter))
    line_in.faults.silent = True

    async def story() -> Frames:
        capture = await line_in.open()
        heard = await capture.read()
        line_in.faults.silent = False
        assert np.abs(await capture.read()).max() > 0.01, "a hum, unless a test says otherwise"
        return heard

    heard = run(story(), counter)
    assert heard.size
    assert not heard.any()
