"""Desired documents that come while another is on its way: the newest stays, whoever is faster."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from edge_agent import kept
from edge_agent.command import documents, reconcile
from edge_agent.command.acceptance import Trust
from edge_agent.command.reconcile import Reconciler
from edge_agent.command.topics import Topics
from edge_agent.desired import Doc, Signed, Understood
from edge_agent.model import Digest, NodeId
from edge_agent.report import outbox
from hal.sim.database import VirtualDatabase
from tests import desires
from tests.command.scene import MEDIA, NODE, ROOT, START


class Taking:
    """A room that only remembers what it was given."""

    def __init__(self) -> None:
        self.taken: list[int] = []

    def understand(self, body: bytes, signed: Signed) -> Understood:
        return Understood(content=signed.version)

    async def take(self, understood: Understood | None) -> str | None:
        self.taken.append(0 if understood is None else understood.content)
        return None


class SlowLarder:
    """A server that answers when the test says so."""

    def __init__(self) -> None:
        self.may = asyncio.Event()

    async def fetched(self, digest: Digest, url: str, *, most: int) -> bytes:
        await self.may.wait()
        return b"{}"


def test_a_body_that_comes_late_does_not_take_the_place_of_a_newer_document() -> None:
    async def story() -> None:
        database = VirtualDatabase((kept.SCHEMA, outbox.SCHEMA, reconcile.SCHEMA))
        room, larder = Taking(), SlowLarder()
        desk = Reconciler(
            database=database, trust=cast("Any", None), topics=Topics(root=ROOT, node=NodeId(NODE)),
            keyring=cast("Any", SimpleNamespace(trust=Trust(unsigned=True))), takers={Doc.SCHEDULE: room},
            larder=larder, telling=lambda: None,
        )  # fmt: skip
        await desk.open()
        tasks: list[asyncio.Task[None]] = []

        def spawn(work: Any, *, name: str) -> asyncio.Task[None]:
            tasks.append(asyncio.create_task(work, name=name))
            return tasks[-1]

        def paper(version: int, pointer: documents.Pointer | None = None) -> bytes:
            return desires.document(
                "schedule", None if pointer else {}, version=version, issuer="xa", audience=(f"n:{NODE}",),
                issued_at=START, pointer=pointer, kids=("xa-2026",),
            )  # fmt: skip

        far = documents.Pointer(url="http://x.example/8", sha256=MEDIA, size=2)
        await desk.arrived(Doc.SCHEDULE, paper(8, far), tell=True, spawn=spawn)
        await asyncio.sleep(0)
        await desk.arrived(Doc.SCHEDULE, paper(9), tell=True, spawn=spawn)
        larder.may.set()
        await asyncio.gather(*tasks)
        assert room.taken == [9]
        assert desk.have == {"schedule": 9}
        assert database.rows("SELECT version FROM desired") == [(9,)]

    asyncio.run(story())
