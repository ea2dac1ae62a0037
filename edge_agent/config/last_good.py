"""The last config that worked, kept beside the node's state, so that a typing error never means silence.

A valid file is *proposed* before the agent starts and *confirmed* once the agent is ready; only a
confirmed one is used later. The copy is the file's text; what the command line added is not in it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

log = logging.getLogger(__name__)

STATE_DIR = "/var/lib/edge-agent"
PROPOSED = "config.proposed.toml"
LAST_GOOD = "config.last-good.toml"


def state_dir(
    *, option: str | None, environment: Mapping[str, str], sim_dir: str | None, configured: str = ""
) -> str:
    """Where state is kept: the option, else systemd's STATE_DIRECTORY, else the config's, else the default.

    With a directory for what virtual hardware did and nothing else said, state goes below that.
    """
    given = environment.get("STATE_DIRECTORY", "").split(":")[0]
    below = str(Path(sim_dir, "state")) if sim_dir else ""
    return option or given or configured or below or STATE_DIR


def propose(directory: Path, text: str) -> None:
    """Lay a valid config ready. Raises OSError when the state directory cannot be written."""
    directory.mkdir(parents=True, exist_ok=True)
    if text == read(directory):
        (directory / PROPOSED).unlink(missing_ok=True)
        return
    with (directory / PROPOSED).open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def confirm(directory: Path) -> None:
    """The agent is ready: what was proposed is the last good config now. Blocks for an fsync; never raises."""
    proposed = directory / PROPOSED
    if not proposed.exists():
        return
    try:
        proposed.replace(directory / LAST_GOOD)
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        log.warning("Could not keep a copy of the config. directory=%s error=%s", directory, error)


def read(directory: Path) -> str | None:
    """The text of the last good config, or None when there is none that can be read."""
    try:
        with (directory / LAST_GOOD).open(encoding="utf-8", newline="") as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return None
