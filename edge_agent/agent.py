"""Starts the rooms bottom-up, stops them in exact reverse. No decisions live here."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from edge_agent import __version__, config
from edge_agent.command import envelope
from edge_agent.config import Settings, remote
from edge_agent.config.problem import Problem
from edge_agent.config.remote import Chosen
from edge_agent.doors import broker_door, open_doors
from edge_agent.report.alerts import Alerts
from edge_agent.rooms import SCHEMAS, build
from hal.errors import DatabaseError, DiskError
from hal.ports import Hardware, Supervisor

__all__ = ["NO_STATE", "SCHEMAS", "run", "serve"]

log = logging.getLogger(__name__)

NO_STATE: Final = 3
"""Exit code: the state directory or its database cannot be used."""


async def run(settings: Settings, *, problems: Sequence[Problem], config_path: Path) -> int:
    """Be a node until SIGTERM or SIGINT. Returns the exit code."""
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    try:
        async with open_doors(settings, schemas=SCHEMAS) as hardware:
            log.info(
                "Starting. node=%s version=%s config=%s state=%s doors=%s",
                settings.node.id, __version__, config_path, settings.storage.state_dir, hardware.facts,
            )  # fmt: skip
            keys = await asyncio.to_thread(_local_keys, settings)
            chosen = await remote.choose(settings, hardware.disk)
            if chosen.settings.broker != settings.broker:
                hardware = replace(hardware, broker=broker_door(chosen.settings))  # noqa: PLW2901 - the same doors, but one
            await serve(
                chosen.settings,
                hardware,
                stop=stop,
                problems=problems,
                keys=keys,
                file=settings,
                chosen=chosen,
            )
    except (DatabaseError, DiskError) as error:
        log.critical("The state directory cannot be used. dir=%s error=%s", settings.storage.state_dir, error)
        return NO_STATE
    return 0


async def serve(
    settings: Settings,
    hardware: Hardware,
    *,
    stop: asyncio.Event,
    problems: Sequence[Problem] = (),
    rng: random.Random | None = None,
    keys: bytes | None = None,
    file: Settings | None = None,
    chosen: Chosen | None = None,
) -> None:
    """Build the rooms on these doors and keep them alive until `stop` is set. A simulated world hands its `rng` in.

    `keys`: what `[trust] keys_file` holds. `file`: what the technician's file alone says; `chosen`: how it became
    `settings`. New settings of the server set `stop`, too: the next start uses them.
    """
    rooms = await build(
        settings,
        hardware,
        rng=rng or random.SystemRandom(),
        keys=keys,
        base=file,
        chosen=chosen,
        leave=stop.set,
    )
    await _tell_of_the_start(rooms.alerts, hardware, problems)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(life(), name=name) for name, life in rooms.lives]
        watch = group.create_task(_beat(hardware.supervisor, tasks), name="watchdog")
        if not problems:
            await asyncio.to_thread(config.confirm, Path(settings.storage.state_dir))
        hardware.supervisor.ready()
        await stop.wait()
        hardware.supervisor.stopping()
        log.info("Stopping.")
        for task in (watch, *reversed(tasks)):
            task.cancel()
            await asyncio.wait((task,))
    log.info("Stopped.")


def _local_keys(settings: Settings) -> bytes | None:
    """The keys document that the technician installed, if there is one."""
    if settings.trust.keys_file is None:
        return None
    try:
        with Path(settings.trust.keys_file).open("rb") as file:
            return file.read(envelope.SIZE_MAX + 1)
    except OSError as error:
        log.error("The keys file cannot be read. file=%s error=%s", settings.trust.keys_file, error)  # noqa: TRY400 - the sentence says it all
        return None


async def _tell_of_the_start(alerts: Alerts, hardware: Hardware, problems: Sequence[Problem]) -> None:
    """What a start may find wrong, as alerts; what it finds mended, solved."""
    aside = hardware.database.set_aside()
    findings: tuple[tuple[str, str | None], ...] = (
        (
            "config_invalid",
            f"The config file has {len(problems)} problem(s), the first at {problems[0].key or 'the file'} "
            f"(line {problems[0].line}, {problems[0].code}); the last good one is in force. Run `edge-agent check`."
            if problems
            else None,
        ),
        (
            "database_rebuilt",
            f"The database was corrupt and was set aside as {aside}; a new one was begun." if aside else None,
        ),
    )
    for alert, text in findings:
        step: Awaitable[bool] = alerts.raised(alert, text) if text is not None else alerts.solved(alert)
        await step


async def _beat(supervisor: Supervisor, tasks: Sequence[asyncio.Task[None]]) -> None:
    """Feed the watchdog while every room lives. A blocked loop does not get here, so it starves."""
    period_s = supervisor.beat_period_s()
    while period_s is not None and not any(task.done() for task in tasks):
        supervisor.beat()
        await asyncio.sleep(period_s)
