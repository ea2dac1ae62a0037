"""The config file: TOML to the typed settings of every room, with every problem named at once.

`reading` opens it, `toml_lines` finds the line of a key, `sections` gathers the settings, `conversion`
turns values into them, `models` has the keys of board models, `rules` looks across sections, `last_good` keeps the copy that worked.
"""

from __future__ import annotations

from edge_agent.config.last_good import confirm, propose, state_dir
from edge_agent.config.problem import ConfigInvalid, Problem
from edge_agent.config.reading import Start, load, parse, read, start, with_state_dir
from edge_agent.config.sections import (
    HardwareSettings,
    LogSettings,
    NodeSettings,
    Settings,
    SimSettings,
    SoundSettings,
    StorageSettings,
)

__all__ = [
    "ConfigInvalid",
    "HardwareSettings",
    "LogSettings",
    "NodeSettings",
    "Problem",
    "Settings",
    "SimSettings",
    "SoundSettings",
    "Start",
    "StorageSettings",
    "confirm",
    "load",
    "parse",
    "propose",
    "read",
    "start",
    "state_dir",
    "with_state_dir",
]
