"""The virtual web: pages that can fail, each in its own way."""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from hal.errors import WebBroken, WebTimeout, WebUnreachable
from hal.ports import Clock, Download

CONNECT_S = 10.0
SILENCE_S = 20.0
FLOOR_BYTES_PER_S = 256
FLOOR_WINDOW_S = 30.0
MAX_REDIRECTS = 5
PACKET_BYTES = 1400
MAX_READ_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a URL answers, and how it fails.

    `truncate` ends the body after so many bytes; `drip_bytes_per_s` is the pace of the body;
    `delay_s` passes before the header; `stall_after` is silence for ever after so many bytes.
    """

    body: bytes = b""
    status: int = 200
    etag: str | None = None
    truncate: int | None = None
    drip_bytes_per_s: float | None = None
    delay_s: float = 0.0
    stall_after: int | None = None
    unreachable: bool = False
    redirect: str | None = None
    ranges: bool = True
    sized: bool = True
    """Whether the reply has a Content-Length."""
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Requested:
    """One GET that the virtual web has seen."""

    at_ns: int
    url: str
    offset: int
    etag: str | None


class VirtualWeb:
    """`hal.ports.Web` over pages that a test puts there; an unknown URL is 404."""

    def __init__(
        self, clock: Clock, rng: random.Random, *, delay_s: float = 0.03, jitter_s: float = 0.0
    ) -> None:
        self.delay_s = delay_s
        self.jitter_s = jitter_s
        self.requests: deque[Requested] = deque(maxlen=10_000)
        self.network: Literal["whole", "lost", "silent"] = "whole"
        """"lost": no connection can be made. "silent": nothing answers any more."""
        self._clock = clock
        self._rng = rng
        self._pages: dict[str, Page] = {}

    def put(
        self,
        url: str,
        body: bytes = b"",
        *,
        status: int = 200,
        etag: str | None = "auto",
        truncate: int | None = None,
        drip_bytes_per_s: float | None = None,
        delay_s: float = 0.0,
        stall_after: int | None = None,
        unreachable: bool = False,
        redirect: str | None = None,
        ranges: bool = True,
        sized: bool = True,
        retry_after_s: float | None = None,
    ) -> None:
        """Let a URL answer with this (see `Page`), until the next `put`. `etag` "auto" is one of the body."""
        if etag == "auto":
            etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        self._pages[url] = Page(
            body=body,
            status=status,
            etag=etag,
            truncate=truncate,
            drip_bytes_per_s=drip_bytes_per_s,
            delay_s=delay_s,
            stall_after=stall_after,
            unreachable=unreachable,
            redirect=redirect,
            ranges=ranges,
            sized=sized,
            retry_after_s=retry_after_s,
        )

    async def get(
        self,
        url: str,
        *,
        offset: int = 0,
        etag: str | None = None,
        follow: Callable[[str], bool] | None = None,
    ) -> Download:
        for _ in range(MAX_REDIRECTS + 1):
            _check(url)
            page = await self._ask(url, offset, etag)
            if page.redirect is None:
                return VirtualDownload(self, url, page, offset, etag)
            url = _joined(url, page.redirect)
            if _ORIGIN.match(url) is None:
                raise WebBroken("The page redirects to something that is not http or https.")
            if follow is not None and not follow(url):
                raise WebBroken(f"The redirect to {url} is not followed: that address is not allowed.")
        raise WebBroken(f"The page is reached after more than {MAX_REDIRECTS} redirects.")

    async def _ask(self, url: str, offset: int, etag: str | None) -> Page:
        page = self._pages.get(url, Page(status=404, body=b"not found"))
        if self.network == "silent":
            await asyncio.sleep(CONNECT_S)
            raise WebTimeout(f"{url} took no connection within {CONNECT_S:g} s.")
        await asyncio.sleep(3 * (self.delay_s + self.jitter_s * self._rng.random()))
        if page.unreachable or self.network == "lost":
            raise WebUnreachable(f"No connection to {url}: connection refused.")
        self.requests.append(
            Requested(at_ns=self._clock.monotonic_ns(), url=url, offset=offset, etag=etag),
        )
        await asyncio.sleep(min(page.delay_s, SILENCE_S))
        if page.delay_s >= SILENCE_S:
            raise WebTimeout(f"{url} was silent for too long.")
        return page


_ORIGIN = re.compile(r"https?://[^/?#]+")


def _check(url: str) -> None:
    if _ORIGIN.match(url) is None:
        raise ValueError("A URL to fetch from begins with http:// or https:// and has a host.")


def _joined(url: str, redirect: str) -> str:
    """Where a redirect leads: a whole URL, a path, or a neighbour."""
    if ":" in redirect:
        return redirect
    origin = _ORIGIN.match(url)
    assert origin is not None
    return origin[0] + redirect if redirect.startswith("/") else url.rsplit("/", 1)[0] + "/" + redirect


class VirtualDownload:
    """`hal.ports.Download` of a page."""

    def __init__(self, web: VirtualWeb, url: str, page: Page, asked: int, etag: str | None) -> None:
        self.status, body, self.offset = page.status, page.body, 0
        self.total: int | None = None
        if not asked and page.status == 200 and etag is not None and etag == page.etag:
            self.status, body = 304, b""
        part = page.status == 200 and page.ranges and asked > 0 and etag in (None, page.etag)
        if part and asked >= len(page.body):
            self.status, body = 416, b""
        elif part:
            self.status, body, self.offset = 206, page.body[asked:], asked
        self.length = len(body) if page.sized else None
        if self.status in (200, 206):
            self.total = len(page.body) if page.sized or self.status == 206 else None
        self.etag = page.etag if page.etag is not None and page.etag.startswith('"') else None
        self.retry_after_s = page.retry_after_s
        self._web, self._url, self._page, self._body = web, url, page, body
        self._position = 0
        self._stands_at_s = asyncio.get_running_loop().time()
        self._window_s = 0.0
        self._window_bytes = 0
        self._over: Exception | None = None

    async def read(self, max_bytes: int) -> bytes:
        if self._over is not None:
            raise self._over.with_traceback(None)
        try:
            return await self._read(min(max_bytes, MAX_READ_BYTES))
        except asyncio.CancelledError:
            self._over = WebBroken(f"{self._url} was given up.")
            raise
        except (WebTimeout, WebBroken) as error:
            self._over = error
            raise

    async def _read(self, size: int) -> bytes:
        page, left = self._page, len(self._body) - self._position
        if left == 0:
            return b""
        end = len(self._body)
        if page.truncate is not None:
            end = min(end, page.truncate)
        if self._web.network == "lost" or (self._position >= end and page.sized):
            raise WebBroken(f"{self._url} ended {left} bytes before its length.")
        if page.stall_after is not None:
            end = min(end, page.stall_after)
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        if self._web.network == "silent" or (page.stall_after is not None and self._position >= end):
            await asyncio.sleep(SILENCE_S)
            raise WebTimeout(f"{self._url} was silent for too long.")
        size = min(size, end - self._position)
        if page.drip_bytes_per_s is not None and size:
            size = await self._drip(page.drip_bytes_per_s, size)
        payload = self._body[self._position : self._position + size]
        self._position += size
        self._check_pace(size, loop.time() - began_s)
        return payload

    async def _drip(self, bytes_per_s: float, size: int) -> int:
        """Wait for the next packet, of at most a second's bytes; return how many have come by then."""
        loop = asyncio.get_running_loop()
        packet = max(1, min(size, PACKET_BYTES, int(bytes_per_s)))
        due_s = self._stands_at_s + (self._position + packet) / bytes_per_s
        wait_s = due_s - loop.time()
        await asyncio.sleep(min(max(wait_s, 0.0), SILENCE_S))
        if wait_s >= SILENCE_S:
            raise WebTimeout(f"{self._url} was silent for too long.")
        come = int((loop.time() - self._stands_at_s) * bytes_per_s + 1e-6)
        return min(size, max(1, come - self._position))

    def _check_pace(self, size: int, waited_s: float) -> None:
        self._window_bytes += size
        self._window_s += waited_s
        if self._window_s < FLOOR_WINDOW_S:
            return
        if self._window_bytes < FLOOR_BYTES_PER_S * self._window_s:
            raise WebTimeout(f"{self._url} sends fewer than {FLOOR_BYTES_PER_S} bytes a second.")
        self._window_bytes, self._window_s = 0, 0.0

    async def close(self) -> None:
        if self._over is None:
            self._over = WebBroken(f"{self._url} is closed.")
