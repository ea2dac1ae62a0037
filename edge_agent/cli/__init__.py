"""What people type: one module a verb.

`run` and `silence` are parsed with argparse, because the daemon must never load typer and rich
(16 MiB that an idle node has no use for). Everything else goes through `app`.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence


def carry_out(arguments: Sequence[str]) -> int:
    """Carry out one command line, without the program's name, and return the exit code."""
    _speak_anywhere()
    match arguments:
        case ["run", *rest]:
            from edge_agent.cli import run as daemon

            return daemon.main(rest)
        case ["silence", *rest]:
            from edge_agent.cli import silence

            return silence.main(rest)
        case _:
            from edge_agent.cli import app

            return app.main(arguments)


def _speak_anywhere() -> None:
    """On a terminal that has no Vietnamese letters they are escaped: a sentence with escapes beats a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
