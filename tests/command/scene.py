"""The cast of the command room's tests: orders, a router that plays in its head, and a node around an inbox."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from edge_agent import kept
from edge_agent.clocktrust import ClockSettings, ClockTrust
from edge_agent.command import keyring, ledger, replay
from edge_agent.command.envelope import Order, seal
from edge_agent.command.inbox import Inbox
from edge_agent.command.keyring import Keyring
from edge_agent.command.settings import BrokerSettings, OrderSettings
from edge_agent.command.topics import Topics, order_topic
from edge_agent.model import (
    NS,
    AsRun,
    Executing,
    Finished,
    Intent,
    Issuer,
    NodeId,
    OrderId,
    OrderState,
    Outcome,
    Play,
    Precedence,
    Reason,
    ReasonCode,
    Step,
    Stop,
    Waiting,
)
from edge_agent.report import alerts, asrun, outbox
from edge_agent.report.alerts import Alerts
from edge_agent.report.outbox import Outbox
from edge_agent.report.settings import ReportSettings
from edge_agent.report.status import Caps, Status
from hal.linux.clock import SystemClock
from hal.ports import Message
from hal.sim.broker import VirtualBroker
from hal.sim.clock import VirtualClock
from hal.sim.database import VirtualDatabase
from hal.sim.disk import VirtualDisk
from hal.sim.loop import Counter
from tests import alerts as cap_alerts
from tests import desires, signers
from tests.entries import START, ident

ROOT = "pa/v1"
NODE = NodeId("thon-3")
GROUP = "xa-vi-huong"
MEDIA = "sha256:" + "a" * 64
SCHEMAS = (
    kept.SCHEMA,
    outbox.SCHEMA,
    asrun.SCHEMA,
    alerts.SCHEMA,
    ledger.SCHEMA,
    replay.SCHEMA,
    keyring.SCHEMA,
)

ARGS: dict[str, dict[str, Any]] = {
    "play": {"media": MEDIA},
    "say": {"text": "Mời họp"},
    "live_start": {"rtp": {"port": 5004}},
    "release": {},
    "stop": {},
    "board_show": {"text": "Họp thôn 19h30"},
    "board_clear": {},
    "volume": {"volume": 40},
    "alert": {"cap": cap_alerts.alert("lu-1", datetime(2026, 11, 23, tzinfo=UTC), cap_alerts.block())},
    "ping": {},
}


def an_order(number: int = 1, verb: str = "ping", **changes: Any) -> Order:
    """A valid order, issued when the virtual clock starts, good for five minutes."""
    order = Order(
        id=ident(number),
        issuer=Issuer("xa-vi-huong"),
        audience=(f"n:{NODE}",),
        verb=verb,
        seq=number,
        issued_at=START,
        expires_at=START + timedelta(minutes=5),
        precedence=Precedence.ROUTINE,
        args=ARGS.get(verb, {}),
    )
    return replace(order, **changes)


def published(order: Order, *, by: tuple[str, ...] = (), group: str | None = None, **changes: Any) -> Message:
    """The order as the server publishes it, signed by the keys of these names."""
    node = None if group else NODE
    topic = order_topic(ROOT, verb=order.verb, node=node, group=group)
    payload = seal(order, signers=[signers.signer(kid) for kid in by])
    return replace(Message(topic=topic, payload=payload, qos=1), **changes)


@dataclass(slots=True)
class Room:
    """A router without rooms: an order lasts `lasts_s`, and what it did is written down.

    It lives longer than any inbox, so that a test can count how often the world heard an order.
    """

    lasts_s: float = 1.0
    waits_s: float = 0.0
    judges_s: float = 0.0
    """How long an order is looked at before it can be cut short, as at the alert desk."""
    begun: list[OrderId] = field(default_factory=list)
    """An entry each time an order sounded (or was done, for the verbs that do not sound)."""
    whole: list[OrderId] = field(default_factory=list)
    withdrawn: list[OrderId] = field(default_factory=list)
    """Orders whose notices were to be taken down."""
    lingers_s: float = 0.0
    """How long an order that was cut short takes to end."""
    fails: bool = False
    closing: bool = False
    _cuts: dict[OrderId, asyncio.Future[Reason]] = field(default_factory=dict)

    async def carry_out(self, intent: Intent) -> AsyncGenerator[Step, None]:
        if self.fails:
            raise RuntimeError("a bug in some room")
        if isinstance(intent, Stop):
            self.begun.append(intent.id)
            orders = [order for order in self._cuts if intent.target in (None, order)]
            for order in orders:
                await self.cancel(order)
            yield self._done(OrderState.SUCCESSFUL, None, {"orders": list(orders)})
            return
        await asyncio.sleep(self.judges_s)
        cut = self._cuts[intent.id] = asyncio.get_running_loop().create_future()
        try:
            if self.waits_s:
                yield Waiting(why="turn")
                await asyncio.wait([cut], timeout=self.waits_s)
                if cut.done():
                    yield self._done(
                        _STATES[cut.result().code], AsRun(outcome=Outcome.MISSED, reason=cut.result())
                    )
                    return
            if isinstance(intent, Play):
                yield Executing()
            self.begun.append(intent.id)
            await asyncio.wait([cut], timeout=self.lasts_s if isinstance(intent, Play) else 0)
            if cut.done():
                await asyncio.sleep(self.lingers_s)
                yield self._done(
                    _STATES[cut.result().code], AsRun(outcome=Outcome.PARTIAL, reason=cut.result())
                )
                return
            self.whole.append(intent.id)
            yield self._done(OrderState.SUCCESSFUL, None)
        finally:
            del self._cuts[intent.id]

    async def cancel(self, order: OrderId) -> None:
        self._cut(order, Reason(ReasonCode.CANCELLED, "A stop covered this order."))

    async def withdraw(self, orders: Collection[OrderId]) -> None:
        self.withdrawn += orders

    async def wind_up(self) -> None:
        self.closing = True
        for order in list(self._cuts):
            self._cut(order, Reason(ReasonCode.INTERRUPTED, "The node was shut down."))

    def _cut(self, order: OrderId, reason: Reason) -> None:
        cut = self._cuts.get(order)
        if cut is not None and not cut.done():
            cut.set_result(reason)

    def _done(
        self, state: OrderState, entry: AsRun | None, result: dict[str, object] | None = None
    ) -> Finished:
        return Finished(state=state, asrun=entry or AsRun(outcome=Outcome.AIRED), result=result or {})


_STATES = {ReasonCode.CANCELLED: OrderState.CANCELLED, ReasonCode.INTERRUPTED: OrderState.INTERRUPTED}


class Scene:
    """One node's command room in virtual time. Restart it with `restarted`."""

    def __init__(self, *, seed: int = 1, groups: tuple[str, ...] = (GROUP,), **orders: Any) -> None:
        self.counter = Counter()
        self.clock = VirtualClock(self.counter, wall=START)
        self.rng = random.Random(seed)
        self.broker = VirtualBroker(self.clock, random.Random(seed + 1))
        self.database = VirtualDatabase(SCHEMAS)
        self.router = Room()
        self.groups = groups
        self.orders = OrderSettings(**orders)
        self.keys: bytes | None = None
        """The technician's keys file; without one this node takes unsigned orders."""
        self.build_date = datetime(2026, 11, 1, tzinfo=UTC)

    async def inbox(self) -> Inbox:
        """A fresh inbox, as after a start of the agent, on whatever the database holds."""
        trust = ClockTrust(
            settings=ClockSettings(), clock=self.clock, database=self.database, build_date=self.build_date
        )
        await trust.open()
        shelf = Outbox(database=self.database, clock=self.clock, settings=ReportSettings())
        alerts = Alerts(database=self.database, outbox=shelf, clock=self.clock, root=ROOT, node=NODE)
        node = Status(
            clock=self.clock,
            trust=trust,
            disk=VirtualDisk(clock=self.clock, capacity_bytes=1 << 30),
            outbox=shelf,
            alerts=alerts,
            settings=ReportSettings(),
            root=ROOT,
            node=NODE,
            caps=Caps(agent="0.1.0", verbs=sorted(ARGS), schemas={"order": 1}, hardware={}),
        )
        ring = Keyring(
            database=self.database,
            alerts=alerts,
            topic=f"{ROOT}/{NODE}/up/reported/keys",
            unsigned=self.keys is None,
        )
        await ring.open(self.keys)
        return Inbox(
            settings=BrokerSettings(root=ROOT),
            orders=self.orders,
            node=NODE,
            groups=self.groups,
            clock=self.clock,
            trust=trust,
            broker=self.broker,
            database=self.database,
            router=self.router,
            outbox=shelf,
            status=node,
            alerts=alerts,
            keyring=ring,
            reconciler=desires.reconciler(
                database=self.database,
                trust=trust,
                keyring=ring,
                topics=Topics(root=ROOT, node=NODE, groups=self.groups),
                outbox=shelf,
            ),
            rng=self.rng,
        )

    @asynccontextmanager
    async def running(self, *, connect_s: float = 2.0) -> AsyncIterator[Inbox]:
        """An inbox that lives; at the end it is told to leave."""
        inbox = await self.inbox()
        life = asyncio.create_task(inbox.life(), name="inbox")
        await asyncio.sleep(connect_s)
        try:
            yield inbox
        finally:
            life.cancel()
            await asyncio.wait([life])
            assert life.cancelled(), life

    async def power_cut(self, life: asyncio.Task[None]) -> None:
        """Everything that was not committed is gone, and nobody says farewell."""
        self.database = self.database.reborn()
        self.broker.power_cut()
        self.router.closing = False
        life.cancel()
        await asyncio.wait([life])

    def send(self, order: Order, **changes: Any) -> None:
        """The server publishes an order."""
        self.broker.server_publish(published(order, **changes))

    def send_keys(self, blob: bytes, *, group: str | None = None) -> None:
        """The server publishes a keys document, retained."""
        place = NODE if group is None else f"g/{group}"
        self.broker.server_publish(
            Message(topic=f"{ROOT}/{place}/dn/desired/keys", payload=blob, qos=1, retain=True)
        )

    def reported(self) -> list[dict[str, Any]]:
        """What the node has said of keys documents."""
        return [
            msgspec.json.decode(entry.message.payload)
            for entry in self.broker.received_on(f"{ROOT}/{NODE}/up/reported/keys")
        ]

    def alert(self, ident_: str) -> str | None:
        """The text of a standing alert, as the broker retains it."""
        message = self.broker.retained.get(f"{ROOT}/{NODE}/up/alert/{ident_}")
        if message is None or not message.payload:
            return None
        text: str = msgspec.json.decode(message.payload)["text"]
        return text

    def states(self, order: OrderId | None = None) -> list[str]:
        """What the server has read on `up/cmd`, of one order or of all."""
        said = [
            msgspec.json.decode(entry.message.payload)
            for entry in self.broker.received_on(f"{ROOT}/+/up/cmd")
        ]
        return [line["state"] for line in said if order in (None, line["id"])]

    def last(self, order: OrderId) -> dict[str, Any]:
        """The last thing that was said of an order."""
        said = [
            msgspec.json.decode(entry.message.payload)
            for entry in self.broker.received_on(f"{ROOT}/+/up/cmd")
        ]
        line: dict[str, Any] = next(line for line in reversed(said) if line["id"] == order)
        return line

    def asrun(self) -> list[tuple[str, str]]:
        """(order, outcome) of the as-run log."""
        rows = self.database.rows("SELECT entry FROM asrun ORDER BY number")
        entries = [msgspec.json.decode(str(row[0])) for row in rows]
        return [(entry["id"], entry["outcome"]) for entry in entries]

    def ledger(self) -> dict[str, str]:
        """State by order, as it is stored."""
        return {
            str(ident_): str(state) for ident_, state in self.database.rows("SELECT id, state FROM ledger")
        }


def at(scene: Scene, seconds: float) -> datetime:
    """What the wall clock of a scene says so many seconds after its start."""
    return START + timedelta(seconds=seconds + (scene.counter.ns - 10 * NS) / NS)


def at_real(seconds: float = 0) -> datetime:
    """What this machine's clock says so many seconds from now, for the tests on real doors."""
    return SystemClock(always_synced=True).utc_now() + timedelta(seconds=seconds)
