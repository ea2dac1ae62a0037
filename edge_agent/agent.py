"""Builds the rooms, starts them bottom-up, stops them in exact reverse. No decisions live here."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edge_agent import __version__, config, kept
from edge_agent.board import notices
from edge_agent.board.presenter import Presenter
from edge_agent.cache import store as cache_store
from edge_agent.cache.fetcher import Fetcher
from edge_agent.cache.store import Store
from edge_agent.clocktrust import ClockTrust, WallTime
from edge_agent.command import bulletins, envelope, keyring, ledger, replay
from edge_agent.command.alert_desk import AlertDesk
from edge_agent.command.inbox import Inbox
from edge_agent.command.keyring import Keyring
from edge_agent.command.messages import ARGS_OF_VERB
from edge_agent.command.stored import StoredMessages
from edge_agent.command.topics import Topics
from edge_agent.config import Settings
from edge_agent.config.problem import Problem
from edge_agent.doors import open_doors
from edge_agent.local.console import Console
from edge_agent.model import Digest, NodeId
from edge_agent.playout import daybook, stops
from edge_agent.playout.amplifier import Amplifier
from edge_agent.playout.channel import Channel
from edge_agent.playout.guard import Guard
from edge_agent.playout.readiness import Readiness
from edge_agent.playout.silent import SilentChannel
from edge_agent.programmes import Programmes
from edge_agent.report import asrun, outbox, status
from edge_agent.report.outbox import Outbox
from edge_agent.report.status import Alerts, Caps, Status
from edge_agent.router import Router
from edge_agent.sense.conditions import Conditions
from edge_agent.sense.monitor import Monitor
from edge_agent.stream.sessions import Sessions
from hal.errors import DatabaseError, DiskError, LineError
from hal.ports import Database, Hardware, Supervisor

log = logging.getLogger(__name__)

SCHEMAS: Final = (
    kept.SCHEMA,
    outbox.SCHEMA,
    asrun.SCHEMA,
    status.SCHEMA,
    cache_store.SCHEMA,
    ledger.SCHEMA,
    replay.SCHEMA,
    keyring.SCHEMA,
    notices.SCHEMA,
    bulletins.SCHEMA,
    stops.SCHEMA,
    daybook.SCHEMA,
)
"""Every room's tables, for the one database."""

NO_STATE: Final = 3
"""Exit code: the state directory or its database cannot be used."""


_LEAD_S: Final = 1.5
"""Beside the amplifier's own time: for the order's step to be stored, and the sound device to be opened."""

