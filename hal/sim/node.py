"""One process's doors on the virtual node, and what is known of it when it has ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from hal.errors import BrokerUnreachable, WebUnreachable
from hal.ports import BrokerSession, Connect, Download, Hardware
from hal.sim.board_line import VirtualSerial
from hal.sim.broker import VirtualBroker
from hal.sim.checkers import LineChange, LoudEar, Span
from hal.sim.clock import VirtualClock
from hal.sim.control import VirtualControl
from hal.sim.database import VirtualDatabase
from hal.sim.datagram import VirtualDatagrams
from hal.sim.disk import VirtualDisk
from hal.sim.gpio import VirtualLines
from hal.sim.heard import Ears, Heard
from hal.sim.line_in import VirtualLineIn
from hal.sim.link import VirtualSession
from hal.sim.network import VirtualWeb
from hal.sim.sound import VirtualCard
from hal.sim.speech import VirtualSpeech
from hal.sim.supervisor import VirtualSupervisor
from hal.sim.webcast import VirtualWebcasts


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What one process did, in its boot's time."""

    name: str
    end_ns: int
    heard: Heard
    loud: tuple[Span, ...]
    lines: tuple[LineChange, ...]
    supervisor: VirtualSupervisor


class Network:
    """One process's way to the broker and the web: dead with the process, however long its tasks linger."""

    def __init__(self, broker: VirtualBroker, web: VirtualWeb) -> None:
        self._broker = broker
        self._web = web
        self._alive = True
        self._sessions: set[VirtualSession] = set()

    @asynccontextmanager
    async def session(self, connect: Connect) -> AsyncIterator[BrokerSession]:
        """`hal.ports.Broker`."""
        if not self._alive:
            raise BrokerUnreachable("No connection to the broker: this process is dead.")
        async with self._broker.session(connect) as session:
            assert isinstance(session, VirtualSession)
            self._sessions.add(session)
            try:
                yield session
            finally:
                self._sessions.discard(session)

    async def get(
        self,
        url: str,
        *,
        offset: int = 0,
        etag: str | None = None,
        follow: Callable[[str], bool] | None = None,
    ) -> Download:
        """`hal.ports.Web`."""
        if not self._alive:
            raise WebUnreachable("No connection to the server: this process is dead.")
        return await self._web.get(url, offset=offset, etag=etag, follow=follow)

    def die(self, *, killed: bool) -> None:
        """The kernel closes a killed process's connections; without power nobody says a word, so
        the broker learns of it by the keepalive alone, whatever unwinds here."""
        self._alive = False
        for session in self._sessions:
            if killed:
                self._broker.kick(session.link.connect.client_id)
            else:
                session.link.up.silent = True
        if not killed:
            self._broker.power_cut()


class Doors:
    """New ones for each process: the card, the lines, the ways out. Disk and database come in."""

    def __init__(
        self,
        *,
        clock: VirtualClock,
        serial: VirtualSerial,
        network: Network,
        datagrams: VirtualDatagrams,
        webcasts: VirtualWebcasts,
        disk: VirtualDisk,
        database: VirtualDatabase,
        drift_ppm: float,
        line_in: bool,
        watchdog_s: float | None,
        seed: int,
    ) -> None:
        self._clock = clock
        self.heard = Heard()
        self.loud = LoudEar()
        self.card = VirtualCard(clock, Ears(self.heard, self.loud), drift_ppm)
        self.line_in = VirtualLineIn(clock)
        """The node has it if `line_in`."""
        self.speech = VirtualSpeech()
        self.lines = VirtualLines(clock)
        self.serial = serial
        self.network = network
        self.datagrams = datagrams
        self.webcasts = webcasts
        self.supervisor = VirtualSupervisor(clock=clock, watchdog_s=watchdog_s)
        self.control = VirtualControl()
        self.hardware = Hardware(
            clock=clock,
            sound=self.card,
            speech=self.speech,
            lines=self.lines,
            broker=network,
            web=network,
            datagrams=datagrams,
            webcasts=webcasts,
            disk=disk,
            database=database,
            supervisor=self.supervisor,
            control=self.control,
            serials={"main": serial},
            line_in=self.line_in if line_in else None,
            facts={"world": seed},
        )

    def life(self, name: str) -> Life:
        """What has happened so far."""
        if (stream := self.card.stream) is not None:
            stream.status()  # lets everything sound whose time has come
        return Life(
            name=name,
            end_ns=self._clock.monotonic_ns(),
            heard=self.heard,
            loud=tuple(self.loud.spans),
            lines=tuple(self.lines.history),
            supervisor=self.supervisor,
        )

    def left_active(self) -> list[str]:
        """Outputs that nobody has put back to rest."""
        return sorted({change.line for change in self.lines.history if self.lines.active(change.line)})

    def die(self, *, killed: bool) -> None:
        """Nothing works any more for whoever still holds these doors."""
        self.card.unplug()
        self.line_in.unplug()
        self.supervisor.stopping()
        self.lines.close()
        self.serial.missing = True
        self.network.die(killed=killed)
        self.datagrams.die()
        self.webcasts.die()
