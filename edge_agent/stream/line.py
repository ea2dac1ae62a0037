"""Frames in a row, put in as they come and taken out in any length."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hal.ports import Frames


class Line:
    """First in, first out, over the edges of the pieces. Whoever puts bounds it."""

    def __init__(self) -> None:
        self._pieces: deque[Frames] = deque()
        self.held = 0
        """Frames that wait."""

    def put(self, frames: Frames) -> None:
        """Add at the end."""
        if frames.size:
            self._pieces.append(frames)
            self.held += frames.size

    def take(self, frames: int) -> Frames:
        """The next `frames`, or as many as there are."""
        parts: list[Frames] = []
        left = min(frames, self.held)
        self.held -= left
        while left:
            head = self._pieces[0]
            if head.size <= left:
                parts.append(self._pieces.popleft())
            else:
                parts.append(head[:left])
                self._pieces[0] = head[left:]
            left -= parts[-1].size
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def clear(self) -> None:
        """Throw all away."""
        self._pieces.clear()
        self.held = 0
