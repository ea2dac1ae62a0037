"""The cast of the router's stories: a real channel, cellar and fetcher behind virtual doors, and a sign."""

from __future__ import annotations

import asyncio
import hashlib
import io
import random
import wave
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from edge_agent import kept
from edge_agent.board.proof import Proof
from edge_agent.cache import store as cache_store
from edge_agent.cache.fetcher import Fetcher
from edge_agent.cache.settings import CacheSettings
from edge_agent.cache.store import Store
from edge_agent.clocktrust import ClockSettings, ClockTrust, WallTime
from edge_agent.errors import Refused, TextRefused
from edge_agent.model import (
    NS,
    AsRun,
    BoardClear,
    BoardShow,
    Digest,
    Executing,
    Finished,
    Intent,
    Issuer,
    Live,
    OrderId,
    OrderState,
    Outcome,
    Play,
    Precedence,
    Reason,
    ReasonCode,
    Step,
)
from edge_agent.playlist import Playlist
from edge_agent.playout import guard
from edge_agent.playout.amplifier import Amplifier
from edge_agent.playout.channel import Channel
from edge_agent.playout.guard import Guard
from edge_agent.playout.readiness import Readiness
from edge_agent.playout.settings import (
    AmplifierSettings,
    GovernorSettings,
    LevelSettings,
    PlayoutSettings,
)
from edge_agent.playout.source import Source
from edge_agent.programmes import Programmes
from edge_agent.router import Router
from edge_agent.ticket import Ticket
from hal.sim.clock import VirtualClock
from hal.sim.database import VirtualDatabase
from hal.sim.disk import VirtualDisk
from hal.sim.gpio import VirtualLines
from hal.sim.heard import Heard
from hal.sim.loop import Counter, run
from hal.sim.network import VirtualWeb
from hal.sim.sound import VirtualCard
from hal.sim.speech import VirtualSpeech

URL = "http://media.example/bulletin.wav"
HOUR_NS = 3600 * NS


def a_wav(seconds: float, *, hz: float = 440.0) -> bytes:
    samples = 8000 * np.sin(2 * np.pi * hz * np.arange(round(seconds * 16_000)) / 16_000)
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(16_000)
        writer.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


BULLETIN = a_wav(3)
DIGEST = Digest("sha256:" + hashlib.sha256(BULLETIN).hexdigest())


@dataclass(slots=True)
class Sign:
    """A presenter that shows a notice for as long as it is told."""

    lasts_s: float = 0.5
    draws_s: float = 0.0
    tickets: dict[OrderId, Ticket] = field(default_factory=dict)
    shown: list[OrderId] = field(default_factory=list)
    cleared: list[OrderId | None] = field(default_factory=list)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def vet(self, intent: BoardShow) -> None:
        await asyncio.sleep(self.draws_s)
        if "☢" in intent.text:
            raise TextRefused(ReasonCode.BAD_ARGS, "The board has no such letter; leave it out.")

    def show(self, intent: BoardShow) -> Ticket:
        return self._begin(intent, OrderState.SUCCESSFUL)

    @property
    def wanted(self) -> tuple[OrderId, ...]:
        return tuple(self.tickets)

    def post(self, playlist: Playlist) -> None:
        raise NotImplementedError

    def proofs(self, *, everything: bool = False) -> list[Proof]:
        raise NotImplementedError

    def clear(self, intent: BoardClear) -> Ticket:
        if len(self.cleared) > 2:
            raise Refused(ReasonCode.BUSY, "Too much to clear; wait.")
        self.cleared.append(intent.target)
        shown = None if intent.target is None else self.tickets.get(intent.target)
        if shown is not None and shown.finished is None:
            shown.end(_end(OrderState.CANCELLED, Outcome.PARTIAL, ReasonCode.CANCELLED))
        return self._begin(replace(intent, id=OrderId(f"{intent.id}-clear")), OrderState.SUCCESSFUL)

    def wind_up(self) -> None:
        for ticket in self.tickets.values():
            if ticket.finished is None:
                ticket.end(_end(OrderState.INTERRUPTED, Outcome.PARTIAL, ReasonCode.INTERRUPTED))

    def _begin(self, intent: BoardShow | BoardClear, state: OrderState) -> Ticket:
        ticket = self.tickets[intent.id] = Ticket(intent)
        task = asyncio.create_task(self._live(ticket, state))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return ticket

    async def _live(self, ticket: Ticket, state: OrderState) -> None:
        ticket.grant()
        await ticket.begun()
        if ticket.finished is None:
            self.shown.append(ticket.intent.id)
            await asyncio.sleep(self.lasts_s)
        if ticket.finished is None:
            ticket.end(_end(state, Outcome.AIRED, None))


