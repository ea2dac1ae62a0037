"""A bounded line of arrivals between whoever gets them from outside and the one who awaits them."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Inflow(Generic[T]):
    """First in, first out, at most `limit`; it ends with an error, after what has already come.

    Real and virtual doors share it: it knows nothing of sockets or of time.
    """

    def __init__(self, limit: int) -> None:
        assert limit > 0
        self._limit = limit
        self._items: deque[T] = deque()
        self._error: Exception | None = None
        self._wake: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> bool:
        """Add at the end. False: it is full or has ended, and the item is not taken."""
        if self._error is not None or len(self._items) >= self._limit:
            return False
        self._items.append(item)
        self._stir()
        return True

    def end(self, error: Exception) -> None:
        """Nothing more will come; `get` raises `error` once the line is empty. The first end counts."""
        if self._error is None:
            self._error = error
            self._stir()

    async def get(self) -> T:
        """The next arrival. One waiter at a time. Raises what `end` was given."""
        while not self._items:
            if self._error is not None:
                raise self._error.with_traceback(None)
            assert self._wake is None, "an inflow has one reader"
            self._wake = asyncio.get_running_loop().create_future()
            try:
                await self._wake
            finally:
                self._wake = None
        return self._items.popleft()

    def take(self) -> list[T]:
        """All that has come, in its order; [] when nothing has."""
        items = list(self._items)
        self._items.clear()
        return items

    def _stir(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
