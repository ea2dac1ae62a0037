"""One virtual TCP connection between a node and the virtual broker, and the node's end of it."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from hal.errors import BrokerLost, BrokerRefused, BrokerUnreachable
from hal.inflow import Inflow
from hal.ports import Connect, Delivery, Message

if TYPE_CHECKING:
    from hal.sim.broker import VirtualBroker

INFLIGHT = 20
"""Publishes of one node under way at once (Mosquitto's own Receive Maximum)."""
_QOS0_ROOM = 64
_FRAMING = 12
"""Bytes that a packet costs beside topic and payload, roughly."""

_SLACK_S = 1e-9


class Way:
    """One direction: what is put in comes out in order, late by delay and jitter; silent, it is held back."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._parcels: deque[tuple[float, Callable[[], None]]] = deque()
        self._last_due_s = 0.0
        self._cut = False
        self.silent = False
        self.delay_s = 0.0
        self.jitter_s = 0.0

    def put(self, act: Callable[[], None]) -> None:
        """Let `act` happen at the other end."""
        if self._cut:
            return
        loop = asyncio.get_running_loop()
        due_s = loop.time() + self.delay_s + self.jitter_s * self._rng.random()
        self._last_due_s = max(self._last_due_s, due_s)
        self._parcels.append((self._last_due_s, act))
        loop.call_at(self._last_due_s, self.deliver)

    def deliver(self) -> None:
        """Let everything happen that is due."""
        now_s = asyncio.get_running_loop().time() + _SLACK_S
        while self._parcels and self._parcels[0][0] <= now_s and not self.silent and not self._cut:
            self._parcels.popleft()[1]()

    def flush(self) -> None:
        """Let everything under way happen now, due or not, unless the way is silent."""
        while self._parcels and not self.silent and not self._cut:
            self._parcels.popleft()[1]()

    def cut(self) -> None:
        """Nothing more comes out, what is under way is lost."""
        self._cut = True
        self._parcels.clear()


class Link:
    """Both directions. Each end notices for itself that the connection is gone."""

    def __init__(self, connect: Connect, rng: random.Random) -> None:
        self.connect = connect
        self.silence: int | None = None
        """Which silence holds it, if any."""
        self.up = Way(rng)
        self.down = Way(rng)

    def cut(self) -> None:
        """The connection is gone."""
        self.up.cut()
        self.down.cut()

    def hush(self, *, silent: bool) -> None:
        """Half-open: bytes are held back in both directions, or flow again."""
        if not silent:
            self.silence = None
        for way in (self.up, self.down):
            way.silent = silent
            way.deliver()


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What a virtual broker shows, as far as a node's clock matters: the pinned authority has signed it."""

    not_before: datetime
    not_after: datetime

    def check(self, now: datetime, connect: Connect) -> bool:
        """Whether its dates were looked at. Raises BrokerUnreachable when they were, and do not hold."""
        if connect.check_dates and not self.not_before <= now <= self.not_after:
            why = "certificate is not yet valid" if now < self.not_before else "certificate has expired"
            raise BrokerUnreachable(f"The certificate of the broker is not believed ({why}).")
        return connect.check_dates


class VirtualSession:
    """The node's end: a `hal.ports.BrokerSession`."""

    def __init__(self, broker: VirtualBroker, link: Link) -> None:
        self.session_present = False
        self.dates_checked = True
        self.link = link
        self._broker = broker
        self._inflow: Inflow[Delivery] = Inflow(link.connect.receive_maximum + _QOS0_ROOM)
        self._calls: set[asyncio.Future[int]] = set()
        self._slots = asyncio.Semaphore(INFLIGHT)
        self._unacknowledged: dict[int, Delivery] = {}
        self._over: str | None = None
        self._sent = self._received = 0

    async def subscribe(self, *topics: str) -> None:
        self._check()
        if not topics:
            return
        self._sent += sum(len(topic) + _FRAMING for topic in topics)
        calls = [(topic, self._call()) for topic in topics]
        self.link.up.put(lambda: self._broker.hear_subscribe(self, calls))
        for topic, call in calls:
            code = await call
            if code >= 0x80:
                raise BrokerRefused(f"The broker refused the subscription to {topic}: 0x{code:02x}.", code)

    async def publish(self, message: Message) -> None:
        assert message.qos in (0, 1), "QoS 2 is not used"
        assert not set("+#") & set(message.topic), "a topic to publish on has no wildcards"
        self._check()
        if message.qos == 0:
            self._count(message)
            self.link.up.put(lambda: self._broker.hear_publish(self, message, None))
            await asyncio.sleep(0)
            return
        await self._slots.acquire()
        try:
            self._check()
            self._count(message)
            call = self._call()
        except BaseException:
            self._slots.release()
            raise
        call.add_done_callback(lambda _: self._slots.release())
        self.link.up.put(lambda: self._broker.hear_publish(self, message, call))
        code = await asyncio.shield(call)
        if code >= 0x80:
            raise BrokerRefused(f"The broker refused a message on {message.topic}: 0x{code:02x}.", code)

    async def receive(self) -> Delivery:
        return await self._inflow.get()

    def acknowledge(self, delivery: Delivery) -> None:
        if delivery.qos == 0 or self._over is not None:
            return
        if self._unacknowledged.get(delivery.packet_id) is delivery:
            del self._unacknowledged[delivery.packet_id]
            self._sent += 4
            self.link.up.put(lambda: self._broker.hear_acknowledge(self, delivery.packet_id))

    def traffic(self) -> tuple[int, int]:
        return self._sent, self._received

    # ------------------------------------------------------------ what comes down the link

    def hear(self, delivery: Delivery) -> None:
        """A PUBLISH has arrived."""
        self._received += len(delivery.topic) + len(delivery.payload) + _FRAMING
        if delivery.qos == 0:
            if len(self._inflow) < _QOS0_ROOM:
                self._inflow.put(delivery)
            return
        assert len(self._unacknowledged) < self.link.connect.receive_maximum, (
            "the virtual broker sends too much"
        )
        self._unacknowledged[delivery.packet_id] = delivery
        taken = self._inflow.put(delivery)
        assert taken or self._over is not None, "Receive Maximum bounds what may wait"

    def answer(self, call: asyncio.Future[int], code: int) -> None:
        """A PUBACK or SUBACK has arrived."""
        self._received += 4
        self._calls.discard(call)
        if not call.done():
            call.set_result(code)

    @property
    def over(self) -> bool:
        """Whether this end has done with it."""
        return self._over is not None

    def end(self, why: str) -> None:
        """The connection is gone, as this end sees it: nothing more comes down. The first reason counts."""
        self.link.down.cut()
        if self._over is not None:
            return
        self._over = why
        self._inflow.end(BrokerLost(f"The session has ended: {why}."))
        calls, self._calls = self._calls, set()
        for call in calls:
            if not call.done():
                call.set_exception(BrokerLost(f"The session ended before the broker answered: {why}."))
                call.exception()  # looked at: its publisher may have given up

    # ------------------------------------------------------------

    def _check(self) -> None:
        if self._over is not None:
            raise BrokerLost(f"The session has ended: {self._over}.")

    def _call(self) -> asyncio.Future[int]:
        call: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._calls.add(call)
        return call

    def _count(self, message: Message) -> None:
        self._sent += len(message.topic) + len(message.payload) + _FRAMING