def _end(state: OrderState, outcome: Outcome, code: ReasonCode | None) -> Finished:
    return Finished(
        state=state, asrun=AsRun(outcome=outcome, reason=None if code is None else Reason(code, "So."))
    )


class Junction:
    """A router with a real channel, cellar and fetcher behind virtual doors."""

    def __init__(self, *, board: bool = True) -> None:
        self.counter = Counter()
        self.clock = VirtualClock(self.counter)
        self.heard = Heard()
        self.web = VirtualWeb(self.clock, random.Random(1))
        self.web.put(URL, BULLETIN)
        self.database = VirtualDatabase([kept.SCHEMA, cache_store.SCHEMA, guard.SCHEMA])
        self.disk = VirtualDisk(clock=self.clock, capacity_bytes=1 << 30)
        self.sign = Sign() if board else None
        self.channel: Channel
        self.guard: Guard
        self.router: Router
        self.store: Store

    def play(self, story: Callable[[Router], Awaitable[None]]) -> None:
        """Tell a story around the router, with its rooms alive."""

        async def main() -> None:
            settings = CacheSettings(reserve_mib=16)
            self.store = Store(disk=self.disk, database=self.database, clock=self.clock, settings=settings)
            await self.store.open()
            lines = VirtualLines(self.clock)
            amplifier = Amplifier(settings=AmplifierSettings(), lines=lines, clock=self.clock)
            trust = ClockTrust(settings=ClockSettings(), clock=self.clock, database=self.database)
            self.guard = Guard(
                settings=GovernorSettings(quiet_hours=()),
                clock=self.clock,
                trust=trust,
                database=self.database,
            )
            await self.guard.open()
            self.channel = Channel(
                settings=PlayoutSettings(),
                level=LevelSettings(),
                clock=self.clock,
                sound=VirtualCard(self.clock, self.heard),
                amplifier=amplifier,
                rules=self.guard,
            )
            fetcher = Fetcher(web=self.web, store=self.store, clock=self.clock, settings=settings)
            readiness = Readiness(
                store=self.store, fetcher=fetcher, levels=LevelSettings(), speech=VirtualSpeech()
            )
            self.router = Router(
                clock=self.clock,
                database=self.database,
                channel=self.channel,
                guard=self.guard,
                readiness=readiness,
                programmes=Programmes(
                    readiness=readiness,
                    sessions=NoStudio(),
                    wall=WallTime(trust, self.clock),
                    clock=self.clock,
                ),
                boards=self.sign,
                facts={"agent": "0.1.0"},
            )
            await self.router.open()
            async with asyncio.TaskGroup() as rooms:
                lives = [rooms.create_task(amplifier.life()), rooms.create_task(self.channel.life())]
                await story(self.router)
                for life in lives:
                    life.cancel()

        run(main(), self.counter)

    def intent(self, kind: type[Any], number: int = 1, **fields: Any) -> Any:
        """An intent that may begin within an hour."""
        asked: dict[str, Any] = {
            "id": OrderId(f"order-{number}"),
            "issuer": Issuer("xa"),
            "precedence": Precedence.ROUTINE,
            "deadline_ns": self.clock.monotonic_ns() + HOUR_NS,
        }
        if kind is Play:
            asked |= {"media": DIGEST, "url": URL}
        if kind is BoardShow:
            asked |= {"text": "Họp", "until_ns": self.clock.monotonic_ns() + HOUR_NS}
        return kind(**(asked | fields))


class NoStudio:
    """Live sound has stories of its own."""

    async def open(self, intent: Live) -> Source:
        raise AssertionError("no live order in these stories")


async def steps_of(router: Router, intent: Intent) -> list[Step]:
    """Everything it yields, with the law checked: one Finished, last; at most one Executing."""
    async with aclosing(router.carry_out(intent)) as going:
        steps = [step async for step in going]
    assert [isinstance(step, Finished) for step in steps] == [False] * (len(steps) - 1) + [True]
    assert sum(isinstance(step, Executing) for step in steps) <= 1
    return steps


async def end_of(router: Router, intent: Intent) -> Finished:
    last = (await steps_of(router, intent))[-1]
    assert isinstance(last, Finished)
    return last


def reason_of(finished: Finished) -> ReasonCode | None:
    return None if finished.asrun.reason is None else finished.asrun.reason.code
