"""The input as a source: on time, levelled, never waiting, never better told of than it was heard."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_agent.errors import MediaRefused
from edge_agent.model import NS, PERIOD_FRAMES, RATE_HZ, ReasonCode
from edge_agent.playout.leveller import Leveller
from edge_agent.playout.line_in import DELAY_FRAMES, LineInSource
from edge_agent.playout.loudness import measure
from hal.sim.clock import VirtualClock
from hal.sim.line_in import VirtualCapture, VirtualLineIn
from hal.sim.loop import Counter, run
from tests.playout.media import wav
from tests.playout.test_leveller import voice

if TYPE_CHECKING:
    from hal.ports import Frames

AHEAD_NS = NS * 3 * PERIOD_FRAMES // RATE_HZ


class Listener:
    """A card that reads a source at its pace, in virtual time."""

    def __init__(self, for_s: int = 10, drift_ppm: float = 0.0) -> None:
        self.counter = Counter()
        self.clock = VirtualClock(self.counter)
        self.line_in = VirtualLineIn(self.clock, drift_ppm)
        self.source = LineInSource(self.line_in, for_s=for_s, leveller=Leveller(), clock=self.clock)
        self.blocks: list[Frames] = []
        self.begun_ns = 0

    @property
    def heard(self) -> Frames:
        return np.concatenate(self.blocks)

    async def listen(self, seconds: float = 10_000) -> bool:
        """Until the end (True), or for so long."""
        for _ in range(round(seconds * RATE_HZ / PERIOD_FRAMES)):
            before_ns = self.counter.ns
            self.begun_ns = self.begun_ns or before_ns
            try:
                block = await self.source.read(PERIOD_FRAMES, self.clock.monotonic_ns() + AHEAD_NS)
            finally:
                assert self.counter.ns == before_ns, "it let the card wait"
            if not block.size:
                return True
            self.blocks.append(block)
            await asyncio.sleep(block.size / RATE_HZ)
        return False

    def tell(self, story: Callable[[], Awaitable[None]]) -> None:
        async def whole() -> None:
            try:
                await story()
            finally:
                await self.source.close()
                await self.source.close()
                assert self.line_in.capture is None, "the input was left open"

        run(whole(), self.counter)


def quiet(heard: Frames) -> int:
    """Frames of silence."""
    return int(np.count_nonzero(np.abs(heard) < 1e-6))


def place(heard: Frames, said: Frames, at: int) -> int:
    """Where in `said` stands what is heard at `at`."""
    piece = heard[at : at + 4_096].astype(np.float64)
    size = 1 << (said.size + piece.size).bit_length()
    found = np.fft.irfft(np.fft.rfft(said, size) * np.conj(np.fft.rfft(piece, size)), size)
    return int(np.argmax(found[: said.size]))


def hiss(seconds: float) -> Frames:
    return np.random.default_rng(5).uniform(-0.05, 0.05, round(seconds * RATE_HZ)).astype(np.float32)


def test_it_sounds_in_one_piece_a_little_late_and_ends_in_its_time() -> None:
    card = Listener(for_s=10)
    said = hiss(20)

    async def story() -> None:
        card.line_in.plays(said)
        assert await card.listen()
        assert not (await card.source.read(PERIOD_FRAMES)).size, "and ever after"

    card.tell(story)
    assert card.heard.size == 10 * RATE_HZ
    places = [place(card.heard, said, at) - at for at in range(RATE_HZ, 9 * RATE_HZ, RATE_HZ)]
    assert max(places) == min(places), "a gap, or a skip"
    assert -0.3 * RATE_HZ < places[0] <= -DELAY_FRAMES + 0.1 * RATE_HZ
    report = card.source.report()
    assert report["ended"] == "for_s"
    assert report["sounded_ms"] == report["audible_ms"]
    assert 9_500 < int(str(report["sounded_ms"])) <= 10_000
    assert card.source.waited_frames == 10 * RATE_HZ - int(str(report["sounded_ms"])) * RATE_HZ // 1_000


def test_a_quiet_speaker_is_brought_to_the_target() -> None:
    card = Listener(for_s=30)

    async def story() -> None:
        card.line_in.plays((voice() * np.float32(0.25)).astype(np.float32))
        await card.listen(28)
        loudness = await measure(BytesIO(wav(card.heard[15 * RATE_HZ :])), seconds=60)
        assert loudness.lufs == pytest.approx(-17, abs=2)

    card.tell(story)


def test_a_stall_is_silence_and_what_follows_is_what_is_said_then() -> None:
    card = Listener(for_s=20)
    said = hiss(30)

    async def story() -> None:
        card.line_in.plays(said)
        await card.listen(5)
        card.line_in.stall()
        await card.listen(1)
        card.line_in.resume()
        assert await card.listen()

    card.tell(story)
    assert 0.8 * RATE_HZ < quiet(card.heard[4 * RATE_HZ : 8 * RATE_HZ]) < 1.5 * RATE_HZ
    before, after = (place(card.heard, said, at) - at for at in (3 * RATE_HZ, 15 * RATE_HZ))
    assert abs(after - before) < 0.1 * RATE_HZ
    assert np.abs(np.diff(card.heard)).max() < 0.9, "a click"


def test_one_that_was_away_for_seconds_is_told_of_at_the_end() -> None:
    card = Listener(for_s=20)

    async def story() -> None:
        await card.listen(5)
        card.line_in.unplug()
        await card.listen(5)
        card.line_in.replug()
        with pytest.raises(MediaRefused, match=r"away for [56] of 20 s") as refused:
            await card.listen()
        assert refused.value.code is ReasonCode.HARDWARE_FAULT
        assert not (await card.source.read(PERIOD_FRAMES)).size

    card.tell(story)
    assert card.heard.size == 20 * RATE_HZ
    assert np.abs(card.heard[12 * RATE_HZ :]).max() > 0.01, "it was opened again"
    assert card.source.report()["opened"] == 2


@pytest.mark.parametrize("how", ["missing", "unplug", "stall"])
def test_one_that_is_lost_for_half_a_minute_ends_its_part(how: str) -> None:
    card = Listener(for_s=600)

    async def story() -> None:
        if how == "missing":
            card.line_in.faults.missing = True
        else:
            await card.listen(5)
            getattr(card.line_in, how)()
            card.line_in.faults.missing = True
        before_ns = card.counter.ns
        with pytest.raises(MediaRefused, match="Nothing came from the sound input for 30 s") as refused:
            await card.listen()
        assert refused.value.code is ReasonCode.HARDWARE_FAULT
        assert (card.counter.ns - before_ns) / NS == pytest.approx(30, abs=0.5)

    card.tell(story)
    assert card.source.report()["ended"] == "lost"
    assert (card.source.waited_frames == card.heard.size) is (how == "missing")


@pytest.mark.parametrize("ppm", [-250, 250])
def test_two_crystals_are_followed_without_a_gap_or_a_skip(ppm: int) -> None:
    card = Listener(for_s=900, drift_ppm=ppm)

    async def story() -> None:
        assert await card.listen()

    card.tell(story)
    report = card.source.report()
    assert "skipped_ms" not in report
    assert int(str(report["sounded_ms"])) > 899_500
    assert float(str(report["drift_ppm"])) == pytest.approx(ppm, abs=80)


def test_dangerous_noise_is_stopped_within_a_second_and_a_half() -> None:
    card = Listener(for_s=60)

    async def story() -> None:
        noise = np.clip(np.random.default_rng(1).normal(0, 0.5, 20 * RATE_HZ), -1, 1).astype(np.float32)
        card.line_in.plays(noise)
        with pytest.raises(MediaRefused, match="noise at full scale"):
            await card.listen()

    card.tell(story)
    assert card.heard.size < 1.5 * RATE_HZ
    assert card.source.report()["ended"] == "noise"


def test_while_another_sounds_nobody_listens_and_its_time_goes_on() -> None:
    card = Listener(for_s=20)
    said = hiss(30)

    async def story() -> None:
        card.line_in.plays(said)
        await card.listen(5)
        card.source.paused(yes=True)
        await asyncio.sleep(1)
        assert card.line_in.capture is None
        await asyncio.sleep(5)
        card.source.paused(yes=False)
        assert await card.listen()

    card.tell(story)
    assert card.heard.size == pytest.approx(14 * RATE_HZ, abs=PERIOD_FRAMES)
    before, after = (place(card.heard, said, at) - at for at in (3 * RATE_HZ, 10 * RATE_HZ))
    assert after - before == pytest.approx(6 * RATE_HZ, abs=0.1 * RATE_HZ)
    assert card.source.report()["opened"] == 2


def test_paused_for_longer_than_its_time_it_is_over() -> None:
    card = Listener(for_s=5)

    async def story() -> None:
        await card.listen(2)
        card.source.paused(yes=True)
        await asyncio.sleep(60)
        card.source.paused(yes=False)
        assert await card.listen(1)

    card.tell(story)


def test_a_silent_line_is_no_fault_and_is_told_of() -> None:
    card = Listener(for_s=60)
    card.line_in.faults.silent = True

    async def story() -> None:
        assert await card.listen()

    card.tell(story)
    assert card.source.report()["audible_ms"] == 0
    assert int(str(card.source.report()["sounded_ms"])) > 59_000


def test_a_device_that_hangs_in_its_closing_delays_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Listener(for_s=60)

    async def slow(capture: VirtualCapture) -> None:
        await asyncio.sleep(2)
        capture.is_closed = True

    async def story() -> None:
        monkeypatch.setattr(VirtualCapture, "close", slow)
        await card.listen(1)
        before_ns = card.counter.ns
        await card.source.close()
        assert card.counter.ns - before_ns <= NS // 10
        await asyncio.sleep(3)

    card.tell(story)
