"""What goes into the jitter buffer and what comes out: packets of sound, and pieces of the line to be rendered."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaPacket:
    """One packet of sound, its redundancy taken apart. `ticks` is its length in ticks of the clock."""

    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    ticks: int
    silent: bool = False
    """The sender has nothing to say for now (an Opus packet of one or two bytes)."""
    copies: tuple[tuple[int, bytes, int], ...] = ()
    """(offset in ticks before `timestamp`, payload, its ticks)."""


@dataclass(slots=True)
class Slot:
    """What waits at one position."""

    payload: bytes
    ticks: int
    sequence: int | None
    """None: a copy; its own packet has not come."""
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Play:
    """Decode this."""

    position: int
    ticks: int
    payload: bytes
    how: str = "packet"


@dataclass(frozen=True, slots=True)
class Recover:
    """Missing, but the packet after it may hold a coarse copy (LBRR): decode that with FEC."""

    position: int
    ticks: int
    following: bytes


@dataclass(frozen=True, slots=True)
class Conceal:
    """Missing: hide it."""

    position: int
    ticks: int


@dataclass(frozen=True, slots=True)
class Pause:
    """The sender is silent here."""

    position: int
    ticks: int


@dataclass(frozen=True, slots=True)
class Restart:
    """The next piece comes from a decoder that begins anew."""

    position: int
    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is due for so many ticks: the buffer warms up, or has nothing left."""

    ticks: int


Piece = Play | Recover | Conceal | Pause | Restart | Wait
