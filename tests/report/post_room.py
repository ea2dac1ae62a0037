"""An outbox for tests, on a virtual database and clock, and a broker session that a test commands."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from edge_agent import kept
from edge_agent.model import NodeId
from edge_agent.report import alerts, asrun, outbox, shelf
from edge_agent.report.alerts import Alerts
from edge_agent.report.outbox import Outbox
from edge_agent.report.settings import ReportSettings
from edge_agent.report.shelf import Kind
from hal.errors import BrokerLost, BrokerRefused
from hal.ports import Delivery, Message
from hal.sim.clock import VirtualClock
from hal.sim.database import VirtualDatabase
from hal.sim.loop import Counter, run

T = TypeVar("T")

NODE = NodeId("thon-3")
TOPICS: dict[Kind, str] = {
    "alert": "pa/v1/thon-3/up/alert/disk_low",
    "state": "pa/v1/thon-3/up/cmd",
    "report": "pa/v1/thon-3/up/report",
}


class CommandedSession:
    """`hal.ports.BrokerSession` that publishes to a list; `answer` decides what becomes of each message."""

    session_present = True
    dates_checked = True

    def __init__(self, *, delay_s: float = 0.05, answer: Callable[[Message], int] | None = None) -> None:
        self.messages: list[Message] = []
        """What the broker took."""
        self.tried: list[Message] = []
        self.delay_s = delay_s
        self.answer = answer or (lambda _: 0)
        self.lose_after: int | None = None
        self.hang = False

    async def subscribe(self, *topics: str) -> None:
        raise AssertionError("not asked of this session")

    async def publish(self, message: Message) -> None:
        self.tried.append(message)
        if self.lose_after is not None and len(self.tried) > self.lose_after:
            raise BrokerLost("The connection is gone.")
        code = self.answer(message)
        if code < 0x80 and not self.hang:
            self.messages.append(message)
        await asyncio.sleep(1e9 if self.hang else self.delay_s)
        if code >= 0x80:
            raise BrokerRefused("The broker refuses.", code)

    async def receive(self) -> Delivery:
        raise AssertionError("not asked of this session")

    def acknowledge(self, delivery: Delivery) -> None:
        raise AssertionError("not asked of this session")

    def traffic(self) -> tuple[int, int]:
        return 1234, 567

    def told(self) -> list[str]:
        """The `text` of everything the broker took, in order; batches opened."""
        return [line["text"] for line in self.lines()]

    def lines(self) -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = []
        for message in self.messages:
            content = json.loads(message.payload) if message.payload else {"text": "solved"}
            lines.extend(content.get("reports", [content]))
        return lines

    def numbers(self) -> list[int]:
        return [line["n"] for line in self.lines() if "n" in line]


class PostRoom:
    """The cast. `reborn` is the same post room after a power cut."""

    def __init__(self, **settings: Any) -> None:
        self.settings = ReportSettings(**settings)
        self.counter = Counter()
        self.clock = VirtualClock(self.counter)
        self.database = VirtualDatabase([kept.SCHEMA, asrun.SCHEMA, outbox.SCHEMA, alerts.SCHEMA])
        self.build()

    def build(self) -> None:
        self.outbox = Outbox(database=self.database, clock=self.clock, settings=self.settings)
        self.alerts = Alerts(
            database=self.database, outbox=self.outbox, clock=self.clock, root="pa/v1", node=NODE
        )

    def power_cut(self) -> None:
        self.database = self.database.reborn()
        self.clock.reboot()
        self.build()

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        return run(main, self.counter)

    async def put(self, kind: Kind, *texts: str, retain: bool = False, size: int = 0) -> None:
        """Lay texts on the shelf, each in a transaction of its own, and wake the outbox."""
        for text in texts:
            payload = json.dumps({"text": text} | ({"fill": "x" * size} if size else {})).encode()
            await self.database.run(
                lambda connection, payload=payload: shelf.put(  # type: ignore[misc] # a default for the loop variable
                    connection, topic=TOPICS[kind], payload=payload, kind=kind, retain=retain
                )
            )
        self.outbox.wake()

    async def drain(
        self, session: CommandedSession, *, for_s: float = 60.0, during: Awaitable[None] | None = None
    ) -> CommandedSession:
        """Let it run for a while on one connection; a lost connection ends it early."""

        async def meanwhile() -> None:
            if during is not None:
                await during
            await asyncio.sleep(for_s)

        draining = asyncio.create_task(self.outbox.drain(session))
        other = asyncio.create_task(meanwhile())
        await asyncio.wait([draining, other], return_when=asyncio.FIRST_COMPLETED)
        for task in (draining, other):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, BrokerLost):
                await task
        return session
