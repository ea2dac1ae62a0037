"""The power goes at each transaction of a document's coming and of its turn: in force or not, once, and told."""

from __future__ import annotations

import asyncio

import pytest

from tests.flows.conftest import Programme
from tests.flows.scene import Village
from tests.flows.test_schedule import in_minutes, rule, turns

MOMENTS = ("before", "inside", "after")


@pytest.mark.parametrize("run", range(15))
def test_a_cut_at_each_transaction_of_a_document_that_comes(run: int, short: Programme) -> None:
    village = Village(run)
    asset = short.on(village)

    async def story() -> None:
        await village.applied("schedule", {"rules": [rule("cu", in_minutes(village, 60), asset)]})
        await asyncio.sleep(300)
        database = village.world.database
        database.cut_at(database.runs + run // 3, MOMENTS[run % 3])  # type: ignore[arg-type] # one of the three
        village.desire("schedule", {"rules": [rule("moi", in_minutes(village, 60), asset)]})
        await asyncio.sleep(3)
        await village.world.outage()
        await village.until(
            lambda: (
                (village.reported("schedule")["in_force"], village.reported("schedule")["status"])
                == (2, "applied")
            ),
            within_s=900,
        )
        await asyncio.sleep(4_000)
        assert set(turns(village)) == {"moi"}
        assert turns(village)["moi"]["outcome"] == "AIRED"

    village.tell(story)


@pytest.mark.parametrize("run", range(18))
def test_a_cut_at_each_transaction_of_a_turn(run: int, notice: Programme) -> None:
    village = Village(run)
    asset = notice.on(village)

    async def story() -> None:
        await village.applied("schedule", {"rules": [rule("luot", in_minutes(village, 5), asset)]})
        await asyncio.sleep(240)
        for _ in range(2_000):
            if village.world.clock.utc_now().second == 59:
                break
            await asyncio.sleep(0.5)
        database = village.world.database
        database.cut_at(database.runs + run // 3, MOMENTS[run % 3])  # type: ignore[arg-type] # one of the three
        await asyncio.sleep(20)
        await village.world.outage()
        await asyncio.sleep(900)
        assert [entry["id"].partition("@")[0] for entry in village.stored()] == ["luot"]
        entry = turns(village)["luot"]
        assert (entry["outcome"], entry["code"]) in {("AIRED", None), ("PARTIAL", "interrupted")}
        assert village.world.database.rows("SELECT ended FROM fired") == [(1,)]

    village.tell(story)
    heard = [life.heard.frames_heard for life in village.world.lives() if life.heard.frames_heard]
    assert len(heard) <= 1 or min(heard) < 5 * 48_000, "never whole twice"
