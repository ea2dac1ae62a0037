"""The doors of the network: UDP, the broker, HTTP."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from hal.ports.sound import Frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Datagram:
    """One received UDP datagram with the kernel's receive time (CLOCK_BOOTTIME ns)."""

    payload: bytes
    source: tuple[str, int]
    arrival_ns: int


class DatagramSocket(Protocol):
    """A bound UDP socket. What comes waits in a bounded queue (`queue_packets`); when that is full, the newest is
    discarded and counted."""

    local: tuple[str, int]

    async def receive(self) -> Datagram:
        """The next datagram; waits for it. One waiter at a time. Raises DatagramError."""

    def take(self) -> list[Datagram]:
        """All that has come and was not yet received, in its order; [] when nothing has. Never blocks.

        A reader that looks ten times a second costs a tenth of one that is woken by each packet, and the
        kernel's receive times are as good. Raises DatagramError when closed.
        """

    def only_from(self, source: tuple[str, int] | None) -> None:
        """From now on the kernel lets in what comes from this address and port alone, so that a flood from
        elsewhere cannot fill the queue (what has come already stays); None: from anywhere again. Sending is
        not touched. Raises DatagramError."""

    def send(self, payload: bytes, to: tuple[str, int]) -> None:
        """Send one datagram, best effort. Never blocks. Raises DatagramError only when closed."""

    def discarded(self) -> int:
        """Datagrams thrown away because the queue was full, here or in the kernel, or because they were not
        from the one source of `only_from`. The kernel's share is known when the next one comes in."""

    def close(self) -> None:
        """Idempotent, never raises."""


class Datagrams(Protocol):
    """UDP."""

    async def open(
        self,
        *,
        host: str,
        port: int,
        queue_packets: int = 256,
        group: str | None = None,
        interface: str | None = None,
    ) -> DatagramSocket:
        """Bind; port 0 picks one (see `local`). `group`: join this multicast group and hear what is sent to it
        alone (`host` is then the group itself or the wildcard, and other agents on this machine may bind the
        same port). `interface`: the local address of the interface to join on, and to send to groups through;
        None: the default one. Raises DatagramError."""

    async def resolve(self, host: str, port: int) -> tuple[str, int]:
        """The first address of a name, as `send` takes it. Raises DatagramError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One MQTT 5 PUBLISH to send."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    expiry_s: int | None = None
    correlation: bytes | None = None
    content_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One MQTT 5 PUBLISH received. At QoS 1 the broker holds its slot until `BrokerSession.acknowledge`."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    """It was published to be retained, whether it comes from the broker's store or at once."""
    duplicate: bool
    packet_id: int
    expiry_s: int | None = None
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Connect:
    """What a CONNECT says. `will` is published by the broker `will_delay_s` after the session is lost."""

    client_id: str
    clean_start: bool = False
    session_expiry_s: int = 7 * 86400
    keepalive_s: int = 30
    receive_maximum: int = 16
    will: Message | None = None
    will_delay_s: int = 45
    check_dates: bool = True
    """False while this node does not know the date: a broker's certificate may then be expired, or not yet
    valid. All else of it is checked as ever; and its dates, too, unless a private authority is pinned."""


class BrokerSession(Protocol):
    """One connection's life. A new object per connection: nothing is retried behind the agent's back."""

    session_present: bool
    """Whether the broker remembered us (CONNACK)."""
    dates_checked: bool
    """False when the dates of the broker's certificate were left unlooked at (`Connect.check_dates`)."""

    async def subscribe(self, *topics: str) -> None:
        """Subscribe at QoS 1, retain as published. Raises BrokerRefused if any was refused, BrokerLost."""

    async def publish(self, message: Message) -> None:
        """Publish; at QoS 1 returns when PUBACK says success. Raises BrokerRefused (reason code
        >= 0x80), BrokerLost. Several may run at once; none is sent again by the driver."""

    async def receive(self) -> Delivery:
        """The next delivery in order. Nothing is acknowledged yet. Receive Maximum is the back-pressure
        at QoS 1; from a broker that disregards it, so much as can be held comes, and the session ends
        after it: nothing is skipped, the rest comes on the next one. At QoS 0, which has none, what comes
        while 64 wait is dropped. Raises BrokerLost, after what had come before the loss."""

    def acknowledge(self, delivery: Delivery) -> None:
        """Send PUBACK (QoS 1; nothing at QoS 0). Never blocks, never raises: lost is redelivered."""

    def traffic(self) -> tuple[int, int]:
        """Bytes sent and received by this connection, MQTT framing included, best effort."""


class Broker(Protocol):
    """The way to the central server."""

    def session(self, connect: Connect) -> AbstractAsyncContextManager[BrokerSession]:
        """Connect on entry (raises BrokerUnreachable, BrokerRefused), disconnect normally on a clean
        exit (the will is then not published) and drop the connection on an error."""


class Download(Protocol):
    """A GET reply whose body is still to be read."""

    status: int
    length: int | None
    """Content-Length of this reply's body, or None."""
    total: int | None
    """Size of the whole resource: Content-Range's total on 206, Content-Length on 200."""
    offset: int
    """First byte of the body within the resource: Content-Range's start on 206, else 0."""
    etag: str | None
    """A strong ETag, or None."""
    retry_after_s: float | None

    async def read(self, max_bytes: int) -> bytes:
        """The next bytes of the body, b"" at its end. Raises WebTimeout, WebBroken (ended before `length`)."""

    async def close(self) -> None:
        """Idempotent, never raises."""


class Web(Protocol):
    """HTTP(S) GET."""

    async def get(
        self,
        url: str,
        *,
        offset: int = 0,
        etag: str | None = None,
        follow: Callable[[str], bool] | None = None,
    ) -> Download:
        """Send a GET, following at most 5 redirects (http(s) only; where there is `follow`, only to addresses that it says
        yes to, the others are WebBroken and never asked), asking for the range from `offset` with If-Range `etag` when
        offset > 0, and with offset 0 for a body that is another than that of `etag` (If-None-Match; 304 when it is the same). Any status returns; the body is not read yet.
        Raises WebUnreachable, WebTimeout (connect 10 s, silence 20 s), WebBroken, ValueError for a
        URL that is not http(s)."""


class Webcast(Protocol):
    """A stream over HTTP, connected and decoding."""

    async def read(self) -> Frames:
        """The next decoded frames, mono at 48 kHz, 1 to 24,000 of them; waits. Raises WebcastTimeout when nothing
        was decoded for 3 s, WebcastBroken when it ended or was cut."""

    def received(self) -> int:
        """Bytes of coded sound that have come so far, best effort. Never blocks."""

    async def close(self) -> None:
        """Idempotent, never raises; returns at once even when the network hangs."""


class Webcasts(Protocol):
    """Live sound that is fetched: Icecast and its kin, HLS, a plain HTTP body."""

    async def open(self, url: str, *, pin: str | None = None) -> Webcast:
        """Connect, following at most 5 redirects, and find the sound.

        `pin` is `sha256:` and 64 hex digits of the server's certificate (DER), https only: exactly that is then
        believed; else the system's authorities and the host's name are. Raises WebcastRefused (its `status` is the
        server's), WebcastUnreachable, WebcastTimeout, WebcastBroken (it is no sound), ValueError for a URL that
        is not http(s).
        """
