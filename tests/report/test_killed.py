"""As-run log and outbox on a real database, killed in the middle of writing and draining."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edge_agent import kept
from edge_agent.report import asrun, outbox
from hal.linux.database import open_database

pytestmark = pytest.mark.realtime

ROOT = Path(__file__).resolve().parents[2]

BUSY_NODE = """
import asyncio, sys, uuid
from datetime import UTC, datetime
from pathlib import Path
from edge_agent import kept
from edge_agent.clocktrust import Quality
from edge_agent.model import AsRun, Outcome, Precedence
from edge_agent.report import asrun, outbox
from edge_agent.report.settings import ReportSettings
from hal.linux.clock import SystemClock
from hal.linux.database import open_database

class Session:
    async def publish(self, message):
        print("sent " + message.payload.decode(), flush=True)
        await asyncio.sleep(0)

async def main(root):
    database = await open_database(root / "agent.db", [kept.SCHEMA, asrun.SCHEMA, outbox.SCHEMA])
    base = asrun.Timebase(monotonic_ns=1, utc=datetime(2026, 11, 24, tzinfo=UTC), boot="b", quality=Quality.SYNCED)
    box = outbox.Outbox(
        database=database, clock=SystemClock(), settings=ReportSettings(bytes_per_s=10_000_000, burst_bytes=10_000_000)
    )
    def work(connection, order):
        asrun.record(connection, order_id=order, issuer="x", verb="play", precedence=Precedence.ROUTINE,
                     asrun=AsRun(outcome=Outcome.AIRED), timebase=base, topic="t/up/report")
        outbox.put(connection, topic="t/up/cmd", payload=b'{"id":"%s"}' % order.encode(), kind="state")
    draining = asyncio.create_task(box.drain(Session()))
    while True:
        order = uuid.uuid4().hex
        await database.run(lambda connection: work(connection, order))
        print("told " + order, flush=True)
        box.wake()

asyncio.run(main(Path(sys.argv[1])))
"""


def test_killed_at_any_time_nothing_is_lost_and_the_chain_holds(tmp_path: Path) -> None:
    rng = random.Random(13)
    told: set[str] = set()
    numbers: dict[int, str] = {}
    for _ in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", BUSY_NODE, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(rng.randrange(20, 120))]
        threading.Event().wait(rng.uniform(0, 0.02))
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.readlines()
        child.wait()
        child.stdout.close()
        for line in lines:
            if not line.endswith("\n"):
                continue
            kind, _, text = line.strip().partition(" ")
            if kind == "told":
                told.add(text)
                continue
            message = json.loads(text)
            for entry in message.get("reports", [message]):
                what = entry["id"] if "id" in entry else f"report {entry['asrun']['id']}"
                assert numbers.setdefault(entry["n"], what) == what, "a number means one message"
        asyncio.run(the_books_are_whole(tmp_path, told))
    assert len(numbers) > 20


async def the_books_are_whole(root: Path, told: set[str]) -> None:
    """What was said to be stored is stored, with its report, once; whatever was not yet acknowledged is there."""
    database = await open_database(root / "agent.db", [kept.SCHEMA, asrun.SCHEMA, outbox.SCHEMA])
    try:
        assert database.set_aside() is None
        check = await database.run(asrun.verify_chain)
        assert check.broken_at is None
        rows = await database.run(
            lambda connection: connection.execute("SELECT order_id FROM asrun").fetchall()
        )
        orders = {order for (order,) in rows}
        assert told <= orders
        assert check.entries == len(orders) == len(rows)
        (count,) = await database.run(
            lambda connection: connection.execute("SELECT COUNT(*) FROM outbox").fetchone()
        )
        assert count == 2 * len(orders)
    finally:
        await database.close()
