"""The shape of every door, each method with its contract in prose.

Units are in the names. "Never blocks" means it returns within a scheduler tick and is
safe on the event loop; every `async` method may be cancelled at any await and leaves
its object usable unless it says otherwise. Time on every door is CLOCK_BOOTTIME (`*_ns`, an
int) except where it says wall time. A port with more than eight methods would be two ports.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeVar

if TYPE_CHECKING:
    import sqlite3

    import numpy as np
    import numpy.typing as npt

    Frames = npt.NDArray[np.float32]
    """Mono frames, float32, shape (n,), full scale = 1.0, at the card's rate."""

T = TypeVar("T")


# ---------------------------------------------------------------- time


class Clock(Protocol):
    """Time, read but never waited for: rooms wait with `asyncio.sleep`."""

    def monotonic_ns(self) -> int:
        """Nanoseconds since boot, suspend included (CLOCK_BOOTTIME). Never goes back. Never blocks."""

    def utc_now(self) -> datetime:
        """What the system believes the date is, aware, UTC. May be wrong by years and may
        jump either way: ask `edge_agent.clocktrust` before believing it. Never blocks."""

    def wall_synced(self) -> bool:
        """Whether a time source has set the wall clock since boot and says it still holds. Never raises."""

    def boot_id(self) -> str:
        """The kernel's id of this boot; two runs of the agent in one boot share it."""


# ---------------------------------------------------------------- sound


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundStatus:
    """What a sound stream knows of itself; counts since it was opened, in frames."""

    written: int
    """Frames accepted by `write`."""
    sounded: int
    """Frames of `written` that the card has consumed, an estimate within one period."""
    underruns: int
    """Times the card wanted frames and had none; it played silence."""
    first_sound_ns: int | None
    """When the first written frame reached the converter, CLOCK_BOOTTIME, or None before."""
    silence_ahead: int = 0
    """Frames of silence that the device surely plays first, if a silent stream is written to now."""


class SoundStream(Protocol):
    """An open sound card, playing. The card is the clock: `write` returns at its pace."""

    async def write(self, frames: Frames) -> None:
        """Queue frames; returns when the ring has taken all of them.

        The ring is bounded (`ring_frames`), so this waits for the card. Cancelled, it may
        have queued a part; `status().written` tells. Raises SoundLost when the device failed.
        """

    async def drain(self) -> None:
        """Wait until everything written has sounded. Raises SoundLost."""

    async def drop(self) -> int:
        """Fade out what is queued over 5-10 ms (raised cosine) and throw the rest away.

        Returns the number of written frames that were thrown away unheard (faded frames
        count as heard), the most recent ones. The stream stays open and silent. Never raises:
        on a lost device it returns what was not heard.
        """

    def status(self) -> SoundStatus:
        """Counts and first-sound time. Never blocks, never raises."""

    async def close(self) -> None:
        """Close the device at once, after `drop` or `drain`. Idempotent, never raises."""


class SoundCard(Protocol):
    """One output device, known by name, 48 kHz mono."""

    async def open(self, *, rate_hz: int, period_frames: int, ring_frames: int) -> SoundStream:
        """Open the configured device. Raises SoundMissing when it is not there, is another
        card, or is held by someone else. One stream at a time."""

    def present(self) -> bool:
        """Whether the configured device can be seen now. May take some ms; never raises."""


# ---------------------------------------------------------------- speech


class Speech(Protocol):
    """A voice that reads text."""

    async def speak(self, text: str, language: str) -> bytes:
        """The text, read aloud in a language (a tag such as vi or en-US), as a whole WAV file.

        At most 8,000 characters; everything in it is read as words, nothing as a command. Raises
        SpeechMissing when there is no engine, or no voice for the language; SpeechFailed when the engine
        failed or took too long. Cancelled, it ends the engine.
        """


# ---------------------------------------------------------------- GPIO


