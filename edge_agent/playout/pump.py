"""Moves one programme from its source through the gain stage to the card, and knows its place.

The card is the clock: `write` returns at its pace. The place is the first programme frame that
has not sounded. What was read but has not sounded is remembered (some seconds), so after an
interruption the programme goes on with exactly the next frame, only faded at the cut. Of a live
programme nothing is remembered: it is read late, a little at a time, told when it will sound.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.errors import MediaRefused
from edge_agent.model import NS, RATE_HZ
from edge_agent.playout.gain import GainStage
from hal.errors import SoundLost

if TYPE_CHECKING:
    from edge_agent.playout.source import Source
    from hal.ports import Clock, Frames, SoundStream

log = logging.getLogger(__name__)

_LOOK_AGAIN_S = 0.01
"""A card that takes a period at once may not have taken it yet when its time has come."""
KEPT_FRAMES = 3 * RATE_HZ
"""Least that is remembered of what was read: more than ring, card and limiter can hold, and the longest rewind."""


class Pump:
    """One programme's way to the card, over as many runs as interruptions make."""

    def __init__(self, *, source: Source, volume: int, ceiling_dbtp: float, clock: Clock) -> None:
        self._source = source
        self._volume = volume
        self._ceiling_dbtp = ceiling_dbtp
        self._clock = clock
        self._stage: GainStage | None = None
        self._kept: deque[Frames] = deque()
        self._read_to = 0
        self._kept_from = 0
        self._whole = False
        self.place = 0
        """The first programme frame that has not sounded."""
        self._furthest = 0
        self._paused = False
        self.started_ns: int | None = None
        """When the first programme frame sounded, within a period."""
        self.underruns = 0

    @property
    def whole(self) -> bool:
        """The source has ended and its last frame has sounded."""
        return self._whole and self.place >= self._read_to

    @property
    def heard(self) -> int:
        """The programme frames that have sounded (a rewind counts none twice, and waiting is none)."""
        return max(0, self._furthest - self._source.waited_frames)

    def set_volume(self, volume: int) -> None:
        """A new volume, ramped."""
        self._volume = volume
        if self._stage is not None:
            self._stage.set_volume(volume)

    def rewind(self, frames: int) -> None:
        """Say the last `frames` again at the next run, as far as they are remembered."""
        if not self._source.live:
            self.place = max(self._kept_from, self.place - frames)

    async def run(self, stream: SoundStream, *, lead_in_frames: int) -> None:
        """Play from the place to the end; returns when all of it has sounded.

        Of the lead-in only that much silence is written which the card does not play first anyhow.
        Cancelled, or with SoundLost raised: what is queued is faded and dropped, and the place is right.
        Raises MediaRefused when the source broke off, after what came before it has sounded.
        """
        if self._paused:
            self._source.paused(yes=False)
            self._paused = False
        lead_in_frames = max(0, lead_in_frames - stream.status().silence_ahead)
        run = _Run(stream, lead_in_frames=lead_in_frames, place=self.place)
        self._stage = GainStage(
            gain_db=self._source.gain_db, volume=self._volume, ceiling_dbtp=self._ceiling_dbtp
        )
        try:
            await self._write(run, np.zeros(lead_in_frames, np.float32))
            run.underruns = stream.status().underruns
            broken = await self._programme(run, self._stage)
            await self._write(run, self._stage.finish())
            self.underruns += stream.status().underruns - run.underruns
            await stream.drain()
            self._sounded_to(self._read_to)
        except (asyncio.CancelledError, SoundLost):
            unheard = await stream.drop()
            self._sounded_to(run.place + max(0, stream.status().written - unheard - run.written_before))
            self._source.paused(yes=True)
            self._paused = True
            raise
        finally:
            self._note_start(run)
            self._stage = None
        if broken is not None:
            raise broken

    async def close(self) -> None:
        """Let the source go."""
        self._kept.clear()
        await self._source.close()

    async def _programme(self, run: _Run, stage: GainStage) -> MediaRefused | None:
        """First what was read before but has not sounded, then the source. Returns why it broke off."""
        for again in self._unheard(run.place):
            await self._write(run, stage.process(again))
        source = self._source
        while True:
            if source.ahead_frames is not None:
                await self._shallow(run.stream, source.ahead_frames - source.block_frames)
            try:
                frames = await source.read(source.block_frames, run.playout_ns(stage.held_frames))
            except MediaRefused as error:
                return error
            if not frames.size:
                self._whole = True
                return None
            self._keep(frames)
            await self._write(run, stage.process(frames))

    async def _shallow(self, stream: SoundStream, most_frames: int) -> None:
        """Wait until no more than this waits in the ring."""
        pause_s = 0.0
        while (over := (status := stream.status()).written - status.sounded - most_frames) > 0:
            pause_s = _LOOK_AGAIN_S if pause_s else over / RATE_HZ
            await asyncio.sleep(pause_s)

    async def _write(self, run: _Run, frames: Frames) -> None:
        if frames.size:
            await run.stream.write(frames)
            self._note_start(run)

    def _note_start(self, run: _Run) -> None:
        """Once the first programme frame has sounded, reckon when that was."""
        if self.started_ns is None:
            status = run.stream.status()
            waited = max(0, self._source.waited_frames - run.place)
            since = status.sounded - run.sounded_before - waited
            if since <= 0 and not self.heard:
                return
            self.started_ns = self._clock.monotonic_ns() - max(0, since) * NS // RATE_HZ
            if run.fresh and status.first_sound_ns is not None:  # then the card itself knows it exactly
                self.started_ns = status.first_sound_ns + (run.sounded_before + waited) * NS // RATE_HZ

    def _sounded_to(self, place: int) -> None:
        self.place = min(place, self._read_to)
        self._furthest = max(self._furthest, self.place)
        if self._source.live:  # what was thrown away is as if it had never been read
            self._read_to = self._kept_from = self.place

    def _keep(self, frames: Frames) -> None:
        self._read_to += frames.size
        if self._source.live:  # a programme may have a live part between two stored ones
            self._kept.clear()
            self._kept_from = self._read_to
            return
        self._kept.append(frames)
        while self._read_to - self._kept_from - self._kept[0].size >= KEPT_FRAMES:
            self._kept_from += self._kept.popleft().size

    def _unheard(self, place: int) -> list[Frames]:
        """What is remembered from `place` on."""
        if place < self._kept_from:
            log.warning("The card took back more than is remembered. lost_frames=%d", self._kept_from - place)
        found: list[Frames] = []
        at = self._kept_from
        for frames in self._kept:
            if at + frames.size > place:
                found.append(frames[max(0, place - at) :])
            at += frames.size
        return found


class _Run:
    """One uninterrupted run: what the stream's counts were, lead-in included, and the place, when it began."""

    def __init__(self, stream: SoundStream, *, lead_in_frames: int, place: int) -> None:
        status = stream.status()
        self.stream = stream
        self.written_before = status.written + lead_in_frames
        # What was dropped before never sounds, so the two counts drift apart; a fade of some ms may still
        # be under way.
        self.sounded_before = status.sounded + lead_in_frames
        self.fresh = status.written == 0
        self.place = place
        self.underruns = status.underruns

    def playout_ns(self, held_frames: int) -> int | None:
        """When what is read now will sound: after what waits in the ring, and in the gain stage."""
        next_ns = self.stream.status().next_sound_ns
        return None if next_ns is None else next_ns + held_frames * NS // RATE_HZ
