"""A virtual sound card: empties its ring at the card's pace on any clock, and lets sinks hear what sounded.

Nothing ticks. The card's position is computed from the clock whenever somebody asks, so an idle
card costs nothing, hours of audio cost one wake-up per written block, and a late event loop in
real time hears the same underrun that a real card would have.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hal.errors import SoundLost, SoundMissing
from hal.nap import Nap
from hal.ports import SoundStatus

if TYPE_CHECKING:
    from hal.ports import Clock, Frames
    from hal.sim.heard import HeardSink

NS = 1_000_000_000
_FADE_S = 0.008
_STALL_S = 2.0


@dataclass(slots=True, kw_only=True)
class SoundFaults:
    """What is wrong with a card; a test changes it at any time."""

    missing: bool = False
    """Not there: `open` raises SoundMissing."""
    wrong_card: bool = False
    """Another card is in its place."""
    held: bool = False
    """Another program has it."""
    delay_lie_s: float = 0.0
    """How much later than the truth the card says that its frames reach the converter."""


class VirtualCard:
    """One output device. Rate is `rate_hz * (1 + drift_ppm / 1e6)` of the clock's seconds."""

    def __init__(
        self,
        clock: Clock,
        heard: HeardSink,
        drift_ppm: float = 0.0,
        faults: SoundFaults | None = None,
        *,
        name: str = "virtual loudspeaker",
    ) -> None:
        self.name = name
        self.faults = faults if faults is not None else SoundFaults()
        self.drift_ppm = drift_ppm
        """Read when a stream is opened."""
        self._clock = clock
        self._heard = heard
        self._stream: VirtualStream | None = None

    async def open(self, *, rate_hz: int, period_frames: int, ring_frames: int) -> VirtualStream:
        assert period_frames <= ring_frames
        if self.faults.missing:
            raise SoundMissing(f"no output device is called {self.name!r}; there is none at all: plug it in")
        if self.faults.wrong_card:
            raise SoundMissing(f"no output device is called {self.name!r}; present: 'some other card'")
        if self.faults.held:
            raise SoundMissing(f"output device {self.name!r} is held by another program; end that program")
        if self._stream is not None and not self._stream.is_closed:
            raise SoundMissing(f"output device {self.name!r} is open already; close its stream first")
        self._stream = VirtualStream(
            clock=self._clock,
            heard=self._heard,
            faults=self.faults,
            rate_hz=rate_hz,
            frames_per_ns=rate_hz * (1 + self.drift_ppm / 1e6) / NS,
            ring_frames=ring_frames,
        )
        return self._stream

    def present(self) -> bool:
        return not (self.faults.missing or self.faults.wrong_card)

    # ------------------------------------------------------------ the world's side

    @property
    def stream(self) -> VirtualStream | None:
        """The stream that is open, if one is."""
        return None if self._stream is None or self._stream.is_closed else self._stream

    def unplug(self) -> None:
        """Pull the card out, in the middle of whatever it plays."""
        self.faults.missing = True
        if (stream := self.stream) is not None:
            stream.lose("the card was unplugged")

    def replug(self) -> None:
        """Put it in again; an open stream stays lost."""
        self.faults.missing = False

    def stall(self) -> None:
        """The card stops taking frames without a word; after 2 s its driver gives it up."""
        if (stream := self.stream) is not None:
            stream.freeze()

    def resume(self) -> None:
        """A stalled card goes on with what it has."""
        if (stream := self.stream) is not None:
            stream.thaw()


