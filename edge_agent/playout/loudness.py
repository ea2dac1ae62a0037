"""How loud a programme is, measured once when it comes in (EBU R 128, ITU-R BS.1770).

FFmpeg's `ebur128` filter measures what will be played: the mono mix at 48 kHz. Its running
result is in the metadata of each frame that leaves it. At most `seconds` from the start are
measured, so that a programme of ten hours costs as much as one of two minutes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, BinaryIO

import av
import av.error
import numpy as np
from av.filter import Graph

from edge_agent.errors import MediaRefused
from edge_agent.model import RATE_HZ, ReasonCode
from edge_agent.playout.sources import Decoder

if TYPE_CHECKING:
    from hal.ports import Frames

_LEAST_FRAMES = RATE_HZ // 2
_SILENCE_LUFS = -70.0
"""The absolute gate: the meter says this when nothing passed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loudness:
    """What was measured."""

    lufs: float | None
    """Integrated loudness of the measured part; None when all of it is silence."""
    peak_dbfs: float | None
    """The highest sample, dB of full scale; None for digital silence. (The limiter finds true peaks.)"""
    measured_s: float
    duration_s: float
    """Of the whole programme: counted when all was measured, else as its container says (0: it does not)."""
    codec: str
    bad_packets: int


async def measure(reader: BinaryIO, *, seconds: float = 120.0) -> Loudness:
    """Measure at most `seconds` of a media file, on a thread. Closes `reader`. Raises MediaRefused(NO_MEDIA)."""
    return await asyncio.to_thread(measure_now, reader, seconds)


def measure_now(reader: BinaryIO, seconds: float) -> Loudness:
    """As `measure`, blocking."""
    decoder = Decoder(reader)
    try:
        meter = _Meter()
        limit = round(seconds * RATE_HZ)
        while meter.frames < limit and (block := decoder.block()).size:
            meter.take(block)
        if not meter.frames:
            raise MediaRefused(
                ReasonCode.NO_MEDIA, "The file holds no sound; send one that plays on another machine."
            )
        measured_s = meter.frames / RATE_HZ
        whole = meter.frames < limit
        return Loudness(
            lufs=meter.lufs(),
            peak_dbfs=20 * float(np.log10(meter.peak)) if meter.peak else None,
            measured_s=measured_s,
            duration_s=measured_s if whole else max(measured_s, decoder.duration_s or 0.0),
            codec=decoder.codec,
            bad_packets=decoder.bad_packets,
        )
    finally:
        decoder.close()


class _Meter:
    """FFmpeg's meter, fed with blocks."""

    def __init__(self) -> None:
        self.frames = 0
        self.peak = 0.0
        self._lufs: float | None = None
        self._graph: Any = Graph()
        entry = self._graph.add_abuffer(
            format="flt", sample_rate=RATE_HZ, layout="mono", time_base=Fraction(1, RATE_HZ)
        )
        meter = self._graph.add("ebur128", "metadata=1")
        sink = self._graph.add("abuffersink")
        entry.link_to(meter)
        meter.link_to(sink)
        self._graph.configure()

    def take(self, block: Frames) -> None:
        self.peak = max(self.peak, float(np.max(np.abs(block))))
        frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), format="flt", layout="mono")
        frame.sample_rate = RATE_HZ
        frame.pts = self.frames
        self.frames += block.size
        self._graph.push(frame)
        self._read()

    def lufs(self) -> float | None:
        """The result so far. The meter needs 0.4 s, so what is shorter is followed by silence, which is gated."""
        missing = _LEAST_FRAMES - self.frames
        if missing > 0:
            self.take(np.zeros(missing, np.float32))
            self.frames -= missing
        return None if self._lufs is None or self._lufs <= _SILENCE_LUFS else self._lufs

    def _read(self) -> None:
        while True:
            try:
                value = self._graph.pull().metadata.get("lavfi.r128.I")
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            if value is not None:
                self._lufs = float(value)
