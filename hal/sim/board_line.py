"""A serial line in virtual time, with an emulated sign at its far end (the memory mount)."""

from __future__ import annotations

import asyncio
from collections import deque

from hal.errors import SerialError
from hal.ports import Clock, SerialSettings
from hal.sim.emulator import Emulator

SECOND = 1_000_000_000
ANSWER_NS = 20_000_000
"""How long the sign thinks before it answers."""
WAITING_MAX = 1000
READ_MAX_BYTES = 4096


class VirtualSerial:
    """The port. Faults are attributes: `missing` (no such device; an open line fails at once),
    `noise` (bytes that lie on the line before the next read)."""

    def __init__(
        self, clock: Clock, sign: Emulator, settings: SerialSettings | None = None, *, missing: bool = False
    ) -> None:
        self._clock = clock
        self.sign = sign
        line = settings or SerialSettings()
        bits = 1 + line.data_bits + (line.parity != "none") + line.stop_bits
        self._byte_ns = bits * SECOND // line.baud
        self.missing = missing
        self.opened = 0
        """How often it was opened."""
        self.carried_bytes = 0
        """Bytes that have gone over it, both ways."""
        self._link: VirtualLink | None = None

    async def open(self) -> VirtualLink:
        if self.missing:
            raise SerialError("The virtual serial port is not there: the test has unplugged it.")
        if self._link is not None and not self._link.closed:
            raise SerialError("The virtual serial port is held by someone else; close the other link first.")
        self.opened += 1
        self._link = VirtualLink(self, self._clock, self._byte_ns)
        return self._link

    def inject(self, noise: bytes) -> None:
        """Foreign bytes come in, as from a neighbour on the same wire."""
        if self._link is not None and not self._link.closed:
            self._link.receive(noise, self._clock.monotonic_ns())


class VirtualLink:
    """An open line."""

    def __init__(self, port: VirtualSerial, clock: Clock, byte_ns: int) -> None:
        self._port = port
        self._clock = clock
        self._byte_ns = byte_ns
        self._waiting: deque[tuple[int, bytes]] = deque(maxlen=WAITING_MAX)
        self._arrived = asyncio.Event()
        self.closed = False

    async def write(self, payload: bytes) -> None:
        self._check()
        start = self._clock.monotonic_ns()
        sent = 0
        try:
            await asyncio.sleep(len(payload) * self._byte_ns / SECOND)
            sent = len(payload)
        finally:
            if sent == 0 and payload:
                sent = min(len(payload), (self._clock.monotonic_ns() - start) // self._byte_ns)
            self._port.carried_bytes += sent
            if not self._port.missing:
                answer = self._port.sign.feed(payload[:sent], start)
                if answer:
                    self._port.carried_bytes += len(answer)
                    self.receive(
                        answer,
                        self._clock.monotonic_ns()
                        + ANSWER_NS
                        + self._port.sign.late_ns
                        + len(answer) * self._byte_ns,
                    )
        self._check()

    async def read(self, *, timeout_s: float) -> bytes:
        self._check()
        until_ns = self._clock.monotonic_ns() + round(timeout_s * SECOND)
        while True:
            now_ns = self._clock.monotonic_ns()
            if self._waiting and self._waiting[0][0] <= now_ns:
                return self._taken()
            if now_ns >= until_ns:
                return b""
            next_ns = min(until_ns, self._waiting[0][0]) if self._waiting else until_ns
            self._arrived.clear()
            try:
                async with asyncio.timeout((next_ns - now_ns) / SECOND):
                    await self._arrived.wait()
            except TimeoutError:
                pass
            self._check()

    def close(self) -> None:
        self.closed = True

    def receive(self, payload: bytes, ready_ns: int) -> None:
        """Bytes on their way to us, whole at `ready_ns`."""
        self._waiting.append((ready_ns, payload))
        self._arrived.set()

    def _taken(self) -> bytes:
        ready_ns, payload = self._waiting.popleft()
        if len(payload) > READ_MAX_BYTES:
            self._waiting.appendleft((ready_ns, payload[READ_MAX_BYTES:]))
        return payload[:READ_MAX_BYTES]

    def _check(self) -> None:
        if self.closed:
            raise SerialError("The virtual serial port is closed.")
        if self._port.missing:
            raise SerialError("The virtual serial port has gone: the test has unplugged it.")
