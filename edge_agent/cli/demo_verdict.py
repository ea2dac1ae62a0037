"""What was really heard (pure): finds programmes in a recording, and what they lack.

Nothing here trusts a report: the only evidence is the recording of the card and the
original programme, compared by normalised cross-correlation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Frames = npt.NDArray[np.float32]

RATE_HZ = 48_000
BLOCK = RATE_HZ // 100
"""10 ms: the grain of every judgement."""
LOUD = 10 ** (-45 / 20)
"""RMS of a block that certainly is programme."""
SILENT = 10 ** (-70 / 20)
"""RMS of a block that certainly is not."""
PROBE = 2 * RATE_HZ
"""How much of a programme is searched for."""
SURE = 0.5
"""Normalised correlation from which a probe counts as found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Airing:
    """One programme as it was heard. Indices count frames of the recording."""

    found: bool
    begin: int = 0
    end: int = 0
    interrupted: bool = False
    resumed: bool = False
    complete: bool = False
    missing_ms: float = 0.0
    """Programme that was skipped at an interruption (negative: heard twice)."""
    gaps_ms: tuple[float, ...] = ()
    """Silences in the recording where the programme is loud, apart from the interruption itself."""
    head_ms_lost: float = 0.0
    """Programme lost at its very start."""


def locate(heard: Frames, clip: Frames) -> tuple[int, float]:
    """Where `clip` stands in `heard`, and the normalised correlation there (0..1)."""
    if len(heard) < len(clip) or not clip.any():
        return 0, 0.0
    size = 1 << (len(heard) + len(clip)).bit_length()
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(clip, size))
    correlation = np.fft.irfft(spectrum, size)[: len(heard) - len(clip) + 1]
    energy = np.concatenate(([0.0], np.cumsum(heard.astype(np.float64) ** 2)))
    local = np.sqrt(np.maximum(energy[len(clip) :] - energy[: -len(clip)], 1e-9))
    score = np.abs(correlation) / (local * float(np.sqrt(np.sum(clip.astype(np.float64) ** 2))))
    # A window that is nearly silent may correlate by chance: it must hold a tenth of the loudest window's energy.
    score[local < 0.1 * local.max()] = 0.0
    best = int(np.argmax(score))
    return best, float(score[best])


def airing(heard: Frames, programme: Frames) -> Airing:
    """How `programme` was aired in `heard`: whole, interrupted and resumed, or cut."""
    loud = np.flatnonzero(block_rms(programme) > LOUD)
    if not len(loud):
        return Airing(found=False)
    first, last = int(loud[0]) * BLOCK, int(loud[-1] + 1) * BLOCK
    probe = min(PROBE, last - first)
    at, sure = locate(heard, programme[first : first + probe])
    if sure < SURE:
        return Airing(found=False)
    head = at - first
    at, sure = locate(heard, programme[last - probe : last])
    tail = at - (last - probe) if sure >= SURE else None

    like_head = _like(heard, programme, head)
    cut = _end_of_run(like_head)
    if tail is None:
        return _cut_short(heard, programme, head, cut)
    if abs(tail - head) <= BLOCK // 2:
        return Airing(
            found=True, begin=max(0, head + first), end=head + last, complete=True,
            gaps_ms=_gaps(heard, programme, head, 0, len(like_head)), head_ms_lost=_head_lost(like_head, loud),
        )  # fmt: skip
    like_tail = _like(heard, programme, tail)
    resume = len(like_tail) - _end_of_run(like_tail[::-1])
    gaps = _gaps(heard, programme, head, 0, cut) + _gaps(heard, programme, tail, resume, len(like_tail))
    return Airing(
        found=True, begin=max(0, head + first), end=tail + last, interrupted=True, resumed=True, complete=True,
        missing_ms=_loud_ms_between(programme, cut, resume), gaps_ms=gaps, head_ms_lost=_head_lost(like_head, loud),
    )  # fmt: skip


def block_rms(frames: Frames) -> npt.NDArray[np.float64]:
    """RMS of each whole 10 ms block, full scale = 1."""
    whole = len(frames) // BLOCK * BLOCK
    blocks = frames[:whole].reshape(-1, BLOCK).astype(np.float64)
    return np.asarray(np.sqrt(np.mean(blocks**2, axis=1)))


def runs_ms(flags: npt.NDArray[np.bool_]) -> tuple[float, ...]:
    """The lengths in ms of the runs of True among 10 ms blocks."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    return tuple(float(b - a) * 10 for a, b in zip(edges[::2], edges[1::2], strict=True))


def _cut_short(heard: Frames, programme: Frames, head: int, cut: int) -> Airing:
    return Airing(
        found=True, begin=max(0, head), end=head + cut * BLOCK, interrupted=True,
        gaps_ms=_gaps(heard, programme, head, 0, cut),
    )  # fmt: skip


def _window(heard: Frames, programme: Frames, offset: int) -> Frames:
    """What was heard while the programme would have sounded at this alignment; silence outside."""
    window = np.zeros(len(programme), dtype=np.float32)
    lo, hi = max(0, offset), min(len(heard), offset + len(programme))
    if hi > lo:
        window[lo - offset : hi - offset] = heard[lo:hi]
    return window


def _like(heard: Frames, programme: Frames, offset: int) -> npt.NDArray[np.int8]:
    """Block by block: 1 the programme is heard, 0 it is not, -1 it is too quiet to say."""
    whole = len(programme) // BLOCK * BLOCK
    ours = programme[:whole].reshape(-1, BLOCK).astype(np.float64)
    theirs = _window(heard, programme, offset)[:whole].reshape(-1, BLOCK).astype(np.float64)
    dot = np.sum(ours * theirs, axis=1)
    norm = np.sqrt(np.sum(ours**2, axis=1) * np.sum(theirs**2, axis=1)) + 1e-12
    verdict = np.where(dot / norm > 0.7, 1, 0).astype(np.int8)
    verdict[np.sqrt(np.mean(ours**2, axis=1)) < LOUD] = -1
    return verdict


def _end_of_run(verdict: npt.NDArray[np.int8]) -> int:
    """The block behind the last one heard before the programme is lost for 100 ms of loud blocks."""
    missed, end = 0, 0
    for index, value in enumerate(verdict):
        if value == 1:
            missed, end = 0, index + 1
        elif value == 0:
            missed += 1
            if missed >= 10:
                break
    return end


def _gaps(heard: Frames, programme: Frames, offset: int, start: int, stop: int) -> tuple[float, ...]:
    ours = block_rms(programme)[start:stop]
    theirs = block_rms(_window(heard, programme, offset))[start:stop]
    return runs_ms((ours > LOUD) & (theirs < SILENT))


def _head_lost(verdict: npt.NDArray[np.int8], loud: npt.NDArray[np.intp]) -> float:
    heard = np.flatnonzero(verdict == 1)
    return float(max(0, int(heard[0]) - int(loud[0])) * 10) if len(heard) else 0.0


def _loud_ms_between(programme: Frames, cut: int, resume: int) -> float:
    rms = block_rms(programme)
    lo, hi = sorted((cut, resume))
    lost = float(np.count_nonzero(rms[lo:hi] > LOUD)) * 10
    return lost if resume >= cut else -lost
