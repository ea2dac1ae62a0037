"""The demo's props: a broker, a media server and spoken bulletins, all on this machine only."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import shutil
import socket
import subprocess
import threading
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BULLETIN = (
    "Đây là đài truyền thanh xã Vi Hương. "
    "Kính mời bà con thôn Bản Cáu đến nhà văn hóa thôn lúc mười chín giờ ba mươi phút, thứ năm, "
    "để họp bàn việc phòng chống bão số chín và nhận cây giống vụ đông. "
    "Đề nghị mỗi gia đình cử một người tham dự đông đủ và đúng giờ. Xin cảm ơn bà con."
)
EMERGENCY = (
    "Khẩn cấp! Khẩn cấp! Nước suối đang lên rất nhanh. Bà con ở ven suối hãy rời nhà ngay, đi lên điểm cao."
)
NOTICE = "Mời bà con đến nhà văn hóa thôn lúc 19h30 thứ Năm họp bàn phòng chống bão số 9"


class PropMissing(RuntimeError):
    """Something that the demo needs is not on this machine; the message names the remedy."""


def free_port() -> int:
    """A TCP port that nobody holds now, on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def broker(directory: Path) -> Iterator[int]:
    """A Mosquitto of our own on a free loopback port; yields the port."""
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        raise PropMissing("mosquitto is not installed: sudo apt-get install mosquitto")
    port = free_port()
    config = directory / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n", encoding="utf-8"
    )
    with (directory / "mosquitto.log").open("wb") as log:
        process = subprocess.Popen([program, "-c", str(config)], stdout=log, stderr=log)  # noqa: S603 - no shell, our own words
        try:
            _wait_for_port(port, process)
            yield port
        finally:
            stop(process)


@contextlib.contextmanager
def media_server(directory: Path) -> Iterator[str]:
    """A small HTTP server over `directory` on loopback; yields its URL."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's own name
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(directory))
    )
    thread = threading.Thread(target=server.serve_forever, name="media server", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def speak(text: str, path: Path, *, words_a_minute: int = 150) -> None:
    """Say `text` in Vietnamese with espeak-ng into an MP3 (22.05 kHz mono, 64 kb/s)."""
    program = shutil.which("espeak-ng")
    if program is None:
        raise PropMissing("espeak-ng is not installed: sudo apt-get install espeak-ng")
    spoken = path.with_suffix(".wav")
    subprocess.run(  # noqa: S603 - no shell, our own words
        [program, "-v", "vi", "-s", str(words_a_minute), "-w", str(spoken), "--", text],
        check=True,
        timeout=30,
    )
    encode_mp3(spoken, path)
    spoken.unlink()


def encode_mp3(spoken: Path, path: Path) -> None:
    """Encode a 16-bit mono WAV as MP3."""
    import av
    import numpy as np

    with wave.open(str(spoken)) as source:
        rate = source.getframerate()
        samples = np.frombuffer(source.readframes(source.getnframes()), dtype="<i2")
    with av.open(str(path), "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=rate)
        stream.bit_rate = 64_000
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = rate
        for packet in stream.encode(frame):
            container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)


def digest_of(path: Path) -> str:
    """`sha256:` and the file's hash in hex."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def stop(process: subprocess.Popen[bytes], *, patience_s: float = 10.0) -> int:
    """End a process of ours: SIGTERM, then SIGKILL. Returns its exit code."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return process.returncode


def _wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(100):
        if process.poll() is not None:
            raise PropMissing(f"mosquitto ended at once with exit code {process.returncode}; see its log")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)  # noqa: TID251 - another program needs real time to open its port
    raise PropMissing("mosquitto did not open its port within 5 s")
