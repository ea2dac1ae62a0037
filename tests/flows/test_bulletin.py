"""An order becomes sound: heard whole, at the right time, through an amplifier that was switched as it should be."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from edge_agent.playout.gain import volume_factor
from hal.sim.loop import NS
from tests.flows import hearing
from tests.flows.conftest import Programme
from tests.flows.scene import Village


def test_a_bulletin_is_heard_whole_from_its_first_frame(village: Village, bulletin: Programme) -> None:
    asset = bulletin.on(village)

    async def story() -> None:
        order = village.play(asset)
        assert await village.ends(order) == ["successful"]
        assert village.states(order) == ["accepted", "waiting", "executing", "successful"]
        await asyncio.sleep(20)
        entry = village.report(order)
        assert (entry["outcome"], entry["frames"], entry["underruns"]) == ("AIRED", len(bulletin.frames), 0)
        assert entry["media"] == asset.digest

    village.tell(story)
    life = village.world.lives()[0]
    heard = hearing.recording(life)
    place = hearing.whole(heard, bulletin.frames)
    began_s = hearing.begins_ns(life, place.offset) / NS
    assert [change[:2] for change in village.lines()] == [
        ("amplifier_power", True), ("zone_cho", True), ("amplifier_unmute", True),
        ("amplifier_unmute", False), ("amplifier_power", False), ("zone_cho", False),
    ]  # fmt: skip
    power, zone, unmute, mute, off, apart = (change[2] for change in village.lines())
    assert zone - power == pytest.approx(2, abs=0.01)
    assert unmute - zone == pytest.approx(0.1, abs=0.01)
    assert began_s - unmute == pytest.approx(0.1, abs=0.03), "the lead-in, then the first frame"
    assert mute - (began_s + 12) == pytest.approx(5, abs=0.1), "the hang time"
    assert off == apart == pytest.approx(mute + 0.05, abs=0.001)


def test_what_is_reported_is_when_it_was_heard(village: Village, notice: Programme) -> None:
    asset = notice.on(village)

    async def story() -> None:
        await village.ends(village.play(asset))

    village.tell(story)
    life = village.world.lives()[0]
    place = hearing.whole(hearing.recording(life), notice.frames)
    (entry,) = village.stored()
    assert entry["started_ms"] == pytest.approx(hearing.begins_ns(life, place.offset) / 1e6, abs=2)
    assert entry["ended_ms"] - entry["started_ms"] == pytest.approx(5_000, abs=30)
    assert entry["sounded_ms"] == 5_000


def test_an_mp3_in_stereo_at_another_rate_is_heard_as_it_was_recorded(
    village: Village, song: Programme
) -> None:
    asset = song.on(village)

    async def story() -> None:
        assert await village.ends(village.play(asset)) == ["successful"]

    village.tell(story)
    heard = hearing.recording(village.world.lives()[0])
    place = hearing.find(heard, song.frames, 96_000)
    window = heard[place.offset + 9_600 : place.offset + 4 * 48_000 - 9_600]
    error = window - place.gain * song.frames[9_600:-9_600]
    assert np.sqrt(np.mean(error**2)) < 0.03 * np.sqrt(np.mean(window**2))
    assert abs(place.offset - 4_800) < 2_400, "the lead-in, and little more, comes before it"


def test_every_programme_is_as_loud_as_every_other(
    village: Village, notice: Programme, song: Programme
) -> None:
    assets = [programme.on(village) for programme in (notice, song)]

    async def story() -> None:
        await village.ends(*(village.play(asset) for asset in assets))

    village.tell(story)
    for entry in village.stored():
        assert entry["volume"] == 70
    heard = hearing.recording(village.world.lives()[0])
    first = hearing.whole(heard, notice.frames)
    expected = volume_factor(70) * 10 ** (-17 / 20)
    level = np.sqrt(np.mean(heard[first.offset : first.offset + len(notice.frames)] ** 2))
    assert level == pytest.approx(expected, rel=0.6), "within 4 dB of -17 LUFS and the volume, unweighted"


def test_the_second_time_it_is_played_from_the_cellar(village: Village, notice: Programme) -> None:
    asset = notice.on(village)

    async def story() -> None:
        await village.ends(village.play(asset))
        await asyncio.sleep(1)
        village.world.web_server.network = "lost"
        order = village.play(asset)
        assert await village.ends(order) == ["successful"]
        assert village.states(order) == ["accepted", "executing", "successful"]
        await village.restart()
        assert await village.ends(village.play(asset)) == ["successful"]

    village.tell(story)
    assert len(village.world.web_server.requests) == 1


def test_two_in_a_row_keep_the_amplifier_on_and_a_pause_between_them(
    village: Village, notice: Programme, alarm: Programme
) -> None:
    first, second = notice.on(village), alarm.on(village)

    async def story() -> None:
        one = village.play(first)
        await village.reaches(one, "executing")  # else who is first depends on whose file comes first
        assert await village.ends(one, village.play(second)) == ["successful", "successful"]
        await asyncio.sleep(10)

    village.tell(story)
    life = village.world.lives()[0]
    heard = hearing.recording(life)
    a, b = hearing.whole(heard, notice.frames), hearing.whole(heard, alarm.frames)
    pause_s = (hearing.begins_ns(life, b.offset) - hearing.begins_ns(life, a.offset)) / NS - 5
    assert pause_s == pytest.approx(0.5, abs=0.2)
    assert [change[:2] for change in village.lines()].count(("amplifier_power", True)) == 1


def test_a_volume_order_is_heard_at_once_and_kept_over_a_restart(
    village: Village, bulletin: Programme
) -> None:
    asset = bulletin.on(village)

    async def story() -> None:
        order = village.play(asset)
        await village.reaches(order, "executing")
        await asyncio.sleep(6)
        assert await village.ends(village.order("volume", volume=50)) == ["successful"]
        await village.ends(order)
        await village.restart()
        await village.ends(village.play(asset))
        await village.ends(village.play(asset, volume=90))

    village.tell(story)
    heard = hearing.recording(village.world.lives()[0])
    before, after = (hearing.find(heard, bulletin.frames, at) for at in (48_000, 10 * 48_000))
    assert before.offset == after.offset, "the ramp costs no frame"
    assert after.gain / before.gain == pytest.approx(volume_factor(50) / volume_factor(70), rel=1e-3)
    heard = hearing.recording(village.world.lives()[1])
    kept, own = (
        hearing.whole(heard[: 14 * 48_000], bulletin.frames),
        hearing.find(heard[14 * 48_000 :], bulletin.frames, 200_000),
    )
    assert kept.gain == pytest.approx(after.gain, rel=1e-4)
    assert own.gain / kept.gain == pytest.approx(volume_factor(90) / volume_factor(50), rel=1e-3)
    assert [entry["volume"] for entry in village.stored() if entry["verb"] == "play"] == [50, 50, 90]


def test_a_zone_that_is_not_wired_is_refused_by_name(village: Village, notice: Programme) -> None:
    asset = notice.on(village)

    async def story() -> None:
        order = village.play(asset, zones=["truong"])
        assert await village.ends(order) == ["failed"]
        assert village.code(order) == "bad_args"
        assert "truong" in village.told(order)[-1]["reason"]["text"]

    village.tell(story)
    assert not village.lines()
