"""A public alert as a `Source`: attention tone, a breath, the words or the recording, as often as configured.

Every part is brought to the target loudness by itself, so that the tone is no louder than the
words; the limiter comes after, as for every programme. No tone does anything at any receiver:
it only makes people listen.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Protocol

import numpy as np

from edge_agent.model import RATE_HZ, Precedence
from edge_agent.playout import loudness
from edge_agent.playout.gain import rise
from edge_agent.playout.source import Stored
from edge_agent.playout.sources import open_media

if TYPE_CHECKING:
    from edge_agent.playout.settings import LevelSettings
    from edge_agent.playout.source import Source
    from hal.ports import Frames

BREATH_S = 0.3
"""Between the tone and the words."""
PAUSE_S = 0.6
"""Between two texts."""
URGENT_HZ = (660.0, 880.0)
URGENT_STEP_S = 0.4
URGENT_STEPS = 10
CALM_HZ = (523.25, 659.25, 784.0)
CALM_STEP_S = 0.5
_EDGE_S = 0.01
_SINE_LUFS = -3.01
"""A sine of full scale on one channel, at 1 kHz (ITU-R BS.1770-5)."""


class Part(Protocol):
    """Something that sounds, and can sound again."""

    async def open(self) -> Source:
        """From its beginning. Raises MediaRefused."""


@dataclass(frozen=True, slots=True)
class Sound:
    """Frames that are at hand: a tone, or silence."""

    frames: Frames

    async def open(self) -> Source:
        return _AtHand(self.frames)


@dataclass(frozen=True, slots=True)
class Media:
    """A recording, or words that were spoken; `reader` opens it anew each time."""

    reader: Callable[[], BinaryIO]
    gain_db: float

    async def open(self) -> Source:
        return await open_media(self.reader(), self.gain_db)


async def spoken(wav: bytes, levels: LevelSettings) -> Media:
    """What the voice has said, measured. Raises MediaRefused when it is no sound."""
    measured = await loudness.measure(io.BytesIO(wav), seconds=levels.measure_s)
    return Media(lambda: io.BytesIO(wav), levels.gain_db(measured.lufs))


def attention(precedence: Precedence, levels: LevelSettings) -> Frames:
    """The tone that comes first: two pitches by turns in an emergency, else three rising notes."""
    if precedence is Precedence.EMERGENCY:
        steps = [URGENT_HZ[step % len(URGENT_HZ)] for step in range(URGENT_STEPS)]
        step_s = URGENT_STEP_S
    else:
        steps, step_s = list(CALM_HZ), CALM_STEP_S
    peak = 10 ** ((levels.target_lufs - _SINE_LUFS) / 20)
    return np.concatenate([_note(hz, step_s, peak) for hz in steps])


def announcement(
    parts: Sequence[Part],
    *,
    precedence: Precedence,
    levels: LevelSettings,
    times: int,
    gap_s: float,
) -> Medley:
    """The whole: (tone, breath, parts) so many times, with gaps."""
    once: list[Part] = [Sound(attention(precedence, levels))]
    for index, part in enumerate(parts):
        once += [silence(PAUSE_S if index else BREATH_S), part]
    whole: list[Part] = [*once]
    for _ in range(times - 1):
        whole += [silence(gap_s), *once] if gap_s else once
    return Medley(whole)


def silence(seconds: float) -> Sound:
    """Nothing, for so long."""
    return Sound(np.zeros(max(1, round(seconds * RATE_HZ)), np.float32))


class Medley(Stored):
    """A `Source` of parts, one after another, each with its own gain."""

    gain_db = 0.0

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts: Iterator[Part] = iter(parts)
        self._coming: Part | None = None
        """The next part; it is only let go of when it is open, for a read may be cancelled."""
        self._current: Source | None = None
        self._factor = np.float32(1)
        self._bad = 0
        self._closed = False

    async def read(self, frames: int, playout_ns: int | None = None) -> Frames:
        """From the part that sounds, else from the next one."""
        while not self._closed:
            if self._current is None:
                self._coming = self._coming or next(self._parts, None)
                if self._coming is None:
                    break
                self._current = await self._coming.open()
                self._coming = None
                self._factor = np.float32(10 ** (self._current.gain_db / 20))
            block = await self._current.read(frames, playout_ns)
            if block.size:
                return block if self._factor == 1 else block * self._factor
            await self._next()
        return np.zeros(0, np.float32)

    async def close(self) -> None:
        """Let go of the part that is open."""
        self._closed = True
        await self._next()

    def bad_packets(self) -> int:
        """Of all parts so far."""
        return self._bad + (0 if self._current is None else self._current.bad_packets())

    async def _next(self) -> None:
        if self._current is not None:
            self._bad += self._current.bad_packets()
            done, self._current = self._current, None
            await done.close()


class _AtHand(Stored):
    gain_db = 0.0

    def __init__(self, frames: Frames) -> None:
        self._left = frames

    async def read(self, frames: int, playout_ns: int | None = None) -> Frames:
        out, self._left = self._left[:frames], self._left[frames:]
        return out

    async def close(self) -> None:
        return None

    def bad_packets(self) -> int:
        return 0


def _note(hz: float, seconds: float, peak: float) -> Frames:
    """A sine with soft edges."""
    count = round(seconds * RATE_HZ)
    note = peak * np.sin(2 * np.pi * hz * np.arange(count) / RATE_HZ)
    edge = round(_EDGE_S * RATE_HZ)
    note[:edge] *= rise(edge)
    note[-edge:] *= rise(edge)[::-1]
    return note.astype(np.float32)
