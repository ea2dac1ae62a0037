"""The guard: stops and accounts that neither a restart, a power cut nor a full disk takes away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Literal

import pytest

from edge_agent import kept
from edge_agent.clocktrust import ClockSettings, ClockTrust
from edge_agent.errors import Refused
from edge_agent.model import NS, Digest, Issuer, OrderId, Play, Precedence, ReasonCode, Stop
from edge_agent.playout import daybook, stops
from edge_agent.playout.guard import KEEP_EVERY_S, Guard
from edge_agent.playout.settings import GovernorSettings
from edge_agent.playout.stops import STOPS_MAX
from hal.errors import DatabaseError, DiskFull
from hal.sim.clock import VirtualClock
from hal.sim.database import VirtualDatabase
from hal.sim.loop import Counter, run

EMERGENCY, PRIORITY, ROUTINE = Precedence.EMERGENCY, Precedence.PRIORITY, Precedence.ROUTINE


class Post:
    """One box over several runs and boots of its agent; the World's morning is 07:00 in Vietnam."""

    def __init__(self, **rules: Any) -> None:
        self.counter = Counter(10 * NS)
        self.clock = VirtualClock(self.counter)
        self.database = VirtualDatabase((kept.SCHEMA, stops.SCHEMA, daybook.SCHEMA))
        self.rules = GovernorSettings(**rules)

    async def guard(self) -> Guard:
        """As after a start of the agent."""
        trust = ClockTrust(settings=ClockSettings(), clock=self.clock, database=self.database)
        await trust.open()
        await trust.keep()
        guard = Guard(settings=self.rules, clock=self.clock, trust=trust, database=self.database)
        await guard.open()
        return guard

    def stop(self, number: int = 1, *, for_s: float = 600, **more: Any) -> Stop:
        asked: dict[str, Any] = {
            "highest": PRIORITY,
            "until_ns": self.clock.monotonic_ns() + round(for_s * NS),
        }
        return Stop(
            id=OrderId(f"stop-{number}"),
            issuer=Issuer("commune"),
            precedence=ROUTINE,
            deadline_ns=0,
            **(asked | more),
        )

    def play(self, precedence: Precedence = ROUTINE, order: str = "a") -> Play:
        return Play(
            id=OrderId(order),
            issuer=Issuer("commune"),
            precedence=precedence,
            deadline_ns=0,
            media=Digest("sha256:x"),
        )

    def run(self, story: Callable[[], Awaitable[None]]) -> None:
        async def main() -> None:
            await story()

        run(main(), self.counter)


async def told(guard: Guard, stop: Stop) -> None:
    guard.mute(stop)
    await guard.store(stop.id)


def test_a_stop_holds_at_once_ends_by_itself_and_says_so() -> None:
    post = Post()

    async def story() -> None:
        guard = await post.guard()
        life = asyncio.create_task(guard.life())
        changed = asyncio.create_task(guard.changed(()))
        await asyncio.sleep(1)
        guard.mute(post.stop())
        reason = guard.allow(post.play(PRIORITY), post.clock.monotonic_ns())
        assert reason is not None
        assert reason.code is ReasonCode.MUTED
        assert "release" in reason.text
        assert guard.allow(post.play(EMERGENCY), post.clock.monotonic_ns()) is None
        await guard.store(OrderId("stop-1"))
        (note,) = await changed
        assert (note.stop, note.issuer, note.klass, note.order) == ("stop-1", "commune", "priority", None)
        assert note.until == "2026-11-23T00:10:01.000Z"
        began_ns = post.clock.monotonic_ns()
        assert await guard.changed((note,)) == ()
        assert post.clock.monotonic_ns() - began_ns == 600 * NS
        assert guard.allow(post.play(), post.clock.monotonic_ns()) is None
        await asyncio.sleep(1)
        assert post.database.rows("SELECT * FROM standing_stop") == []
        life.cancel()
        await asyncio.wait([life])

    post.run(story)


@pytest.mark.parametrize("how", ["restart", "power cut"])
def test_a_stop_survives_a_restart_and_a_power_cut_and_ends_at_its_time(how: str) -> None:
    post = Post()

    async def story() -> None:
        await told(await post.guard(), post.stop(for_s=3600))
        if how == "power cut":
            post.database.power_cut()
            post.clock.reboot(dark_s=600)
        guard = await post.guard()
        assert guard.muted(post.play()) is not None
        await asyncio.sleep(2990)
        assert guard.muted(post.play()) is not None
        await asyncio.sleep(20 if how == "power cut" else 620)
        assert guard.muted(post.play()) is None

    post.run(story)


def test_without_a_battery_it_stands_until_the_date_is_known() -> None:
    post = Post()

    async def story() -> None:
        await told(await post.guard(), post.stop(for_s=3600))
        post.database.power_cut()
        post.clock.reboot(dark_s=7200, battery=False)
        guard = await post.guard()
        life = asyncio.create_task(guard.life())
        await asyncio.sleep(5 * 3600)
        (note,) = guard.notes()
        assert note.until == "2026-11-23T01:00:00.000Z", "that date has been, as far as anybody knows"
        post.clock.sync(datetime(2026, 11, 23, 8, 0, tzinfo=UTC))
        await asyncio.sleep(KEEP_EVERY_S + 1)
        assert guard.notes() == ()
        life.cancel()
        await asyncio.wait([life])

    post.run(story)


