"""Turns of the schedule at awkward moments: stopped, put off or changed before a frame of them has sounded."""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import timedelta
from typing import Any

from edge_agent.command.documents import Pointer
from hal.ports import Message
from tests import desires, signers
from tests.flows.conftest import Programme, noise
from tests.flows.scene import COMMUNE, DISTRICT, NODE, ROOT, Village
from tests.flows.test_schedule import in_minutes, local, rule, turns


async def until_begun(village: Village) -> str:
    """Until a turn has its row, and nothing of it has sounded; its name."""
    database = village.world.database
    for _ in range(40_000):
        found = database.rows("SELECT key FROM fired WHERE ended = 0")
        if found:
            return str(found[0][0])
        await asyncio.sleep(0.02)
    raise AssertionError("no turn has begun")


def test_a_turn_that_is_stopped_before_it_sounds_has_its_entry(village: Village, notice: Programme) -> None:
    asset = notice.on(village)

    async def story() -> None:
        await village.applied("schedule", {"rules": [rule("dung", in_minutes(village, 3), asset)]})
        key = await until_begun(village)
        await village.world.control.say(json.dumps({"do": "stop", "order": key}).encode() + b"\n")
        await asyncio.sleep(30)
        entry = turns(village)["dung"]
        assert (entry["outcome"], entry["code"]) == ("MISSED", "cancelled")

    village.tell(story)


def test_a_turn_that_a_restart_cut_off_before_it_sounded_begins_again(
    village: Village, notice: Programme
) -> None:
    asset = notice.on(village)

    async def story() -> None:
        await village.applied("schedule", {"rules": [rule("lai", in_minutes(village, 3), asset)]})
        await until_begun(village)
        await village.restart()
        await asyncio.sleep(120)
        assert turns(village)["lai"]["outcome"] == "AIRED"

    village.tell(story)


def test_a_turn_that_waits_and_is_moved_or_changed_goes_by_the_newer_schedule(
    village: Village, notice: Programme, short: Programme
) -> None:
    long, old, new = noise("dai.wav", 60, seed=3).on(village), notice.on(village), short.on(village)
    late = {"policy": "within", "minutes": 10}

    async def story() -> None:
        at = local(village) + timedelta(minutes=3)
        first = rule("a-dau", f"{at:%H:%M}", long)
        moved = rule("b-doi", f"{at:%H:%M}", old, late=late)
        changed = rule("c-khac", f"{at:%H:%M}", old, late=late)
        await village.applied("schedule", {"rules": [first, moved, changed]})
        await until_begun(village)
        await asyncio.sleep(20)
        later = moved | {"at": [f"{at + timedelta(hours=2):%H:%M}"]}
        await village.applied(
            "schedule", {"rules": [first, later, rule("c-khac", f"{at:%H:%M}", new, late=late)]}
        )
        await asyncio.sleep(300)
        found = turns(village)
        assert (found["b-doi"]["outcome"], found["b-doi"]["code"]) == ("REFUSED", "superseded")
        assert found["c-khac"]["outcome"] == "AIRED"
        assert abs(found["c-khac"]["frames"] - len(short.frames)) < 4_800

    village.tell(story)


def keys(village: Village, **changes: Any) -> None:
    """A newer keys document, in which the commune is otherwise."""
    newer = signers.document(signers.authority(COMMUNE, **changes), signers.authority(DISTRICT), version=2)
    topic = f"{ROOT}/{NODE}/dn/desired/keys"
    village.world.broker.server_publish(Message(topic=topic, payload=signers.signed(newer), retain=True))


def test_what_an_authority_may_no_longer_order_is_out_of_force(village: Village, short: Programme) -> None:
    asset = short.on(village)

    async def story() -> None:
        await village.applied("schedule", {"rules": [rule("quyen", in_minutes(village, 10), asset)]})
        keys(village, verbs=("play", "stop"))
        await village.until(lambda: village.reported("schedule")["code"] == "out_of_scope")
        assert village.reported("schedule")["in_force"] is None
        await asyncio.sleep(900)
        assert not turns(village)

    village.tell(story)


def test_a_turn_whose_key_is_revoked_falls_silent(village: Village) -> None:
    asset = noise("dai.wav", 60, seed=3).on(village)

    async def story() -> None:
        await village.applied("schedule", {"rules": [rule("im", in_minutes(village, 3), asset)]})
        await until_begun(village)
        await asyncio.sleep(10)
        keys(village, keys=(signers.key(f"{COMMUNE}-2026", status="revoked"), signers.key(f"{COMMUNE}-2027")))
        await asyncio.sleep(5)
        entry = turns(village)["im"]
        assert (entry["outcome"], entry["code"]) == ("PARTIAL", "cancelled")
        assert entry["sounded_ms"] < 12_000

    village.tell(story)


def test_a_large_document_comes_on_a_stick_too_and_its_faults_have_lines(
    village: Village, short: Programme
) -> None:
    asset = short.on(village)
    good = json.dumps({"rules": [rule("usb", "05:30", asset)]}, indent=1).encode()
    bad = b'{"rules": [\n\n {"id": "x", "at": ["5:30"], "programme": [{"say": "x"}]}]}'

    def pointer(body: bytes) -> Pointer:
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        return Pointer(url="http://media.example/nowhere.json", sha256=digest, size=len(body))

    async def story() -> None:
        for version, body, status in ((1, good, "applied"), (2, bad, "rejected")):
            paper = desires.document(
                "schedule", None, version=version, issuer=COMMUNE, audience=(f"n:{NODE}",),
                issued_at=village.world.outside.utc_now(), pointer=pointer(body),
            )  # fmt: skip
            for name, blob in (("a.json", paper), ("than.bin", body)):
                await village.world.disk.write_atomic(f"import/{name}", blob)
            answer = json.loads(await village.world.control.say(b'{"do": "import"}\n'))
            assert [one["done"] for one in answer["files"]] == ["pending", "kept"], answer
            await asyncio.sleep(400)
            assert village.reported("schedule")["status"] == status
        assert [(one["path"], one["line"]) for one in village.reported("schedule")["errors"]] == [
            ("$.rules[0].at[0]", 3)
        ]

    village.tell(story)
