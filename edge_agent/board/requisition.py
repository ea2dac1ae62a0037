"""A board that is not ours: whether, and until when, the authorities have taken it over (pure)."""

from __future__ import annotations

from datetime import UTC, datetime

from edge_agent.playlist import Playlist


def left_s(playlist: Playlist, board: str, local: datetime | None) -> float:
    """For how many more seconds the board is ours; 0: it is not.

    Without a time that is believed (None) it never is.
    """
    if local is None:
        return 0.0
    now = local.astimezone(UTC)
    ends = [one.ends for one in playlist.requisitions if board in one.boards and one.begins <= now < one.ends]
    return max(((end - now).total_seconds() for end in ends), default=0.0)
