"""The byte meter: clocks that jump and stops in the middle of a write neither lose nor double what was counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import pytest

from edge_agent.report import meter
from edge_agent.report.meter import Meter
from hal.sim.database import VirtualDatabase

T = TypeVar("T")
NOW = datetime(2026, 12, 10, 5, tzinfo=UTC)
LATER = datetime(2035, 3, 1, tzinfo=UTC)


class Calendar:
    """A clock that says what the test wants."""

    now = NOW

    def look(self) -> Any:
        return SimpleNamespace(now=self.now)


class Slow:
    """Commits, and only then lets go: as work on a database's thread that nobody can call back."""

    def __init__(self) -> None:
        self.under = VirtualDatabase((meter.SCHEMA,))

    async def run(self, work: Callable[[Any], T]) -> T:
        result = await self.under.run(work)
        await asyncio.sleep(0.05)
        return result


def test_a_date_far_ahead_does_not_cost_the_days_that_come_after_it() -> None:
    async def story() -> None:
        database, calendar = VirtualDatabase((meter.SCHEMA,)), Calendar()
        counts = Meter(trust=cast("Any", calendar), database=database, budget_mib=1)
        await counts.open()
        for calendar.now in (NOW, LATER, NOW):
            counts.add("mqtt", sent=100)
            await counts._keep()
        assert counts.month_bytes() == 200
        again = Meter(trust=cast("Any", calendar), database=database, budget_mib=1)
        await again.open()
        assert again.month_bytes() == 200

    asyncio.run(story())


def test_a_stop_in_the_middle_of_a_write_counts_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter, "KEEP_S", 0.01)

    async def story() -> None:
        database = Slow()
        counts = Meter(trust=cast("Any", Calendar()), database=cast("Any", database), budget_mib=1)
        counts.add("media", received=1_000)
        life = asyncio.create_task(counts.life())
        await asyncio.sleep(0.03)
        life.cancel()
        await asyncio.wait([life])
        assert life.cancelled()
        assert database.under.rows("SELECT sum(received) FROM meter") == [(1_000,)]

    asyncio.run(story())
