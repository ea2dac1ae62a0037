"""The demo's judge: it must see what an ear would, in recordings made to fool it."""

from __future__ import annotations

import numpy as np
import pytest

from edge_agent.cli.demo_verdict import RATE_HZ, Frames, airing, locate


def programme(seconds: float, seed: int) -> Frames:
    """Noise shaped like speech: loud syllables and pauses."""
    rng = np.random.default_rng(seed)
    frames = rng.standard_normal(int(seconds * RATE_HZ)).astype(np.float32) * 0.1
    pause = np.sin(np.arange(len(frames)) * 2 * np.pi / (0.7 * RATE_HZ)) > -0.8
    return np.asarray(frames * pause, dtype=np.float32)


BULLETIN = programme(8, 1)
ALARM = programme(3, 2)


def silence(seconds: float) -> Frames:
    return np.zeros(int(seconds * RATE_HZ), dtype=np.float32)


def test_a_programme_heard_whole_is_complete_with_no_gap() -> None:
    verdict = airing(np.concatenate([silence(2.1), BULLETIN * 0.5, silence(1)]), BULLETIN)
    assert verdict.found
    assert verdict.complete
    assert not verdict.interrupted
    assert verdict.gaps_ms == ()
    assert verdict.head_ms_lost == 0
    assert verdict.begin == pytest.approx(2.1 * RATE_HZ, abs=480)


def test_an_interruption_that_resumes_where_it_stopped_misses_nothing() -> None:
    cut = int(3.2 * RATE_HZ)
    heard = np.concatenate([silence(1), BULLETIN[:cut], silence(0.3), ALARM, silence(0.4), BULLETIN[cut:]])
    verdict = airing(heard, BULLETIN)
    assert verdict.interrupted
    assert verdict.resumed
    assert verdict.complete
    assert abs(verdict.missing_ms) <= 20
    assert verdict.gaps_ms == ()


def test_skipped_programme_is_counted_as_missing() -> None:
    cut, on = int(3.2 * RATE_HZ), int(4.0 * RATE_HZ)
    verdict = airing(np.concatenate([BULLETIN[:cut], ALARM, BULLETIN[on:]]), BULLETIN)
    assert verdict.missing_ms > 300


def test_a_hole_in_the_sound_is_a_gap() -> None:
    heard = BULLETIN.copy()
    heard[2 * RATE_HZ : int(2.1 * RATE_HZ)] = 0
    verdict = airing(heard, BULLETIN)
    assert verdict.complete
    assert sum(verdict.gaps_ms) == pytest.approx(100, abs=20)


def test_a_clipped_beginning_is_noticed() -> None:
    heard = np.concatenate([silence(1), BULLETIN])
    heard[: int(1.05 * RATE_HZ)] = 0
    assert airing(heard, BULLETIN).head_ms_lost >= 30


def test_a_programme_that_was_cut_and_never_resumed_is_not_complete() -> None:
    verdict = airing(np.concatenate([BULLETIN[: 4 * RATE_HZ], ALARM, silence(4)]), BULLETIN)
    assert verdict.found
    assert verdict.interrupted
    assert not verdict.resumed
    assert not verdict.complete


def test_another_programme_is_not_mistaken_for_it() -> None:
    assert not airing(np.concatenate([ALARM, silence(3)]), BULLETIN).found
    assert locate(silence(1), BULLETIN) == (0, 0.0)
