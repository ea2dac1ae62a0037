"""The black box: what was logged is there after a power cut, in a ring, without troubling anybody."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator

import pytest

from edge_agent import kept
from edge_agent.clocktrust import ClockSettings, ClockTrust
from edge_agent.report import blackbox
from edge_agent.report.blackbox import EVENTS_MAX, WAITING_MAX, BlackBox
from hal.sim.clock import VirtualClock
from hal.sim.database import VirtualDatabase
from hal.sim.loop import Counter, run

LOG = logging.getLogger("edge_agent.somewhere")


@pytest.fixture(autouse=True)
def loud() -> Iterator[None]:
    before = LOG.level
    LOG.setLevel(logging.DEBUG)
    yield
    LOG.setLevel(before)


class Box:
    """A black box that lives while the story is told."""

    def __init__(self) -> None:
        self.counter = Counter()
        self.clock = VirtualClock(self.counter)
        self.database = VirtualDatabase([kept.SCHEMA, blackbox.SCHEMA])

    def texts(self) -> list[str]:
        return [str(text) for (text,) in self.database.rows("SELECT text FROM event ORDER BY number")]

    def tell(self, story: Callable[[BlackBox], Awaitable[None]]) -> None:
        async def main() -> None:
            trust = ClockTrust(settings=ClockSettings(), clock=self.clock, database=self.database)
            box = BlackBox(clock=self.clock, trust=trust, database=self.database)
            life = asyncio.create_task(box.life())
            await asyncio.sleep(0)
            await story(box)
            life.cancel()
            await asyncio.wait([life])

        run(main(), self.counter)


def test_calm_lines_wait_a_quarter_of_an_hour_and_a_warning_a_minute() -> None:
    box = Box()

    async def story(_: BlackBox) -> None:
        LOG.debug("too fine")
        LOG.info("calm %d", 1)
        await asyncio.sleep(600)
        assert box.texts() == []
        await asyncio.sleep(301)
        assert box.texts() == ["calm 1"]
        LOG.warning("odd")
        await asyncio.sleep(59)
        assert box.texts() == ["calm 1"]
        await asyncio.sleep(2)
        assert box.texts() == ["calm 1", "odd"]
        LOG.error("bad")
        await asyncio.sleep(0.1)
        assert box.texts()[-1] == "bad"

    box.tell(story)


def test_a_clean_stop_writes_the_rest_and_nothing_is_heard_after_it() -> None:
    box = Box()

    async def story(_: BlackBox) -> None:
        LOG.info("last words")

    box.tell(story)
    LOG.info("after the end")
    assert box.texts() == ["last words"]
    assert not [one for one in logging.getLogger("edge_agent").handlers if isinstance(one, BlackBox)]


def test_a_flood_is_bounded_and_counted() -> None:
    box = Box()

    async def story(_: BlackBox) -> None:
        for number in range(WAITING_MAX + 250):
            LOG.info("line %d", number)
        await asyncio.sleep(901)
        assert len(box.texts()) == WAITING_MAX + 1
        assert box.texts()[0] == "line 250"
        assert box.texts()[-1] == "250 lines were lost."

    box.tell(story)


def test_the_ring_keeps_the_last_five_thousand() -> None:
    box = Box()

    async def story(black: BlackBox) -> None:
        for number in range(EVENTS_MAX + 500):
            LOG.info("line %d", number)
            if number % 500 == 0:
                await black.write_out()
        await black.write_out()
        assert len(box.texts()) == EVENTS_MAX
        assert box.texts()[-1] == f"line {EVENTS_MAX + 499}"

    box.tell(story)


def test_a_database_that_fails_loses_no_line_and_says_nothing_of_it() -> None:
    box = Box()

    async def story(_: BlackBox) -> None:
        box.database.fail("full", times=3)
        LOG.error("the disk is full")
        await asyncio.sleep(2_000)
        assert box.texts() == []
        box.database.mend()
        await asyncio.sleep(901)
        assert box.texts() == ["the disk is full"]

    box.tell(story)


def test_lines_know_their_boot_and_their_date_where_it_is_known() -> None:
    box = Box()

    async def story(black: BlackBox) -> None:
        LOG.info("dated")
        await black.write_out()
        box.clock.lose()
        box.clock.reboot()
        LOG.info("undated")

    box.tell(story)
    rows = box.database.rows("SELECT text, boot, wall IS NULL FROM event ORDER BY number")
    assert rows == [("dated", "boot-1", 0), ("undated", "boot-2", 0)], "holdover goes on by itself"
