"""Virtual streams over HTTP: stations that give sound at its own pace, and what may be wrong with them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from hal.errors import WebcastBroken, WebcastRefused, WebcastTimeout, WebcastUnreachable

if TYPE_CHECKING:
    from hal.ports import Frames

_RATE_HZ = 48_000
_BLOCK = _RATE_HZ // 10
_BYTES = 1_600
"""A tenth of a second at 128 kb/s."""
_PATIENCE_S = 3.0


class VirtualStation:
    """One stream. `sound(at)` gives the block of 100 ms whose first frame is frame `at` of the station's time.

    The faults are attributes that a test sets at any time.
    """

    def __init__(
        self, sound: Callable[[int], Frames], *, burst_s: float = 2.0, pin: str | None = None
    ) -> None:
        self._sound = sound
        self.burst_s = burst_s
        """So much of the past is sent at once to who connects (Icecast's burst-on-connect)."""
        self.pin = pin
        """Of its certificate; None: vouched for by an authority."""
        self.status = 200
        self.reachable = True
        self.hung = False
        """Connected, and nothing comes."""
        self.silent = False
        """Digital silence."""
        self.listeners = 0
        self._cut = asyncio.Event()

    def cut(self) -> None:
        """All who listen are disconnected."""
        self._cut.set()
        self._cut = asyncio.Event()

    def block(self, at: int) -> Frames:
        """100 ms."""
        return np.zeros(_BLOCK, np.float32) if self.silent else self._sound(at)

    @property
    def disconnects(self) -> asyncio.Event:
        """Set when those who listen now are cut off."""
        return self._cut


class VirtualWebcasts:
    """`hal.ports.Webcasts` of one process."""

    def __init__(self, stations: dict[str, VirtualStation]) -> None:
        self._stations = stations
        self._dead = False

    async def open(self, url: str, *, pin: str | None = None) -> VirtualWebcast:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"not an http(s) address: {url}")
        await asyncio.sleep(0.05)
        station = self._stations.get(url)
        if self._dead or station is None or not station.reachable:
            raise WebcastUnreachable(f"No connection to {url}.")
        if station.hung:
            await asyncio.sleep(_PATIENCE_S)
            raise WebcastTimeout(f"Nothing came from {url}.")
        if pin is not None and pin != station.pin:
            raise WebcastUnreachable(f"The certificate of {url} is not the one that is pinned.")
        if pin is None and station.pin is not None:
            raise WebcastUnreachable(f"Nobody vouches for the certificate of {url}.")
        if station.status != 200:
            raise WebcastRefused(f"The server answered {station.status}.", station.status)
        return VirtualWebcast(self, station)

    @property
    def dead(self) -> bool:
        """The process has ended."""
        return self._dead

    def die(self) -> None:
        """The process is dead; its connections are gone."""
        self._dead = True


class VirtualWebcast:
    """`hal.ports.Webcast`."""

    def __init__(self, door: VirtualWebcasts, station: VirtualStation) -> None:
        self._door = door
        self._station = station
        self._disconnects = station.disconnects
        now = round(asyncio.get_running_loop().time() * 10)
        self._next = now - round(station.burst_s * 10)
        self._closed = False
        self._received = 0
        station.listeners += 1

    async def read(self) -> Frames:
        loop = asyncio.get_running_loop()
        waited_s = 0.0
        while True:
            if self._closed or self._door.dead or self._disconnects.is_set():
                raise WebcastBroken("The stream ended.")
            due_s = (self._next + 1) / 10 - loop.time()
            if not self._station.hung and self._station.reachable and due_s <= 0:
                break
            if waited_s >= _PATIENCE_S:
                raise WebcastTimeout("Nothing was decoded for 3 s.")
            step_s = max(0.001, due_s) if due_s > 0 else 0.1
            await asyncio.sleep(step_s)
            waited_s += step_s
        self._next += 1
        self._received += _BYTES
        return self._station.block((self._next - 1) * _BLOCK)

    def received(self) -> int:
        return self._received

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._station.listeners -= 1