Lives = list[tuple[str, Callable[[], Coroutine[Any, Any, None]]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """The rooms of one node, built and not yet alive; `lives` from the bottom up."""

    router: Router
    alerts: Alerts
    lives: tuple[tuple[str, Callable[[], Coroutine[Any, Any, None]]], ...]


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
            await serve(settings, hardware, stop=stop, problems=problems, keys=keys)
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
) -> None:
    """Build the rooms on these doors and keep them alive until `stop` is set. A simulated world hands its `rng` in.

    `keys`: what `[trust] keys_file` holds.
    """
    rooms = await build(settings, hardware, rng=rng or random.SystemRandom(), keys=keys)
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


async def build(
    settings: Settings, hardware: Hardware, *, rng: random.Random, keys: bytes | None = None
) -> Rooms:
    """Every room, from the bottom up. Raises DatabaseError or DiskError."""
    clock, database = hardware.clock, hardware.database
    node, root = NodeId(settings.node.id), settings.broker.root

    trust = ClockTrust(settings=settings.clock, clock=clock, database=database)
    await trust.open()
    store = await _cellar(settings, hardware)
    fetcher = Fetcher(web=hardware.web, store=store, clock=clock, settings=settings.cache, rng=rng)
    shelf = Outbox(database=database, clock=clock, settings=settings.report)
    alerts = Alerts(database=database, outbox=shelf, clock=clock, root=root, node=node)
    await alerts.open()
    readiness = Readiness(store=store, fetcher=fetcher, levels=settings.level, speech=hardware.speech)
    wall = WallTime(trust, clock)
    sessions = Sessions(
        settings=settings.live, clock=clock, wall=wall, datagrams=hardware.datagrams, webcasts=hardware.webcasts,
        readiness=readiness, alerts=alerts, rng=rng,
    )  # fmt: skip
    guard = Guard(settings=settings.governor, clock=clock, trust=trust, database=database)
    await guard.open()
    reporting = Status(
        clock=clock, trust=trust, disk=hardware.disk, outbox=shelf, alerts=alerts, settings=settings.report,
        root=root, node=node, caps=_caps(settings, hardware), muting=guard, live=sessions,
    )  # fmt: skip
    lives: Lives = [("clocktrust", trust.life), ("guard", guard.life), ("live sessions", sessions.life)]
    channel, its_lives = await _loudspeaker(settings, hardware, guard, alerts)
    lives += its_lives
    presenter = None
    if hardware.board is not None:
        presenter = Presenter(settings=settings.board, clock=clock, serial=hardware.board, database=database)
        lives.append(("presenter", presenter.life))
    router = Router(
        clock=clock, database=database, channel=channel, guard=guard, readiness=readiness, presenter=presenter,
        programmes=Programmes(readiness=readiness, sessions=sessions, wall=wall),
        lead_s=settings.amplifier.ready_s + _LEAD_S, facts={"agent": __version__, "node": node},
    )  # fmt: skip
    await router.open()
    conditions = Conditions(
        alerts=alerts, trust=trust, disk=hardware.disk, reserve_mib=settings.cache.reserve_mib,
        channel=channel, presenter=presenter, guard=guard,
    )  # fmt: skip
    monitor = Monitor(
        settings=settings.sense, clock=clock, lines=hardware.lines, router=router, channel=channel,
        outbox=shelf, alerts=alerts, conditions=conditions,
    )  # fmt: skip
    believed = await _keyring(settings, database, alerts, keys)
    desk = AlertDesk(
        settings=settings.alerts, clock=clock, trust=trust, database=database, keyring=believed, router=router
    )
    messages = StoredMessages(messages=settings.alerts.messages, readiness=readiness, alerts=alerts)
    lives.append(("stored messages", messages.life))
    inbox = Inbox(
        settings=settings.broker, orders=settings.orders, node=node, groups=settings.node.groups, clock=clock,
        trust=trust, broker=hardware.broker, database=database, router=desk, outbox=shelf, status=reporting,
        alerts=alerts, keyring=believed, rng=rng,
    )  # fmt: skip
    console = Console(
        door=hardware.control, clock=clock, trust=trust, router=router, channel=channel, guard=guard,
        outbox=shelf, alerts=alerts, node=node, agent=__version__, live=sessions,
    )  # fmt: skip
    lives.append(("console", console.life))
    return Rooms(
        router=router, alerts=alerts, lives=(*lives, ("monitor", monitor.life), ("inbox", inbox.life))
    )


async def _cellar(settings: Settings, hardware: Hardware) -> Store:
    """The media store, with the stored messages kept for ever. Raises DatabaseError, DiskError."""
    store = Store(
        disk=hardware.disk, database=hardware.database, clock=hardware.clock, settings=settings.cache
    )
    for message in settings.alerts.messages.values():
        store.keep(Digest(message.media))
    await store.open()
    return store


async def _keyring(settings: Settings, database: Database, alerts: Alerts, keys: bytes | None) -> Keyring:
    """The keys in force; `keys` is what the technician installed."""
    topics = Topics(root=settings.broker.root, node=NodeId(settings.node.id))
    unsigned = settings.trust.takes_unsigned(real_lines=settings.hardware.gpio == "linux")
    believed = Keyring(database=database, alerts=alerts, topic=topics.up("reported/keys"), unsigned=unsigned)
    await believed.open(keys)
    return believed


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


async def _loudspeaker(
    settings: Settings, hardware: Hardware, guard: Guard, alerts: Alerts
) -> tuple[Channel | SilentChannel, Lives]:
    """The channel and its amplifier, or, without the amplifier's lines, one that stays silent."""
    clock = hardware.clock
    try:
        amplifier = Amplifier(settings=settings.amplifier, lines=hardware.lines, clock=clock)
    except LineError as error:
        log.error("The amplifier's lines cannot be had; the node stays silent. error=%s", error)  # noqa: TRY400 - the sentence says it all
        await alerts.raised("amplifier_lines", f"The node is silent: {error}")
        return SilentChannel(why=str(error), volume=settings.playout.volume), []
    channel = Channel(
        settings=settings.playout, level=settings.level, clock=clock, sound=hardware.sound, amplifier=amplifier,
        rules=guard,
    )  # fmt: skip
    await alerts.solved("amplifier_lines")
    return channel, [("amplifier", amplifier.life), ("channel", channel.life)]


def _caps(settings: Settings, hardware: Hardware) -> Caps:
    board = settings.board
    boards: list[dict[str, str | int]] = [
        {"protocol": board.protocol, "columns": board.columns, "rows": board.rows}
    ]
    return Caps(
        agent=__version__,
        verbs=sorted(ARGS_OF_VERB),
        schemas={"order": 1},
        hardware=hardware.facts,
        boards=boards if hardware.board is not None else (),
    )


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
