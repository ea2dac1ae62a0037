"""How well it is known that something was shown."""

from __future__ import annotations

from enum import IntEnum


class Grade(IntEnum):
    """The grades of proof, the weakest first."""

    NONE = 0
    SENT = 1
    """Written to the line, or given to the display."""
    ACKED = 2
    """The board has taken it, and reported no fault of it."""
    READ_BACK = 3
    """The board was asked for its dots, and they are the same."""
    SEEN = 4
    """Somebody or something has looked at it."""

    @property
    def word(self) -> str:
        """As the as-run log has it."""
        return self.name.lower()

    @property
    def proof(self) -> int:
        """The as-run log's number: 0 none, 1 written, 2 the board says so, 3 seen."""
        return {Grade.NONE: 0, Grade.SENT: 1, Grade.SEEN: 3}.get(self, 2)
