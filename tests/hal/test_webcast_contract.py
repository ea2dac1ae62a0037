"""One contract for `hal.ports.Webcasts`: held to virtual stations and to FFmpeg and urllib3 against real servers; and to a real Icecast."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from hal.errors import WebcastBroken, WebcastError, WebcastRefused, WebcastTimeout, WebcastUnreachable
from tests.certificates import Authority
from tests.hal.webcast_scenes import (
    HZ,
    Bench,
    Connection,
    RealBench,
    VirtualBench,
    listen,
    mp3,
    pitch_hz,
)
from tests.playout.media import encoded, tone


@pytest.fixture
def real(tmp_path: Path) -> Iterator[RealBench]:
    bench = RealBench(tmp_path)
    yield bench
    bench.close()


@pytest.fixture(params=["virtual", pytest.param("real", marks=pytest.mark.realtime)])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    if request.param == "virtual":
        yield VirtualBench()
    else:
        made = RealBench(tmp_path)
        yield made
        made.close()


# ---------------------------------------------------------------- both


def test_a_station_is_heard(bench: Bench) -> None:
    url = bench.station("tone")

    async def story() -> None:
        webcast = await bench.webcasts.open(url)
        heard = await listen(webcast, 2.0)
        await webcast.close()
        await webcast.close()
        assert abs(pitch_hz(heard[24_000:]) - HZ) < 2
        assert heard.dtype == np.float32

    bench.run(story)


@pytest.mark.parametrize("status", ["404", "401", "403", "503"])
def test_a_refusal_has_its_status(bench: Bench, status: str) -> None:
    url = bench.station(status)

    async def story() -> None:
        with pytest.raises(WebcastRefused) as caught:
            await bench.webcasts.open(url)
        assert caught.value.status == int(status)

    bench.run(story)


def test_a_server_that_is_not_there_is_unreachable(bench: Bench) -> None:
    url = bench.station("unreachable")

    async def story() -> None:
        with pytest.raises(WebcastUnreachable):
            await bench.webcasts.open(url)

    bench.run(story)


def test_a_server_that_never_answers_is_given_up(bench: Bench) -> None:
    url = bench.station("hang_header")

    async def story() -> None:
        with pytest.raises(WebcastTimeout):
            await bench.webcasts.open(url)

    bench.run(story)


def test_a_station_that_falls_silent_is_given_up_after_what_it_said(bench: Bench) -> None:
    url = bench.station("hang_body")

    async def story() -> None:
        webcast = await bench.webcasts.open(url)
        assert (await listen(webcast, 1.0)).size
        with pytest.raises(WebcastTimeout):
            await listen(webcast, 60.0)
        await webcast.close()

    bench.run(story)


def test_a_station_that_hangs_up_has_ended(bench: Bench) -> None:
    url = bench.station("cut")

    async def story() -> None:
        webcast = await bench.webcasts.open(url)
        with pytest.raises(WebcastBroken):
            await listen(webcast, 60.0)
        with pytest.raises(WebcastBroken):
            await webcast.read()
        await webcast.close()

    bench.run(story)


def test_what_is_no_web_address_is_an_error_of_ours(bench: Bench) -> None:
    bench.station("tone")

    async def story() -> None:
        for url in ("file:///etc/passwd", "rtsp://x/a", "concat:a|b"):
            with pytest.raises(ValueError, match="http"):
                await bench.webcasts.open(url)

    bench.run(story)


# ---------------------------------------------------------------- real ones alone


@pytest.mark.realtime
def test_a_shoutcast_of_old_answers_icy_and_is_heard(real: RealBench) -> None:
    def script(connection: Connection) -> None:
        connection.say(b"ICY 200 OK\r\nicy-name:Dai\r\ncontent-type:audio/mpeg\r\n\r\n", mp3())
        connection.hang()

    assert abs(_heard(real, real.serve(script)) - HZ) < 2


@pytest.mark.realtime
def test_redirects_are_followed_but_not_for_ever(real: RealBench) -> None:
    goal = real.station("tone")
    once = real.serve(
        lambda c: c.head("HTTP/1.1 302 Found", more=f"Location: {goal}\r\nContent-Length: 0\r\n".encode())
    )
    assert abs(_heard(real, once) - HZ) < 2
    ring: list[str] = []
    ring.append(
        real.serve(
            lambda c: c.head(
                "HTTP/1.1 302 Found", more=f"Location: {ring[0]}\r\nContent-Length: 0\r\n".encode()
            )
        )
    )

    async def story() -> None:
        with pytest.raises((WebcastBroken, WebcastUnreachable, WebcastTimeout, WebcastRefused)):
            await real.webcasts.open(ring[0])

    real.run(story)


@pytest.mark.realtime
@pytest.mark.parametrize("where", ["header", "body"])
def test_a_server_that_drips_is_given_up(real: RealBench, where: str) -> None:
    def script(connection: Connection) -> None:
        if where == "header":
            connection.drip(b"HTTP/1.0 200 OK\r\nX: " + b"a" * 100)
        else:
            connection.head()
            connection.drip(mp3())

    url = real.serve(script)

    async def story() -> None:
        begin = asyncio.get_running_loop().time()
        with pytest.raises(WebcastTimeout):
            await real.webcasts.open(url)
        assert asyncio.get_running_loop().time() - begin < 10

    real.run(story)


@pytest.mark.realtime
def test_a_stream_may_change_its_rate_and_channels_while_it_lasts(real: RealBench) -> None:
    def script(connection: Connection) -> None:
        connection.head()
        connection.say(mp3(2.0), mp3(2.0, rate_hz=22_050, channels=1, hz=900.0), mp3(3.0))
        connection.hang()

    url = real.serve(script)

    async def story() -> None:
        webcast = await real.webcasts.open(url)
        heard = await listen(webcast, 5.5)
        await webcast.close()
        assert abs(pitch_hz(heard[24_000:72_000]) - HZ) < 4
        assert abs(pitch_hz(heard[120_000:168_000]) - 900) < 4
        assert abs(pitch_hz(heard[-48_000:]) - HZ) < 4

    real.run(story)


@pytest.mark.realtime
def test_a_page_of_text_is_no_sound(real: RealBench) -> None:
    def script(connection: Connection) -> None:
        connection.head(kind="text/html")
        connection.say(b"<html>login first</html>" * 200)

    url = real.serve(script)

    async def story() -> None:
        with pytest.raises(WebcastBroken):
            await real.webcasts.open(url)

    real.run(story)


@pytest.mark.realtime
def test_a_playlist_with_segments_is_heard(real: RealBench) -> None:
    segments = [
        encoded(
            np.stack([tone(2.0, rate_hz=44_100, hz=HZ)] * 2), container="mpegts", codec="aac", rate_hz=44_100
        )
        for _ in range(3)
    ]

    def script(connection: Connection) -> None:
        if connection.path.endswith(".ts"):
            connection.head(kind="video/mp2t")
            connection.say(segments[int(connection.path[-4])])
            return
        listed = "".join(f"#EXTINF:2.0,\n/s{number}.ts\n" for number in range(3))
        connection.head(kind="application/vnd.apple.mpegurl")
        connection.say(
            f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n{listed}#EXT-X-ENDLIST\n".encode()
        )

    assert abs(_heard(real, real.serve(script)) - HZ) < 2


@pytest.mark.realtime
def test_a_playlist_leads_to_no_file_and_no_other_protocol(real: RealBench, tmp_path: Path) -> None:
    secret = tmp_path / "secret.ts"
    secret.write_bytes(encoded(np.stack([tone(2.0)]), container="mpegts", codec="aac", rate_hz=48_000))

    def script(connection: Connection) -> None:
        connection.head(kind="application/vnd.apple.mpegurl")
        connection.say(
            f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\nfile://{secret}\n#EXT-X-ENDLIST\n".encode()
        )

    url = real.serve(script)

    async def story() -> None:
        with pytest.raises((WebcastBroken, WebcastTimeout, WebcastUnreachable)):
            await real.webcasts.open(url)

    real.run(story)


@pytest.mark.realtime
def test_a_pinned_certificate_is_believed_and_no_other(real: RealBench) -> None:
    context, pin = _secured(real)

    def script(connection: Connection) -> None:
        connection.head()
        connection.say(mp3())
        connection.hang()

    url = real.serve(script, context)

    async def story() -> None:
        webcast = await real.webcasts.open(url, pin=pin)
        assert abs(pitch_hz((await listen(webcast, 2.0))[24_000:]) - HZ) < 2
        await webcast.close()
        with pytest.raises(WebcastUnreachable):
            await real.webcasts.open(url, pin="sha256:" + "0" * 64)
        with pytest.raises(WebcastUnreachable):
            await real.webcasts.open(url)

    real.run(story)


@pytest.mark.realtime
def test_who_does_not_read_holds_the_server_back_and_closing_ends_the_thread(real: RealBench) -> None:
    def script(connection: Connection) -> None:
        connection.head()
        connection.say(*[mp3()] * 100)

    url = real.serve(script)

    async def story() -> None:
        webcast = await real.webcasts.open(url)
        await asyncio.sleep(1.0)
        assert webcast._pieces.qsize() <= 12
        await webcast.close()
        await _no_thread_left()

    real.run(story)


@pytest.mark.realtime
@pytest.mark.parametrize("where", ["header", "body"])
def test_an_https_server_that_drips_is_given_up_and_its_thread_ends(real: RealBench, where: str) -> None:
    context, pin = _secured(real)

    def script(connection: Connection) -> None:
        if where == "header":
            connection.drip(b"HTTP/1.0 200 OK\r\nX: " + b"a" * 100)
        else:
            connection.head()
            connection.drip(mp3())

    url = real.serve(script, context)

    async def story() -> None:
        with pytest.raises(WebcastTimeout):
            await real.webcasts.open(url, pin=pin)
        await _no_thread_left()

    real.run(story)


async def _no_thread_left() -> None:
    """A byte each second would keep it alive for minutes."""
    for _ in range(80):
        if not any(thread.name == "webcast" for thread in threading.enumerate()):
            return
        await asyncio.sleep(0.1)
    raise AssertionError("a thread waits for a stream that nobody hears")


def _secured(real: RealBench) -> tuple[ssl.SSLContext, str]:
    """A server's side of TLS, and the pin of its certificate."""
    pair = Authority.new(real.directory / "ca").certify("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    der = ssl.PEM_cert_to_DER_cert(pair.cert.read_text())
    return context, f"sha256:{hashlib.sha256(der).hexdigest()}"


def _heard(real: RealBench, url: str) -> float:
    pitch: list[float] = []

    async def story() -> None:
        webcast = await real.webcasts.open(url)
        pitch.append(pitch_hz((await listen(webcast, 2.0))[24_000:]))
        await webcast.close()

    real.run(story)
    return pitch[0]


# ---------------------------------------------------------------- Icecast itself


_ICECAST = """<icecast><limits><clients>10</clients><sources>2</sources><burst-size>65535</burst-size></limits>
<authentication><source-password>secret</source-password><admin-user>a</admin-user><admin-password>b</admin-password></authentication>
<hostname>127.0.0.1</hostname><listen-socket><port>{port}</port><bind-address>127.0.0.1</bind-address></listen-socket>
<paths><logdir>{directory}</logdir><webroot>/usr/share/icecast2/web</webroot><adminroot>/usr/share/icecast2/admin</adminroot></paths>
<logging><accesslog>-</accesslog><errorlog>error.log</errorlog></logging>
<security><chroot>0</chroot><changeowner><user>nobody</user><group>nogroup</group></changeowner></security></icecast>"""


def _answers(port: int) -> bool:
    """Whether it does more than listen: at its start it takes connections and drops them."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as probe:
            probe.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return bool(probe.recv(16))
    except OSError:
        return False


@pytest.fixture
def icecast() -> Iterator[int]:
    """The port of a real Icecast. Started by root it becomes nobody, who must get at its directory."""
    assert shutil.which("icecast2"), "icecast2 is not installed: make apt-test"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
    with tempfile.TemporaryDirectory(prefix="icecast-") as name:
        directory = Path(name)
        directory.chmod(0o777)
        config = directory / "icecast.xml"
        config.write_text(_ICECAST.format(port=port, directory=directory))
        config.chmod(0o644)
        with _running(["icecast2", "-c", str(config)]) as server:
            while not _answers(port):
                assert server.poll() is None, (directory / "error.log").read_text()
                threading.Event().wait(0.05)
            yield port


@contextmanager
def _running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield server
    finally:
        server.terminate()
        server.wait(10)


@pytest.mark.realtime
def test_a_real_icecast_is_heard_and_its_source_s_end_is_known(icecast: int, real: RealBench) -> None:
    url = f"http://127.0.0.1:{icecast}/live"

    async def story() -> None:
        with pytest.raises(WebcastRefused) as caught:
            await real.webcasts.open(url)
        assert caught.value.status == 404
        source = await asyncio.create_subprocess_exec(
            "ffmpeg", "-v", "error", "-re", "-f", "lavfi", "-i", f"sine=frequency={HZ:g}:sample_rate=44100", "-c:a", "libmp3lame",
            "-b:a", "64k", "-f", "mp3", "-content_type", "audio/mpeg", f"icecast://source:secret@127.0.0.1:{icecast}/live",
        )  # fmt: skip
        try:
            for _ in range(60):
                await asyncio.sleep(0.1)
                try:
                    webcast = await real.webcasts.open(url)
                except WebcastError:
                    continue
                break
            assert abs(pitch_hz((await listen(webcast, 2.0))[24_000:]) - HZ) < 2
            source.kill()
            with pytest.raises((WebcastBroken, WebcastTimeout)):
                await listen(webcast, 60.0)
            await webcast.close()
        finally:
            if source.returncode is None:
                source.kill()
            await source.wait()

    real.run(story)
