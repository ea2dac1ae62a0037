"""Noise at full scale is stopped within a second; whatever a village really hears is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_agent.model import RATE_HZ, Precedence
from edge_agent.playout.announcement import attention
from edge_agent.playout.noise import Fault, NoiseWatch
from edge_agent.playout.settings import LevelSettings
from tests.playout.media import speech_like, tone
from tests.playout.test_leveller import voice

if TYPE_CHECKING:
    from hal.ports import Frames


def verdict(frames: Frames, block: int = 4_800) -> tuple[Fault | None, float]:
    """What was found, and after how many seconds."""
    watch = NoiseWatch()
    for at in range(0, frames.size, block):
        fault = watch.take(frames[at : at + block])
        if fault is not None:
            return fault, (at + block) / RATE_HZ
    return None, frames.size / RATE_HZ


def white(seconds: float, rms: float, seed: int = 1) -> Frames:
    frames = np.random.default_rng(seed).normal(0, rms, round(seconds * RATE_HZ))
    return np.clip(frames, -1, 1).astype(np.float32)


def garbage(seconds: float) -> Frames:
    """Compressed bytes taken for 16-bit samples: the classic accident."""
    octets = np.random.default_rng(2).integers(0, 256, round(seconds * RATE_HZ) * 2, dtype=np.uint8)
    return (octets.view("<i2") / 32768).astype(np.float32)


@pytest.mark.parametrize(
    ("frames", "fault"),
    [
        (white(3, 0.5), Fault.NOISE),
        (white(3, 0.3), Fault.NOISE),
        (garbage(3), Fault.NOISE),
        (np.full(3 * RATE_HZ, 1.0, np.float32), Fault.RAIL),
        (np.sign(tone(3, hz=120.0)).astype(np.float32), Fault.SQUARE),
        (np.clip(tone(3, level=8.0), -1, 1), Fault.SQUARE),
    ],
    ids=["white", "less", "garbage", "rail", "square", "overdriven"],
)
@pytest.mark.parametrize("block", [960, 4_800, 19_200])
def test_dangerous_noise_is_stopped_within_a_second(frames: Frames, fault: Fault, block: int) -> None:
    found, after_s = verdict(frames, block)
    assert found is fault
    assert after_s <= 0.8 + block / RATE_HZ


@pytest.mark.parametrize(
    "frames",
    [
        voice() * np.float32(3.0),
        np.clip(voice() * np.float32(8.0), -1, 1),
        speech_like(5.0, rms=0.3),
        attention(Precedence.EMERGENCY, LevelSettings(target_lufs=-10.0)),
        tone(5.0, hz=880.0, level=0.97),
        tone(5.0, hz=100.0, level=0.9) * np.float32(0.5) + tone(5.0, hz=4_000.0, level=0.4),
        white(5.0, 0.1),
        np.zeros(5 * RATE_HZ, np.float32),
    ],
    ids=["loud voice", "shouting", "speech", "attention", "siren", "chord", "rain", "silence"],
)
def test_what_a_village_hears_is_not_stopped(frames: Frames) -> None:
    assert verdict(frames)[0] is None


def test_a_burst_of_noise_passes() -> None:
    burst = np.concatenate((speech_like(2.0), white(0.5, 0.4), speech_like(2.0)))
    assert verdict(burst)[0] is None


def test_it_does_not_forget() -> None:
    watch = NoiseWatch()
    assert watch.take(white(2.0, 0.5)) is Fault.NOISE
    assert watch.take(np.zeros(RATE_HZ, np.float32)) is Fault.NOISE
