"""Streams over HTTP(S), decoded in a thread of their own.

Facts that shaped it:

- FFmpeg itself speaks plain HTTP best: it knows `ICY 200 OK`, redirects, HLS, and PyAV's `timeout` ends whatever
  hangs (a header without end, one byte a second, a half-open connection), for it bounds each call as a whole.
- FFmpeg's TLS takes no pin. So https is read by urllib3, on a socket whose certificate was checked, and handed to
  FFmpeg as a file; the pieces of an HLS playlist go the same way (`io_open`).
- A thread that waits in FFmpeg cannot be woken; it is left to its time-out, and nobody waits for it.
- A bounded queue between thread and loop makes the thread wait, and TCP the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import queue
import threading
from typing import TYPE_CHECKING, Any

from hal.errors import (
    WebcastBroken,
    WebcastError,
    WebcastRefused,
    WebcastTimeout,
    WebcastUnreachable,
    WebTimeout,
    WebUnreachable,
)
from hal.linux.http_line import Line, WebPatience
from hal.linux.webcast_tls import PinnedBody

if TYPE_CHECKING:
    from collections.abc import Generator

    from hal.ports import Frames

log = logging.getLogger(__name__)

OPEN_S = 4.0
READ_S = 3.0
_PATIENCE = WebPatience(connect_s=OPEN_S, silence_s=READ_S)
_PIECE_FRAMES = 4_800
_QUEUE_PIECES = 12
"""A little more than a second."""
_BAD_IN_A_ROW = 400
_DEMUXERS = "mp3,aac,ogg,hls,mpegts,mov,mp4,flac,wav"
_PROTOCOLS = "http,tcp"
_CRYPTO = "http,https,tls,tcp,crypto,data"
_PROBE = {"probesize": "32768", "analyzeduration": "500000", "format_whitelist": _DEMUXERS}


class HttpWebcasts:
    """`hal.ports.Webcasts`."""

    def __init__(self, agent: str) -> None:
        """`agent`: what we call ourselves to servers."""
        self._agent = agent

    async def open(self, url: str, *, pin: str | None = None) -> HttpWebcast:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"not an http(s) address: {url}")
        webcast = HttpWebcast(url, pin, self._agent, asyncio.get_running_loop())
        try:
            await webcast.opened()
        except BaseException:
            await webcast.close()
            raise
        return webcast


class HttpWebcast:
    """`hal.ports.Webcast`, and its thread."""

    def __init__(self, url: str, pin: str | None, agent: str, loop: asyncio.AbstractEventLoop) -> None:
        self._url, self._pin, self._agent, self._loop = url, pin, agent, loop
        self._pieces: queue.Queue[Frames | WebcastError] = queue.Queue(_QUEUE_PIECES)
        self._came = asyncio.Event()
        self._opened = loop.create_future()
        self._leave = threading.Event()
        self._received = 0
        self._line: Line | None = None
        """The https connection that the thread waits on."""
        threading.Thread(target=self._run, name="webcast", daemon=True).start()

    async def opened(self) -> None:
        """Connected, and the first piece decoded. Raises WebcastError."""
        try:
            async with asyncio.timeout(OPEN_S):
                await self._opened
        except TimeoutError:
            raise WebcastTimeout(f"Nothing was decoded within {OPEN_S:g} s.") from None

    def received(self) -> int:
        """The packets' payload; without the container's and the transport's overhead, some percent."""
        return self._received

    async def read(self) -> Frames:
        while True:
            self._came.clear()
            with contextlib.suppress(queue.Empty):
                piece = self._pieces.get_nowait()
                if isinstance(piece, WebcastError):
                    self._pieces.put_nowait(piece)  # it stays ended
                    raise piece.with_traceback(None)
                return piece
            try:
                async with asyncio.timeout(READ_S):
                    await self._came.wait()
            except TimeoutError:
                raise WebcastTimeout(f"Nothing was decoded for {READ_S:g} s.") from None

    async def close(self) -> None:
        self._leave.set()
        if self._line is not None:
            self._line.cut()
        self._opened.cancel()

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        try:
            with contextlib.closing(self._decoded()) as pieces:
                for piece in pieces:
                    self._tell(piece)
                    if self._leave.is_set():
                        return
            self._tell(WebcastBroken("The stream ended."))
        except WebcastError as error:
            self._tell(error)
        except Exception as error:  # noqa: BLE001 - FFmpeg's errors have many roots; a thread must not die silently
            self._tell(_translated(error))

    def _tell(self, piece: Frames | WebcastError) -> None:
        """Hand it over; wait for room, unless nobody listens any more."""
        while not self._leave.is_set():
            try:
                self._pieces.put(piece, timeout=0.5)
            except queue.Full:
                continue
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._handed_over, piece)
            return

    def _handed_over(self, piece: Frames | WebcastError) -> None:
        self._came.set()
        if not self._opened.done():
            if isinstance(piece, WebcastError):
                self._opened.set_exception(piece)
            else:
                self._opened.set_result(None)

    def _begun(self, line: Line) -> None:
        self._line = line
        if self._leave.is_set():
            line.cut()

    def _container(self, stack: contextlib.ExitStack) -> Any:
        """What it comes in; it is closed with the stack, and what it reads from after it."""
        import av

        from hal.mono import LENIENT

        options = dict(_PROBE)
        if self._url.startswith("http://"):
            options |= {
                "protocol_whitelist": _PROTOCOLS,
                "user_agent": self._agent,
                "icy": "0",
                "rw_timeout": str(round(READ_S * 1e6)),
            }
            opened = av.open(self._url, options=options, timeout=(OPEN_S, READ_S), **LENIENT)
            return stack.enter_context(opened)
        body = PinnedBody(self._url, pin=self._pin, agent=self._agent, patience=_PATIENCE, begun=self._begun)
        stack.callback(body.close)
        options |= {"protocol_whitelist": _CRYPTO}
        if body.is_playlist:
            opened = av.open(
                body.url, format="hls", options=options, io_open=body.another, timeout=(OPEN_S, READ_S),
                **LENIENT,
            )  # fmt: skip
        else:
            opened = av.open(body, options=options, **LENIENT, buffer_size=4096)
        return stack.enter_context(opened)

    def _decoded(self) -> Generator[Frames, None, None]:
        """Pieces of 100 ms and more, over changes of rate and channels."""
        import av.error

        from hal.mono import Mono

        with contextlib.ExitStack() as stack:
            container = self._container(stack)
            if not container.streams.audio:
                raise WebcastBroken("It has no sound track.")
            stream, mono, bad = container.streams.audio[0], Mono(_PIECE_FRAMES), 0
            for packet in container.demux(stream):
                self._received += packet.size
                try:
                    frames = packet.decode()
                except (av.error.FFmpegError, ValueError) as error:
                    if isinstance(error, av.error.EOFError | av.error.ExitError | av.error.TimeoutError):
                        raise
                    bad += 1
                    if bad >= _BAD_IN_A_ROW:
                        raise WebcastBroken("What comes cannot be decoded.") from error
                    continue
                bad = 0 if frames else bad
                for frame in frames:
                    for piece in mono.convert(frame):
                        yield piece.copy()


