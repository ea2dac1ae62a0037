"""Builds every room on the doors it is given, from the bottom up. No decisions live here."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from edge_agent import __version__, kept
from edge_agent.board import lease, notices
from edge_agent.board.air import Air
from edge_agent.board.bill import Sources
from edge_agent.board.boards import Boards
from edge_agent.board.codecs import panel_on
from edge_agent.board.outlet import BoardOutlet
from edge_agent.board.presenter import Presenter
from edge_agent.board.screen import ScreenPanel
from edge_agent.board.settings import BoardSettings
from edge_agent.cache import headlines as cache_headlines
from edge_agent.cache import store as cache_store
from edge_agent.cache.fetcher import Fetcher
from edge_agent.cache.headlines import Headlines
from edge_agent.cache.steward import Steward
from edge_agent.cache.store import Store
from edge_agent.clocktrust import ClockTrust, WallTime
from edge_agent.command import bulletins, keyring, ledger, reconcile, replay
from edge_agent.command.alert_desk import AlertDesk
from edge_agent.command.inbox import Inbox
from edge_agent.command.keyring import Keyring
from edge_agent.command.messages import ARGS_OF_VERB
from edge_agent.command.reconcile import Reconciler
from edge_agent.command.stick import Stick
from edge_agent.command.stored import StoredMessages
from edge_agent.command.topics import Topics
from edge_agent.config import Settings
from edge_agent.config.remote import Chosen, RemoteConfig
from edge_agent.desired import Doc, Taker
from edge_agent.local.answers import Answers
from edge_agent.local.console import Console
from edge_agent.model import Digest, NodeId
from edge_agent.playout import daybook, stops
from edge_agent.playout.amplifier import Amplifier
from edge_agent.playout.channel import Channel
from edge_agent.playout.guard import Guard
from edge_agent.playout.readiness import Readiness
from edge_agent.playout.silent import SilentChannel
from edge_agent.programmes import Programmes
from edge_agent.report import alerts, asrun, blackbox, meter, outbox
from edge_agent.report.alerts import Alerts
from edge_agent.report.blackbox import BlackBox
from edge_agent.report.meter import Meter
from edge_agent.report.outbox import Outbox
from edge_agent.report.status import Agenda, Caps, Status
from edge_agent.router import Router
from edge_agent.schedule import fired
from edge_agent.schedule.scheduler import Scheduler
from edge_agent.schedule.standing import Standing
from edge_agent.sense.conditions import Conditions
from edge_agent.sense.monitor import Monitor
from edge_agent.stream.sessions import Sessions
from hal.errors import LineError
from hal.ports import Database, Hardware

log = logging.getLogger(__name__)

SCHEMAS: Final = (
    kept.SCHEMA,
    outbox.SCHEMA,
    asrun.SCHEMA,
    alerts.SCHEMA,
    cache_store.SCHEMA,
    cache_headlines.SCHEMA,
    ledger.SCHEMA,
    replay.SCHEMA,
    keyring.SCHEMA,
    notices.SCHEMA,
    bulletins.SCHEMA,
    stops.SCHEMA,
    daybook.SCHEMA,
    reconcile.SCHEMA,
    fired.SCHEMA,
    meter.SCHEMA,
    blackbox.SCHEMA,
    lease.SCHEMA,
)
"""Every room's tables, for the one database."""

_LEAD_S: Final = 1.5
"""Beside the amplifier's own time: for the order's step to be stored, and the sound device to be opened."""

