"""Stations for the contract of `hal.ports.Webcasts`: virtual ones, and real servers on loopback that behave as badly as asked."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from hal.linux.webcast import HttpWebcasts
from hal.sim.surroundings import Surroundings
from hal.sim.webcast import VirtualStation, VirtualWebcasts
from tests.playout.media import encoded, tone

if TYPE_CHECKING:
    from hal.ports import Frames, Webcast, Webcasts

RATE_HZ = 48_000
HZ = 600.0
SECONDS = 8.0
Story = Callable[[], Awaitable[None]]
STATUSES = {"404": 404, "401": 401, "403": 403, "503": 503}


class Bench(Protocol):
    """A door, and stations to listen to."""

    @property
    def webcasts(self) -> Webcasts: ...

    def station(self, behaviour: str) -> str:
        """The URL of a station: tone, 404, 401, 403, 503, hang_header, hang_body, cut, unreachable."""

    def run(self, story: Story) -> None: ...


class VirtualBench:
    """All in virtual time."""

    def __init__(self) -> None:
        self._around = Surroundings(seed=3)
        self.webcasts = VirtualWebcasts(self._around.stations)

    def station(self, behaviour: str) -> str:
        def sound(at: int) -> Frames:
            return (0.25 * np.sin(2 * np.pi * HZ * (at + np.arange(4_800)) / RATE_HZ)).astype(np.float32)

        url = f"http://dai.example/{behaviour}"
        station = self._around.stations[url] = VirtualStation(sound)
        station.status = STATUSES.get(behaviour, 200)
        station.reachable = behaviour != "unreachable"
        station.hung = behaviour == "hang_header"
        self._later = {"hang_body": lambda: setattr(station, "hung", True), "cut": station.cut}.get(behaviour)
        return url

    def run(self, story: Story) -> None:
        async def whole() -> None:
            if self._later is not None:
                asyncio.get_running_loop().call_later(2, self._later)
            await story()

        async def finish() -> None: ...

        noted: list[str] = []
        self._around.run(whole(), finish=finish, noted=noted, limit_s=600)
        self._around.close()
        assert not noted


class RealBench:
    """Real servers, a thread each."""

    def __init__(self, directory: Path) -> None:
        self.webcasts = HttpWebcasts("village-node/test")
        self.directory = directory
        self._servers: list[Server] = []

    def station(self, behaviour: str) -> str:
        if behaviour == "unreachable":
            with socket.create_server(("127.0.0.1", 0)) as taken:
                return f"http://127.0.0.1:{taken.getsockname()[1]}/"
        return self.serve(SCRIPTS[behaviour])

    def serve(self, script: Script, context: ssl.SSLContext | None = None) -> str:
        """A server that does this with each connection."""
        server = Server(script, context)
        self._servers.append(server)
        return f"{'http' if context is None else 'https'}://127.0.0.1:{server.port}/live"

    def run(self, story: Story) -> None:
        asyncio.run(story())  # type: ignore[arg-type]

    def close(self) -> None:
        """All servers end."""
        for server in self._servers:
            server.close()


Script = Callable[["Connection"], None]


class Connection:
    """One client, for a script to answer."""

    def __init__(self, sock: socket.socket, path: str, closing: threading.Event) -> None:
        self._sock = sock
        self.path = path
        self.closing = closing

    def say(self, *parts: bytes) -> None:
        """Send."""
        for part in parts:
            self._sock.sendall(part)

    def head(self, status: str = "HTTP/1.0 200 OK", *, kind: str = "audio/mpeg", more: bytes = b"") -> None:
        """A header."""
        self.say(f"{status}\r\nContent-Type: {kind}\r\n".encode(), more, b"\r\n")

    def drip(self, blob: bytes) -> None:
        """A byte each second, until the client has gone."""
        for byte in blob:
            self.say(bytes([byte]))
            if self.closing.wait(1.0):
                return

    def hang(self) -> None:
        """Say nothing."""
        self.closing.wait(20)


class Server:
    """Listens on loopback; a thread each connection."""

    def __init__(self, script: Script, context: ssl.SSLContext | None) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._script, self._context = script, context
        self._closing = threading.Event()
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def close(self) -> None:
        """No more."""
        self._closing.set()
        self._listening.close()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, self._secured(client) as sock:
            said = b""
            while b"\r\n\r\n" not in said:
                more = sock.recv(4096)
                if not more:
                    return
                said += more
            self._script(Connection(sock, said.split()[1].decode(), self._closing))

    def _secured(self, client: socket.socket) -> socket.socket:
        return client if self._context is None else self._context.wrap_socket(client, server_side=True)


def mp3(seconds: float = SECONDS, *, rate_hz: int = 44_100, channels: int = 2, hz: float = HZ) -> bytes:
    """A tone."""
    sound = tone(seconds, rate_hz=rate_hz, hz=hz)
    return encoded(np.stack([sound] * channels), container="mp3", codec="libmp3lame", rate_hz=rate_hz)


def _tone(connection: Connection) -> None:
    connection.head()
    connection.say(mp3())
    connection.hang()


def _hang_body(connection: Connection) -> None:
    connection.head()
    connection.say(mp3(2.0))
    connection.hang()


def _cut(connection: Connection) -> None:
    connection.head()
    connection.say(mp3(2.0))


def _status(number: int) -> Script:
    return lambda connection: connection.head(
        f"HTTP/1.1 {number} No", kind="text/plain", more=b"Content-Length: 0\r\n"
    )


SCRIPTS: dict[str, Script] = {
    "tone": _tone,
    "hang_header": lambda connection: connection.hang(),
    "hang_body": _hang_body,
    "cut": _cut,
    **{name: _status(number) for name, number in STATUSES.items()},
}


async def listen(webcast: Webcast, seconds: float) -> Frames:
    """So much of it."""
    parts: list[Frames] = []
    while sum(part.size for part in parts) < seconds * RATE_HZ:
        parts.append(await webcast.read())
    return np.concatenate(parts)


def pitch_hz(frames: Frames) -> float:
    """The strongest tone."""
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(frames.size)))
    return float(np.argmax(spectrum)) * RATE_HZ / frames.size
