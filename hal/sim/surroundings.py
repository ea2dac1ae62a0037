"""What stands around simulated nodes and may be shared by several: time, the server, the network, the event loop."""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from hal.sim import checkers
from hal.sim.broker import VirtualBroker
from hal.sim.clock import VirtualClock
from hal.sim.datagram import UdpNetwork
from hal.sim.loop import Counter, Deadlock, Livelock, VirtualLoop, run_on
from hal.sim.network import VirtualWeb
from hal.sim.webcast import VirtualStation

T = TypeVar("T")

STOP_S = 90.0
"""systemd's patience with a process that was told to stop."""

_process: contextvars.ContextVar[int] = contextvars.ContextVar("process", default=0)
"""Which process the running task belongs to; 0 is the story itself."""


class Surroundings:
    """One counter of time, and all that is outside the nodes' boxes. Processes are numbered throughout."""

    def __init__(self, *, seed: int) -> None:
        self.seed = seed
        self.counter = Counter()
        self.outside = VirtualClock(self.counter)
        self.broker = VirtualBroker(self.outside, self.rng("broker"))
        self.web_server = VirtualWeb(self.outside, self.rng("web"))
        self.udp = UdpNetwork(self.rng("udp"))
        self.stations: dict[str, VirtualStation] = {}
        """Streams by their URL."""
        self._processes = 0
        self._tasks: dict[int, set[asyncio.Task[Any]]] = {}
        self._runner = asyncio.Runner(loop_factory=self._make_loop)

    def rng(self, name: str) -> random.Random:
        """A generator of this world's own, the same for the same seed and name."""
        return random.Random(f"{self.seed}/{name}")  # noqa: S311 - a world is repeatable

    def run(
        self,
        main: Coroutine[Any, Any, T],
        *,
        finish: Callable[[], Awaitable[None]],
        noted: list[str],
        limit_s: float | None,
    ) -> T:
        """Run a story to its end, then `finish`, and note which tasks are left.

        Raises TimeoutError after `limit_s` of virtual time. Deadlock (nothing can ever happen) and
        Livelock end everything.
        """
        try:
            return run_on(self._runner, self._whole(main, finish, noted, limit_s))
        except (Deadlock, Livelock):
            self.close()
            raise

    def close(self) -> None:
        """End the event loop."""
        self._runner.close()

    # ------------------------------------------------------------ processes

    def next_process(self) -> int:
        """A new process's number."""
        self._processes += 1
        return self._processes

    def begin(self, number: int, life: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a process: this coroutine, and whatever tasks it makes."""
        context = contextvars.copy_context()
        context.run(_process.set, number)
        return asyncio.get_running_loop().create_task(life, name="agent", context=context)

    def cancel(self, number: int) -> None:
        """Cancel all of a process's tasks."""
        for task in self._tasks.get(number, set()):
            task.cancel()

    async def bury(self, number: int) -> list[str]:
        """Wait for a process's tasks to unwind; the names of those that do not."""
        mine = set(self._tasks.get(number, set()))
        if not mine:
            return []
        _, alive = await asyncio.wait(mine, timeout=STOP_S)
        return [task.get_name() for task in alive]

    # ------------------------------------------------------------ within

    def _make_loop(self) -> VirtualLoop:
        loop = VirtualLoop(self.counter)
        loop.set_task_factory(self._make_task)
        return loop

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, coroutine: Any, /, **keywords: Any
    ) -> asyncio.Task[Any]:
        """A task, noted with the process that made it."""
        task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **keywords)
        context: contextvars.Context | None = keywords.get("context")
        number = _process.get() if context is None else context.get(_process, 0)
        mine = self._tasks.setdefault(number, set())
        mine.add(task)
        task.add_done_callback(mine.discard)
        return task

    async def _whole(
        self,
        main: Coroutine[Any, Any, T],
        finish: Callable[[], Awaitable[None]],
        noted: list[str],
        limit_s: float | None,
    ) -> T:
        this = asyncio.current_task()
        assert this is not None
        this.set_name("story")
        try:
            async with asyncio.timeout(limit_s):
                return await main
        finally:
            await finish()
            await asyncio.sleep(0)
            left = asyncio.all_tasks() - {this}
            noted += checkers.nothing_left("task", [task.get_name() for task in left])
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left, timeout=STOP_S)
