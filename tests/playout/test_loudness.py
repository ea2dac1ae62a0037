"""Loudness is measured as FFmpeg measures it, once, at a bounded cost."""

from __future__ import annotations

import asyncio
import io
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np
import pytest

from edge_agent.errors import MediaRefused
from edge_agent.model import ReasonCode
from edge_agent.playout.loudness import Loudness, measure
from edge_agent.playout.settings import LevelSettings
from tests.playout import media

if TYPE_CHECKING:
    from hal.ports import Frames

FFMPEG = shutil.which("ffmpeg")


def measured(frames: Frames, *, seconds: float = 120.0) -> Loudness:
    return asyncio.run(measure(io.BytesIO(media.wav(frames)), seconds=seconds))


@pytest.mark.skipif(FFMPEG is None, reason="the ffmpeg program, the other opinion, is not installed")
@pytest.mark.parametrize("rms", [0.02, 0.1, 0.3])
def test_it_agrees_with_ffmpeg(tmp_path: Path, rms: float) -> None:
    frames = media.speech_like(8.0, rms=rms)
    frames[4 * 48_000 : 6 * 48_000] *= 0.01
    frames = np.clip(frames, -1, 1)
    path = tmp_path / "a.wav"
    path.write_bytes(media.wav(frames))
    command = ["ffmpeg", "-hide_banner", "-nostats", "-i", str(path), "-af", "ebur128", "-f", "null", "-"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    theirs = float(re.findall(r"I:\s+(-?[\d.]+) LUFS", said)[-1])
    ours = measured(frames).lufs
    assert ours == pytest.approx(theirs, abs=0.2)


def test_a_sine_of_known_loudness() -> None:
    """ITU-R BS.1770: 997 Hz at 0 dBFS in one channel is -3.01 LUFS."""
    tone = measured(media.tone(5.0, level=0.1))
    assert tone.lufs == pytest.approx(-23.01, abs=0.05)
    assert tone.peak_dbfs == pytest.approx(-20.0, abs=0.05)
    assert tone.duration_s == 5.0
    assert tone.codec == "pcm_s16le"


def test_only_the_beginning_of_a_long_programme_is_measured() -> None:
    tape = media.stretched_wav(36_000)
    loudness = asyncio.run(measure(cast("BinaryIO", tape), seconds=10))
    assert loudness.duration_s == pytest.approx(36_000)
    assert loudness.measured_s < 11
    assert loudness.lufs is not None


@pytest.mark.parametrize("seconds", [0.05, 0.3, 0.5])
def test_a_very_short_programme_is_measured_too(seconds: float) -> None:
    loudness = measured(media.tone(seconds, level=0.2))
    assert loudness.duration_s == pytest.approx(seconds)


def test_silence_has_no_loudness_and_gets_no_gain() -> None:
    silence = measured(np.zeros(48_000, np.float32))
    assert silence.lufs is None
    assert silence.peak_dbfs is None
    assert LevelSettings().gain_db(silence.lufs) == 0.0


@pytest.mark.parametrize(
    ("lufs", "gain_db"), [(-17.0, 0.0), (-23.0, 6.0), (-9.0, -8.0), (-40.0, 20.0), (-51.0, 0.0), (None, 0.0)]
)
def test_the_gain_brings_it_to_the_target_within_bounds(lufs: float | None, gain_db: float) -> None:
    assert LevelSettings().gain_db(lufs) == gain_db


@pytest.mark.parametrize("content", [b"", b"not audio" * 1000, media.wav(np.zeros(0, np.float32))])
def test_what_is_not_audio_is_refused(content: bytes) -> None:
    with pytest.raises(MediaRefused) as refused:
        asyncio.run(measure(io.BytesIO(content)))
    assert refused.value.code is ReasonCode.NO_MEDIA
