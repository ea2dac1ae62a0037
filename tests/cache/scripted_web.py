"""A web server whose every reply a test writes down beforehand: `hal.ports.Web` from a list of replies."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from hal.errors import WebBroken, WebTimeout, WebUnreachable


@dataclass(kw_only=True)
class Reply:
    """How one GET is answered. With `body`, a range is served if `ranges`, the whole otherwise."""

    body: bytes = b""
    status: int = 200
    etag: str | None = None
    ranges: bool = True
    said_length: int | None = -1
    """Content-Length: -1 the true one, None not said."""
    break_after: int | None = None
    """The line breaks after so many bytes of this body."""
    silent_after: int | None = None
    """The server says no more after so many bytes."""
    bytes_per_s: float | None = None
    retry_after_s: float | None = None
    unreachable: bool = False
    before_read: Callable[[int], None] | None = None
    """Called with the bytes served so far, before each read."""


@dataclass(kw_only=True)
class Request:
    """One GET as it came."""

    url: str
    offset: int
    etag: str | None
    at_s: float


class ScriptedDownload:
    """`hal.ports.Download`."""

    def __init__(self, reply: Reply, offset: int, status: int, payload: memoryview, web: ScriptedWeb) -> None:
        self._reply, self._payload, self._web = reply, payload, web
        self._served = 0
        self.status = status
        self.offset = offset
        said = len(payload) if reply.said_length == -1 else reply.said_length
        self.length = said
        self.total = None if said is None else said + offset
        self.etag = reply.etag
        self.retry_after_s = reply.retry_after_s
        self.closed = False

    async def read(self, max_bytes: int) -> bytes:
        assert not self.closed
        reply = self._reply
        self._web.largest_read = max(self._web.largest_read, max_bytes)
        if reply.before_read is not None:
            reply.before_read(self._served)
        end = len(self._payload)
        for limit in (reply.break_after, reply.silent_after):
            if limit is not None:
                end = min(end, limit)
        if self._served >= end:
            if reply.break_after is not None and end == reply.break_after:
                raise WebBroken("The body ended early.")
            if reply.silent_after is not None:
                await asyncio.sleep(20)
                raise WebTimeout("The server was silent for 20 s.")
            return b""
        block = bytes(self._payload[self._served : min(end, self._served + max_bytes)])
        await asyncio.sleep(0 if reply.bytes_per_s is None else len(block) / reply.bytes_per_s)
        self._served += len(block)
        self._web.served += len(block)
        return block

    async def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._web.open_now -= 1


@dataclass
class ScriptedWeb:
    """Answers the n-th GET of a URL with its n-th reply, and the last one for ever."""

    replies: dict[str, list[Reply]] = field(default_factory=lambda: defaultdict(list))
    requests: list[Request] = field(default_factory=list)
    served: int = 0
    open_now: int = 0
    open_most: int = 0
    largest_read: int = 0

    def put(self, url: str, *replies: Reply) -> None:
        self.replies[url] = list(replies)

    async def get(
        self,
        url: str,
        *,
        offset: int = 0,
        etag: str | None = None,
        follow: Callable[[str], bool] | None = None,
    ) -> ScriptedDownload:
        if not url.startswith(("http://", "https://")):
            raise ValueError("the scheme is not http or https")
        loop = asyncio.get_running_loop()
        self.requests.append(Request(url=url, offset=offset, etag=etag, at_s=loop.time()))
        await asyncio.sleep(0.01)
        row = self.replies[url]
        if not row:
            raise WebUnreachable(f"Nobody answers at {url}.")
        reply = row.pop(0) if len(row) > 1 else row[0]
        if reply.unreachable:
            raise WebUnreachable("Connection refused.")
        self.open_now += 1
        self.open_most = max(self.open_most, self.open_now)
        partial = offset > 0 and reply.ranges and reply.status == 200
        if partial and etag is not None and etag != reply.etag:
            partial = False
        if partial and offset >= len(reply.body):
            return ScriptedDownload(Reply(status=416), 0, 416, memoryview(b""), self)
        start = offset if partial else 0
        status = 206 if partial else reply.status
        return ScriptedDownload(reply, start, status, memoryview(reply.body)[start:], self)
