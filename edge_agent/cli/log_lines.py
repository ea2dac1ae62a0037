"""Log lines on stderr: with a time at a terminal, with a priority and without a time for journald."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from typing import Final

_STDERR: Final = 2
_PRIORITIES: Final = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
"""syslog(3) priorities; below INFO it is debug, 7."""


class JournalLines(logging.Formatter):
    """`<priority>module: text`, the prefix on each line, because journald takes each as an entry."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), 7)
        lines = super().format(record).splitlines() or [""]
        return "\n".join(f"<{priority}>{line}" for line in lines)


def to_journal(environment: Mapping[str, str], descriptor: int) -> bool:
    """Whether a descriptor leads to journald: JOURNAL_STREAM names its device and inode."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return environment.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def begin(level: str) -> None:
    """Log our own lines from `level`, and strangers' from WARNING, to stderr."""
    writer = logging.StreamHandler(sys.stderr)
    if to_journal(os.environ, _STDERR):
        writer.setFormatter(JournalLines("%(name)s: %(message)s"))
    else:
        writer.setFormatter(
            logging.Formatter("%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")
        )
    logging.basicConfig(level=logging.WARNING, handlers=[writer], force=True)
    for ours in ("edge_agent", "hal"):
        logging.getLogger(ours).setLevel(level.upper())
