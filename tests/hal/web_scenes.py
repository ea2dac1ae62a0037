"""Where the contract of the web is tried: the virtual one and urllib3, with the same pages."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import threading
from collections.abc import Callable, Coroutine
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from hal.errors import WebError
from hal.ports import Download, Web
from hal.sim.clock import VirtualClock
from hal.sim.loop import Counter, run
from hal.sim.network import Page, VirtualWeb

BODY = bytes(range(256)) * 1000
TAG = '"v1"'


class Bench(Protocol):
    """Where the contract is tried."""

    @property
    def web(self) -> Web: ...
    def put(self, path: str, page: Page) -> str: ...
    def asked(self) -> list[tuple[str, int, str | None]]: ...
    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None: ...


class VirtualBench:
    def __init__(self) -> None:
        self.counter = Counter()
        self.web = VirtualWeb(VirtualClock(self.counter), random.Random(1))

    def put(self, path: str, page: Page) -> str:
        url = f"http://media.example{path}"
        self.web.put(
            url,
            page.body,
            status=page.status,
            etag=page.etag,
            truncate=page.truncate,
            drip_bytes_per_s=page.drip_bytes_per_s,
            delay_s=page.delay_s * 100,
            stall_after=page.stall_after,
            unreachable=page.unreachable,
            redirect=page.redirect,
            ranges=page.ranges,
            sized=page.sized,
            retry_after_s=page.retry_after_s,
        )
        return url

    def asked(self) -> list[tuple[str, int, str | None]]:
        return [(r.url.removeprefix("http://media.example"), r.offset, r.etag) for r in self.web.requests]

    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        run(main(), self.counter)


class Server(ThreadingHTTPServer):
    """A real server of `Page`s on loopback."""

    daemon_threads = True
    allow_reuse_address = False

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.asked: list[tuple[str, int, str | None]] = []
        self.headers_seen: list[dict[str, str]] = []
        self.leave = threading.Event()
        super().__init__(("127.0.0.1", 0), Answer)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is what these tests are about."""


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.close_connection = True
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        offset, tag = (int(asked[1]) if asked else 0), self.headers.get("If-Range")
        self.server.asked.append((self.path, offset, tag))
        self.server.headers_seen.append(dict(self.headers))
        page = self.server.pages.get(self.path, Page(status=404, body=b"not found"))
        self.server.leave.wait(page.delay_s)
        status, body = page.status, page.body
        part = status == 200 and page.ranges and offset > 0 and tag in (None, page.etag)
        if part:
            status, body = (416, b"") if offset >= len(body) else (206, body[offset:])
        self.send_response(302 if page.redirect else status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {offset}-{len(page.body) - 1}/{len(page.body)}")
        optional = {
            "ETag": page.etag,
            "Location": page.redirect,
            "Content-Length": str(len(body)) if page.sized else None,
            "Retry-After": None if page.retry_after_s is None else f"{page.retry_after_s:.0f}",
        }
        for name, text in optional.items():
            if text is not None:
                self.send_header(name, text)
        self.end_headers()
        self._send(page, body)

    def _send(self, page: Page, body: bytes) -> None:
        body = body[: page.truncate]
        if page.stall_after is not None:
            self.wfile.write(body[: page.stall_after])
            self.server.leave.wait(10)
        elif page.drip_bytes_per_s is not None:
            for index in range(0, len(body), 10):
                self.wfile.write(body[index : index + 10])
                if self.server.leave.wait(10 / page.drip_bytes_per_s):
                    return
        else:
            self.wfile.write(body)


class UrllibBench:
    def __init__(self, server: Server) -> None:
        from hal.linux.http_line import WebPatience
        from hal.linux.web import UrllibWeb

        self.server = server
        patience = WebPatience(connect_s=0.5, silence_s=0.3, floor_bytes_per_s=256, floor_window_s=0.5)
        self.web = UrllibWeb("village-node/test", patience=patience)

    def put(self, path: str, page: Page) -> str:
        port = self.server.server_address[1]
        if page.unreachable:
            with socket.socket() as unheard:
                unheard.bind(("127.0.0.1", 0))
                port = unheard.getsockname()[1]
        self.server.pages[path] = page
        return f"http://127.0.0.1:{port}{path}"

    def asked(self) -> list[tuple[str, int, str | None]]:
        return self.server.asked

    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(20):
                await main()

        asyncio.run(bounded())


async def whole(download: Download, *, at_once: int = 65536) -> bytes:
    """Read to the end and close."""
    parts: list[bytes] = []
    try:
        while payload := await download.read(at_once):
            assert len(payload) <= at_once
            parts.append(payload)
    finally:
        await download.close()
    return b"".join(parts)


async def until_it_fails(download: Download) -> tuple[int, WebError]:
    """How many bytes come before which error."""
    got = 0
    try:
        while payload := await download.read(65536):
            got += len(payload)
    except WebError as error:
        return got, error
    finally:
        await download.close()
    raise AssertionError(f"it ended well after {got} bytes")
