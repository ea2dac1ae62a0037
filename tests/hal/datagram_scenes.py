"""Where the contract of UDP is tried: a virtual network, and real sockets on loopback."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from hal.linux.clock import SystemClock
from hal.linux.datagram import UdpDatagrams, UdpSocket
from hal.ports import Clock, Datagrams
from hal.sim.clock import VirtualClock
from hal.sim.datagram import UdpNetwork, VirtualDatagrams
from hal.sim.loop import Counter, run

HERE = "127.0.0.1"


class Bench(Protocol):
    """Where the contract is tried."""

    @property
    def datagrams(self) -> Datagrams: ...
    @property
    def clock(self) -> Clock: ...
    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None: ...


class VirtualBench:
    def __init__(self) -> None:
        self.counter = Counter()
        self.clock = VirtualClock(self.counter)
        self.network = UdpNetwork(random.Random(7))
        self.datagrams = VirtualDatagrams(self.clock, self.network)

    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        run(main(), self.counter)


class LinuxBench:
    def __init__(self) -> None:
        self.clock = SystemClock()
        self.datagrams = Remembered(self.clock)

    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a story, and close what it left open."""

        async def bounded() -> None:
            try:
                async with asyncio.timeout(10):
                    await main()
            finally:
                for opened in self.datagrams.opened:
                    opened.close()

        asyncio.run(bounded())


class Remembered(UdpDatagrams):
    """Knows its sockets."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.opened: list[UdpSocket] = []

    async def open(self, **how: Any) -> UdpSocket:
        opened = await super().open(**how)
        self.opened.append(opened)
        return opened
