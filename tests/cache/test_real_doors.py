"""The cellar on a real disk, a real database and a real HTTP server; and killed in the middle of it."""

from __future__ import annotations

import asyncio
import hashlib
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from edge_agent import kept
from edge_agent.cache import store as store_file
from edge_agent.cache.fetcher import Fetcher
from edge_agent.cache.settings import CacheSettings
from edge_agent.cache.store import Store
from edge_agent.model import Digest
from hal.linux.clock import SystemClock
from hal.linux.database import open_database
from hal.linux.disk import DirectoryDisk
from hal.linux.web import UrllibWeb

pytestmark = pytest.mark.realtime

ROOT = Path(__file__).resolve().parents[2]
BULLETIN = random.Random(3).randbytes(3 << 20)
DIGEST = Digest(f"sha256:{hashlib.sha256(BULLETIN).hexdigest()}")


class Breaking(BaseHTTPRequestHandler):
    """Serves the bulletin with ranges, and hangs up after a megabyte each time."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        offset = 0 if asked is None else int(asked.removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(BULLETIN) - offset))
        self.send_header("ETag", '"v1"')
        if asked:
            self.send_header("Content-Range", f"bytes {offset}-{len(BULLETIN) - 1}/{len(BULLETIN)}")
        self.end_headers()
        self.wfile.write(BULLETIN[offset : offset + (1 << 20) + 1])
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Breaking)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/bulletin.mp3"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_bulletin_comes_over_a_breaking_line_and_is_kept(tmp_path: Path, url: str) -> None:
    async def main() -> bytes:
        database = await open_database(tmp_path / "agent.db", [kept.SCHEMA, store_file.SCHEMA])
        clock, settings = SystemClock(), CacheSettings(backoff_first_s=0.1)
        store = Store(disk=DirectoryDisk(tmp_path), database=database, clock=clock, settings=settings)
        web = UrllibWeb("edge-agent/test")
        fetcher = Fetcher(web=web, store=store, clock=clock, settings=settings)
        try:
            await store.open()
            asset = await fetcher.obtain(DIGEST, url, urgent=True)
            assert asset.size == len(BULLETIN)
            assert await fetcher.obtain(DIGEST, None, urgent=True) == asset
            with store.open_read(DIGEST) as reader:
                return await asyncio.to_thread(reader.read)
        finally:
            await database.close()
            web.close()

    assert asyncio.run(main()) == BULLETIN


BUSY_CELLAR = """
import asyncio, hashlib, random, sys
from pathlib import Path
from edge_agent import kept
from edge_agent.cache import store as store_file
from edge_agent.cache.settings import CacheSettings
from edge_agent.cache.store import Store
from hal.linux.clock import SystemClock
from hal.linux.database import open_database
from hal.linux.disk import DirectoryDisk

async def main(root):
    database = await open_database(root / "agent.db", [kept.SCHEMA, store_file.SCHEMA])
    settings = CacheSettings(quota_mib=16, reserve_mib=16)
    store = Store(disk=DirectoryDisk(root), database=database, clock=SystemClock(), settings=settings)
    await store.open()
    rng = random.Random()
    while True:
        payload = rng.randbytes(3 << 20)
        incoming = await store.stage("sha256:" + hashlib.sha256(payload).hexdigest(), len(payload))
        for start in range(0, len(payload), 1 << 16):
            await incoming.write(payload[start : start + (1 << 16)])
        await incoming.admit()
        print("kept", flush=True)

asyncio.run(main(Path(sys.argv[1])))
"""


def test_killed_at_any_time_it_opens_cleanly(tmp_path: Path) -> None:
    rng = random.Random(11)
    for _ in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", BUSY_CELLAR, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        for _ in range(rng.randrange(1, 9)):
            assert child.stdout.readline() == "kept\n"
        threading.Event().wait(rng.uniform(0, 0.02))
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        asyncio.run(the_cellar_is_whole(tmp_path))


async def the_cellar_is_whole(root: Path) -> None:
    database = await open_database(root / "agent.db", [kept.SCHEMA, store_file.SCHEMA])
    settings = CacheSettings(quota_mib=16, reserve_mib=16)
    store = Store(disk=DirectoryDisk(root), database=database, clock=SystemClock(), settings=settings)
    try:
        assert database.set_aside() is None
        await store.open()
        rows = await store.listing()
        files = [path for path in (root / "media").rglob("*") if path.is_file()]
        assert {row.asset.digest[7:] for row in rows} == {path.name for path in files}
        assert sum(path.stat().st_size for path in files) <= settings.quota_bytes
        for path in files:
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    finally:
        await database.close()
