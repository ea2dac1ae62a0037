"""Virtual time: nothing waits, everything keeps its order, and a world that is stuck says so."""

from __future__ import annotations

import asyncio
import gc
import itertools
from collections.abc import Coroutine
from typing import Any

import pytest

from hal.sim import loop as loops
from hal.sim.loop import NS, Counter, Deadlock, Livelock, VirtualLoop, run


def virtual(main: Coroutine[Any, Any, None]) -> Counter:
    counter = Counter()
    run(main, counter)
    return counter


def test_an_hour_passes_at_once() -> None:
    assert virtual(asyncio.sleep(3_600)).ns == 3_610 * NS


def test_timers_fire_in_the_order_of_their_times_however_they_were_set() -> None:
    fired: list[float] = []

    async def wait(seconds: float) -> None:
        await asyncio.sleep(seconds)
        fired.append(seconds)

    async def main() -> None:
        await asyncio.gather(*(wait(seconds) for seconds in (3.0, 1.0, 2.0, 0.5)))

    counter = virtual(main())
    assert fired == [0.5, 1.0, 2.0, 3.0]
    assert counter.ns == 13 * NS


def test_thirty_thousand_wake_ups_of_a_week_stay_exact_to_the_microsecond() -> None:
    async def main() -> None:
        for _ in range(30_000):
            await asyncio.sleep(20.16)

    counter = virtual(main())
    assert abs(counter.ns - (10 + 604_800) * NS) < 1_000 * 30


def test_a_timeout_fires_at_its_time() -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.Event().wait()

    counter = virtual(main())
    assert counter.ns == 15 * NS


def test_a_thread_runs_inline_and_no_time_passes() -> None:
    async def main() -> None:
        assert await asyncio.wait_for(asyncio.to_thread(sum, (1, 2, 3)), timeout=0.001) == 6
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)

    counter = virtual(main())
    assert counter.ns == 10 * NS


def test_whoever_uses_threads_in_a_circle_lets_the_others_run() -> None:
    async def main() -> None:
        done = asyncio.Event()

        async def circle() -> None:
            while not done.is_set():
                await asyncio.to_thread(int)

        async with asyncio.TaskGroup() as group:
            group.create_task(circle())
            await asyncio.sleep(0)
            done.set()

    virtual(main())


def test_a_cancelled_thread_result_is_nobodys() -> None:
    async def main() -> None:
        asking = asyncio.create_task(asyncio.to_thread(lambda: 1 // 0))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    virtual(main())


def test_a_deadlock_is_raised_and_names_who_waits_where() -> None:
    async def wait_for_ever() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(wait_for_ever(), name="inbox")

    with pytest.raises(Deadlock, match=r"Nothing can ever run.*inbox at locks\.py:\d+ wait"):
        virtual(main())


def test_a_circle_that_lets_no_time_pass_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "_STILL_ROUNDS", 1_000)

    async def main() -> None:
        for _ in itertools.repeat(None):
            await asyncio.sleep(0)

    with pytest.raises(Livelock, match="1000 times"):
        virtual(main())


def test_many_rounds_are_no_livelock_while_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "_STILL_ROUNDS", 100)

    async def main() -> None:
        for number in range(1_000):
            await asyncio.sleep(0 if number % 50 else 0.001)

    virtual(main())


def test_time_goes_on_from_where_it_was_in_the_next_run() -> None:
    counter = Counter()
    run(asyncio.sleep(5), counter)
    run(asyncio.sleep(7), counter)
    assert counter.ns == 22 * NS


def test_a_loop_that_is_forgotten_closes_itself() -> None:
    VirtualLoop(Counter())
    gc.collect()


def test_two_runs_of_the_same_world_are_the_same() -> None:
    def story() -> list[tuple[int, int]]:
        counter, told = Counter(), []

        async def walk(number: int) -> None:
            for step in range(20):
                await asyncio.sleep(0.1 * (number + step % 3))
                told.append((counter.ns, number))

        async def main() -> None:
            await asyncio.gather(*(walk(number) for number in range(5)))

        run(main(), counter)
        return told

    assert story() == story()
