"""Programmes for the flows, made once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.flows.scene import Asset, Village
from tests.playout.media import encoded, wav

if TYPE_CHECKING:
    from hal.ports import Frames

RATE_HZ = 48_000


@dataclass(frozen=True)
class Programme:
    """A file, and the frames that are in it."""

    name: str
    frames: Frames
    blob: bytes

    def on(self, village: Village) -> Asset:
        """Put it on the village's server."""
        return village.put(self.name, self.blob)


def noise(name: str, seconds: float, *, seed: int) -> Programme:
    """Quiet noise, no two frames alike and none of them zero, so that a missing one is seen."""
    rng = np.random.default_rng(seed)
    samples = rng.uniform(-0.1, 0.1, round(seconds * RATE_HZ))
    samples = np.where(np.abs(samples) < 0.002, 0.002, samples)
    whole = np.round(samples * 32767).astype(np.int16)
    return Programme(
        name, (whole / np.float32(32768)).astype(np.float32), wav((whole / 32767).astype(np.float32))
    )


@pytest.fixture(scope="session")
def bulletin() -> Programme:
    """Twelve seconds."""
    return noise("ban-tin.wav", 12, seed=1)


@pytest.fixture(scope="session")
def alarm() -> Programme:
    """Three seconds."""
    return noise("khan-cap.wav", 3, seed=2)


@pytest.fixture(scope="session")
def notice() -> Programme:
    """Five seconds."""
    return noise("thong-bao.wav", 5, seed=3)


@pytest.fixture(scope="session")
def short() -> Programme:
    """Half a second, for stories with many orders."""
    return noise("chuong.wav", 0.5, seed=4)


@pytest.fixture(scope="session")
def song() -> Programme:
    """Four seconds of stereo MP3 at 44.1 kHz; `frames` is what was encoded, at 48 kHz mono."""
    slow = _tune(4, 44_100)
    blob = encoded(np.stack([slow, slow]), container="mp3", codec="libmp3lame", rate_hz=44_100)
    return Programme("bai-hat.mp3", _tune(4, RATE_HZ), blob)


def _tune(seconds: float, rate_hz: int) -> Frames:
    """A rising tone that no shift turns into itself."""
    at = np.arange(round(seconds * rate_hz)) / rate_hz
    return (0.2 * np.sin(2 * np.pi * (300 * at + 150 * at**2))).astype(np.float32)


@pytest.fixture
def village() -> Village:
    """A node, a server, and nothing wrong with either."""
    return Village()
