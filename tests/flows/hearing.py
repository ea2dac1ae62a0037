"""What a bystander heard, compared sample by sample with what should have sounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.playout.gain import RAMP_FRAMES
from hal.sim.loop import NS

if TYPE_CHECKING:
    from hal.ports import Frames
    from hal.sim.node import Life

RATE_HZ = 48_000
_PROBE = 4_096


@dataclass(frozen=True, slots=True)
class Place:
    """Where a stretch of a programme stands in a recording."""

    offset: int
    """Frame of the recording at which the programme's first frame would stand."""
    gain: float


def recording(life: Life) -> Frames:
    """Every frame that a process wrote and that sounded, without the pauses between programmes."""
    return life.heard.everything()


def find(heard: Frames, programme: Frames, at: int) -> Place:
    """Find the programme by a piece of it around frame `at`."""
    piece = programme[at : at + _PROBE].astype(np.float64)
    size = 1 << (len(heard) + len(piece)).bit_length()
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(piece, size))
    index = int(np.argmax(np.fft.irfft(spectrum, size)[: len(heard)]))
    found = heard[index : index + len(piece)].astype(np.float64)
    gain = float(found @ piece[: len(found)] / (piece @ piece))
    return Place(index - at, gain)


def same(heard: Frames, programme: Frames, place: Place, start: int, stop: int) -> bool:
    """Whether frames `start` to `stop` of the programme were heard exactly, but for one gain."""
    window = heard[place.offset + start : place.offset + stop].astype(np.float64)
    wanted = place.gain * programme[start:stop].astype(np.float64)
    return len(window) == stop - start and bool(np.allclose(window, wanted, rtol=0, atol=2e-6))


def whole(heard: Frames, programme: Frames) -> Place:
    """Assert that the programme was heard whole, once, in one piece; only its two ends are ramps."""
    place = find(heard, programme, len(programme) // 2)
    assert place.gain > 0.01, "it was not heard at all"
    end = len(programme)
    assert place.offset >= 0, "its beginning is missing"
    assert same(heard, programme, place, RAMP_FRAMES, end - RAMP_FRAMES), "it was not heard exactly"
    for ramp in (slice(0, RAMP_FRAMES), slice(end - RAMP_FRAMES, end)):
        window = heard[place.offset + ramp.start : place.offset + ramp.stop]
        limit = place.gain * np.abs(programme[ramp]) + 2e-6
        assert len(window) == RAMP_FRAMES
        assert bool(np.all(np.abs(window) <= limit)), "an edge is louder than the programme"
        assert float(np.abs(window).max()) > 0.3 * float(limit.max()), "an edge is missing"
    return place


def begins_ns(life: Life, frame: int) -> int:
    """When a frame of `recording(life)` sounded, ns of its boot."""
    for segment in life.heard.segments:
        if frame < segment.length:
            return segment.start_ns + round(frame * NS / RATE_HZ)
        frame -= segment.length
    raise AssertionError("no such frame")
