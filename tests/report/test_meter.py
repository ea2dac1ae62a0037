"""The byte meter: what came and went, by kind and day, over restarts; and the month's budget."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from edge_agent import kept
from edge_agent.clocktrust import ClockSettings, ClockTrust
from edge_agent.report import meter
from edge_agent.report.meter import Meter
from hal.sim.clock import VirtualClock
from hal.sim.database import VirtualDatabase
from hal.sim.loop import Counter, run

NOON = datetime(2026, 11, 23, 5, tzinfo=UTC)


class Line:
    """A session that has had so much traffic."""

    def __init__(self) -> None:
        self.sent = self.received = 0

    def traffic(self) -> tuple[int, int]:
        return self.sent, self.received


class Counted:
    """A meter on a database that stays."""

    def __init__(self, *, budget_mib: int = 0) -> None:
        self.counter = Counter()
        self.clock = VirtualClock(self.counter, wall=NOON)
        self.database = VirtualDatabase([kept.SCHEMA, meter.SCHEMA])
        self.budget_mib = budget_mib

    async def meter(self) -> Meter:
        trust = ClockTrust(settings=ClockSettings(), clock=self.clock, database=self.database)
        made = Meter(trust=trust, database=self.database, budget_mib=self.budget_mib)
        await made.open()
        return made


def test_it_counts_by_kind_and_day_and_survives_a_restart() -> None:
    here = Counted()

    async def main() -> None:
        one = await here.meter()
        life = asyncio.create_task(one.life())
        one.add("media", received=1_000)
        one.add("mqtt", sent=10, received=20)
        await asyncio.sleep(3_700)
        one.add("mqtt", sent=5)
        assert one.today() == {"media": (0, 1_000), "mqtt": (15, 20)}
        life.cancel()
        await asyncio.wait([life])
        again = await here.meter()
        assert again.today() == {"media": (0, 1_000), "mqtt": (15, 20)}
        await asyncio.sleep(86_400)
        assert again.today() == {}
        again.add("live", received=7)
        assert again.month_bytes() == 1_000 + 35 + 7

    run(main(), here.counter)


def test_a_connection_is_followed_to_its_end_and_the_next_one_begins_at_nothing() -> None:
    here = Counted()

    async def main() -> None:
        one = await here.meter()
        for _ in range(2):
            line = Line()
            watch = asyncio.create_task(one.watch(line))  # type: ignore[arg-type] # what a meter asks of a session
            await asyncio.sleep(10)
            line.sent, line.received = 100, 50
            await asyncio.sleep(700)
            line.sent = 130
            watch.cancel()
            await asyncio.wait([watch])
        assert one.today() == {"mqtt": (260, 100)}

    run(main(), here.counter)


def test_the_month_s_budget_is_spent_once_and_new_in_the_next_month() -> None:
    here = Counted(budget_mib=1)

    async def main() -> None:
        one = await here.meter()
        one.add("media", received=1 << 19)
        before = one.spent
        one.add("live", received=1 << 19)
        assert (before, one.spent) == (False, True)
        await asyncio.sleep(9 * 86_400)
        assert one.month_bytes() == 0

    run(main(), here.counter)


def test_without_a_budget_nothing_is_ever_spent() -> None:
    here = Counted()

    async def main() -> None:
        one = await here.meter()
        one.add("media", received=1 << 50)
        assert not one.spent

    run(main(), here.counter)


def test_a_disk_that_fails_costs_no_byte() -> None:
    here = Counted()

    async def main() -> None:
        one = await here.meter()
        life = asyncio.create_task(one.life())
        one.add("mqtt", sent=100)
        here.database.fail("full", times=1)
        await asyncio.sleep(3_700)
        one.add("mqtt", sent=1)
        await asyncio.sleep(3_700)
        life.cancel()
        await asyncio.wait([life])
        assert here.database.rows("SELECT kind, sent FROM meter") == [("mqtt", 101)]

    run(main(), here.counter)
