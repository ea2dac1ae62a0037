"""How the C library keeps the process's memory.

glibc gives each thread an arena of its own, which keeps what was freed in it. The node has half a
dozen threads that are seldom busy and never at the same time for long, so two arenas are enough;
while a programme plays that is 7 MiB less (docs/decisions/0191).
"""

from __future__ import annotations

import ctypes

_M_ARENA_MAX = -8
"""From glibc's malloc.h."""
ARENAS = 2


def keep_it_together() -> bool:
    """Allow no more than `ARENAS` arenas; to be called before threads are started. False: not with this C library."""
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS))
    except (OSError, AttributeError):
        return False