Lives = list[tuple[str, Callable[[], Coroutine[Any, Any, None]]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """The rooms of one node, built and not yet alive; `lives` from the bottom up."""

    router: Router
    alerts: Alerts
    lives: tuple[tuple[str, Callable[[], Coroutine[Any, Any, None]]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ground:
    """What every room may ask, and what is below the outlets."""

    settings: Settings
    hardware: Hardware
    rng: random.Random
    topics: Topics
    trust: ClockTrust
    shelf: Outbox
    alerts: Alerts
    meter: Meter
    store: Store
    fetcher: Fetcher
    steward: Steward
    headlines: Headlines
    box: BlackBox
    lives: Lives


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outlets:
    """What sounds, shows and tells."""

    readiness: Readiness
    sessions: Sessions
    guard: Guard
    channel: Channel | SilentChannel
    boards: Boards | None
    reporting: Status
    agenda: Agenda
    router: Router


async def build(
    settings: Settings,
    hardware: Hardware,
    *,
    rng: random.Random,
    keys: bytes | None = None,
    base: Settings | None = None,
    chosen: Chosen | None = None,
    leave: Callable[[], None] = lambda: None,
) -> Rooms:
    """Every room, from the bottom up. Raises DatabaseError or DiskError.

    `base`: what the technician's file alone says; `chosen`: how `settings` came about. `leave` ends the process.
    """
    ground = await _ground(settings, hardware, rng)
    outlets = await _outlets(ground)
    trial = (base or settings, chosen or Chosen(settings=settings), leave)
    return await _inlets(ground, outlets, keys, trial)


async def _ground(settings: Settings, hardware: Hardware, rng: random.Random) -> _Ground:
    clock, database, node = hardware.clock, hardware.database, NodeId(settings.node.id)
    trust = ClockTrust(settings=settings.clock, clock=clock, database=database)
    await trust.open()
    box = BlackBox(clock=clock, trust=trust, database=database)
    counts = Meter(trust=trust, database=database, budget_mib=settings.report.data_mib_a_month)
    await counts.open()
    store = Store(disk=hardware.disk, database=database, clock=clock, settings=settings.cache)
    for message in settings.alerts.messages.values():
        store.keep(Digest(message.media))
    await store.open(evict=False)  # the steward does, when the documents have said what they want
    addresses: dict[Digest, str] = {}
    fetcher = Fetcher(
        web=hardware.web, store=store, clock=clock, settings=settings.cache, rng=rng, addresses=addresses,
        received=lambda count: counts.add("media", received=count),
    )  # fmt: skip
    shelf = Outbox(database=database, clock=clock, settings=settings.report)
    alerts = Alerts(database=database, outbox=shelf, clock=clock, root=settings.broker.root, node=node)
    await alerts.open()
    steward = Steward(
        store=store, fetcher=fetcher, trust=trust, database=database, settings=settings.cache,
        rng=rng, addresses=addresses, spent=lambda: counts.spent,
    )  # fmt: skip
    headlines = Headlines(
        web=hardware.web, database=database, clock=clock, trust=trust, settings=settings.cache, rng=rng,
        received=lambda count: counts.add("media", received=count),
    )  # fmt: skip
    return _Ground(
        settings=settings, hardware=hardware, rng=rng, trust=trust, shelf=shelf, alerts=alerts, meter=counts,
        store=store, fetcher=fetcher, steward=steward, headlines=headlines, box=box,
        topics=Topics(root=settings.broker.root, node=node, groups=settings.node.groups),
        lives=[("black box", box.life), ("clocktrust", trust.life), ("meter", counts.life), ("steward", steward.life), ("headlines", headlines.life)],
    )  # fmt: skip


async def _outlets(ground: _Ground) -> _Outlets:
    settings, hardware, trust, alerts = ground.settings, ground.hardware, ground.trust, ground.alerts
    clock, database, node = hardware.clock, hardware.database, ground.topics.node
    readiness = Readiness(
        store=ground.store, fetcher=ground.fetcher, levels=settings.level, speech=hardware.speech
    )
    wall = WallTime(trust, clock)
    sessions = Sessions(
        settings=settings.live, clock=clock, wall=wall, datagrams=hardware.datagrams, webcasts=hardware.webcasts,
        readiness=readiness, alerts=alerts, rng=ground.rng,
        received=lambda count: ground.meter.add("live", received=count),
    )  # fmt: skip
    guard = Guard(settings=settings.governor, clock=clock, trust=trust, database=database)
    await guard.open()
    agenda = Agenda()
    boards = _boards(ground)
    reporting = Status(
        clock=clock, trust=trust, disk=hardware.disk, outbox=ground.shelf, alerts=alerts, settings=settings.report,
        root=ground.topics.root, node=node, caps=_caps(settings, hardware), muting=guard, live=sessions,
        agenda=agenda, meter=ground.meter, seeing=boards,
    )  # fmt: skip
    ground.lives.extend([("guard", guard.life), ("live sessions", sessions.life)])
    channel, its_lives = await _loudspeaker(settings, hardware, guard, alerts)
    ground.lives.extend(its_lives)
    if boards is not None:
        ground.lives.append(("boards", boards.life))
    router = Router(
        clock=clock, database=database, channel=channel, guard=guard, readiness=readiness, boards=boards,
        programmes=Programmes(
            readiness=readiness, sessions=sessions, wall=wall, clock=clock, line_in=hardware.line_in
        ),
        lead_s=settings.amplifier.ready_s + _LEAD_S, facts={"agent": __version__, "node": node},
    )  # fmt: skip
    await router.open()
    return _Outlets(
        readiness=readiness, sessions=sessions, guard=guard, channel=channel, boards=boards,
        reporting=reporting, agenda=agenda, router=router,
    )  # fmt: skip


async def _inlets(
    ground: _Ground,
    outlets: _Outlets,
    keys: bytes | None,
    trial: tuple[Settings, Chosen, Callable[[], None]],
) -> Rooms:
    settings, hardware, trust, alerts = ground.settings, ground.hardware, ground.trust, ground.alerts
    clock, database, shelf, router = hardware.clock, hardware.database, ground.shelf, outlets.router
    monitor = Monitor(
        settings=settings.sense, clock=clock, lines=hardware.lines, router=router, channel=outlets.channel,
        outbox=shelf, alerts=alerts, conditions=_conditions(ground, outlets),
    )  # fmt: skip
    believed = await _keyring(settings, database, alerts, keys)
    desk = AlertDesk(
        settings=settings.alerts, clock=clock, trust=trust, database=database, keyring=believed, router=router
    )
    messages = StoredMessages(messages=settings.alerts.messages, readiness=outlets.readiness, alerts=alerts)
    scheduler = Scheduler(
        settings=settings.schedule, clock=clock, trust=trust, database=database, router=router, outbox=shelf,
        authorities=believed, cellar=ground.steward, agenda=outlets.agenda,
        report_topic=ground.topics.up("report"), line_in=hardware.line_in is not None,
    )  # fmt: skip
    await scheduler.open()
    standing = Standing(
        clock=clock, trust=trust, database=database, router=router, cellar=ground.steward, feeds=ground.headlines, outbox=shelf,
        report_topic=ground.topics.up("report"),
        boards={name: board.requisitioned for name, board in settings.every_board().items()},
    )  # fmt: skip
    base, chosen, leave = trial
    remote = RemoteConfig(
        base=base, chosen=chosen, disk=hardware.disk, connected=lambda: shelf.draining, leave=leave
    )
    takers: dict[Doc, Taker] = {Doc.SCHEDULE: scheduler, Doc.MEDIA: ground.steward, Doc.CONFIG: remote}
    if outlets.boards is not None:
        takers[Doc.BOARD] = standing
    reconciler = Reconciler(
        database=database, trust=trust, keyring=believed, topics=ground.topics, larder=ground.steward,
        telling=shelf.wake, takers=takers,
    )  # fmt: skip
    await reconciler.open()
    inbox = Inbox(
        settings=settings.broker, orders=settings.orders, node=ground.topics.node, groups=settings.node.groups,
        clock=clock, trust=trust, broker=hardware.broker, database=database, router=desk, outbox=shelf,
        status=outlets.reporting, alerts=alerts, keyring=believed, reconciler=reconciler, rng=ground.rng,
        meter=ground.meter,
    )  # fmt: skip
    answers = Answers(
        trust=trust, database=database, scheduler=scheduler, store=ground.store, steward=ground.steward,
        stick=Stick(disk=hardware.disk, store=ground.store, steward=ground.steward, reconciler=reconciler),
        node=ground.topics.node, clock=clock, box=ground.box,
    )  # fmt: skip
    console = Console(
        door=hardware.control, clock=clock, trust=trust, router=router, channel=outlets.channel,
        guard=outlets.guard, outbox=shelf, alerts=alerts, node=ground.topics.node, agent=__version__,
        live=outlets.sessions, seeing=outlets.boards, answers=answers,
    )  # fmt: skip
    lives: Lives = [
        *ground.lives, ("stored messages", messages.life), ("scheduler", scheduler.life),
        ("standing notices", standing.life), ("remote config", partial(remote.life, reconciler)),
        ("console", console.life), ("monitor", monitor.life), ("inbox", inbox.life),
    ]  # fmt: skip
    return Rooms(router=router, alerts=alerts, lives=tuple(lives))


def _conditions(ground: _Ground, outlets: _Outlets) -> Conditions:
    return Conditions(
        alerts=ground.alerts, trust=ground.trust, disk=ground.hardware.disk,
        reserve_mib=ground.settings.cache.reserve_mib, channel=outlets.channel, boards=outlets.boards,
        guard=outlets.guard, steward=ground.steward, meter=ground.meter,
    )  # fmt: skip


async def _keyring(settings: Settings, database: Database, alerts: Alerts, keys: bytes | None) -> Keyring:
    """The keys in force; `keys` is what the technician installed."""
    topics = Topics(root=settings.broker.root, node=NodeId(settings.node.id))
    unsigned = settings.trust.takes_unsigned(real_lines=settings.hardware.gpio == "linux")
    believed = Keyring(database=database, alerts=alerts, topic=topics.up("reported/keys"), unsigned=unsigned)
    await believed.open(keys)
    return believed


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


def _boards(ground: _Ground) -> Boards | None:
    settings, hardware = ground.settings, ground.hardware
    air = Air(hardware.ambient)
    sources = Sources(
        pictures=ground.steward, headlines=ground.headlines, celsius=lambda: air.celsius, place=settings.node.name
    )  # fmt: skip
    presenters = {
        name: Presenter(
            name=name, settings=board, clock=hardware.clock, trust=ground.trust, database=hardware.database,
            outlet=_outlet(name, board, hardware), sources=sources, lux=lambda: air.lux,
        )
        for name, board in settings.every_board().items()
    }  # fmt: skip
    return Boards(presenters, air) if presenters else None


def _outlet(name: str, board: BoardSettings, hardware: Hardware) -> BoardOutlet:
    if board.protocol == "screen":
        return ScreenPanel(screen=hardware.screens[name], settings=board, clock=hardware.clock)
    return panel_on(hardware.serials[name], board, hardware.clock)


def _caps(settings: Settings, hardware: Hardware) -> Caps:
    return Caps(
        agent=__version__,
        verbs=sorted(ARGS_OF_VERB),
        schemas={"order": 1},
        hardware=hardware.facts,
        boards=[
            {"name": name, "protocol": board.protocol, "columns": board.columns, "rows": board.rows}
            for name, board in settings.every_board().items()
        ],
    )
