"""A live voice of any level comes to the target and stays there; pauses and hum do not move it."""

from __future__ import annotations

import io
import shutil
import subprocess
from functools import cache
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

from edge_agent.model import RATE_HZ
from edge_agent.playout import loudness
from edge_agent.playout.leveller import Leveller
from edge_agent.playout.loud import CELL_FRAMES, lufs, power
from tests.playout.media import speech_like, tone, wav

if TYPE_CHECKING:
    from hal.ports import Frames

TARGET_LUFS = -17.0
WORDS = (
    "Kính thưa bà con, hôm nay xã tổ chức tiêm phòng cho trẻ em dưới năm tuổi tại trạm y tế. "
    "Đề nghị các gia đình đưa trẻ đến đúng giờ, mang theo sổ tiêm chủng. "
    "Trong những ngày tới có mưa to, bà con chú ý chằng chống nhà cửa và theo dõi tin của xã. "
)


@cache
def voice() -> Frames:
    """A real synthetic voice, about half a minute at 48 kHz, near the target."""
    if shutil.which("espeak-ng") is None:
        return speech_like(30.0)
    said = subprocess.run(
        ["espeak-ng", "-v", "vi", "--stdout"], input=(WORDS * 2).encode(), capture_output=True, check=True
    )
    with av.open(io.BytesIO(said.stdout)) as file:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE_HZ)
        parts = [out.to_ndarray()[0] for frame in file.decode(audio=0) for out in resampler.resample(frame)]
    frames: Frames = np.concatenate(parts).astype(np.float32)
    return at_loudness(frames, TARGET_LUFS)


def measured(frames: Frames) -> float:
    found = loudness.measure_now(io.BytesIO(wav(np.clip(frames, -1, 1))), 120).lufs
    assert found is not None
    return found


def at_loudness(frames: Frames, wanted: float) -> Frames:
    quiet = frames * np.float32(0.1)
    return quiet * np.float32(10 ** ((wanted - measured(quiet)) / 20))


def levelled(frames: Frames, block: int = 4_800, leveller: Leveller | None = None) -> Frames:
    leveller = leveller or Leveller()
    out = [leveller.process(frames[at : at + block]) for at in range(0, frames.size, block)]
    return np.concatenate(out)


def test_a_moment_is_as_loud_as_the_standard_says() -> None:
    """997 Hz at full scale is -3.01 LUFS; and on a voice it agrees with FFmpeg's meter."""
    sine = tone(1.0, level=1.0)
    assert lufs(power(sine[:CELL_FRAMES])) == pytest.approx(-3.01, abs=0.1)
    frames = voice()
    cells = frames[: frames.size // CELL_FRAMES * CELL_FRAMES].reshape(-1, CELL_FRAMES)
    moments = np.convolve([power(cell) for cell in cells], np.full(4, 0.25), "valid")
    kept = moments[moments > moments.mean() / 10]
    assert lufs(float(kept.mean())) == pytest.approx(measured(frames), abs=0.3)


@pytest.mark.parametrize("level", [-37.0, -29.0, -23.0, -20.0, -17.0, -14.0, -11.0])
def test_a_voice_of_any_level_is_within_one_lu_of_the_target_once_settled(level: float) -> None:
    out = levelled(at_loudness(voice(), level))
    settled = out[out.size // 2 :]
    assert measured(settled) == pytest.approx(TARGET_LUFS, abs=1.0)


def test_it_moves_no_faster_than_it_may() -> None:
    """Up at 3 dB/s and the trim's 1, down at 10 and 1."""
    quiet, loud = tone(4.0, level=0.05), tone(4.0, level=0.7)
    leveller = Leveller()
    gains = []
    for frames in (quiet, loud):
        for at in range(0, frames.size, CELL_FRAMES):
            leveller.process(frames[at : at + CELL_FRAMES])
            gains.append(leveller.gain_db)
    steps = np.diff(gains)
    assert steps.max() <= 0.4 + 1e-6
    assert steps.min() >= -1.1 - 1e-6
    assert max(gains) > 6
    assert gains[-1] < -5


def test_silence_breath_and_hum_leave_the_gain_where_it_is() -> None:
    leveller = Leveller()
    levelled(tone(5.0, level=0.1), leveller=leveller)
    before = leveller.gain_db
    assert before > 2
    hum = tone(20.0, hz=100.0, level=0.005)
    assert leveller.process(hum).size == hum.size
    assert leveller.gain_db == pytest.approx(before, abs=0.5)


def test_a_gain_that_moves_makes_no_step() -> None:
    """Blocks of any size: the gain is continuous across their edges."""
    frames = np.where(tone(2.0, hz=1000.0) >= 0, np.float32(0.02), np.float32(-0.02))
    factor = levelled(frames, block=1_234) / frames
    assert np.abs(np.diff(factor)).max() < 1e-3


def test_what_needs_no_gain_passes_untouched() -> None:
    frames = np.zeros(RATE_HZ, np.float32)
    assert Leveller().process(frames) is frames