def _translated(error: Exception) -> WebcastError:
    """FFmpeg's, ssl's and urllib3's errors as ours."""
    import av.error

    text = f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}"
    statuses = (
        (av.error.HTTPNotFoundError, 404),
        (av.error.HTTPUnauthorizedError, 401),
        (av.error.HTTPForbiddenError, 403),
        (av.error.HTTPBadRequestError, 400),
        (av.error.HTTPTooManyRequestsError, 429),
        (av.error.HTTPOtherClientError, 410),
        (av.error.HTTPServerError, 503),
    )
    for kind, status in statuses:
        if isinstance(error, kind):
            return WebcastRefused(f"The server answered with {status} ({text}).", status)
    if isinstance(error, WebUnreachable):
        return WebcastUnreachable(str(error))
    if isinstance(error, WebTimeout | av.error.ExitError | TimeoutError | av.error.TimeoutError):
        return WebcastTimeout(f"The server went silent ({text}).")
    if isinstance(error, av.error.InvalidDataError):
        return WebcastBroken(f"It is no sound that can be played ({text}).")
    refused = isinstance(error, ConnectionRefusedError | av.error.ConnectionRefusedError)
    lost = isinstance(error, ConnectionError) or getattr(error, "errno", None) == errno.EIO
    if refused or (isinstance(error, OSError) and not lost):
        return WebcastUnreachable(f"No connection ({text}).")
    return WebcastBroken(f"The stream broke ({text}).")
