"""What the card is given: level, peaks, ramps, and not one frame more or less."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_agent.playout.gain import RAMP_FRAMES, VOLUME_RAMP_FRAMES, GainStage, volume_factor

if TYPE_CHECKING:
    from hal.ports import Frames

RATE_HZ = 48_000
CEILING_DBTP = -1.5
TIME_S = np.arange(2 * RATE_HZ) / RATE_HZ


def through(frames: Frames, *, gain_db: float = 0.0, volume: int = 100, block: int = 4800) -> Frames:
    stage = GainStage(gain_db=gain_db, volume=volume, ceiling_dbtp=CEILING_DBTP)
    blocks = [stage.process(frames[at : at + block]) for at in range(0, frames.size, block)]
    return np.concatenate([*blocks, stage.finish()])


def noise(*, low_pass_hz: float, rms: float, seed: int = 1) -> Frames:
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(0, 1, TIME_S.size))
    spectrum[np.fft.rfftfreq(TIME_S.size, 1 / RATE_HZ) > low_pass_hz] = 0
    frames = np.fft.irfft(spectrum)
    scaled: Frames = (frames * rms / np.sqrt(np.mean(frames**2))).astype(np.float32)
    return scaled


def true_peak_db(frames: Frames, *, over: int = 4) -> float:
    """By an independent way: zero-padding the spectrum."""
    size = 1 << int(np.ceil(np.log2(frames.size + 2000)))
    spectrum = np.fft.rfft(np.concatenate((frames, np.zeros(size - frames.size))))
    padded = np.zeros(size * over // 2 + 1, complex)
    padded[: spectrum.size] = spectrum
    return 20 * float(np.log10(np.max(np.abs(np.fft.irfft(padded) * over))))


HOT = {
    "loud noise": noise(low_pass_hz=16_000, rms=1.0),
    "a tone between the samples": (1.4 * np.sin(2 * np.pi * 12_000 * TIME_S + np.pi / 4)).astype(np.float32),
    "a high tone": (1.5 * np.sin(2 * np.pi * 17_321 * TIME_S)).astype(np.float32),
    "bursts": noise(low_pass_hz=12_000, rms=1.5) * (np.sin(2 * np.pi * 3 * TIME_S) > 0.9),
    "a speech-like swell": noise(low_pass_hz=8_000, rms=1.0)
    * np.sin(2 * np.pi * 2 * TIME_S).astype(np.float32) ** 2,
    "one click": np.where(TIME_S[40_000] == TIME_S, 4.0, 0.01).astype(np.float32),
}


@pytest.mark.parametrize("name", HOT)
def test_no_true_peak_passes_the_ceiling(name: str) -> None:
    out = through(HOT[name].astype(np.float32), gain_db=12)
    limit_db = CEILING_DBTP + 0.1 if name != "one click" else CEILING_DBTP + 0.4  # a click has no band limit
    assert true_peak_db(out) <= limit_db


@pytest.mark.parametrize("block", [960, 4799, 9600])
def test_the_size_of_the_blocks_changes_nothing(block: int) -> None:
    hot = HOT["bursts"].astype(np.float32)
    np.testing.assert_allclose(through(hot, gain_db=6, block=block), through(hot, gain_db=6), atol=2e-6)


@pytest.mark.parametrize("frames", [0, 1, 100, 239, 240, 251, 252, 253, 500, 4800, 4801, 96_000])
@pytest.mark.parametrize("level", [0.1, 2.0])
def test_as_many_frames_come_out_as_went_in(frames: int, level: float) -> None:
    assert through(np.full(frames, level, np.float32)).size == frames


@pytest.mark.parametrize("at", [*range(9_590, 9_620, 3), 12_345])
def test_a_peak_is_found_wherever_it_lies_in_a_block(at: int) -> None:
    quiet = np.full(RATE_HZ // 2, 0.01, np.float32)
    quiet[at : at + 2] = 1.2
    out = through(quiet, block=9_600)
    assert np.max(np.abs(out)) <= 10 ** (CEILING_DBTP / 20)
    assert np.argmax(out) in {at, at + 1}


def test_what_is_far_from_the_ceiling_is_not_touched() -> None:
    quiet = noise(low_pass_hz=20_000, rms=0.05)
    out = through(quiet)
    np.testing.assert_array_equal(out[RAMP_FRAMES:-RAMP_FRAMES], quiet[RAMP_FRAMES:-RAMP_FRAMES])


def test_the_limiter_does_not_distort_a_steady_tone() -> None:
    tone = (1.2 * np.sin(2 * np.pi * 997 * TIME_S)).astype(np.float32)
    spectrum = np.abs(np.fft.rfft(through(tone)[RATE_HZ // 2 : RATE_HZ // 2 + RATE_HZ] * np.hanning(RATE_HZ)))
    harmonics = np.delete(spectrum, np.s_[990:1005])
    assert 20 * np.log10(harmonics.max() / spectrum.max()) < -70


def test_after_a_peak_it_lets_go_in_its_time() -> None:
    steady = (0.3 * np.sin(2 * np.pi * 1000 * TIME_S)).astype(np.float32)
    loud = steady.copy()
    loud[RATE_HZ : RATE_HZ + 480] *= 6
    out = through(loud)
    np.testing.assert_allclose(out[RATE_HZ + 12_000 : -RAMP_FRAMES], steady[RATE_HZ + 12_000 : -RAMP_FRAMES])
    np.testing.assert_array_equal(out[RAMP_FRAMES : RATE_HZ - 600], steady[RAMP_FRAMES : RATE_HZ - 600])


def test_every_edge_is_a_raised_cosine_of_5_ms() -> None:
    out = through(np.full(RATE_HZ, 0.25, np.float32))
    assert RAMP_FRAMES == 240
    assert out[0] < 0.001
    assert out[-1] < 0.001
    assert out[RAMP_FRAMES // 2] == pytest.approx(0.125, abs=0.002)
    assert np.all(out[RAMP_FRAMES:-RAMP_FRAMES] == np.float32(0.25))
    assert np.max(np.abs(np.diff(out))) < 0.25 * np.pi / 2 / RAMP_FRAMES * 1.01


def test_volume_is_in_steps_of_three_tenths_of_a_decibel() -> None:
    assert volume_factor(100) == 1.0
    assert 20 * np.log10(volume_factor(50)) == pytest.approx(-15.0)
    assert 20 * np.log10(volume_factor(1)) == pytest.approx(-29.7)
    assert volume_factor(0) == 0.0


def test_a_change_of_volume_is_ramped_over_50_ms() -> None:
    stage = GainStage(gain_db=0, volume=100, ceiling_dbtp=CEILING_DBTP)
    flat = np.full(4800, 0.25, np.float32)
    blocks = [stage.process(flat)]
    stage.set_volume(0)
    blocks += [stage.process(flat[:1000]), stage.process(flat[1000:]), stage.process(flat), stage.finish()]
    out = np.concatenate(blocks)
    assert np.all(out[4800 + VOLUME_RAMP_FRAMES :] == 0)
    assert np.max(np.abs(np.diff(out[RAMP_FRAMES:]))) < 0.25 / VOLUME_RAMP_FRAMES * 1.01
    assert out[4800 + VOLUME_RAMP_FRAMES // 2] == pytest.approx(0.125, abs=0.001)


def test_gain_and_volume_add_up() -> None:
    out = through(np.full(RATE_HZ, 0.01, np.float32), gain_db=10, volume=80)
    assert 20 * np.log10(out[RATE_HZ // 2] / 0.01) == pytest.approx(10 - 6, abs=1e-4)
