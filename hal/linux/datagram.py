"""UDP on a plain non-blocking socket, each packet with the kernel's own receive time.

Facts: `SO_TIMESTAMPNS` stamps with CLOCK_REALTIME when the packet comes up from the driver; Python
has no name for it. The number is 64 with 64-bit times (Linux 5.1), 35 before. Its age, taken at once,
turns it into CLOCK_BOOTTIME; an age that cannot be (the wall clock was just set) counts as none.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time

from hal.errors import DatagramError
from hal.inflow import Inflow
from hal.ports import Clock, Datagram

_TIMESTAMP_OPTIONS = (64, 35)
_MAX_AGE_NS = 1_000_000_000
_NS = 1_000_000_000
_LARGEST = 65_536
_AT_ONCE = 64
"""Packets taken in one go, so that a flood leaves the loop some time."""
_KERNEL_BYTES = 512 * 1024


class UdpDatagrams:
    """`hal.ports.Datagrams`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def open(self, *, host: str, port: int, queue_packets: int = 256) -> UdpSocket:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL_BYTES)
            for option in _TIMESTAMP_OPTIONS:
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, option, 1)
                    break
            sock.bind((host, port))
        except (OSError, OverflowError) as error:
            sock.close()
            raise DatagramError(f"UDP {host}:{port} cannot be opened: {error}.") from None
        return UdpSocket(clock=self._clock, sock=sock, queue_packets=queue_packets)


class UdpSocket:
    """`hal.ports.DatagramSocket`."""

    def __init__(self, *, clock: Clock, sock: socket.socket, queue_packets: int) -> None:
        name = sock.getsockname()
        self.local: tuple[str, int] = (name[0], name[1])
        self._clock = clock
        self._sock = sock
        self._buffer = bytearray(_LARGEST)
        self._inflow: Inflow[Datagram] = Inflow(queue_packets)
        self._discarded = 0
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock.fileno(), self._take)

    async def receive(self) -> Datagram:
        return await self._inflow.get()

    def send(self, payload: bytes, to: tuple[str, int]) -> None:
        if self._sock.fileno() < 0:
            raise DatagramError("The UDP socket is closed.")
        with contextlib.suppress(OSError):  # best effort: a full buffer or no route is a lost packet
            self._sock.sendto(payload, to)

    def discarded(self) -> int:
        return self._discarded

    def close(self) -> None:
        if self._sock.fileno() < 0:
            return
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()
        self._inflow.end(DatagramError("The UDP socket is closed."))

    def _take(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                size, extra, _, source = self._sock.recvmsg_into([self._buffer], 64)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error of something sent before: the socket itself is well
            arrival_ns = self._clock.monotonic_ns() - self._age_ns(extra)
            datagram = Datagram(
                payload=bytes(memoryview(self._buffer)[:size]),
                source=(source[0], source[1]),
                arrival_ns=arrival_ns,
            )
            if not self._inflow.put(datagram):
                self._discarded += 1

    @staticmethod
    def _age_ns(extra: list[tuple[int, int, bytes]]) -> int:
        """How long ago the kernel took the packet, 0 when it does not say or the wall clock moved."""
        for level, kind, stamp in extra:
            if level == socket.SOL_SOCKET and kind in _TIMESTAMP_OPTIONS and len(stamp) in (8, 16):
                seconds, nanoseconds = struct.unpack("@qq" if len(stamp) == 16 else "@ii", stamp)
                age_ns = time.clock_gettime_ns(time.CLOCK_REALTIME) - (int(seconds) * _NS + int(nanoseconds))
                return age_ns if 0 <= age_ns <= _MAX_AGE_NS else 0
        return 0