@dataclass(frozen=True, slots=True, kw_only=True)
class LineSpec:
    """One GPIO line. `offset` on `chip` (0 = /dev/gpiochip0); ACTIVE is electrical low if `active_low`."""

    name: str
    chip: int
    offset: int
    active_low: bool = False
    pull: str = "none"
    """Inputs only: "up", "down" or "none"."""


class OutputLine(Protocol):
    """A line that we drive. Logical ACTIVE/INACTIVE; polarity is the driver's business."""

    name: str

    def set(self, *, active: bool) -> None:
        """Drive the line. Never blocks. Raises LineError."""

    def active(self) -> bool:
        """What was last driven."""


class InputLine(Protocol):
    """A line that we read."""

    name: str

    def active(self) -> bool:
        """The level now, logical. Raises LineError."""

    async def wait_change(self) -> bool:
        """Wait for the next edge and return the new logical level. Not debounced; edges that
        come while nobody waits collapse into one. Raises LineError."""


class Lines(Protocol):
    """The GPIO chips. Each line has one owner; a second request raises LineError."""

    def output(self, spec: LineSpec) -> OutputLine:
        """Request a line as output, INACTIVE from the first instant (no blip). Raises LineError."""

    def input(self, spec: LineSpec) -> InputLine:
        """Request a line as input. Raises LineError."""

    def close(self) -> None:
        """Drive every output INACTIVE and release all lines. Idempotent, never raises."""


# ---------------------------------------------------------------- serial line


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialSettings:
    """How the line is set; `parity` is "none", "even" or "odd"."""

    baud: int = 9600
    data_bits: int = 8
    parity: str = "none"
    stop_bits: int = 1


class SerialLink(Protocol):
    """An open serial line."""

    async def write(self, payload: bytes) -> None:
        """Write all bytes; returns no sooner than the line needs to carry them (10 or 11 bits a
        byte at the baud rate), because a UART's buffer, and a PTY, would hide it. Raises SerialError."""

    async def read(self, *, timeout_s: float) -> bytes:
        """Whatever has come, at least one byte, at most 4096; b"" after `timeout_s`. Raises SerialError."""

    def close(self) -> None:
        """Idempotent, never raises."""


class SerialPort(Protocol):
    """A serial line of configured path and settings."""

    async def open(self) -> SerialLink:
        """Open it and throw away stale input. Raises SerialError when it is missing or busy."""


# ---------------------------------------------------------------- UDP


@dataclass(frozen=True, slots=True, kw_only=True)
class Datagram:
    """One received UDP datagram with the kernel's receive time (CLOCK_BOOTTIME ns)."""

    payload: bytes
    source: tuple[str, int]
    arrival_ns: int


class DatagramSocket(Protocol):
    """A bound UDP socket with a bounded receive queue; when full, the newest is discarded and counted."""

    local: tuple[str, int]

    async def receive(self) -> Datagram:
        """The next datagram. Raises DatagramError."""

    def send(self, payload: bytes, to: tuple[str, int]) -> None:
        """Send one datagram, best effort. Never blocks. Raises DatagramError only when closed."""

    def discarded(self) -> int:
        """Datagrams thrown away because the queue was full."""

    def close(self) -> None:
        """Idempotent, never raises."""


class Datagrams(Protocol):
    """UDP."""

    async def open(self, *, host: str, port: int, queue_packets: int = 256) -> DatagramSocket:
        """Bind; port 0 picks one (see `local`). Raises DatagramError."""


# ---------------------------------------------------------------- broker


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


# ---------------------------------------------------------------- HTTP


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

    async def get(self, url: str, *, offset: int = 0, etag: str | None = None) -> Download:
        """Send a GET, following at most 5 redirects (http(s) only), asking for the range from
        `offset` with If-Range `etag` when offset > 0. Any status returns; the body is not read yet.
        Raises WebUnreachable, WebTimeout (connect 10 s, silence 20 s), WebBroken, ValueError for a
        URL that is not http(s)."""


# ---------------------------------------------------------------- disk and database