class VirtualStream:
    """An open virtual card. Positions are the card's frames since it was opened."""

    def __init__(
        self,
        *,
        clock: Clock,
        heard: HeardSink,
        faults: SoundFaults,
        rate_hz: int,
        frames_per_ns: float,
        ring_frames: int,
    ) -> None:
        self._clock = clock
        self._heard = heard
        self._faults = faults
        self._rate_hz = rate_hz
        self._frames_per_ns = frames_per_ns
        self._ring_frames = ring_frames
        self._opened_ns = clock.monotonic_ns()
        self._head = 0  # position of the next frame to sound
        self._ring: deque[Frames] = deque()
        self._queued = 0
        self._ending = True  # nothing is promised: an empty ring is no underrun
        self._dry_at: int | None = None  # position at which the ring ran dry in mid-programme
        self._frozen_ns: int | None = None
        self._lost: str | None = None
        self._nap = Nap()
        self._written = 0
        self._sounded = 0
        self._underruns = 0
        self._first_sound_ns: int | None = None
        self.is_closed = False
        heard.opened(self._opened_ns, rate_hz)

    async def write(self, frames: Frames) -> None:
        assert frames.ndim == 1
        assert frames.dtype == np.float32
        rest = frames.copy()  # the writer may use its array again
        while True:
            self._check()
            self._advance()
            room = self._ring_frames - self._queued
            if room > 0 and len(rest):
                self._take(rest[:room])
                rest = rest[room:]
            if not len(rest):
                return
            await self._pause(min(len(rest), max(1, self._ring_frames // 2)))

    async def drain(self) -> None:
        self._ending = True
        while True:
            self._check()
            self._advance()
            if not self._queued:
                break
            await self._pause(self._ring_frames)
        if self._faults.delay_lie_s > 0 and self._sounded:
            await asyncio.sleep(self._faults.delay_lie_s)

    async def drop(self) -> int:
        self._advance()
        self._ending = True
        self._dry_at = None
        queued = self._queued
        if not queued:
            return 0
        rest = np.concatenate(self._ring)
        self._ring.clear()
        self._queued = 0
        if self._lost is not None:
            return queued
        count = min(queued, round(_FADE_S * self._rate_hz))
        fall = 0.5 * (1 + np.cos(np.linspace(0, np.pi, count, dtype=np.float32)))
        self._ring.append((rest[:count] * fall).astype(np.float32))
        self._queued = count
        return queued - count

    def status(self) -> SoundStatus:
        self._advance()
        return SoundStatus(
            written=self._written,
            sounded=self._sounded,
            underruns=self._underruns,
            first_sound_ns=self._first_sound_ns,
            next_sound_ns=self._next_sound_ns(),
        )

    async def close(self) -> None:
        if self.is_closed:
            return
        if self._lost is None:
            self._ending = True
            if self._queued:
                await self.drop()
                await asyncio.sleep(self._queued / self._frames_per_ns / NS)
            self._advance()
        self.is_closed = True
        self._ring.clear()
        self._queued = 0
        self._heard.closed(self._clock.monotonic_ns())

    # ------------------------------------------------------------ the world's side

    def lose(self, why: str) -> None:
        """The device is gone; what was queued never sounds."""
        self._advance()
        if self._lost is None:
            self._lost = why
            self._nap.wake()

    def freeze(self) -> None:
        """Stop taking frames."""
        self._advance()
        if self._frozen_ns is None:
            self._frozen_ns = self._clock.monotonic_ns()
            self._nap.wake()

    def thaw(self) -> None:
        """Take frames again; what waited sounds late."""
        if self._frozen_ns is None:
            return
        self._frozen_ns = None
        position = self._position()
        if not self._ending and position > self._head:
            self._underruns += 1
            self._heard.inserted(self._head, self._at_ns(self._head), position - self._head)
        self._head = max(self._head, position)
        self._nap.wake()

    # ------------------------------------------------------------ the card

    def _position(self) -> int:
        return int((self._clock.monotonic_ns() - self._opened_ns) * self._frames_per_ns)

    def _at_ns(self, position: int) -> int:
        return self._opened_ns + round(position / self._frames_per_ns)

    def _next_sound_ns(self) -> int | None:
        """Of a frame that is written now; nobody can tell of a card that has stopped."""
        if self._lost is not None or self._frozen_ns is not None or self.is_closed:
            return None
        return self._at_ns(self._head + self._queued) + int(self._faults.delay_lie_s * NS)

    def _advance(self) -> None:
        """Let everything sound whose time has come."""
        if self._lost is not None or self._frozen_ns is not None or self.is_closed:
            return
        position = self._position()
        while self._ring and self._head < position:
            block = self._ring[0]
            due = position - self._head
            if due >= len(block):
                self._ring.popleft()
            else:
                self._ring[0] = block[due:]
                block = block[:due]
            self._heard.heard(self._head, self._at_ns(self._head), block)
            self._head += len(block)
            self._queued -= len(block)
            self._sounded += len(block)
        if self._head < position:
            if not self._ending and self._dry_at is None:
                self._dry_at = self._head
                self._underruns += 1
            self._head = position

    def _take(self, block: Frames) -> None:
        if self._dry_at is not None:
            self._heard.inserted(self._dry_at, self._at_ns(self._dry_at), self._head - self._dry_at)
            self._dry_at = None
        if self._first_sound_ns is None:
            self._first_sound_ns = self._at_ns(self._head) + int(self._faults.delay_lie_s * NS)
        self._ending = False
        self._ring.append(block)
        self._queued += len(block)
        self._written += len(block)

    def _check(self) -> None:
        assert not self.is_closed, "a closed stream takes no frames"
        if self._frozen_ns is not None and self._clock.monotonic_ns() - self._frozen_ns >= _STALL_S * NS:
            self._lost = f"the card has taken no frames for {_STALL_S:g} s"
        if self._lost is not None:
            raise SoundLost(f"the sound device failed while it was open: {self._lost}")

    async def _pause(self, room: int) -> None:
        """Sleep until the ring has this much room, or something happens to the card.

        A writer asks for half the ring at most: on real time it wakes late, and would find the ring dry.
        """
        now = self._clock.monotonic_ns()
        if self._frozen_ns is not None:
            until = self._frozen_ns + int(_STALL_S * NS)
        else:
            until = self._at_ns(self._head + self._queued + room - self._ring_frames)
        await self._nap.rest((max(until - now, 0) + 1000) / NS)
