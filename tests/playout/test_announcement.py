"""The announcement as a source: tone, breath, words, as often as wanted, all of one loudness."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_agent.errors import MediaRefused
from edge_agent.model import RATE_HZ, Precedence
from edge_agent.playout import announcement, loudness
from edge_agent.playout.announcement import Media, Medley, Sound
from edge_agent.playout.settings import LevelSettings
from hal.sim.loop import Counter, run
from hal.sim.speech import hum
from tests.playout.media import wav

if TYPE_CHECKING:
    from hal.ports import Frames

LEVELS = LevelSettings()


async def everything(source: Medley, block: int = 9_600) -> Frames:
    blocks = []
    while (frames := await source.read(block)).size:
        assert frames.size <= block
        blocks.append(frames)
    assert not (await source.read(block)).size, "empty for ever after"
    await source.close()
    return np.concatenate(blocks)


def lufs(frames: Frames) -> float:
    measured = loudness.measure_now(io.BytesIO(wav(frames)), 120).lufs
    assert measured is not None
    return measured


def ramp(count: int, start: float = 0.0) -> Frames:
    return (start + np.arange(count) / 1e6).astype(np.float32)


def test_parts_follow_one_another_without_a_lost_or_invented_frame() -> None:
    async def story() -> None:
        first, second = ramp(12_345), ramp(777, 0.5)
        heard = await everything(Medley([Sound(first), announcement.silence(0.1), Sound(second)]))
        assert np.array_equal(heard, np.concatenate([first, np.zeros(4_800, np.float32), second]))

    run(story(), Counter())


@pytest.mark.parametrize("precedence", list(Precedence))
def test_the_tone_is_as_loud_as_any_programme_and_has_soft_edges(precedence: Precedence) -> None:
    tone = announcement.attention(precedence, LEVELS)
    assert lufs(tone) == pytest.approx(LEVELS.target_lufs, abs=1.0)
    assert abs(tone[0]) < 1e-3
    assert abs(tone[-1]) < 1e-3
    assert float(np.abs(np.diff(tone)).max()) < 0.05, "no click between two notes"


def test_an_emergency_sounds_unlike_anything_else() -> None:
    urgent, calm = (announcement.attention(p, LEVELS) for p in (Precedence.EMERGENCY, Precedence.PRIORITY))
    assert len(urgent) > 2 * len(calm)


def test_words_are_brought_to_the_target_however_quiet_the_voice_is() -> None:
    async def story() -> None:
        words = await announcement.spoken(hum("Bà con chú ý, nước đang lên", "vi"), LEVELS)
        whole = await everything(
            announcement.announcement(
                [words], precedence=Precedence.EMERGENCY, levels=LEVELS, times=1, gap_s=0
            )
        )
        spoken = whole[len(announcement.attention(Precedence.EMERGENCY, LEVELS)) + round(0.3 * RATE_HZ) :]
        assert lufs(spoken) == pytest.approx(LEVELS.target_lufs, abs=0.5)

    run(story(), Counter())


def test_each_repetition_is_the_same_and_gaps_are_silent() -> None:
    async def story() -> None:
        words = await announcement.spoken(hum("Bà con chú ý", "vi"), LEVELS)
        once, thrice = [
            await everything(
                announcement.announcement(
                    [words, words], precedence=Precedence.PRIORITY, levels=LEVELS, times=times, gap_s=2
                )
            )
            for times in (1, 3)
        ]
        gap = 2 * RATE_HZ
        assert len(thrice) == 3 * len(once) + 2 * gap
        for index in range(3):
            start = index * (len(once) + gap)
            assert np.array_equal(thrice[start : start + len(once)], once)
            assert not thrice[start + len(once) : start + len(once) + gap].any()

    run(story(), Counter())


def test_a_read_that_is_cancelled_loses_no_part() -> None:
    async def story() -> None:
        first, second = ramp(100), ramp(50_000, 0.1)
        medley = Medley([Sound(first), Media(lambda: io.BytesIO(wav(second)), 0.0)])
        assert (await medley.read(100)).size == 100
        reading = asyncio.create_task(medley.read(4_800))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
        rest = await everything(medley)
        assert np.allclose(rest, second, atol=1e-4)
        assert rest.size == second.size

    asyncio.run(story())


def test_a_part_that_is_no_sound_says_so_and_closing_twice_is_no_matter() -> None:
    async def story() -> None:
        with pytest.raises(MediaRefused):
            await announcement.spoken(b"RIFF, but no more", LEVELS)
        medley = Medley([Media(lambda: io.BytesIO(b"nothing"), 0.0)])
        with pytest.raises(MediaRefused):
            await medley.read(100)
        await medley.close()
        await medley.close()
        assert not (await medley.read(100)).size

    run(story(), Counter())
