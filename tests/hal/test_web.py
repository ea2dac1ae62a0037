"""The real web driver against worse servers, passwords, TLS, and leaks."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hal.errors import WebBroken, WebTimeout, WebUnreachable
from hal.sim.network import Page
from tests.hal.web_scenes import BODY, UrllibBench, until_it_fails, whole


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
        answering(b"\x1b[2J\x00\xff\xfe" * 300),
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
            with pytest.raises((WebBroken, WebTimeout)) as caught:
                await whole(await urllib_bench.web.get(f"http://127.0.0.1:{port}/a", offset=2))
        assert str(caught.value).isprintable(), "it will stand in a log"

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
