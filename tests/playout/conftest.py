"""The cast of the loudspeaker's stories: a card, lines, an amplifier and a channel in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest

from edge_agent.errors import MediaRefused
from edge_agent.model import NS, Digest, Finished, Issuer, OrderId, Play, Precedence, ReasonCode
from edge_agent.playout.amplifier import Amplifier
from edge_agent.playout.channel import Channel
from edge_agent.playout.rules import Rules
from edge_agent.playout.settings import AmplifierSettings, LineSettings, PlayoutSettings
from edge_agent.playout.source import Stored
from edge_agent.ticket import Ticket
from hal.sim import loop
from hal.sim.clock import VirtualClock
from hal.sim.gpio import AmplifierPhysics, VirtualLines
from hal.sim.heard import Heard
from hal.sim.sound import VirtualCard

if TYPE_CHECKING:
    from hal.ports import Frames

RATE_HZ = 48_000
WIRED = AmplifierSettings(
    power=LineSettings(offset=17),
    mute=LineSettings(offset=27, active_low=True),
    zones={"upper": LineSettings(offset=22), "lower": LineSettings(offset=23)},
)


class NoisySource(Stored):
    """Quiet noise, different in every frame, so that a missing one is seen. `break_at` ends it with an error."""

    def __init__(
        self,
        seconds: float,
        *,
        seed: int = 1,
        level: float = 0.1,
        break_at: int | None = None,
        gain_db: float = 0,
    ) -> None:
        rng = np.random.default_rng(seed)
        noise = rng.uniform(-level, level, round(seconds * RATE_HZ)).astype(np.float32)
        self.frames: Frames = np.where(np.abs(noise) < level / 50, level / 50, noise).astype(np.float32)
        self.gain_db = gain_db
        self.closed = 0
        self._at = 0
        self._break_at = break_at

    async def read(self, frames: int, playout_ns: int | None = None) -> Frames:
        await asyncio.sleep(0)
        if self._break_at is not None and self._at >= self._break_at:
            raise MediaRefused(ReasonCode.NO_MEDIA, "The file is damaged.")
        until = self._at + frames if self._break_at is None else min(self._at + frames, self._break_at)
        out = self.frames[self._at : until]
        self._at += out.size
        return out

    async def close(self) -> None:
        self.closed += 1

    def bad_packets(self) -> int:
        return 0


class Rig:
    """One loudspeaker with everything around it, and a way to run a story with it."""

    def __init__(
        self,
        *,
        amplifier: AmplifierSettings = WIRED,
        rules: Rules | None = None,
        clock_start_ns: int = 10 * NS,
        **playout: Any,
    ) -> None:
        self.counter = loop.Counter(clock_start_ns)
        self.clock = VirtualClock(self.counter)
        self.heard = Heard()
        self.card = VirtualCard(self.clock, self.heard)
        self.physics = AmplifierPhysics(
            power="amplifier_power",
            unmute="amplifier_unmute",
            settle_s=amplifier.settle_time_s,
            off_on_s=amplifier.off_on_delay_s,
        )
        self.lines = VirtualLines(self.clock, watches=[self.physics])
        self.amplifier = Amplifier(settings=amplifier, lines=self.lines, clock=self.clock)
        self.channel = Channel(
            settings=msgspec.convert({"volume": 100, **playout}, PlayoutSettings),
            clock=self.clock,
            sound=self.card,
            amplifier=self.amplifier,
            rules=rules or self.house_rules(),
        )
        self._orders = 0

    def house_rules(self) -> Rules | None:
        """Who stands above it; a scene with rules of its own makes them here."""
        return None

    def run(self, story: Callable[[], Awaitable[None]]) -> None:
        """Run a story while amplifier and channel live; then stop them as the agent does."""

        async def main() -> None:
            async with asyncio.TaskGroup() as lives:
                tasks = [
                    lives.create_task(self.amplifier.life(), name="amplifier"),
                    lives.create_task(self.channel.life(), name="channel"),
                ]
                await story()
                await self.channel.wind_up()
                for task in reversed(tasks):
                    task.cancel()
                    await asyncio.wait([task])
            self.lines.close()

        loop.run(main(), self.counter)
        assert not list(self.physics.violations)
        assert self.card.stream is None, "the sound device is closed"

    @property
    def now_s(self) -> float:
        return self.counter.ns / NS

    def play(
        self,
        precedence: Precedence = Precedence.ROUTINE,
        *,
        issuer: str = "commune",
        within_s: float = 3600,
        volume: int | None = None,
        zones: tuple[str, ...] = (),
    ) -> Play:
        """A new order."""
        self._orders += 1
        return Play(
            id=OrderId(f"{precedence.wire}-{self._orders}"),
            issuer=Issuer(issuer),
            precedence=precedence,
            deadline_ns=self.counter.ns + round(within_s * NS),
            media=Digest("sha256:" + "0" * 64),
            volume=volume,
            zones=zones,
        )

    def request(
        self, source: NoisySource, precedence: Precedence = Precedence.ROUTINE, **order: Any
    ) -> Ticket:
        """Ask the channel for a turn for this source."""

        async def open_source() -> NoisySource:
            await asyncio.sleep(0.01)
            return source

        return self.channel.request(self.play(precedence, **order), open_source)

    def changes(self, since: int = 0) -> list[tuple[str, bool, float]]:
        """(line, active, seconds since the start) of every change after the requests."""
        return [
            (change.line, change.active, round(change.at_ns / NS - 10, 3))
            for change in list(self.lines.history)[4 + since :]
        ]


def sounding(frames: Frames) -> Frames:
    """Without the silence of a lead-in."""
    kept: Frames = frames[frames != 0.0]
    return kept


async def through(ticket: Ticket) -> Finished:
    """What an asker does: store (at once), begin, wait for the end."""
    if await ticket.granted():
        ticket.begin()
    return await ticket.ended()


@pytest.fixture
def rig() -> Rig:
    """A loudspeaker as it comes."""
    return Rig()
