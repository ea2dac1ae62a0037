"""A request's ticket: whoever asked holds it, the outlet that serves it stamps it.

The asker:   `await granted()` -> store that it executes -> `begin()` -> `await ended()`
The outlet:  `grant()` -> `await begun()` -> sound or dots -> `end(finished)`

Nothing is heard or seen between `grant` and `begin`, so a power cut can never make an
order run twice. Results come back as the value of an await; nobody is called back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from edge_agent.model import Finished, Intent, Reason

T = TypeVar("T")


class Ticket:
    """One request on its way through an outlet. Belongs to one event loop."""

    def __init__(self, intent: Intent) -> None:
        self.intent = intent
        self._granted = asyncio.Event()
        self._begun = asyncio.Event()
        self._finished: Finished | None = None
        self._end = asyncio.Event()

    async def granted(self) -> bool:
        """Wait for the turn. True: begin it. False: it ended before, see `ended()`."""
        await self._granted.wait()
        return self._finished is None

    def begin(self) -> None:
        """The asker has stored that it executes; the outlet may go on."""
        self._begun.set()

    async def ended(self) -> Finished:
        """Wait for the end and return it."""
        await self._end.wait()
        assert self._finished is not None
        return self._finished

    def grant(self) -> None:
        """Its turn has come. Idempotent."""
        self._granted.set()

    async def begun(self) -> None:
        """Wait until the asker has called `begin`, or until the ticket has ended."""
        await self._begun.wait()

    def end(self, finished: Finished) -> None:
        """Close the ticket with its one result."""
        assert self._finished is None, "a ticket ends once"
        self._finished = finished
        self._granted.set()
        self._begun.set()
        self._end.set()

    @property
    def finished(self) -> Finished | None:
        """The result, or None while it is under way."""
        return self._finished


class Cut(Exception):
    """No error: how a stop, a shutdown or the deadline reaches a request that waits before it has a ticket."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.text)
        self.reason = reason


@dataclass(slots=True, kw_only=True)
class Errand:
    """What is done for a request before an outlet has it; may be cut short from outside."""

    cut: Reason | None = None
    """Why it was cut short, if it was."""
    scope: asyncio.Timeout | None = None
    """What it waits in, while it can be cut short."""

    def end(self, reason: Reason) -> None:
        """Cut it short; the first reason stands."""
        self.cut = self.cut or reason
        if self.scope is not None and not self.scope.expired():
            self.scope.reschedule(0)

    async def wait(self, what: Coroutine[Any, Any, T], *, late: Reason, within_s: float | None = None) -> T:
        """Wait for something that a stop may cut short, and time (then `late` is why). Raises Cut.

        A time-out alone would miss a cut that came just before, or in the same round of the loop in
        which `what` is done: it only strikes where somebody waits.
        """
        if self.cut is not None:
            what.close()
            raise Cut(self.cut)
        try:
            async with asyncio.timeout(within_s) as self.scope:
                done = await what
        except TimeoutError:
            if self.scope is None or not self.scope.expired():
                raise
            raise Cut(self.cut or late) from None
        finally:
            self.scope = None
        self.go_on()
        return done

    def go_on(self) -> None:
        """Raises Cut when a stop has reached it. Between this and asking an outlet nothing may be awaited."""
        if self.cut is not None:
            raise Cut(self.cut)
