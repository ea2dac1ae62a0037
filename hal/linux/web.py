"""HTTP(S) GET through urllib3, in threads of its own; nothing here blocks the loop.

Facts that shaped it:
- urllib3 blocks. Each download has a thread to itself while it is open (`slots`), so one dead server
  never makes another download wait for its turn to time out.
- A thread in `getaddrinfo` cannot be woken; it keeps its slot until the resolver gives up, and then finds
  that nobody waits for it. One in `recv` is, by `http_line.Line.cut`.
- A socket time-out bounds the silence between two bytes, not a server that sends a byte now and then.
  So the loop bounds the whole header (`silence_s`), every read (`silence_s`), and the average pace of
  the body (`floor_bytes_per_s` over `floor_window_s` of waiting).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import email.utils
import re
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote, urljoin

from hal.errors import WebBroken, WebError, WebTimeout
from hal.linux.http_line import MAX_REDIRECTS, REDIRECTS, Line, WebPatience, parse, reason, shown
from hal.ports import Download

if TYPE_CHECKING:
    from collections.abc import Mapping

    from urllib3.response import HTTPResponse
    from urllib3.util import Url

T = TypeVar("T")

MAX_READ_BYTES = 64 * 1024
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII)


class UrllibWeb:
    """`hal.ports.Web` on urllib3. At most `slots` downloads are open at once; one more waits for its turn."""

    def __init__(self, user_agent: str, *, patience: WebPatience | None = None, slots: int = 3) -> None:
        self._user_agent = user_agent
        self._patience = patience or WebPatience()
        self._workers = ThreadPoolExecutor(slots, thread_name_prefix="web")
        self._slots = asyncio.Semaphore(slots)

    async def get(
        self,
        url: str,
        *,
        offset: int = 0,
        etag: str | None = None,
        follow: Callable[[str], bool] | None = None,
    ) -> Download:
        here = parse(url)
        headers = {"User-Agent": self._user_agent, "Accept-Encoding": "identity", "Connection": "close"}
        if offset > 0:
            headers["Range"] = f"bytes={offset}-"
            if etag is not None:
                headers["If-Range"] = etag
        elif etag is not None:
            headers["If-None-Match"] = etag
        for _ in range(MAX_REDIRECTS + 1):
            reply = await self._send(here, headers)
            location = reply.headers.get("location")
            if reply.status not in REDIRECTS or location is None:
                try:
                    reply.understand(offset)
                except BaseException:
                    await reply.close()
                    raise
                return reply
            await reply.close()
            try:
                here = parse(urljoin(here.url, location))
            except ValueError:
                raise WebBroken(f"{shown(here)} redirects to something that is not http or https.") from None
            if follow is not None and not follow(here.url):
                raise WebBroken(
                    f"The redirect to {shown(here)} is not followed: that address is not allowed."
                )
        raise WebBroken(f"{shown(here)} is reached after more than {MAX_REDIRECTS} redirects.")

    def close(self) -> None:
        """Let the threads end when they have nothing to do. The agent lives as long as its process and needs no call."""
        self._workers.shutdown(wait=False)

    async def _send(self, url: Url, headers: dict[str, str]) -> _Reply:
        if url.auth is not None:
            credentials = base64.b64encode(unquote(url.auth).encode()).decode()
            headers = {**headers, "Authorization": f"Basic {credentials}"}
        await self._slots.acquire()
        worker = _Worker(self._workers, self._slots)
        line = worker.line
        bound_s = self._patience.connect_s + self._patience.silence_s
        name = shown(url)
        try:
            response = await worker.do(lambda: line.request(url, headers, self._patience), bound_s, name)
        except BaseException:
            worker.give_up()
            raise
        return _Reply(worker, response, self._patience, name)


class _Worker:
    """A slot with its connection; gives the slot back when no thread is at work on it any more."""

    def __init__(self, pool: ThreadPoolExecutor, slots: asyncio.Semaphore) -> None:
        self.line = Line()
        self._pool = pool
        self._slots = slots
        self._loop = asyncio.get_running_loop()
        self._job: Future[object] | None = None
        self._given_up = False

    async def do(self, work: Callable[[], T], bound_s: float, name: str) -> T:
        """Run `work` in a thread; cut its connection when it takes too long or nobody waits any more."""
        if self._job is not None:
            raise WebBroken(f"{name} was given up, or is being read by somebody else.")
        job = self._pool.submit(work)
        self._job = job  # type: ignore[assignment]  # Future is invariant, and only its end matters here
        try:
            async with asyncio.timeout(bound_s):
                result = await asyncio.wrap_future(job)
        except TimeoutError:
            self.line.cut()
            raise WebTimeout(f"{name} was silent for too long.") from None
        except asyncio.CancelledError:
            self.line.cut()
            raise
        except WebError:
            raise
        except Exception as error:  # noqa: BLE001 - each is translated or raised as it is
            raise _translated(error, name) from None
        self._job = None
        return result

    def give_up(self) -> None:
        """Close the connection as soon as its thread has let go of it. Idempotent."""
        if self._given_up:
            return
        self._given_up = True
        if self._job is None or self._job.done():
            self._finish(None)
        else:
            self.line.cut()
            self._job.add_done_callback(self._finish)

    def _finish(self, _: object) -> None:
        self.line.close()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits for a slot
            self._loop.call_soon_threadsafe(self._slots.release)


class _Reply:
    """A `hal.ports.Download`."""

    def __init__(self, worker: _Worker, response: HTTPResponse, patience: WebPatience, name: str) -> None:
        self.headers = response.headers
        self.status = response.status
        self.length = response.length_remaining
        self.total: int | None = None
        self.offset = 0
        etag = self.headers.get("etag")
        self.etag = etag if etag is not None and etag.startswith('"') else None
        self.retry_after_s = _retry_after_s(self.headers)
        self._worker = worker
        self._patience = patience
        self._name = name
        self._left = self.length
        self._window_bytes = 0
        self._window_s = 0.0
        self._open = True

    def understand(self, asked: int) -> None:
        """Check what the reply says of its place in the whole. Raises WebBroken."""
        if self.status == 200:
            self.total = self.length
        if self.status != 206:
            return
        found = _CONTENT_RANGE.fullmatch(self.headers.get("content-range", ""))
        if asked == 0 or found is None:
            raise WebBroken(f"{self._name} sent a part of the file without saying which, or unasked.")
        first, last = int(found[1]), int(found[2])
        self.total = None if found[3] == "*" else int(found[3])
        length = last - first + 1
        if (
            first != asked
            or length <= 0
            or (self.length is not None and self.length != length)
            or (self.total is not None and last >= self.total)
        ):
            raise WebBroken(f"{self._name} sent the range {found[0]!r}, which is not the one asked for.")
        self.offset = first
        self.length = self._left = length

    async def read(self, max_bytes: int) -> bytes:
        assert self._open, "the download is closed"
        if self._left == 0:
            return b""
        size = min(max_bytes, MAX_READ_BYTES)
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        payload = await self._worker.do(
            lambda: self._worker.line.read(size), self._patience.silence_s, self._name
        )
        self._check_pace(len(payload), loop.time() - began_s)
        if self._left is not None:
            self._left -= len(payload)
            if self._left < 0 or not payload:
                raise WebBroken(f"{self._name} ended {self._left} bytes before its length.")
        return payload

    async def close(self) -> None:
        self._open = False
        self._worker.give_up()

    def _check_pace(self, size: int, waited_s: float) -> None:
        """Only waiting counts: a slow disk on our side is not the server's fault."""
        self._window_bytes += size
        self._window_s += waited_s
        if self._window_s < self._patience.floor_window_s:
            return
        if self._window_bytes < self._patience.floor_bytes_per_s * self._window_s:
            raise WebTimeout(
                f"{self._name} sends fewer than {self._patience.floor_bytes_per_s} bytes a second."
            )
        self._window_bytes, self._window_s = 0, 0.0


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds, or a date, which is measured by the server's own clock (its Date header)."""
    text = headers.get("retry-after")
    if text is None:
        return None
    if text.isdecimal() and text.isascii() and len(text) < 10:
        return float(text)
    with contextlib.suppress(ValueError, TypeError):
        until = email.utils.parsedate_to_datetime(text)
        now = email.utils.parsedate_to_datetime(headers.get("date", ""))
        return max(0.0, (until - now).total_seconds())
    return None


def _translated(error: Exception, name: str) -> Exception:
    """What urllib3 and http.client raise, in the words of `hal.errors`."""
    from http.client import HTTPException

    from urllib3.exceptions import HTTPError, ReadTimeoutError

    if isinstance(error, ReadTimeoutError):
        return WebTimeout(f"{name} was silent for too long.")
    if isinstance(error, HTTPError | HTTPException | OSError | ValueError):
        return WebBroken(f"The reply of {name} is broken: {reason(error)}.")
    return error
