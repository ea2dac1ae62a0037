"""A studio's sending, at the pace of sound: the working part of `edge-agent send`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.clocktrust import wall_ns
from edge_agent.errors import PacketRefused
from edge_agent.model import MS, NS
from edge_agent.stream import rtcp
from edge_agent.stream.line import Line
from edge_agent.stream.packetiser import FRAMES, Packetiser

if TYPE_CHECKING:
    from edge_agent.stream.rtcp import ReportBlock
    from edge_agent.stream.srtp import Srtp
    from hal.ports import Clock, DatagramSocket, Frames

PACKET_NS = 20 * MS
REPORTS_AT_FIRST_S = 10.0
"""So long a report leaves each second: who joins a group waits for one."""
REPORT_S = 5.0
FORGET_S = 60.0
LISTENERS_MAX = 64
GOODBYES = 3
"""A goodbye may be lost like any packet."""
_LATE_NS = NS
"""An input that stops for so long is gone on with as if it began anew."""

Address = tuple[str, int]
Input = Callable[[], "Awaitable[Frames | None]"]
"""The next frames, however many; None at the end."""


@dataclass(slots=True)
class Told:
    """What is known of a send, for people."""

    packets: int = 0
    octets: int = 0
    listeners: int = 0
    reports: dict[Address, ReportBlock] = field(default_factory=dict)
    """The latest word of each receiver."""


class Sender:
    """One stream to fixed addresses, or to whoever has spoken to us lately (`to` is empty then)."""

    def __init__(
        self,
        *,
        socket: DatagramSocket,
        clock: Clock,
        packetiser: Packetiser,
        to: tuple[Address, ...] = (),
        srtp: Srtp | None = None,
    ) -> None:
        self.told = Told()
        self._socket = socket
        self._clock = clock
        self._packetiser = packetiser
        self._to = to
        self._srtp = srtp
        self._heard_ns: dict[Address, int] = {}
        self._begin_ns = 0
        self._index = 0
        self._reported_ns: int | None = None

    async def send(self, frames: Input) -> None:
        """All of the input; then, and when cancelled, goodbye."""
        self._begin_ns = self._clock.monotonic_ns()
        line = Line()
        try:
            while (more := await frames()) is not None:
                line.put(more)
                while line.held >= FRAMES:
                    await self._next(line.take(FRAMES))
            if line.held:
                await self._next(line.take(FRAMES))
        finally:
            self._goodbye()

    async def _next(self, frames: Frames) -> None:
        """One packet, at its time."""
        frames = frames if frames.size == FRAMES else np.pad(frames, (0, FRAMES - frames.size))
        due_ns = self._begin_ns + self._index * PACKET_NS
        now_ns = self._clock.monotonic_ns()
        if now_ns - due_ns > _LATE_NS:
            self._begin_ns += now_ns - due_ns
        elif now_ns < due_ns:
            await asyncio.sleep((due_ns - now_ns) / NS)
        self._listen()
        self._report_when_due()
        blob = self._packetiser.packet(frames)
        self._index += 1
        self.told.packets += 1
        self.told.octets += len(blob)
        self._tell(blob, is_report=False)

    def _report_when_due(self) -> None:
        now_ns = self._clock.monotonic_ns()
        young = now_ns - self._begin_ns < REPORTS_AT_FIRST_S * NS
        every_ns = NS if young else round(REPORT_S * NS)
        if self._reported_ns is None or now_ns - self._reported_ns >= every_ns:
            self._reported_ns = now_ns
            self._tell(self._packetiser.report(self._taken_wall_ns()), is_report=True)

    def _taken_wall_ns(self) -> int:
        """The wall time of the next packet's first frame; a clock that was set meanwhile counts as it is now."""
        offset_ns = wall_ns(self._clock.utc_now()) - self._clock.monotonic_ns()
        return self._begin_ns + self._index * PACKET_NS + offset_ns

    def _goodbye(self) -> None:
        for _ in range(GOODBYES):
            self._tell(self._packetiser.goodbye(self._taken_wall_ns()), is_report=True)

    def _tell(self, blob: bytes, *, is_report: bool) -> None:
        if self._srtp is not None:
            blob = self._srtp.protect(blob, rtcp=is_report)
        for address in self._to or tuple(self._heard_ns):
            self._socket.send(blob, address)

    def _listen(self) -> None:
        """Take what receivers say; who said nothing for a minute is not sent to any more."""
        now_ns = self._clock.monotonic_ns()
        for datagram in self._socket.take():
            if datagram.source in self._heard_ns or len(self._heard_ns) < LISTENERS_MAX:
                self._heard_ns[datagram.source] = now_ns
                self._note(datagram.payload, datagram.source)
        for address, heard_ns in tuple(self._heard_ns.items()):
            if now_ns - heard_ns > FORGET_S * NS:
                del self._heard_ns[address]
                self.told.reports.pop(address, None)
        self.told.listeners = len(self._to) or len(self._heard_ns)

    def _note(self, blob: bytes, source: Address) -> None:
        try:
            if self._srtp is not None:
                blob = self._srtp.unprotect(blob, rtcp=True)
            reports = rtcp.parse(blob)
        except PacketRefused:
            return  # any word keeps the way open; only a report says how the stream fares
        for report in reports:
            if isinstance(report, rtcp.ReceiverReport) and report.blocks:
                self.told.reports[source] = report.blocks[0]
