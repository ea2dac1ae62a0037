"""One contract for `hal.ports.Web`: held to the virtual web and to urllib3 against real servers."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import random
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

import pytest

from hal.errors import WebBroken, WebError, WebTimeout, WebUnreachable
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
        from hal.linux.web import UrllibWeb, WebPatience

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


@pytest.fixture
def server() -> Iterator[Server]:
    served = Server()
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield served
    served.leave.set()
    served.shutdown()
    served.server_close()
    thread.join(5)


@pytest.fixture
def urllib_bench(server: Server) -> Iterator[UrllibBench]:
    bench = UrllibBench(server)
    yield bench
    bench.web.close()
    for _ in range(500):
        if not any(thread.name.startswith("web") for thread in threading.enumerate()):
            break
        server.leave.wait(0.01)
    assert not any(thread.name.startswith("web") for thread in threading.enumerate()), (
        "a thread was left behind"
    )


@pytest.fixture(params=["virtual", pytest.param("urllib", marks=pytest.mark.realtime)])
def bench(request: pytest.FixtureRequest) -> Bench:
    if request.param == "virtual":
        return VirtualBench()
    found: Bench = request.getfixturevalue("urllib_bench")
    return found


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


def test_a_file_is_read_whole(bench: Bench) -> None:
    async def main() -> None:
        download = await bench.web.get(bench.put("/a.mp3", Page(body=BODY, etag=TAG)))
        assert (download.status, download.offset, download.etag) == (200, 0, TAG)
        assert (download.length, download.total) == (len(BODY), len(BODY))
        assert download.retry_after_s is None
        assert await whole(download, at_once=1000) == BODY

    bench.run(main)


def test_reads_are_bounded_whatever_is_asked_for(bench: Bench) -> None:
    async def main() -> None:
        download = await bench.web.get(bench.put("/a", Page(body=BODY)))
        assert 0 < len(await download.read(10**9)) <= 65536
        await download.close()

    bench.run(main)


def test_any_status_is_an_answer(bench: Bench) -> None:
    async def main() -> None:
        download = await bench.web.get(bench.put("/busy", Page(status=503, body=b"later", retry_after_s=120)))
        assert (download.status, download.retry_after_s, download.total) == (503, 120.0, None)
        assert await whole(download) == b"later"
        bench.put("/", Page())
        download = await bench.web.get(bench.put("/a", Page()).removesuffix("/a") + "/nowhere")
        assert download.status == 404
        await download.close()

    bench.run(main)


def test_an_empty_file_is_empty(bench: Bench) -> None:
    async def main() -> None:
        download = await bench.web.get(bench.put("/a", Page()))
        assert (download.length, download.total) == (0, 0)
        assert await whole(download) == b""

    bench.run(main)


def test_a_body_without_length_ends_where_it_ends(bench: Bench) -> None:
    async def main() -> None:
        download = await bench.web.get(bench.put("/a", Page(body=BODY, sized=False)))
        assert (download.length, download.total) == (None, None)
        assert await whole(download) == BODY

    bench.run(main)


def test_the_rest_of_a_file_is_fetched_from_an_offset(bench: Bench) -> None:
    async def main() -> None:
        url = bench.put("/a", Page(body=BODY, etag=TAG))
        download = await bench.web.get(url, offset=1000, etag=TAG)
        assert (download.status, download.offset) == (206, 1000)
        assert (download.length, download.total) == (len(BODY) - 1000, len(BODY))
        assert await whole(download) == BODY[1000:]
        assert bench.asked()[-1] == ("/a", 1000, TAG)

    bench.run(main)


def test_a_file_that_has_changed_comes_whole(bench: Bench) -> None:
    async def main() -> None:
        url = bench.put("/a", Page(body=BODY, etag='"v2"'))
        download = await bench.web.get(url, offset=1000, etag=TAG)
        assert (download.status, download.offset, download.total) == (200, 0, len(BODY))
        assert await whole(download) == BODY

    bench.run(main)


def test_a_server_without_ranges_sends_the_whole(bench: Bench) -> None:
    async def main() -> None:
        download = await bench.web.get(bench.put("/a", Page(body=BODY, ranges=False)), offset=5)
        assert (download.status, download.offset) == (200, 0)
        assert await whole(download) == BODY

    bench.run(main)


def test_an_offset_behind_the_end_is_416(bench: Bench) -> None:
    async def main() -> None:
        download = await bench.web.get(bench.put("/a", Page(body=b"abc")), offset=3)
        assert download.status == 416
        await download.close()

    bench.run(main)


def test_a_weak_etag_is_none(bench: Bench) -> None:
    async def main() -> None:
        download = await bench.web.get(bench.put("/a", Page(body=b"abc", etag='W/"v1"')))
        assert download.etag is None
        await download.close()

    bench.run(main)


def test_redirects_are_followed_five_times_and_no_more(bench: Bench) -> None:
    async def main() -> None:
        bench.put("/end", Page(body=b"here"))
        bench.put("/r1", Page(redirect="/end"))
        for number in range(2, 7):
            url = bench.put(f"/r{number}", Page(redirect=f"r{number - 1}"))
        with pytest.raises(WebBroken, match="more than 5 redirects"):
            await bench.web.get(url)
        assert await whole(await bench.web.get(url.replace("/r6", "/r5"))) == b"here"
        with pytest.raises(WebBroken, match="redirects"):
            await bench.web.get(bench.put("/loop", Page(redirect="/loop")))
        with pytest.raises(WebBroken, match="not http"):
            await bench.web.get(bench.put("/file", Page(redirect="file:///etc/passwd")))

    bench.run(main)


@pytest.mark.parametrize(
    "url", ["ftp://a/b", "file:///etc/passwd", "media/a.mp3", "", "http://", "http:///a"]
)
def test_what_is_not_http_is_a_value_error(bench: Bench, url: str) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="http"):
            await bench.web.get(url)

    bench.run(main)


def test_nobody_there_is_unreachable(bench: Bench) -> None:
    async def main() -> None:
        with pytest.raises(WebUnreachable, match="No connection"):
            await bench.web.get(bench.put("/a", Page(unreachable=True)))

    bench.run(main)


def test_a_body_that_ends_early_is_broken_after_what_has_come(bench: Bench) -> None:
    async def main() -> None:
        download = await bench.web.get(bench.put("/a", Page(body=BODY, truncate=100_000)))
        got, error = await until_it_fails(download)
        assert (got, type(error)) == (100_000, WebBroken)

    bench.run(main)


def test_a_server_that_answers_late_times_out(bench: Bench) -> None:
    async def main() -> None:
        with pytest.raises(WebTimeout):
            await bench.web.get(bench.put("/a", Page(body=b"abc", delay_s=3.0)))

    bench.run(main)


def test_a_body_that_stalls_times_out(bench: Bench) -> None:
    async def main() -> None:
        download = await bench.web.get(bench.put("/a", Page(body=BODY, stall_after=500)))
        got, error = await until_it_fails(download)
        assert (got, type(error)) == (500, WebTimeout)

    bench.run(main)


def test_a_drip_below_the_floor_times_out_and_one_above_is_read(bench: Bench) -> None:
    async def main() -> None:
        drip = await bench.web.get(bench.put("/slow", Page(body=BODY, drip_bytes_per_s=100)))
        with pytest.raises(WebTimeout, match="fewer than 256"):
            await whole(drip)
        steady = await bench.web.get(bench.put("/steady", Page(body=BODY[:1500], drip_bytes_per_s=1500)))
        assert await whole(steady) == BODY[:1500]

    bench.run(main)


def test_a_cancelled_read_ends_the_download_and_nothing_else(bench: Bench) -> None:
    async def main() -> None:
        url = bench.put("/stall", Page(body=BODY, stall_after=10))
        for _ in range(5):  # more than there are slots
            download = await bench.web.get(url)
            assert await download.read(10) == BODY[:10]
            reading = asyncio.ensure_future(download.read(10))
            await asyncio.sleep(0.01)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            with pytest.raises(WebBroken, match="given up"):
                await download.read(10)
            await download.close()
            await download.close()
        assert await whole(await bench.web.get(bench.put("/a", Page(body=b"abc")))) == b"abc"

    bench.run(main)


def test_a_cancelled_get_gives_its_place_back(bench: Bench) -> None:
    async def main() -> None:
        late = bench.put("/late", Page(body=b"abc", delay_s=2.0))
        for _ in range(5):
            getting = asyncio.ensure_future(bench.web.get(late))
            await asyncio.sleep(0.02)
            getting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await getting
        assert await whole(await bench.web.get(bench.put("/a", Page(body=b"abc")))) == b"abc"

    bench.run(main)


def test_three_downloads_run_beside_one_another(bench: Bench) -> None:
    async def main() -> None:
        urls = [bench.put(f"/{number}", Page(body=BODY + bytes([number]))) for number in range(6)]

        async def fetch(url: str) -> bytes:
            return await whole(await bench.web.get(url), at_once=4096)

        bodies = await asyncio.gather(*map(fetch, urls))
        assert bodies == [BODY + bytes([number]) for number in range(6)]

    bench.run(main)


# ---------------------------------------------------------------- the real driver against worse servers


@contextlib.contextmanager
def raw_server(talk: Callable[[socket.socket], None], context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Answers every connection with `talk`, after the request has been read."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError):
                if context is not None:
                    sock = context.wrap_socket(sock, server_side=True)
                sock.settimeout(5)
                sock.recv(65536)
                talk(sock)
            sock.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        over.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(6)


def endless_header(sock: socket.socket) -> None:
    sock.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while True:
        sock.sendall(b"a" * 65536)


def endless_headers(sock: socket.socket) -> None:
    sock.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        sock.sendall(b"X-Many: a\r\n")


def endless_continue(sock: socket.socket) -> None:
    while True:
        sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


def dripping_header(sock: socket.socket) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-Slow: " + b"a" * 10_000:
        sock.sendall(bytes([byte]))
        threading.Event().wait(0.05)


def answering(reply: bytes) -> Callable[[socket.socket], None]:
    return lambda sock: sock.sendall(reply)


def ranged(content_range: bytes, body: bytes = b"abcdef") -> Callable[[socket.socket], None]:
    head = b"HTTP/1.1 206 Partial Content\r\nContent-Length: %d\r\nContent-Range: %s\r\n\r\n"
    return answering(head % (len(body), content_range) + body)


@pytest.mark.realtime
@pytest.mark.parametrize(
    "talk",
    [
        endless_header,
        endless_headers,
        endless_continue,
        dripping_header,
        answering(b""),
        answering(b"SSH-2.0-OpenSSH_9.2\r\n"),
        answering(b"HTTP/1.1 two hundred\r\n\r\n"),
        answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc"),
        answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n"),
        answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabcde\r\n"),
        answering(b"HTTP/1.1 206 Partial Content\r\nContent-Length: 3\r\n\r\nabc"),
        ranged(b"bytes 0-5/6"),
        ranged(b"bytes 2-9/6"),
        ranged(b"bytes 2-3/9"),
        ranged(b"bytes 5-2/9"),
        ranged(b"octets 2-7/9"),
    ],
)
def test_a_server_that_speaks_badly_is_a_web_error_in_time(
    urllib_bench: UrllibBench, talk: Callable[[socket.socket], None]
) -> None:
    async def main() -> None:
        async with asyncio.timeout(5):
            with pytest.raises((WebBroken, WebTimeout)):
                await whole(await urllib_bench.web.get(f"http://127.0.0.1:{port}/a", offset=2))

    with raw_server(talk) as port:
        urllib_bench.run(main)


@pytest.mark.realtime
def test_chunks_are_put_together_and_compression_is_left_alone(urllib_bench: UrllibBench) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n"

    async def main() -> None:
        download = await urllib_bench.web.get(f"http://127.0.0.1:{port}/a")
        assert download.length is None
        assert await whole(download) == b"abcdefgh"

    with raw_server(answering(head + b"3\r\nabc\r\n5\r\ndefgh\r\n0\r\n\r\n")) as port:
        urllib_bench.run(main)


@pytest.mark.realtime
def test_the_request_says_what_it_must_and_asks_for_no_compression(urllib_bench: UrllibBench) -> None:
    async def main() -> None:
        url = urllib_bench.put("/b%E1%BA%A3n%20tin.mp3", Page(body=b"abc"))
        spoken = url.replace("%E1%BA%A3", "ả").replace("%20", " ")
        assert await whole(await urllib_bench.web.get(spoken)) == b"abc"

    urllib_bench.run(main)
    headers = urllib_bench.server.headers_seen[-1]
    assert headers["User-Agent"] == "village-node/test"
    assert headers["Accept-Encoding"] == "identity"
    assert "Range" not in headers
    assert headers["Host"].startswith("127.0.0.1:")


@pytest.mark.realtime
def test_a_password_is_sent_to_its_own_host_and_told_to_nobody(
    urllib_bench: UrllibBench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async def main() -> None:
        url = urllib_bench.put("/a", Page(body=b"abc")).replace("//", "//xa:bi-mat@")
        assert await whole(await urllib_bench.web.get(url)) == b"abc"
        away = urllib_bench.put("/b", Page(redirect=urllib_bench.put("/a", Page(body=b"abc"))))
        assert await whole(await urllib_bench.web.get(away.replace("//", "//xa:bi-mat@"))) == b"abc"
        gone = urllib_bench.put("/c", Page(unreachable=True)).replace("//", "//xa:bi-mat@") + "?token=bi-mat"
        with pytest.raises(WebUnreachable) as refusal:
            await urllib_bench.web.get(gone)
        assert "bi-mat" not in str(refusal.value)
        with pytest.raises(ValueError, match="http") as wrong:
            await urllib_bench.web.get("ftp://xa:bi-mat@host/")
        assert "bi-mat" not in str(wrong.value)

    urllib_bench.run(main)
    sent = ["Authorization" in headers for headers in urllib_bench.server.headers_seen]
    assert sent == [True, True, False], "not to where it was redirected"
    assert "bi-mat" not in caplog.text


@pytest.mark.realtime
def test_retry_after_may_be_a_date_by_the_servers_clock(urllib_bench: UrllibBench) -> None:
    reply = (
        b"HTTP/1.1 503 Later\r\nDate: Mon, 01 Jan 1990 00:00:00 GMT\r\n"
        b"Retry-After: Mon, 01 Jan 1990 00:01:30 GMT\r\nContent-Length: 0\r\n\r\n"
    )

    async def main() -> None:
        download = await urllib_bench.web.get(f"http://127.0.0.1:{port}/a")
        assert download.retry_after_s == 90.0
        await download.close()

    with raw_server(answering(reply)) as port:
        urllib_bench.run(main)


@pytest.mark.realtime
def test_no_descriptor_is_left_open(urllib_bench: UrllibBench) -> None:
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("no /proc here: open descriptors cannot be counted")

    def count() -> int:
        gc.collect()
        return len(list(descriptors.iterdir()))

    async def main() -> None:
        ok = urllib_bench.put("/a", Page(body=BODY))
        stalling = urllib_bench.put("/stall", Page(body=BODY, stall_after=10))
        gone = urllib_bench.put("/gone", Page(unreachable=True))

        async def trouble() -> None:
            await whole(await urllib_bench.web.get(ok))
            await (await urllib_bench.web.get(ok)).close()
            await until_it_fails(await urllib_bench.web.get(stalling))
            with pytest.raises(WebUnreachable):
                await urllib_bench.web.get(gone)

        urllib_bench.server.pages["/stall"] = Page(body=BODY, truncate=10)
        await trouble()
        await asyncio.sleep(0.1)
        before = count()
        for _ in range(5):
            await trouble()
        for _ in range(100):
            if count() <= before:
                break
            await asyncio.sleep(0.02)
        assert count() <= before

    urllib_bench.run(main)


@pytest.fixture(scope="module")
def tls_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(certificate, key) of 127.0.0.1, its own authority."""
    directory = tmp_path_factory.mktemp("tls")
    certificate, key = directory / "cert.pem", directory / "key.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1"
    )
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "keyUsage=digitalSignature,keyCertSign"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    return certificate, key


@pytest.mark.realtime
def test_https_needs_a_certificate_that_is_believed(
    urllib_bench: UrllibBench, tls_files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*tls_files)

    async def main() -> None:
        url = f"https://127.0.0.1:{port}/a"
        with pytest.raises(WebUnreachable, match="not believed"):
            await urllib_bench.web.get(url)
        monkeypatch.setenv("SSL_CERT_FILE", str(tls_files[0]))
        assert await whole(await urllib_bench.web.get(url)) == b"abc"
        with pytest.raises(WebUnreachable, match="not believed"):
            await urllib_bench.web.get(url.replace("127.0.0.1", "localhost"))

    with raw_server(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"), context) as port:
        urllib_bench.run(main)


@pytest.mark.realtime
def test_a_tls_handshake_that_never_ends_is_left_in_time(urllib_bench: UrllibBench) -> None:
    def mute(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while sock.recv(4096):
                pass

    async def main() -> None:
        began_s = time.perf_counter()
        with pytest.raises((WebTimeout, WebUnreachable)):
            await urllib_bench.web.get(f"https://127.0.0.1:{port}/a")
        assert time.perf_counter() - began_s < 2.5

    with raw_server(mute) as port:
        urllib_bench.run(main)
