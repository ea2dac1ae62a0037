"""Settings from afar over power cuts, rotten files, failing disks and documents that follow one another closely."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from edge_agent.config import remote
from edge_agent.config.remote import FAILED, REMOTE, TRIAL, TRYING, Chosen, RemoteConfig, choose
from edge_agent.desired import Doc, Understood
from edge_agent.errors import DocumentRefused
from hal.errors import DatabaseError
from hal.sim.disk import VirtualDisk
from tests.flows.scene import SETTINGS


def tables(period_s: float) -> dict[str, Any]:
    return {"report": {"health_period_s": period_s}}


def text(period_s: float) -> bytes:
    return json.dumps(tables(period_s), sort_keys=True).encode()


def used(chosen: Chosen) -> float:
    return chosen.settings.report.health_period_s


class Desk:
    """Remembers the verdicts; the first `failing` cannot be stored."""

    def __init__(self, failing: int = 0) -> None:
        self.failing = failing
        self.said: list[bool] = []

    async def settled(self, doc: Doc, refusal: DocumentRefused | None) -> None:
        if self.failing:
            self.failing -= 1
            raise DatabaseError("The disk is full.")
        self.said.append(refusal is None)


def room(disk: VirtualDisk, chosen: Chosen, left: list[bool] | None = None) -> RemoteConfig:
    return RemoteConfig(
        base=SETTINGS, chosen=chosen, disk=disk, connected=lambda: True,
        leave=lambda: (left if left is not None else []).append(True),
    )  # fmt: skip


@pytest.mark.parametrize("name", [REMOTE, TRIAL, TRYING])
@pytest.mark.parametrize("rotten", [b"", b"\0\0\0", b"[]", b'{"report": 5}', b"\xff", b"[" * 100_000])
def test_a_rotten_file_never_keeps_the_node_from_starting(name: str, rotten: bytes) -> None:
    async def story() -> None:
        disk = VirtualDisk()
        await disk.write_atomic(name, rotten)
        assert (await choose(SETTINGS, disk)).settings == SETTINGS

    asyncio.run(story())


def test_what_was_confirmed_before_the_power_went_has_not_failed() -> None:
    async def story() -> None:
        disk = VirtualDisk()
        await disk.write_atomic(REMOTE, text(60.0))
        await disk.write_atomic(TRYING, text(60.0))
        chosen = await choose(SETTINGS, disk)
        assert (used(chosen), chosen.failed) == (60.0, False)
        assert TRYING not in disk.image()
        assert FAILED not in disk.image()

    asyncio.run(story())


def test_a_document_taken_back_before_its_trial_is_not_tried() -> None:
    async def story() -> None:
        disk = VirtualDisk()
        await disk.write_atomic(REMOTE, text(60.0))
        config = room(disk, await choose(SETTINGS, disk))
        await config.take(Understood(content=tables(70.0)))
        assert await config.take(Understood(content=tables(60.0))) is None
        chosen = await choose(SETTINGS, disk)
        assert (used(chosen), chosen.trial) == (60.0, False)

    asyncio.run(story())


def test_a_document_that_goes_back_ends_the_trial_of_the_one_before() -> None:
    async def story() -> None:
        disk, left = VirtualDisk(), list[bool]()
        await disk.write_atomic(REMOTE, text(60.0))
        await disk.write_atomic(TRIAL, text(70.0))
        config = room(disk, await choose(SETTINGS, disk), left)
        assert await config.take(Understood(content=tables(60.0))) is not None, "70 is in use now"
        assert left
        chosen = await choose(SETTINGS, disk)
        assert (used(chosen), chosen.trial) == (60.0, False)
        assert await room(disk, chosen).take(Understood(content=tables(60.0))) is None
        assert TRIAL not in disk.image()

    asyncio.run(story())


@pytest.mark.parametrize("trial", [False, True])
def test_a_verdict_that_cannot_be_stored_is_told_later(
    monkeypatch: pytest.MonkeyPatch, *, trial: bool
) -> None:
    monkeypatch.setattr(remote, "_RETRY_S", 0.01, raising=False)

    async def story() -> None:
        disk, desk = VirtualDisk(), Desk(failing=1)
        if trial:
            await disk.write_atomic(TRIAL, text(70.0))
        chosen = await choose(SETTINGS, disk) if trial else Chosen(settings=SETTINGS, failed=True)
        life = asyncio.create_task(room(disk, chosen).life(desk))
        await asyncio.wait([life], timeout=0.3)
        assert not life.done(), "the node would end with it"
        life.cancel()
        assert desk.said == [trial]

    asyncio.run(story())
