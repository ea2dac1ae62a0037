"""The doors of the box: the technician beside it, and its supervisor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


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
