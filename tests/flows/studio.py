"""A district's studio in virtual time: sends a voice as RTP to nodes, and stations that nodes may fetch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.clocktrust import wall_ns
from edge_agent.model import NS
from edge_agent.stream.packetiser import FRAMES, Packetiser, Sending
from edge_agent.stream.srtp import Srtp
from hal.sim.datagram import VirtualDatagrams
from tests.playout.media import speech_like

if TYPE_CHECKING:
    from hal.ports import Datagram, DatagramSocket, Frames
    from hal.sim.clock import VirtualClock

RATE_HZ = 48_000
PACKET_S = 0.02
STUDIO = "10.0.0.200"


def voice(seconds: float, *, seed: int = 7) -> Frames:
    """Speech-like, without a long pause."""
    return speech_like(seconds, seed=seed)


def tone_station(hz: float, level: float = 0.2) -> Callable[[int], Frames]:
    """Sound for a `VirtualStation`."""

    def sound(at: int) -> Frames:
        return (level * np.sin(2 * np.pi * hz * (at + np.arange(RATE_HZ // 10)) / RATE_HZ)).astype(np.float32)

    return sound


class Studio:
    """One sender. `stop` it from outside to break it off without a goodbye."""

    def __init__(
        self,
        datagrams: VirtualDatagrams,
        clock: VirtualClock,
        frames: Frames,
        *,
        key: bytes | None = None,
        sending: Sending | None = None,
    ) -> None:
        self._datagrams = datagrams
        self._clock = clock
        self._frames = frames
        self._srtp = None if key is None else Srtp(key)
        self.sending = sending or Sending(ssrc=0x5EED)
        self.heard: list[Datagram] = []
        """What receivers said."""
        self.began_wall_ns = 0

    async def send(
        self,
        *to: tuple[str, int],
        port: int = 5006,
        goodbye: bool = True,
        pause: tuple[float, float] | None = None,
    ) -> None:
        """All of it, at its pace. `pause`: from, to (seconds): nothing leaves meanwhile."""
        socket = await self._datagrams.open(host=STUDIO, port=port)
        try:
            await self._packets(socket, to, pause)
            if goodbye:
                sent_ns = round(self._frames.size // FRAMES * PACKET_S * NS)
                self._tell(socket, to, self._packetiser.goodbye(self.began_wall_ns + sent_ns), rtcp=True)
        finally:
            self.heard += socket.take()
            socket.close()

    async def _packets(
        self, socket: DatagramSocket, to: tuple[tuple[str, int], ...], pause: tuple[float, float] | None
    ) -> None:
        self._packetiser = Packetiser(replace(self.sending))
        begin_s = asyncio.get_running_loop().time()
        self.began_wall_ns = self._wall_ns()
        for index in range(self._frames.size // FRAMES):
            await asyncio.sleep(max(0.0, begin_s + index * PACKET_S - asyncio.get_running_loop().time()))
            mute = pause is not None and pause[0] <= index * PACKET_S < pause[1]
            report = self._packetiser.report(self.began_wall_ns + round(index * PACKET_S * NS))
            packet = self._packetiser.packet(self._frames[index * FRAMES : (index + 1) * FRAMES])
            self.heard += socket.take()
            if mute:
                continue
            if index % 50 == 0:
                self._tell(socket, to, report, rtcp=True)
            self._tell(socket, to, packet, rtcp=False)

    def _tell(
        self, socket: DatagramSocket, to: tuple[tuple[str, int], ...], blob: bytes, *, rtcp: bool
    ) -> None:
        blob = blob if self._srtp is None else self._srtp.protect(blob, rtcp=rtcp)
        for address in to:
            socket.send(blob, address)

    def _wall_ns(self) -> int:
        return wall_ns(self._clock.utc_now())
