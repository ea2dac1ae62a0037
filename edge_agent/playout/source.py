"""The shape of a `Source`: where a turn's sound comes from; and what stored programmes share, and what timely ones.

Nothing heavy is imported here: whoever makes live sound may know the shape without FFmpeg.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from edge_agent.model import PERIOD_FRAMES, RATE_HZ

if TYPE_CHECKING:
    from hal.ports import Frames

STORED_FRAMES = RATE_HZ * 2 // 5
"""Of a stored programme is levelled and written at once: 400 ms, as much as the card asks for when it wakes us."""


class Source(Protocol):
    """Mono frames at 48 kHz, on demand. One reader at a time."""

    gain_db: float
    """The static gain that brings this programme to the target loudness; read at the beginning of each run."""

    @property
    def live(self) -> bool:
        """What did not sound is gone: it is never remembered, rewound or said again after an interruption."""

    @property
    def block_frames(self) -> int:
        """How much is asked for at once."""

    @property
    def ahead_frames(self) -> int | None:
        """No more than this waits in the card's ring, so that what is decided is heard soon; at least three of
        the card's periods. None: as much as the ring takes."""

    @property
    def waited_frames(self) -> int:
        """Of what was given, the frames of silence before the programme began: they are no part of it."""

    async def read(self, frames: int, playout_ns: int | None = None) -> Frames:
        """The next frames, at least one and at most `frames`; empty at the end, and ever after.

        The first of them will sound at `playout_ns` (CLOCK_BOOTTIME), as far as the card can tell. Cancelled,
        nothing is lost: the next read gives what this one would have. Raises MediaRefused when the programme
        breaks off.
        """

    async def close(self) -> None:
        """Let go of whatever it reads from. Idempotent, never raises."""

    def bad_packets(self) -> int:
        """Pieces of the programme that could not be decoded and were left out."""

    def paused(self, *, yes: bool) -> None:
        """Somebody else has the turn from now on, or it is ours again. Never blocks."""

    def report(self) -> dict[str, object] | None:
        """Of a live programme: what became of it, for the as-run log; None of any other."""


class Stored:
    """What a programme is that lies here whole: it waits for its turn, and goes on where it was."""

    @property
    def live(self) -> bool:
        """It can be read again."""
        return False

    @property
    def block_frames(self) -> int:
        """As much as the card asks for when it wakes us."""
        return STORED_FRAMES

    @property
    def ahead_frames(self) -> int | None:
        """As much as the ring takes: few wake-ups."""
        return None

    @property
    def waited_frames(self) -> int:
        """It begins at once."""
        return 0

    def paused(self, *, yes: bool) -> None:
        """Nothing goes on meanwhile."""

    def report(self) -> dict[str, object] | None:
        """Its frames and gaps say all."""
        return None


class Timely:
    """What a programme is that happens now, or at its instant: after an interruption it goes on where it then is."""

    @property
    def live(self) -> bool:
        """What did not sound is gone."""
        return True

    @property
    def block_frames(self) -> int:
        """As much as the card takes at once."""
        return PERIOD_FRAMES

    @property
    def ahead_frames(self) -> int | None:
        """Three of the card's periods: what is decided is heard soon."""
        return 3 * PERIOD_FRAMES
