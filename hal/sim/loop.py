"""An event loop whose time is a counter: nothing waits, and a week passes in a second.

Facts about asyncio that this leans on: `BaseEventLoop._run_once` asks the selector to wait
until the next timer (`select(timeout)`, None when there is none), and reads `loop.time()`
for everything else. So a selector that moves the counter instead of waiting is enough.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

T = TypeVar("T")

NS = 1_000_000_000

_STILL_ROUNDS = 1_000_000
"""Rounds of the loop at one instant before it is called a livelock."""


class Deadlock(RuntimeError):
    """Nothing can ever run again: no timer is set and no callback is ready."""


class Livelock(RuntimeError):
    """Something runs again and again and lets no time pass."""


class Counter:
    """The one counter that a world's monotonic time, wall time and loop time come from."""

    def __init__(self, start_ns: int = 10 * NS) -> None:
        self.ns = start_ns

    def advance(self, ns: int) -> None:
        """Move time forward; it never goes back."""
        assert ns >= 0
        self.ns += ns


class _InstantSelector(selectors.BaseSelector):
    """Never waits: moves the counter to the next timer. File descriptors are never ready."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._still_ns = -1
        self._rounds = 0

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        key = selectors.SelectorKey(fileobj, fd, events, data)
        self._keys[fd] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj if isinstance(fileobj, int) else fileobj.fileno())

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Deadlock("Nothing can ever run again: no timer is set and nothing is ready.")
        if timeout > 0:
            self._counter.advance(math.ceil(timeout * NS))
        if self._counter.ns != self._still_ns:
            self._still_ns, self._rounds = self._counter.ns, 0
        self._rounds += 1
        if self._rounds > _STILL_ROUNDS:
            self._rounds = 0
            raise Livelock(f"Something has run {_STILL_ROUNDS} times and let no time pass.")
        return []

    def close(self) -> None:
        self._keys.clear()


class VirtualLoop(asyncio.SelectorEventLoop):
    """A selector loop on a `Counter`. Executors run inline: a thread inside virtual time would
    make every `wait_for` fire at once. Their result comes one round later, as from a thread, so
    that whoever awaits in a circle lets the others run."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        super().__init__(_InstantSelector(counter))
        self._clock_resolution = 1e-9

    def __del__(self) -> None:
        """A world may be forgotten: it holds nothing that the machine would miss."""
        if not self.is_closed():
            self.close()

    def time(self) -> float:
        """The counter, in seconds."""
        return self._counter.ns / NS

    def run_in_executor(  # type: ignore[override]  # narrower: every function, and always inline
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Run `func` now, on this thread."""
        future: asyncio.Future[T] = self.create_future()
        try:
            result = func(*args)
        except Exception as error:  # noqa: BLE001 - it belongs to whoever awaits the future
            self.call_soon(_fail, future, error)
        else:
            self.call_soon(_settle, future, result)
        return future


def run(main: Coroutine[Any, Any, T], counter: Counter) -> T:
    """Run `main` to its end in virtual time; raises Deadlock when it never could."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(counter)) as runner:
        return run_on(runner, main)


def run_on(runner: asyncio.Runner, main: Coroutine[Any, Any, T]) -> T:
    """`runner.run(main)`; a Deadlock or Livelock then names the tasks that were there."""
    try:
        return runner.run(main)
    except (Deadlock, Livelock) as stuck:
        raise type(stuck)(f"{stuck} Tasks: {'; '.join(_waiting(runner.get_loop()))}.") from None


def _waiting(loop: asyncio.AbstractEventLoop) -> list[str]:
    """Each task and the line where it waits, as far down as its coroutines go."""
    lines = []
    for task in asyncio.all_tasks(loop):
        inner: Any = task.get_coro()
        place = "nowhere"
        while inner is not None and (frame := getattr(inner, "cr_frame", None)) is not None:
            place = f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno} {frame.f_code.co_name}"
            inner = getattr(inner, "cr_await", None)
        lines.append(f"{task.get_name()} at {place}")
    return sorted(lines)


def _settle(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
