"""Desired documents that come while another is on its way, or from elsewhere."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

from edge_agent import kept
from edge_agent.command import documents, reconcile
from edge_agent.command.acceptance import Trust
from edge_agent.command.reconcile import Larder, Reconciler
from edge_agent.command.topics import Topics
from edge_agent.desired import Doc, Signed, Taker, Understood
from edge_agent.errors import Fault
from edge_agent.model import Digest, NodeId
from edge_agent.report import outbox
from hal.sim.database import VirtualDatabase
from tests import desires
from tests.command.scene import MEDIA, NODE, ROOT
from tests.entries import START

FAR = documents.Pointer(url="http://x.example/8", sha256=MEDIA, size=64)


class Taking:
    """A room that only remembers what it was given."""

    def __init__(self, *warnings: Fault) -> None:
        self.taken: list[int] = []
        self._warnings = warnings

    def understand(self, body: bytes, signed: Signed) -> Understood:
        return Understood(content=signed.version, warnings=self._warnings)

    async def take(self, understood: Understood | None) -> str | None:
        self.taken.append(0 if understood is None else understood.content)
        return None


class SlowLarder:
    """A server that answers when the test says so."""

    def __init__(self, body: bytes = b"{}") -> None:
        self.may = asyncio.Event()
        self._body = body

    async def fetched(self, digest: Digest, url: str, *, most: int) -> bytes:
        await self.may.wait()
        return self._body


class Tasks(list[asyncio.Task[None]]):
    """What fetches meanwhile."""

    def spawn(self, work: Any, *, name: str) -> asyncio.Task[None]:
        self.append(asyncio.create_task(work, name=name))
        return self[-1]


def a_database() -> VirtualDatabase:
    return VirtualDatabase((kept.SCHEMA, outbox.SCHEMA, reconcile.SCHEMA))


def a_desk(database: VirtualDatabase, room: Taker, larder: Larder) -> Reconciler:
    return Reconciler(
        database=database, trust=cast("Any", None), topics=Topics(root=ROOT, node=NodeId(NODE)),
        keyring=cast("Any", SimpleNamespace(trust=Trust(unsigned=True))), takers={Doc.SCHEDULE: room},
        larder=larder, telling=lambda: None,
    )  # fmt: skip


def paper(version: int, pointer: documents.Pointer | None = None) -> bytes:
    return desires.document(
        "schedule", None if pointer else {}, version=version, issuer="xa", audience=(f"n:{NODE}",),
        issued_at=START, pointer=pointer, kids=("xa-2026",),
    )  # fmt: skip


def test_a_body_that_comes_late_does_not_take_the_place_of_a_newer_document() -> None:
    async def story() -> None:
        database, room, larder, tasks = a_database(), Taking(), SlowLarder(), Tasks()
        desk = a_desk(database, room, larder)
        await desk.open()
        await desk.arrived(Doc.SCHEDULE, paper(8, FAR), tell=True, spawn=tasks.spawn)
        await asyncio.sleep(0)
        assert desk.awaited == {MEDIA}
        await desk.arrived(Doc.SCHEDULE, paper(9), tell=True, spawn=tasks.spawn)
        larder.may.set()
        await asyncio.gather(*tasks)
        assert room.taken == [9]
        assert desk.have == {"schedule": 9}
        assert desk.awaited == frozenset()
        assert database.rows("SELECT version FROM desired") == [(9,)]

    asyncio.run(story())


def test_a_warning_of_a_document_behind_a_pointer_has_its_line_too() -> None:
    async def story() -> None:
        database, room, tasks = a_database(), Taking(Fault("$.rules[1]", "It collides.")), Tasks()
        larder = SlowLarder(b'{"rules": [\n  {},\n  {}\n]}')
        desk = a_desk(database, room, larder)
        await desk.arrived(Doc.SCHEDULE, paper(8, FAR), tell=True, spawn=tasks.spawn)
        larder.may.set()
        await asyncio.gather(*tasks)
        ((said,),) = database.rows("SELECT payload FROM outbox")
        report = json.loads(cast("bytes", said))
        assert (report["status"], report["in_force"]) == ("applied", 8)
        assert report["warnings"] == [{"path": "$.rules[1]", "line": 3, "message": "It collides."}]

    asyncio.run(story())
