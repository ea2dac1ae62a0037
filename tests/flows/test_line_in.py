"""A programme with the node's own input in it: in its order, over its accidents, and never without a signature."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hal.sim.loop import NS
from tests.flows import hearing
from tests.flows.conftest import Programme, noise
from tests.flows.scene import Asset, Village
from tests.flows.test_schedule import in_minutes, turns

if TYPE_CHECKING:
    from hal.ports import Frames

RATE_HZ = 48_000


@pytest.fixture(scope="module")
def speech() -> Frames:
    """Over a minute that is said into the input; no higher than a voice, so that a shift by parts of a frame is none."""
    dull = np.convolve(noise("noi.wav", 75, seed=9).frames, np.hanning(32), "same")
    loud: Frames = (dull / np.abs(dull).max() * 0.3).astype(np.float32)
    return loud


@pytest.fixture
def studio() -> Village:
    """A node with an input."""
    return Village(line_in=True)


def rule(village: Village, asset: Asset, for_s: int = 20) -> dict[str, Any]:
    programme = [
        {"media": asset.digest, "url": asset.url},
        {"line_in": True, "for_s": for_s},
        {"say": "Hết phần phát trực tiếp", "language": "vi"},
    ]
    return {"id": "truc-tiep", "at": [in_minutes(village, 3)], "programme": programme}


async def is_listened_to(village: Village) -> None:
    await village.until(lambda: village.world.line_in.capture is not None, within_s=300)


def places(heard: Frames, said: Frames) -> list[tuple[int, int]]:
    """(where heard, where said) of each second that is found, within four frames."""
    coarse, piece_size = heard[::4].astype(np.float64), 1_024
    size = 1 << (coarse.size + piece_size).bit_length()
    spectrum = np.fft.rfft(coarse, size)
    found = []
    for at in range(0, said.size - 4 * piece_size, RATE_HZ):
        piece = said[at : at + 4 * piece_size : 4]
        alike = np.fft.irfft(spectrum * np.conj(np.fft.rfft(piece, size)), size)[: coarse.size - piece_size]
        where = int(np.argmax(alike))
        window = coarse[where : where + piece_size]
        if window.any() and float(np.corrcoef(piece, window)[0, 1]) > 0.9:
            found.append((4 * where, at))
    return found


def test_recording_input_and_words_sound_in_their_order(
    studio: Village, notice: Programme, speech: Frames
) -> None:
    asset = notice.on(studio)

    async def story() -> None:
        await studio.applied("schedule", {"rules": [rule(studio, asset)]})
        await is_listened_to(studio)
        studio.world.line_in.plays(speech)
        await asyncio.sleep(100)
        entry = turns(studio)["truc-tiep"]
        assert entry["outcome"] == "AIRED"
        parts = entry["live"]["parts"]
        assert [part["part"] for part in parts] == ["1 recording", "2 linein", "3 voice"]
        assert parts[1]["sounded_ms"] == pytest.approx(20_000, abs=20)
        assert parts[1]["live"]["ended"] == "for_s"
        assert parts[2]["sounded_ms"] > 400
        assert studio.world.line_in.capture is None
        assert studio.world.line_in.opened == 1

    studio.tell(story)
    heard = hearing.recording(studio.world.lives()[-1])
    first = hearing.find(heard, notice.frames, notice.frames.size // 2).offset
    found = places(heard, speech)
    assert len(found) >= 18
    assert found[0][0] >= first + notice.frames.size
    shifts = {where - said for where, said in found}
    assert max(shifts) - min(shifts) < RATE_HZ // 1_000, "a gap, or a skip"
    assert heard.size - found[-1][0] > RATE_HZ, "the words come after it"


def test_one_that_is_unplugged_in_the_middle_is_told_of_and_the_programme_goes_on(
    studio: Village, notice: Programme
) -> None:
    asset = notice.on(studio)

    async def story() -> None:
        await studio.applied("schedule", {"rules": [rule(studio, asset)]})
        await is_listened_to(studio)
        await asyncio.sleep(10)
        studio.world.line_in.unplug()
        await asyncio.sleep(100)
        entry = turns(studio)["truc-tiep"]
        assert (entry["outcome"], entry["code"]) == ("PARTIAL", "hardware_fault")
        parts = entry["live"]["parts"]
        assert parts[1]["code"] == "hardware_fault"
        assert parts[1]["live"]["sounded_ms"] == pytest.approx(10_000, abs=1_000)
        assert "unplugged" in parts[1]["live"]["fault"] or "no input device" in parts[1]["live"]["fault"]
        assert parts[2]["sounded_ms"] > 400

    studio.tell(story)


def test_a_programme_of_an_input_that_is_not_there_never_sounded(studio: Village) -> None:
    studio.world.line_in.faults.missing = True
    alone = {"id": "mot-minh", "at": [], "programme": [{"line_in": True, "for_s": 60}]}

    async def story() -> None:
        await studio.applied("schedule", {"rules": [alone | {"at": [in_minutes(studio, 3)]}]})
        await asyncio.sleep(400)
        entry = turns(studio)["mot-minh"]
        assert (entry["outcome"], entry["code"]) == ("FAILED", "hardware_fault")

    studio.tell(story)


def test_an_emergency_takes_the_turn_and_the_input_goes_on_with_what_is_said_then(
    studio: Village, notice: Programme, alarm: Programme, speech: Frames
) -> None:
    asset, siren = notice.on(studio), alarm.on(studio)

    async def story() -> None:
        await studio.applied("schedule", {"rules": [rule(studio, asset, for_s=60)]})
        await is_listened_to(studio)
        studio.world.line_in.plays(speech)
        await asyncio.sleep(15)
        order = studio.play(siren, "emergency")
        await studio.until(lambda: studio.world.line_in.capture is None, within_s=10)
        await is_listened_to(studio)
        assert await studio.ends(order) == ["successful"]
        await asyncio.sleep(100)
        entry = turns(studio)["truc-tiep"]
        assert entry["outcome"] == "AIRED"
        assert entry["preempted"] == 1
        assert entry["live"]["parts"][1]["live"]["opened"] == 2

    studio.tell(story)
    life = studio.world.lives()[-1]
    heard = hearing.recording(life)
    hearing.whole(heard, alarm.frames)
    found = places(heard, speech)
    origin = None
    lags = []
    for where, said in found:
        at_ns = hearing.begins_ns(life, where)
        origin = origin or at_ns - said * NS // RATE_HZ
        lags.append((at_ns - said * NS // RATE_HZ - origin) / NS)
    assert max(map(abs, lags)) < 0.1, "it is as late after the interruption as before it"
    gaps = [later[1] - earlier[1] for earlier, later in pairwise(found)]
    assert max(gaps) > 3 * RATE_HZ, "what was said meanwhile is gone"


def test_a_node_without_an_input_refuses_the_document(village: Village, notice: Programme) -> None:
    asset = notice.on(village)

    async def story() -> None:
        village.desire("schedule", {"rules": [rule(village, asset)]})
        await village.until(lambda: village.up("reported/schedule"))
        said = village.reported("schedule")
        assert said["status"] == "rejected"
        assert said["errors"][0]["path"] == "$.rules[0].programme[1].line_in"

    village.tell(story)


def test_without_a_document_nobody_listens_whatever_is_said(studio: Village, speech: Frames) -> None:
    async def story() -> None:
        studio.world.line_in.plays(speech)
        await asyncio.sleep(3_600)
        assert studio.world.line_in.opened == 0

    studio.tell(story)
    assert studio.world.lives()[-1].heard.frames_heard == 0
