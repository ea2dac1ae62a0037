"""One decoder for each kind of payload, all alike: bytes to mono frames at 48 kHz, and ways to hide what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from edge_agent.errors import PacketRefused
from edge_agent.model import RATE_HZ
from edge_agent.playout.rate import evenly
from edge_agent.stream import opus

if TYPE_CHECKING:
    import numpy.typing as npt

    from hal.ports import Frames

CODECS = ("opus", "pcmu", "pcma", "l16")
_STEP_FRAMES = RATE_HZ // 100
"""libopus makes up no less than 10 ms of a voice: asked for less it hands out a part, and goes on behind the rest."""
_HISTORY_S = 0.06
_PERIOD_S = (0.0025, 0.015)
"""Pitch of a voice: 66 to 400 Hz."""


class Decoder(Protocol):
    """One stream's decoder. Its arrays may be overwritten by the next call."""

    def ticks_of(self, payload: bytes) -> int:
        """How long a payload lasts, in ticks of its clock. Raises PacketRefused."""

    def decode(self, payload: bytes) -> Frames:
        """Its sound at 48 kHz. Raises PacketRefused."""

    def recover(self, following: bytes, frames: int) -> tuple[Frames, bool]:
        """What came before `following`, and whether it was found there and not made up. Raises PacketRefused."""

    def conceal(self, frames: int) -> Frames:
        """Something plausible of about that length."""


def make(codec: str, clock_hz: int, library: str | None = None) -> Decoder:
    """The decoder of a codec of `CODECS`. Raises opus.OpusMissing."""
    return OpusVoice(library) if codec == "opus" else PcmVoice(codec, clock_hz)


class OpusVoice:
    """Opus (RFC 6716, RFC 7587): the clock is 48 kHz whatever was sent, and stereo is mixed by the decoder."""

    def __init__(self, library: str | None = None) -> None:
        self._decoder = opus.OpusDecoder(library)
        self._spare = np.zeros(0, np.float32)
        """Made up, and not asked for yet."""

    def ticks_of(self, payload: bytes) -> int:
        return opus.frames_of(payload)

    def decode(self, payload: bytes) -> Frames:
        return self._joined(self._decoder.decode(payload))

    def recover(self, following: bytes, frames: int) -> tuple[Frames, bool]:
        found, held = self._decoder.recover(following, _whole(frames))
        return self._joined(found), held

    def conceal(self, frames: int) -> Frames:
        while (lacking := frames - self._spare.size) > 0:
            steps = -(-lacking // _STEP_FRAMES)
            self._spare = np.concatenate((self._spare, self._decoder.conceal(steps * _STEP_FRAMES)))
        made, self._spare = self._spare[:frames], self._spare[frames:]
        return made

    def _joined(self, frames: Frames) -> Frames:
        """From what was made up and not asked for over to what came."""
        spare, self._spare = self._spare, self._spare[:0]
        if count := min(spare.size, frames.size):
            up = np.linspace(0, 1, count, dtype=np.float32)
            frames[:count] = frames[:count] * up + spare[:count] * (1 - up)
        return frames


def _whole(frames: int) -> int:
    """Opus recovers multiples of 2.5 ms; a hole may have any length (GStreamer's first packet is a short one)."""
    return max(120, frames // 120 * 120)


class PcmVoice:
    """G.711 and linear PCM (RFC 3551): tables, then the resampler; what is missing repeats the last pitch period."""

    def __init__(self, codec: str, clock_hz: int) -> None:
        self._table = None if codec == "l16" else _table(codec)
        self._clock_hz = clock_hz
        self._resampler = None if clock_hz == RATE_HZ else evenly(clock_hz)
        self._history = np.zeros(round(_HISTORY_S * clock_hz), np.float32)
        self._repeat: Frames | None = None

    def ticks_of(self, payload: bytes) -> int:
        if self._table is None and len(payload) % 2:
            raise PacketRefused("l16_odd", "Linear PCM of 16 bits has an even number of bytes.")
        ticks = len(payload) if self._table is not None else len(payload) // 2
        if not 0 < ticks <= self._clock_hz // 5:
            raise PacketRefused("pcm_long", "A PCM packet lasts at most 200 ms.")
        return ticks

    def decode(self, payload: bytes) -> Frames:
        self.ticks_of(payload)
        if self._table is not None:
            frames = self._table[np.frombuffer(payload, np.uint8)]
        else:
            frames = np.frombuffer(payload, ">i2").astype(np.float32) / np.float32(32_768)
        self._repeat = None
        self._history = np.concatenate((self._history, frames))[-self._history.size :]
        return self._out(frames)

    def recover(self, following: bytes, frames: int) -> tuple[Frames, bool]:
        return self.conceal(frames), False

    def conceal(self, frames: int) -> Frames:
        if self._repeat is None:
            self._repeat = _last_period(self._history, self._clock_hz)
        count = max(1, frames * self._clock_hz // RATE_HZ)
        made = np.resize(self._repeat, count).astype(np.float32)
        self._repeat = np.roll(self._repeat, -(count % self._repeat.size))
        return self._out(made)

    def _out(self, frames: Frames) -> Frames:
        if self._resampler is None:
            return frames
        out: Frames = self._resampler.resample_chunk(frames)
        return out


def _last_period(history: Frames, clock_hz: int) -> Frames:
    """The last pitch period of what was heard: where it is most like itself."""
    least, most = (round(seconds * clock_hz) for seconds in _PERIOD_S)
    window = most
    newest = history[-window:]
    best, best_likeness = most, 0.0
    for period in range(least, most + 1):
        before = history[-window - period : -period]
        power = float(np.dot(before, before)) + 1e-9
        likeness = float(np.dot(newest, before)) / power**0.5
        if likeness > best_likeness:
            best, best_likeness = period, likeness
    return history[-best:].copy()


def _table(codec: str) -> npt.NDArray[np.float32]:
    """ITU-T G.711: each of the 256 codes as a sample."""
    codes = np.arange(256)
    if codec == "pcmu":
        code = ~codes & 0xFF
        magnitude = (((code & 0x0F) << 3) + 0x84) << ((code & 0x70) >> 4)
        values = np.where(code & 0x80, 0x84 - magnitude, magnitude - 0x84)
    else:
        code = codes ^ 0x55
        exponent, mantissa = (code & 0x70) >> 4, (code & 0x0F) << 4
        magnitude = np.where(exponent == 0, mantissa + 8, (mantissa + 0x108) << np.maximum(exponent - 1, 0))
        values = np.where(code & 0x80, magnitude, -magnitude)
    return (values / 32_768).astype(np.float32)
