"""The fallback chain as a `Source`: live, standby stream, recording, message, silence; faded, counted, reported.

While live sound is there it is heard. When it has been missing for two seconds the first link that is ready takes its
place; when it has been back for half a second it is heard again. What comes next is made ready as soon as live
sound falters, so that a transition takes less than three seconds.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.errors import MediaRefused
from edge_agent.model import MS, NS, PERIOD_FRAMES, RATE_HZ, ReasonCode
from edge_agent.playout.gain import rise
from edge_agent.playout.noise import NoiseWatch
from edge_agent.playout.source import Timely

if TYPE_CHECKING:
    from edge_agent.stream.rtp_stage import RtpStage
    from edge_agent.stream.stage import Stage
    from hal.ports import Clock, Frames

log = logging.getLogger(__name__)

FALTERS_NS = NS
"""Live sound has been missing for so long: make the others ready."""
LOST_NS = 2 * NS
PATIENCE_NS = 2_800 * MS
"""Until then the earlier link is waited for, though a later one is ready."""
BACK_FRAMES = RATE_HZ // 2
UP_FRAMES = 3 * RATE_HZ
"""An earlier link that is ready for so long takes over from a later one."""
FADE_FRAMES = RATE_HZ // 20
SILENCE = "silence"
_CHANGES_MAX = 32
_UP, _DOWN = rise(FADE_FRAMES), rise(FADE_FRAMES)[::-1]


class Chain(Timely):
    """One live order's sound."""

    gain_db = 0.0

    def __init__(
        self,
        stages: Sequence[Stage],
        *,
        clock: Clock,
        max_s: float,
        lost_s: float,
        begin_s: float,
        packets: RtpStage | None = None,
    ) -> None:
        """The first of `stages` is the live one; `packets` is it, when it must be told of interruptions."""
        self._stages = tuple(stages)
        self._packets = packets
        self._clock = clock
        self._began_ns = clock.monotonic_ns()
        self._max_ns, self._lost_ns, self._begin_ns = (round(s * NS) for s in (max_s, lost_s, begin_s))
        self._current: Stage | None = self._stages[0]
        """None: silence."""
        self._heard_live = False
        self._there_ns = self._began_ns
        """When the link that is heard was last there; before anything was: when the session began."""
        self._live_ns = self._began_ns
        self._back = 0
        self._ready = 0
        self._waited = 0
        self._noise = NoiseWatch()
        self._end: str | None = None
        self._heard: Counter[str] = Counter()
        self.changes: list[dict[str, object]] = []
        """What took over when, the first ones."""
        self.changed = 0
        self.closed = False
        self._stages[0].start()

    # ------------------------------------------------------------ as a source

    @property
    def waited_frames(self) -> int:
        return self._waited

    @property
    def stage(self) -> str:
        """What is heard now."""
        return SILENCE if self._current is None else self._current.name

    async def read(self, frames: int, playout_ns: int | None = None) -> Frames:
        """The next block, of whatever is heard. Raises MediaRefused when nothing was for too long, or it is noise."""
        if self._end is not None:
            return np.zeros(0, np.float32)
        at_ns = self._clock.monotonic_ns() if playout_ns is None else playout_ns
        live = self._stages[0]
        coming = await live.read(frames, at_ns)
        self._note_live(live, frames, at_ns)
        chosen = self._choose(at_ns)
        if chosen is self._current:
            block = coming if chosen is live else await self._block(chosen, frames, at_ns)
        else:
            block = await self._change(chosen, coming, frames, at_ns)
        current = self._current
        there = current is not None and current.present
        if there:
            self._there_ns = at_ns
            self._heard[self.stage] += frames
        elif not self._heard:
            self._waited += frames
        self._check(block)
        return self._ended(block, at_ns)

    async def close(self) -> None:
        self._end = self._end or "stopped"
        self.closed = True
        for stage in self._stages:
            await stage.close()

    def bad_packets(self) -> int:
        return 0

    def paused(self, *, yes: bool) -> None:
        """Another has the turn. The fallbacks need not wait; what live brings meanwhile is not kept."""
        for stage in self._stages[1:]:
            stage.stop()
        if self._packets is not None:
            self._packets.pause(yes=yes)
        elif yes:
            self._stages[0].stop()
        if not yes:
            self._stages[0].start()
            self._current = self._stages[0]
            self._there_ns = self._live_ns = self._clock.monotonic_ns()

    def report(self) -> dict[str, object]:
        found: dict[str, object] = {
            "sounded_ms": {name: frames * 1_000 // RATE_HZ for name, frames in self._heard.items()},
            "ended": self._end or "interrupted",
        }
        if self.changed:
            found["changes"] = self.changed
            found["changed"] = list(self.changes)
        return found | {stage.name: figures for stage in self._stages if (figures := stage.report())}

    # ------------------------------------------------------------ which

    def _note_live(self, live: Stage, frames: int, at_ns: int) -> None:
        if live.present:
            self._back += frames
            self._live_ns = at_ns
            self._heard_live = True
        else:
            self._back = 0

    def _choose(self, at_ns: int) -> Stage | None:
        """The link to be heard now; None: silence."""
        live, current = self._stages[0], self._current
        if current is live:
            if not self._missing(at_ns):
                return live
            return self._next(at_ns) or (live if self._patient(at_ns) else None)
        if self._back >= BACK_FRAMES:
            return live
        if current is None or current.over or at_ns - self._there_ns >= LOST_NS:
            return self._next(at_ns)
        better = next((stage for stage in self._stages[1:] if stage.ready or stage is current), current)
        self._ready = self._ready + PERIOD_FRAMES if better is not current else 0
        return better if self._ready >= UP_FRAMES else current

    def _missing(self, at_ns: int) -> bool:
        """Whether live sound is lost; and the others are made ready before that."""
        missing_ns = at_ns - self._live_ns
        limit_ns = LOST_NS if self._heard_live else self._begin_ns
        if missing_ns >= limit_ns - (LOST_NS - FALTERS_NS):
            self._make_ready()
        return missing_ns >= limit_ns

    def _make_ready(self) -> None:
        for stage in self._stages[1:]:
            stage.start()

    def _next(self, at_ns: int) -> Stage | None:
        """The first link that is ready, or will be soon; None while there is none."""
        self._make_ready()
        patient = self._patient(at_ns)
        for stage in self._stages[1:]:
            if stage.ready and stage is not self._current:
                return stage
            if patient and not stage.hopeless:
                return None
        return None

    def _patient(self, at_ns: int) -> bool:
        """Whether an earlier link may still be waited for."""
        limit_ns = LOST_NS if self._heard_live else self._begin_ns
        return at_ns - self._live_ns < limit_ns + PATIENCE_NS - LOST_NS

    async def _block(self, stage: Stage | None, frames: int, at_ns: int) -> Frames:
        return np.zeros(frames, np.float32) if stage is None else await stage.read(frames, at_ns)

    async def _change(self, chosen: Stage | None, coming: Frames, frames: int, at_ns: int) -> Frames:
        """From one link to another within this block."""
        live, before = self._stages[0], self._current
        old = coming if before is live else await self._block(before, frames, at_ns)
        new = coming if chosen is live else await self._block(chosen, frames, at_ns)
        self._current, self._ready, self._there_ns = chosen, 0, at_ns
        if chosen is live:
            for stage in self._stages[1:]:
                stage.stop()
        self.changed += 1
        if len(self.changes) < _CHANGES_MAX:
            self.changes.append({"to": self.stage, "after_ms": (at_ns - self._began_ns) // MS})
        log.info("Live sound: what is heard has changed. to=%s", self.stage)
        count = min(FADE_FRAMES, frames)
        new = new.copy()
        new[:count] = new[:count] * _UP[:count] + old[:count] * _DOWN[:count]
        return new

    # ------------------------------------------------------------ ends

    def _check(self, block: Frames) -> None:
        fault = self._noise.take(block)
        if fault is not None:
            self._end = "noise"
            log.error("What is heard is no programme; it was stopped. stage=%s fault=%s", self.stage, fault)
            raise MediaRefused(
                ReasonCode.NO_MEDIA,
                f"The stream is {fault}, at full scale: it was stopped. See its sender and format, then send the order again.",
            )

    def _ended(self, block: Frames, at_ns: int) -> Frames:
        """The block, faded when it is the last one."""
        if self._stages[0].over:
            self._end = "goodbye"
        elif at_ns - self._began_ns >= self._max_ns:
            self._end = "max_s"
        elif self._current in {None, self._stages[0]} and (
            at_ns - max(self._there_ns, self._live_ns) >= self._lost_ns
        ):
            self._end = "lost"
            raise MediaRefused(ReasonCode.TIMEOUT, self._why_lost())
        if self._end is None:
            return block
        count = min(FADE_FRAMES, block.size)
        block = block.copy()
        block[:count] *= _DOWN[:count]
        block[count:] = 0
        return block

    def _why_lost(self) -> str:
        seconds = self._lost_ns // NS
        if self._heard_live:
            return f"The stream was lost, and did not come back within {seconds} s; see the sender and the network."
        return f"Nothing of the stream came within {seconds} s; see address, port, key and codec, and whether it is sent."