class StagedFile(Protocol):
    """A file being written out of sight; nobody sees it before `commit`."""

    async def write(self, payload: bytes) -> None:
        """Append. Raises DiskFull, DiskError."""

    async def commit(self, path: str) -> None:
        """fsync, rename to `path` (parents made), fsync the directory: after this it survives a power cut."""

    async def abandon(self) -> None:
        """Remove it. Idempotent, never raises."""


class Disk(Protocol):
    """Files below one state directory; paths are relative, `/`-separated, without `..`."""

    async def read(self, path: str) -> bytes:
        """The whole of a small file (<= 1 MiB). Raises DiskMissing, DiskError."""

    async def write_atomic(self, path: str, payload: bytes) -> None:
        """Replace a small file: temp, fsync, rename, fsync(dir). Raises DiskFull, DiskError."""

    async def stage(self) -> StagedFile:
        """Begin a large file. Left-over stages are removed when the disk is opened. Raises DiskError."""

    def open_read(self, path: str) -> BinaryIO:
        """A seekable binary reader of a committed file. Raises DiskMissing, DiskError."""

    async def remove(self, path: str) -> None:
        """Remove a file; no error when it is not there. Raises DiskError."""

    async def list(self, directory: str) -> tuple[tuple[str, int], ...]:
        """(name, size in bytes) of the files directly in a directory, sorted; () when there is none."""

    async def free_bytes(self) -> int:
        """What an unprivileged process may still write."""


class Database(Protocol):
    """The one SQLite database, on one connection and one thread (WAL, synchronous=FULL)."""

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` inside one transaction and return its result; durable when this returns.

        `work` must be quick and touch nothing but the connection: it may run on another thread.
        An exception from it rolls back and is raised here; sqlite3.Error becomes DatabaseError
        (disk full: DiskFull). Calls run one after another in the order they were made. Cancelling
        the await does not stop a transaction that has begun.
        """

    def set_aside(self) -> str | None:
        """Where a corrupt database was moved when this one was opened, or None."""

    async def close(self) -> None:
        """Checkpoint and close. Idempotent, never raises."""


# ---------------------------------------------------------------- the technician, and the supervisor


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who is at the other end, as the kernel says (SO_PEERCRED); 65534: not known in our user namespace."""

    pid: int
    uid: int
    gid: int


class ControlCall(Protocol):
    """One request from this machine, waiting for its answer: `line`, without its newline, at most 4096 bytes."""

    peer: Peer
    line: bytes

    async def answer(self, line: bytes) -> None:
        """Send one line (without its newline, at most 64 KiB) and hang up. Never raises, though they have left."""


class ControlDesk(Protocol):
    """An open local socket: a line, an answer. Who says none in 5 s, a longer one, or is the 9th, is hung up on."""

    async def receive(self) -> ControlCall:
        """The next request, in the order of their lines. Several may be unanswered at once."""

    async def close(self) -> None:
        """Hang up on everybody and take the socket away. Idempotent, never raises."""


class ControlDoor(Protocol):
    """The local way in, for the technician at the box. Who may come in is the file system's business."""

    async def open(self) -> ControlDesk:
        """Listen, taking the place of a socket that a dead process left. Raises ControlError."""


class Supervisor(Protocol):
    """Who started us and watches us (systemd's sd_notify, or nobody)."""

    def ready(self) -> None:
        """Start-up is complete. Never raises."""

    def beat(self) -> None:
        """Feed the watchdog. Never raises."""

    def status(self, text: str) -> None:
        """One line for `systemctl status`. Never raises."""

    def stopping(self) -> None:
        """Shutdown has begun. Never raises."""

    def beat_period_s(self) -> float | None:
        """How often to beat (half of WatchdogSec), or None when nobody watches."""


# ---------------------------------------------------------------- all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """The bundle of open doors that an agent is given."""

    clock: Clock
    sound: SoundCard
    speech: Speech
    lines: Lines
    board: SerialPort | None
    broker: Broker
    web: Web
    disk: Disk
    database: Database
    supervisor: Supervisor
    control: ControlDoor
    facts: dict[str, Any] = field(default_factory=dict)
    """Free text for the birth certificate: which driver serves each door, versions."""
