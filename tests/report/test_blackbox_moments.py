"""The black box: an error is written at once, whatever came before it; a line never hurts whoever logs it."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest

from edge_agent.report import blackbox
from edge_agent.report.asrun import Timebase
from edge_agent.report.blackbox import BlackBox
from hal.sim.database import VirtualDatabase

logger = logging.getLogger("edge_agent.test_blackbox")


def a_box(monkeypatch: pytest.MonkeyPatch) -> tuple[BlackBox, VirtualDatabase]:
    database = VirtualDatabase((blackbox.SCHEMA,))
    base = SimpleNamespace(boot="b", wall=lambda _: None)
    monkeypatch.setattr(Timebase, "read", lambda *_: base)
    clock, trust = SimpleNamespace(monotonic_ns=lambda: 0), SimpleNamespace(look=lambda: None)
    return BlackBox(clock=cast("Any", clock), trust=cast("Any", trust), database=database), database


def test_an_error_soon_after_a_warning_does_not_wait_for_the_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    box, database = a_box(monkeypatch)

    async def story() -> None:
        life = asyncio.create_task(box.life())
        await asyncio.sleep(0.01)
        logger.warning("It gets warm.")
        await asyncio.sleep(0.05)
        assert not database.rows("SELECT 1 FROM event")
        logger.error("It burns.")
        await asyncio.sleep(0.1)
        written = database.rows("SELECT level FROM event")
        life.cancel()
        await asyncio.wait([life])
        assert written == [("warning",), ("error",)]

    asyncio.run(story())


def test_an_error_during_a_write_is_written_next(monkeypatch: pytest.MonkeyPatch) -> None:
    box, database = a_box(monkeypatch)
    run, told = database.run, [False]

    async def slow(work: Any) -> Any:
        result = await run(work)
        if not told[0]:
            told[0] = True
            logger.error("It burns, too.")
            await asyncio.sleep(0.01)
        return result

    monkeypatch.setattr(database, "run", slow)

    async def story() -> None:
        life = asyncio.create_task(box.life())
        await asyncio.sleep(0.01)
        logger.error("It burns.")
        await asyncio.sleep(0.1)
        count = database.rows("SELECT count(*) FROM event")
        life.cancel()
        await asyncio.wait([life])
        assert count == [(2,)]

    asyncio.run(story())


def test_a_line_from_a_thread_that_outlives_the_loop_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    box, _ = a_box(monkeypatch)
    box._loop = loop = asyncio.new_event_loop()
    loop.close()
    box.handle(logging.LogRecord("edge_agent.x", logging.ERROR, "", 0, "late", (), None))
