"""One waiter on the loop: until it is woken, or the time is up."""

from __future__ import annotations

import asyncio


class Nap:
    """Real and virtual doors share it: it knows nothing of what is waited for."""

    def __init__(self) -> None:
        self._waiter: asyncio.Future[None] | None = None

    async def rest(self, longest_s: float) -> None:
        """Until `wake`, at most so long. One waiter at a time."""
        assert self._waiter is None, "a nap has one sleeper"
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(longest_s, self.wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def wake(self) -> None:
        """End the nap, if there is one. On the loop's thread."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
