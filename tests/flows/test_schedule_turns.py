"""Turns of the schedule at awkward moments: stopped, put off or changed before a frame of them has sounded."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

from tests.flows.conftest import Programme, noise
from tests.flows.scene import Village
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
