"""Keys are installed by hand, renewed from afar, kept over power cuts, and taken away at once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from edge_agent.command import keys
from hal.sim.database import Moment, VirtualDatabase
from hal.sim.loop import run
from tests.command.scene import GROUP, NODE, ROOT, SCHEMAS, Scene, an_order
from tests.entries import START, ident
from tests.signers import authority, document, root, signed

XA, HUYEN = "xa-vi-huong", "huyen-bach-thong"
BY_XA = f"{XA}-2026"
FIRST = document(authority(XA), authority(HUYEN))
WITHOUT_XA = document(authority(XA), authority(HUYEN), version=2, revoked=(BY_XA,))


def a_scene(**more: Any) -> Scene:
    scene = Scene(**more)
    scene.keys = signed(FIRST)
    return scene


replaced = msgspec.structs.replace


def birth(scene: Scene) -> dict[str, Any]:
    said: dict[str, Any] = msgspec.json.decode(scene.broker.retained[f"{ROOT}/{NODE}/up/state"].payload)
    return said


# ---------------------------------------------------------------- first trust


def test_without_keys_every_order_is_refused_and_an_alert_stands() -> None:
    scene = Scene()
    scene.keys = b"not a document"

    async def main() -> None:
        async with scene.running() as inbox:
            scene.send(an_order(1, "play"), by=(BY_XA,))
            scene.send(an_order(2, "play"))
            scene.send_keys(signed(FIRST))
            await asyncio.sleep(5)
            assert inbox.refusals == {"unknown_key": 3}
            assert "believes nobody" in str(scene.alert("no_keys"))
            assert scene.reported()[-1]["status"] == "rejected", "nothing from afar begins trust"
            assert birth(scene)["have"] == {}

    run(main(), scene.counter)
    assert scene.router.begun == []
    assert scene.ledger() == {}
    assert scene.states() == [], "an id that nobody proved is not answered"


def test_the_technicians_file_begins_trust_and_is_not_needed_again() -> None:
    scene = a_scene()

    async def main() -> None:
        async with scene.running():
            scene.send(an_order(1, "play"), by=(BY_XA,))
            await asyncio.sleep(3)
            assert scene.reported()[-1] | {"hash": ""} == {
                "version": 1, "hash": "", "status": "applied", "errors": [], "in_force": 1
            }  # fmt: skip
            assert birth(scene)["have"] == {"keys": 1}
        scene.keys = b""
        scene.router.closing = False
        async with scene.running():
            assert birth(scene)["have"] == {"keys": 1}
            assert birth(scene)["last"] == {XA: 1}
            scene.send(an_order(2, "play"), by=(BY_XA,))
            await asyncio.sleep(3)

    run(main(), scene.counter)
    assert scene.router.begun == [ident(1), ident(2)]


@pytest.mark.parametrize(
    "file",
    [
        signed(FIRST, "stranger"),
        signed(document(authority(XA), roots=keys.Roots(threshold=2, keys=(root("r1"), root("r2")))), "r1"),
        b"x" * 70_000,
    ],
)
def test_a_file_that_its_own_roots_did_not_sign_is_not_taken(file: bytes) -> None:
    scene = Scene()
    scene.keys = file

    async def main() -> None:
        async with scene.running():
            assert scene.alert("no_keys") is not None

    run(main(), scene.counter)


def test_an_old_file_does_not_bring_back_old_keys_and_another_root_begins_anew() -> None:
    scene = a_scene()
    theirs = document(authority("xa-khac"), roots=keys.Roots(threshold=1, keys=(root("goc-khac"),)))

    async def main() -> None:
        for file, version, known in (
            (signed(FIRST), 1, XA),
            (signed(WITHOUT_XA), 2, XA),
            (signed(FIRST), 2, XA),
            (signed(theirs, "goc-khac"), 1, "xa-khac"),
        ):
            scene.keys = file
            async with scene.running():
                assert birth(scene)["have"] == {"keys": version}
            row = scene.database.rows("SELECT envelope FROM keyring")[0][0]
            assert isinstance(row, bytes)
            assert keys.opened(row).document.authorities[0].id == known

    run(main(), scene.counter)


def test_a_file_that_was_turned_down_does_not_come_back_when_the_roots_have_rotated() -> None:
    scene = a_scene()
    pair = keys.Roots(threshold=1, keys=(root("goc-2"),))

    async def main() -> None:
        async with scene.running():
            scene.send_keys(signed(replaced(WITHOUT_XA, version=3)))
            await asyncio.sleep(3)
        scene.keys = signed(
            document(authority(XA), version=2)
        )  # an image's file, older than what came from afar
        scene.router.closing = False
        async with scene.running():
            assert birth(scene)["have"] == {"keys": 3}
            scene.send_keys(signed(replaced(WITHOUT_XA, version=4, roots=pair), "goc-1", "goc-2"))
            await asyncio.sleep(3)
            assert birth(scene)["have"] == {"keys": 3}
            assert scene.reported()[-1]["in_force"] == 4
        scene.router.closing = False
        async with scene.running():
            assert birth(scene)["have"] == {"keys": 4}, "nobody has brought another file"

    run(main(), scene.counter)


# ---------------------------------------------------------------- newer keys


def test_a_newer_document_is_stored_reported_and_in_force_for_the_next_order() -> None:
    scene = a_scene()
    second = document(authority(XA, "xa-2027"), version=2)

    async def main() -> None:
        async with scene.running():
            scene.send_keys(signed(second))
            scene.send(an_order(1), by=(BY_XA,))
            scene.send(an_order(2), by=("xa-2027",))
            await asyncio.sleep(3)
            assert [said["status"] for said in scene.reported()] == ["applied", "applied"]
        async with scene.running():
            assert birth(scene)["have"] == {"keys": 2}

    run(main(), scene.counter)
    assert scene.router.begun == [ident(2)]


def test_it_may_come_for_a_group() -> None:
    scene = a_scene()

    async def main() -> None:
        async with scene.running():
            scene.send_keys(signed(WITHOUT_XA), group=GROUP)
            await asyncio.sleep(3)
            assert scene.reported()[-1]["in_force"] == 2

    run(main(), scene.counter)


@pytest.mark.parametrize(
    ("blob", "status", "path"),
    [
        (signed(document(authority(HUYEN), version=1)), "ignored", "$.version"),
        (signed(document(authority(XA), version=3), "stranger"), "rejected", "$"),
        (signed({"v": 1}), "rejected", "$"),
        (b"junk", "rejected", "$"),
        (signed(FIRST), "applied", None),
    ],
)
def test_what_is_not_newer_or_not_signed_changes_nothing_and_is_reported(
    blob: bytes, status: str, path: str | None
) -> None:
    scene = a_scene()

    async def main() -> None:
        async with scene.running():
            for _ in range(50):
                scene.send_keys(blob)
            await asyncio.sleep(5)
            scene.send(an_order(1), by=(BY_XA,))
            await asyncio.sleep(3)

    before = len(scene.broker.server_received)
    run(main(), scene.counter)
    last = scene.reported()[-1]
    assert last["status"] == status
    assert last["in_force"] == 1
    assert [error["path"] for error in last["errors"]] == ([] if path is None else [path])
    assert scene.router.begun == [ident(1)]
    assert len(scene.reported()) <= 2, "a repetition is reported once"
    assert before == 0


def test_a_flood_of_ever_new_documents_is_not_reported_one_by_one() -> None:
    scene = a_scene()

    async def main() -> None:
        async with scene.running():
            for version in range(2, 502):
                scene.send_keys(signed(document(authority(XA), version=version), "stranger"))
            await asyncio.sleep(10)
            assert len(scene.reported()) < 40
            scene.send_keys(signed(WITHOUT_XA))
            await asyncio.sleep(3)
            assert (scene.reported()[-1]["status"], scene.reported()[-1]["in_force"]) == ("applied", 2)

    run(main(), scene.counter)


def test_roots_rotate_as_long_as_the_old_ones_sign_too() -> None:
    scene = a_scene()

    def with_root(version: int, name: str) -> keys.KeysDocument:
        return document(authority(XA), version=version, roots=keys.Roots(threshold=1, keys=(root(name),)))

    async def main() -> None:
        async with scene.running():
            for blob, version in (
                (signed(with_root(2, "goc-2"), "goc-2"), 1),
                (signed(with_root(2, "goc-2"), "goc-1"), 1),
                (signed(with_root(2, "goc-2"), "goc-1", "goc-2"), 2),
                (signed(with_root(3, "goc-1"), "goc-1"), 2),
                (signed(with_root(9, "goc-2"), "goc-2"), 9),
            ):
                scene.send_keys(blob)
                await asyncio.sleep(1)
                assert scene.reported()[-1]["in_force"] == version

    run(main(), scene.counter)


@pytest.mark.parametrize("moment", ["before", "inside", "after"])
def test_a_power_cut_at_the_change_leaves_the_old_keys_or_the_new_ones(moment: Moment) -> None:
    scene = a_scene()

    async def main() -> None:
        life = asyncio.create_task((await scene.inbox()).life())
        await asyncio.sleep(2)
        scene.database.cut_at(scene.database.runs, moment)
        scene.send_keys(signed(WITHOUT_XA))
        await asyncio.sleep(1)
        await scene.power_cut(life)
        scene.clock.reboot()
        kept = scene.database.rows("SELECT version FROM keyring")[0][0]
        assert kept == (2 if moment == "after" else 1)
        async with scene.running(connect_s=90):
            assert scene.reported()[-1]["in_force"] == 2, "the broker still has it"

    run(main(), scene.counter)


# ---------------------------------------------------------------- yesterday's traffic


def test_a_recording_stays_silent_whichever_way_the_clock_steps() -> None:
    """Forward so far that the id is forgotten, then back to when the order was good: its number is not new."""
    scene = a_scene()
    order = an_order(1, "play", seq=41)

    async def main() -> None:
        async with scene.running():
            scene.send(order, by=(BY_XA,))
            await asyncio.sleep(3)
            scene.clock.step(30 * 86_400)
            await asyncio.sleep(2 * 3600)
            assert scene.ledger() == {}, "the id is forgotten"
            for step_s in (0, -30 * 86_400 - 2 * 3600, 7200):
                scene.clock.step(step_s)
                scene.send(order, by=(BY_XA,))
                await asyncio.sleep(60)
        scene.router.closing = False
        async with scene.running():
            scene.send(order, by=(BY_XA,))
            await asyncio.sleep(5)

    run(main(), scene.counter)
    assert scene.router.begun == [ident(1)]
    assert set(scene.states()) == {"accepted", "executing", "successful", "rejected"}


def test_a_restored_image_shows_in_the_birth_and_cannot_be_told_from_inside() -> None:
    """What holds then is the expiry alone: a recording that has not expired is new to the old image."""
    scene = a_scene()
    long = an_order(1, "play", expires_at=START + timedelta(days=1))
    brief = an_order(2, "play", expires_at=START + timedelta(minutes=5))

    async def main() -> None:
        async with scene.running():
            pass
        image = scene.database.image()
        scene.router.closing = False
        async with scene.running():
            scene.send(long, by=(BY_XA,))
            scene.send(brief, by=(BY_XA,))
            await asyncio.sleep(600)
            newest = scene.database.rows("SELECT highest FROM replay_window")
            assert newest == [(2,)]
        scene.database = VirtualDatabase(SCHEMAS, image=image)
        scene.router.closing = False
        async with scene.running():
            assert birth(scene)["last"] == {}, "the server knows better, and can see it"
            scene.send(long, by=(BY_XA,))
            scene.send(brief, by=(BY_XA,))
            await asyncio.sleep(60)

    run(main(), scene.counter)
    assert scene.router.begun == [ident(1), ident(2), ident(1)]


def test_a_broker_that_forgot_everything_is_told_again_which_keys_are_in_force() -> None:
    scene = a_scene()

    async def main() -> None:
        async with scene.running():
            await asyncio.sleep(2)
        scene.broker.forget_sessions(retained=True)
        scene.router.closing = False
        async with scene.running():
            await asyncio.sleep(2)
            assert f"{ROOT}/{NODE}/up/reported/keys" in scene.broker.retained

    run(main(), scene.counter)
    assert [said["status"] for said in scene.reported()] == ["applied", "applied"]
