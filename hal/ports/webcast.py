"""The door of live streams that are pulled: HTTP(S), Icecast, HLS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hal.ports.sound import Frames


@dataclass(frozen=True, slots=True, kw_only=True)
class WebcastTarget:
    """Where a stream is, and whom to believe."""

    url: str
    host: str | None = None
    """The only host name (`name` or `name:port`) that may be spoken to, through redirects and playlists too;
    None: any."""
    certificate_sha256: bytes | None = None
    """The digest of the server's certificate (DER), pinned in place of the authorities; None: the system's
    authorities are asked. Only for https."""
    queue_frames: int = 480_000
    """The most that is decoded ahead; then the driver stops reading, and TCP holds the server back."""


class Webcast(Protocol):
    """One open pull stream, decoded to mono frames at 48 kHz on a thread of its own."""

    title: str | None
    """What the station says it plays (ICY), at most 200 characters, or None."""
    codec: str | None
    """What is decoded, once known."""
    bad_packets: int
    """Packets that could not be decoded and were left out."""

    async def read(self) -> Frames:
        """What was decoded next, at least one and at most 24,000 frames; waits for it. One reader.

        Cancelled, nothing is lost. Raises WebBroken when the stream has ended or broken off, WebTimeout when
        nothing more came for 10 s (a dripping server counts: what matters is decoded sound), after everything
        that was decoded before.
        """

    def queued(self) -> int:
        """Frames that `read` would give without waiting."""

    async def close(self) -> None:
        """Let go of connection and thread, within 2 s; a thread that hangs is left to end by itself, and counted.
        Idempotent, never raises."""


class Webcasts(Protocol):
    """The way to pull streams."""

    async def open(self, target: WebcastTarget) -> Webcast:
        """Connect and find the sound. Raises WebUnreachable (name, TCP, TLS, the pin does not fit),
        WebRefused (a status of 400 and more: `.status`), WebTimeout (no header in 10 s, no sound in 10 s more),
        WebBroken (it is not sound, or leads to a host that is not allowed), ValueError for a URL that is not
        http(s). Cancelled, it lets go of the connection."""
