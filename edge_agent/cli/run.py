"""`edge-agent run`: the daemon.

Exit codes: 0 stopped as asked; 1 no config that can be used; 2 wrong usage; 3 the state directory,
or that of --sim-dir, cannot be written; others as `edge_agent.agent.run` says.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_agent import catalogue, config
from edge_agent.cli import log_lines, speech

if TYPE_CHECKING:
    from argparse import Namespace

log = logging.getLogger(__name__)

NO_CONFIG: Final = 1
NO_STATE: Final = 3


def main(arguments: Sequence[str]) -> int:
    """Carry out `run` and return the exit code."""
    parser = speech.Parser(
        prog="edge-agent run",
        description="Chạy nút / run the node until it is told to stop (SIGTERM, SIGINT).",
    )
    speech.add_config_options(parser)
    options = parser.parse_args(arguments)
    tongue = speech.language(options.lang)
    path = Path(options.config)
    try:
        started = read_config(options)
    except config.ConfigInvalid as invalid:
        facts = {"path": path, "count": len(invalid.problems), "directory": last_good_dir(options)}
        speech.complain(catalogue.say("start_refused", tongue, **facts))
        speech.tell(invalid.problems, tongue)
        return NO_CONFIG
    for code, directory, step in (
        ("state_unwritable", started.settings.storage.state_dir, partial(_keep_config, started)),
        ("sim_dir_unwritable", started.settings.sim.dir, partial(_try_sim_dir, started.settings.sim.dir)),
    ):
        try:
            step()
        except OSError as error:
            why = error.strerror or str(error)
            speech.complain(catalogue.say(code, tongue, directory=directory, why=why))
            return NO_STATE
    log_lines.begin(started.settings.log.level)
    if started.problems:
        directory = started.settings.storage.state_dir
        facts = {"path": path, "count": len(started.problems), "directory": directory}
        log.error("%s", catalogue.say("start_degraded", tongue, **facts))
        for problem in started.problems:
            log.error("%s", speech.on_one_line(problem, tongue))
    return _live(started, path)


def _keep_config(started: config.Start) -> None:
    """Make the state directory; a good config is proposed as the next last good one."""
    directory = Path(started.settings.storage.state_dir)
    if started.problems:
        directory.mkdir(parents=True, exist_ok=True)
    else:
        config.propose(directory, started.text)


def _try_sim_dir(name: str) -> None:
    if name:
        import tempfile

        Path(name).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=name).close()


def _live(started: config.Start, path: Path) -> int:
    from edge_agent import agent
    from hal.linux import memory

    memory.keep_it_together()
    try:
        return asyncio.run(agent.run(started.settings, problems=started.problems, config_path=path))
    except KeyboardInterrupt:
        return speech.INTERRUPTED


def read_config(options: Namespace) -> config.Start:
    """The config that `add_config_options` names, or the last good one. Raises ConfigInvalid."""
    overrides = list(options.overrides)
    if options.sim_dir:
        overrides.insert(0, f"sim.dir={options.sim_dir}")
    started = config.start(
        Path(options.config),
        directory=last_good_dir(options),
        overrides=overrides,
        hardware=options.hardware,
    )
    directory = last_good_dir(options, started.settings)
    return replace(started, settings=config.with_state_dir(started.settings, str(directory)))


def last_good_dir(options: Namespace, settings: config.Settings | None = None) -> Path:
    """The state directory; without settings, as it is known when the config cannot be read."""
    configured = settings.storage.state_dir if settings is not None else ""
    return Path(
        config.state_dir(
            option=options.state_dir, environment=os.environ, sim_dir=options.sim_dir, configured=configured
        )
    )
