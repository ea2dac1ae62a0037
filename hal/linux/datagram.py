"""UDP on a plain non-blocking socket, each packet with the kernel's own receive time.

Facts: `SO_TIMESTAMPNS` stamps with CLOCK_REALTIME when the packet comes up from the driver; Python
has no name for it. The number is 64 with 64-bit times (Linux 5.1), 35 before. Its age, taken at once,
turns it into CLOCK_BOOTTIME; an age that cannot be (the wall clock was just set) counts as none. Where no other
socket of the machine wants stamps the kernel begins a moment after ours asks; until then a packet's time is when it is read.
`SO_RXQ_OVFL` hands over with a packet how many the kernel has thrown away by then: its queue was full,
or the filter below turned them down.

Packets wait in the kernel until somebody looks: the loop watches the socket only while `receive` waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from pathlib import Path

from hal.errors import DatagramError
from hal.inflow import Inflow
from hal.linux.only_source import let_in
from hal.ports import Clock, Datagram

_TIMESTAMP_OPTIONS = (64, 35)
_MAX_AGE_NS = 1_000_000_000
_NS = 1_000_000_000
_LARGEST = 65_536
_AT_ONCE = 64
"""Packets taken in one go while `receive` waits, so that a flood leaves the loop some time."""
_MOST_AT_ONCE = 1024
"""More than the kernel's queue holds: the end of a look under a flood that does not end."""
_KERNEL_BYTES = 512 * 1024
_SO_RXQ_OVFL = 40
_COUNTER = 1 << 32
_ADDRESSES_V6 = Path("/proc/net/if_inet6")


class UdpDatagrams:
    """`hal.ports.Datagrams`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def open(
        self,
        *,
        host: str,
        port: int,
        queue_packets: int = 256,
        group: str | None = None,
        interface: str | None = None,
    ) -> UdpSocket:
        family = socket.AF_INET6 if ":" in (group or host) else socket.AF_INET
        where = host if group is None else f"{group} (group)"
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            _set_options(sock)
            if interface is not None:
                _send_through(sock, interface)
            if group is not None:
                # Bound to the group itself, another port's or group's packets for this machine stay outside.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host if group is None else group, port))
            if group is not None:
                _join(sock, group, interface)
        except (OSError, OverflowError) as error:
            sock.close()
            raise DatagramError(f"UDP {where}:{port} cannot be opened: {error}.") from None
        return UdpSocket(clock=self._clock, sock=sock, queue_packets=queue_packets)

    async def resolve(self, host: str, port: int) -> tuple[str, int]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError, OverflowError) as error:
            raise DatagramError(f"The name {host!r} has no address: {error}.") from None
        if not found:
            raise DatagramError(f"The name {host!r} has no address.")
        address = found[0][4]
        return str(address[0]), int(address[1])


def _set_options(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    for option in _TIMESTAMP_OPTIONS:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, option, 1)
            return


def _send_through(sock: socket.socket, interface: str) -> None:
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, _index(interface))
    else:
        local = socket.inet_pton(socket.AF_INET, interface)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, local)


def _join(sock: socket.socket, group: str, interface: str | None) -> None:
    if sock.family == socket.AF_INET6:
        index = 0 if interface is None else _index(interface)
        membership = socket.inet_pton(socket.AF_INET6, group) + struct.pack("@I", index)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
    else:
        local = socket.inet_pton(socket.AF_INET, interface or "0.0.0.0")  # noqa: S104 - means: the default one
        membership = socket.inet_pton(socket.AF_INET, group) + local
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)


def _index(interface: str) -> int:
    """The number of the interface that has this IPv6 address. Raises OSError."""
    wanted = socket.inet_pton(socket.AF_INET6, interface.partition("%")[0]).hex()
    for line in _ADDRESSES_V6.read_text(encoding="ascii").splitlines():
        address, index, *_ = line.split()
        if address == wanted:
            return int(index, 16)
    raise OSError(f"no interface has the address {interface}")


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
        self._kernel_discarded = 0
        self._kernel_counter = 0
        self._loop = asyncio.get_running_loop()

    async def receive(self) -> Datagram:
        if not len(self._inflow):
            self._look(_AT_ONCE)
        if len(self._inflow) or self._closed:
            return await self._inflow.get()
        self._loop.add_reader(self._sock.fileno(), self._look, _AT_ONCE)
        try:
            return await self._inflow.get()
        finally:
            if not self._closed:
                self._loop.remove_reader(self._sock.fileno())

    def take(self) -> list[Datagram]:
        if self._closed:
            raise DatagramError("The UDP socket is closed.")
        self._look(_MOST_AT_ONCE)
        return self._inflow.take()

    def only_from(self, source: tuple[str, int] | None) -> None:
        if self._closed:
            raise DatagramError("The UDP socket is closed.")
        try:
            let_in(self._sock, source)
        except OSError as error:
            raise DatagramError(f"The kernel takes no filter for the source {source}: {error}.") from None

    def send(self, payload: bytes, to: tuple[str, int]) -> None:
        if self._closed:
            raise DatagramError("The UDP socket is closed.")
        with contextlib.suppress(OSError):  # best effort: a full buffer or no route is a lost packet
            self._sock.sendto(payload, to)

    def discarded(self) -> int:
        if not self._closed:
            self._look(_MOST_AT_ONCE)
        return self._discarded + self._kernel_discarded

    def close(self) -> None:
        if self._closed:
            return
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()
        self._inflow.end(DatagramError("The UDP socket is closed."))

    @property
    def _closed(self) -> bool:
        return self._sock.fileno() < 0

    def _look(self, most: int) -> None:
        """Take from the kernel what it has, at most so many; what the queue has no room for is counted."""
        if self._closed:
            return
        for _ in range(most):
            try:
                size, extra, _, source = self._sock.recvmsg_into([self._buffer], 128)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error of something sent before: the socket itself is well
            arrival_ns = self._clock.monotonic_ns() - self._read_extra(extra)
            datagram = Datagram(
                payload=bytes(memoryview(self._buffer)[:size]),
                source=(source[0], source[1]),
                arrival_ns=arrival_ns,
            )
            if not self._inflow.put(datagram):
                self._discarded += 1

    def _read_extra(self, extra: list[tuple[int, int, bytes]]) -> int:
        """How long ago the kernel took the packet, 0 when it does not say or the wall clock moved; and its count."""
        age_ns = 0
        for level, kind, value in extra:
            if level != socket.SOL_SOCKET:
                continue
            if kind == _SO_RXQ_OVFL and len(value) == 4:
                (counter,) = struct.unpack("@I", value)
                self._kernel_discarded += (counter - self._kernel_counter) % _COUNTER
                self._kernel_counter = counter
            elif kind in _TIMESTAMP_OPTIONS and len(value) in (8, 16):
                seconds, nanoseconds = struct.unpack("@qq" if len(value) == 16 else "@ii", value)
                stamp_ns = int(seconds) * _NS + int(nanoseconds)
                age_ns = time.clock_gettime_ns(time.CLOCK_REALTIME) - stamp_ns
        return age_ns if 0 <= age_ns <= _MAX_AGE_NS else 0