def test_a_stop_made_without_a_date_learns_it_and_keeps_it() -> None:
    post = Post()

    async def story() -> None:
        post.clock.lose()
        guard = await post.guard()
        await told(guard, post.stop(for_s=7200))
        life = asyncio.create_task(guard.life())
        await asyncio.sleep(10)
        assert guard.notes()[0].until is None
        post.clock.sync(datetime(2026, 11, 23, 8, 0, tzinfo=UTC))
        await asyncio.sleep(KEEP_EVERY_S)
        until = guard.notes()[0].until
        assert until is not None
        assert until.startswith("2026-11-23T09:59:50")
        life.cancel()
        await asyncio.wait([life])
        post.database.power_cut()
        post.clock.reboot(dark_s=7200)
        assert (await post.guard()).notes() == ()

    post.run(story)


@pytest.mark.parametrize("moment", ["before", "inside", "after"])
def test_a_power_cut_at_the_write_leaves_a_whole_stop_or_none(
    moment: Literal["before", "inside", "after"],
) -> None:
    post = Post()

    async def story() -> None:
        guard = await post.guard()
        guard.mute(post.stop())
        post.database.cut_at(post.database.runs, moment)
        with pytest.raises(DatabaseError):
            await guard.store(OrderId("stop-1"))
        post.database.power_on()
        post.clock.reboot()
        standing = (await post.guard()).notes()
        assert len(standing) == (1 if moment == "after" else 0)

    post.run(story)


def test_a_full_disk_takes_no_stop_away_and_makes_no_release() -> None:
    post = Post()

    async def story() -> None:
        guard = await post.guard()
        guard.mute(post.stop())
        post.database.fail("full")
        with pytest.raises(DiskFull):
            await guard.store(OrderId("stop-1"))
        assert guard.muted(post.play()) is not None, "it holds in this run"
        await guard.store(OrderId("stop-1"))
        post.database.fail("full")
        with pytest.raises(DiskFull):
            await guard.release(None)
        assert guard.muted(post.play()) is not None
        assert await guard.release(None) == ["stop-1"]
        assert guard.muted(post.play()) is None

    post.run(story)


def test_a_release_ends_one_stop_or_all_and_an_unknown_one_is_no_fault() -> None:
    post = Post()

    async def story() -> None:
        guard = await post.guard()
        for number in (1, 2, 3):
            await told(guard, post.stop(number))
        assert await guard.release(OrderId("stop-2")) == ["stop-2"]
        assert await guard.release(OrderId("stop-2")) == []
        assert [note.stop for note in (await post.guard()).notes()] == ["stop-1", "stop-3"]
        assert await guard.release(None) == ["stop-1", "stop-3"]
        assert (await post.guard()).notes() == ()

    post.run(story)


def test_only_so_many_stops_stand_and_one_that_is_over_takes_no_place() -> None:
    post = Post()

    async def story() -> None:
        guard = await post.guard()
        for number in range(STOPS_MAX):
            guard.mute(post.stop(number))
        guard.mute(post.stop(0, for_s=900))
        guard.mute(post.stop(98, for_s=-5))
        with pytest.raises(Refused) as refused:
            guard.mute(post.stop(99))
        assert refused.value.code is ReasonCode.BUSY
        await asyncio.sleep(601)
        guard.mute(post.stop(99))
        assert [note.stop for note in guard.notes()] == ["stop-0", "stop-99"]

    post.run(story)


# ---------------------------------------------------------------- the day's account


def test_neither_restart_nor_power_cut_makes_a_new_day() -> None:
    post = Post(minutes_a_day=2, repeats_a_day=2)

    async def story() -> None:
        guard = await post.guard()
        life = asyncio.create_task(guard.life())
        for order in ("a", "b"):
            await guard.begin(post.play(order=order))
        post.database.power_cut()
        post.clock.reboot(dark_s=5)
        life.cancel()
        await asyncio.wait([life])
        guard = await post.guard()
        reason = guard.allow(post.play(order="c"), post.clock.monotonic_ns())
        assert reason is not None
        assert "begun 2 times" in reason.text
        life = asyncio.create_task(guard.life())
        guard.charge(ROUTINE, 120 * NS)
        await asyncio.sleep(1)
        life.cancel()
        await asyncio.wait([life])
        post.database.power_cut()
        guard = await post.guard()
        assert guard.today().used_s == 120
        assert guard.cuts(post.play(), 0) is not None

    post.run(story)


def test_the_account_of_yesterday_is_thrown_away() -> None:
    post = Post(repeats_a_day=1, quiet_hours=())

    async def story() -> None:
        guard = await post.guard()
        await guard.begin(post.play(order="a"))
        await asyncio.sleep(86_400)
        assert guard.allow(post.play(order="b"), post.clock.monotonic_ns()) is None
        await guard.begin(post.play(order="b"))
        assert post.database.rows("SELECT page, times FROM begun") == [(2, 1)]
        assert (await post.guard()).allow(post.play(order="c"), post.clock.monotonic_ns()) is not None

    post.run(story)


def test_an_account_that_cannot_be_written_is_kept_in_mind_and_written_later() -> None:
    post = Post(repeats_a_day=1)

    async def story() -> None:
        guard = await post.guard()
        post.database.fail("full")
        await guard.begin(post.play(order="a"))
        assert guard.allow(post.play(order="b"), post.clock.monotonic_ns()) is not None
        life = asyncio.create_task(guard.life())
        await asyncio.sleep(1)
        life.cancel()
        await asyncio.wait([life])
        assert (await post.guard()).allow(post.play(order="b"), post.clock.monotonic_ns()) is not None

    post.run(story)


def test_an_idle_guard_does_not_wake() -> None:
    post = Post()

    async def story() -> None:
        guard = await post.guard()
        life = asyncio.create_task(guard.life())
        runs = post.database.runs
        await asyncio.sleep(7 * 86_400)
        assert post.database.runs == runs
        life.cancel()
        await asyncio.wait([life])

    post.run(story)
