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


class Deadlock(RuntimeError):
    """Nothing can ever run again: no timer is set and no callback is ready."""


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
            raise Deadlock("no timer is set and nothing is ready: this world would wait for ever")
        if timeout > 0:
            self._counter.advance(math.ceil(timeout * NS))
        return []

    def close(self) -> None:
        self._keys.clear()


class VirtualLoop(asyncio.SelectorEventLoop):
    """A selector loop on a `Counter`. Executors run inline: a thread inside virtual time would
    make every `wait_for` fire at once."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        super().__init__(_InstantSelector(counter))
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """The counter, in seconds."""
        return self._counter.ns / NS

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Run `func` now, on this thread."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it belongs to whoever awaits the future
            future.set_exception(error)
        return future


def run(main: Coroutine[Any, Any, T], counter: Counter) -> T:
    """Run `main` to its end in virtual time; raises Deadlock when it never could."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(counter)) as runner:
        return runner.run(main)
