"""The cast of the flows: a whole node in a simulated world, the server that orders, and what came of it."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec

from edge_agent import agent
from edge_agent.board.settings import BoardSettings
from edge_agent.command.envelope import Order, seal
from edge_agent.command.topics import order_topic
from edge_agent.config import NodeSettings, Settings, StorageSettings, remote
from edge_agent.model import TERMINAL, Issuer, OrderId, OrderState, Precedence
from edge_agent.playout.settings import AmplifierSettings, GovernorSettings, LineSettings, PlayoutSettings
from edge_agent.report.asrun import verify_chain
from hal.ports import Hardware, Message
from hal.sim.loop import NS
from hal.sim.world import World
from tests import desires, signers

ROOT = "pa/v1"
NODE = "thon-3"
COMMUNE = "xa-vi-huong"
DISTRICT = "huyen-bach-thong"
GROUP = "xa-vi-huong"
SERVER = "http://media.example"

SETTINGS = Settings(
    node=NodeSettings(id=NODE, groups=(GROUP,)),
    playout=PlayoutSettings(authorities=(COMMUNE, DISTRICT)),
    governor=GovernorSettings(
        quiet_hours=(), repeats_a_day=1000, emergency_repeats_a_day=1000, emergency_minutes_a_day=1440
    ),  # the house rules have stories of their own
    amplifier=AmplifierSettings(
        power=LineSettings(offset=17), mute=LineSettings(offset=27), zones={"cho": LineSettings(offset=5)}
    ),
    board=BoardSettings(idle="dark"),  # so does the idle page
    storage=StorageSettings(state_dir="/nowhere"),
)

KEYS = signers.document(signers.authority(COMMUNE), signers.authority(DISTRICT))
"""Who may order here: either may order anything."""

Story = Callable[[], Awaitable[None]]
State = dict[str, Any]
"""One message on `up/cmd`, as JSON."""

_ENDS = frozenset(str(state) for state in TERMINAL)
_LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class Asset:
    """A file on the server."""

    digest: str
    url: str
    blob: bytes


class Village:
    """One node and the server it belongs to. `tell` runs a story and then judges everything that happened.

    The server acknowledges what reaches it, every few seconds, unless it is `deaf`.
    """

    def __init__(self, seed: int = 1, *, settings: Settings = SETTINGS, **world: Any) -> None:
        self.world = World(seed=seed, schemas=agent.SCHEMAS, **world)
        self.settings = settings
        self.keys: bytes | None = signers.signed(KEYS)
        """What the technician installed."""
        self.rng = self.world.rng("story")
        self.deaf = False
        self.acknowledges_every_s = 10.0
        self.may_end: tuple[str, ...] = ()
        """How the process may end by itself, as far as this story is concerned."""
        self._orders = 0
        self._versions: dict[str, int] = {}

    # ------------------------------------------------------------ the node

    async def node(self, hardware: Hardware) -> None:
        """The agent's process: what `edge_agent.agent.run` does, on these doors."""
        stop = asyncio.Event()
        chosen = await remote.choose(self.settings, hardware.disk)
        serving = asyncio.create_task(
            agent.serve(
                chosen.settings, hardware, stop=stop, rng=self.world.rng("agent"), keys=self.keys,
                file=self.settings, chosen=chosen,
            ),
            name="serve",
        )  # fmt: skip
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            stop.set()
            await serving

    def tell(
        self, story: Story, *, starts: bool = True, limit_s: float = 100_000, judge: bool = True
    ) -> None:
        """Start the node, wait until it is connected, tell the story, stop the node, judge."""

        async def whole() -> None:
            server = asyncio.create_task(self._acknowledge(), name="server")
            try:
                if starts:
                    self.start()
                    await asyncio.sleep(2)
                await story()
            finally:
                server.cancel()
                await asyncio.wait([server])

        self.world.run(whole(), limit_s=limit_s)
        if judge:
            self.judge()

    def start(self) -> None:
        """The process starts, and starts again five seconds after each end."""
        self.world.start(self.node, restart_s=5)

    async def restart(self) -> None:
        """`systemctl restart`."""
        await self.world.stop()
        self.start()
        await asyncio.sleep(2)

    # ------------------------------------------------------------ the server

    def put(self, name: str, blob: bytes, **faults: Any) -> Asset:
        """A file on the server; `faults` as `VirtualWeb.put` has them."""
        url = f"{SERVER}/{name}"
        self.world.web_server.put(url, blob, **faults)
        return Asset(f"sha256:{hashlib.sha256(blob).hexdigest()}", url, blob)

    def make_order(
        self,
        verb: str,
        klass: str = "routine",
        *,
        issuer: str = COMMUNE,
        to: str = f"n:{NODE}",
        good_for_s: float = 300,
        nonce: str | None = None,
        supersedes: OrderId | None = None,
        **args: Any,
    ) -> Order:
        """A new order, issued now by everybody else's clock."""
        self._orders += 1
        now = self.world.outside.utc_now()
        return Order(
            id=OrderId(f"01J{self._orders:023d}"),
            issuer=Issuer(issuer),
            audience=(to,),
            verb=verb,
            seq=self._orders,
            issued_at=now,
            expires_at=now + timedelta(seconds=good_for_s),
            precedence=Precedence.from_wire(klass),
            args=args,
            nonce=nonce,
            supersedes=supersedes,
        )

    def publish(self, order: Order, *, retain: bool = False) -> OrderId:
        """Send an order, to its node or its group."""
        kind, _, name = order.audience[0].partition(":")
        topic = order_topic(
            ROOT,
            verb=order.verb,
            node=name if kind == "n" else None,
            group=name if kind == "g" else None,
        )
        left = order.expires_at - self.world.outside.utc_now()
        self.world.broker.server_publish(
            Message(
                topic=topic,
                payload=sealed(order),
                retain=retain,
                expiry_s=max(1, round(left.total_seconds())),
                correlation=order.id.encode(),
            )
        )
        return order.id

    def order(self, verb: str, klass: str = "routine", **more: Any) -> OrderId:
        """Make an order and send it."""
        return self.publish(self.make_order(verb, klass, **more))

    def desire(
        self,
        doc: str,
        body: dict[str, Any] | bytes | None,
        *,
        version: int | None = None,
        issuer: str = COMMUNE,
        klass: str = "routine",
        to: str = f"n:{NODE}",
        **more: Any,
    ) -> int:
        """Publish a desired document, retained; its version is one more than the last unless it is said."""
        self._versions[doc] = version = version or self._versions.get(doc, 0) + 1
        blob = desires.document(
            doc, body, version=version, issuer=issuer, audience=(to,), klass=klass,
            issued_at=self.world.outside.utc_now(), **more,
        )  # fmt: skip
        kind, _, name = to.partition(":")
        topic = f"{ROOT}/{name}/dn/desired/{doc}" if kind == "n" else f"{ROOT}/g/{name}/dn/desired/{doc}"
        self.world.broker.server_publish(Message(topic=topic, payload=blob, retain=True))
        return version

    def reported(self, doc: str) -> dict[str, Any]:
        """What the node said last of a document."""
        said: dict[str, Any] = self.up(f"reported/{doc}")[-1]
        return said

    async def applied(self, doc: str, body: dict[str, Any] | bytes | None, **more: Any) -> None:
        """Publish a document and wait until it is in force."""
        version = self.desire(doc, body, **more)
        await self.until(
            lambda: (
                self.up(f"reported/{doc}")
                and (self.reported(doc)["version"], self.reported(doc)["status"]) == (version, "applied")
            ),
            within_s=60,
        )

    def play(self, asset: Asset, klass: str = "routine", **more: Any) -> OrderId:
        """Order an asset to be played."""
        return self.order("play", klass, media=asset.digest, url=asset.url, **more)

    def told(self, order: OrderId) -> list[State]:
        """Everything the server was told of an order, each thing once, in the order of its numbers."""
        heard: dict[bytes, State] = {}
        for received in self.world.broker.received_on(f"{ROOT}/{NODE}/up/cmd"):
            state: State = msgspec.json.decode(received.message.payload)
            if state["id"] == order:
                heard.setdefault(received.message.payload, state)
        return sorted(heard.values(), key=lambda state: int(state["n"]))

    def states(self, order: OrderId) -> list[str]:
        """The states among them."""
        return [state["state"] for state in self.told(order)]

    def code(self, order: OrderId) -> str | None:
        """The reason's code of the last one."""
        reason = self.told(order)[-1]["reason"]
        return None if reason is None else str(reason["code"])

    def up(self, what: str) -> list[Any]:
        """Every message on one of the node's topics, as JSON; None for an empty one."""
        return [
            msgspec.json.decode(received.message.payload) if received.message.payload else None
            for received in self.world.broker.received_on(f"{ROOT}/{NODE}/up/{what}")
        ]

    def reports(self) -> list[dict[str, Any]]:
        """The as-run entries that reached the server, each once, by number."""
        entries: dict[int, dict[str, Any]] = {}
        for batch in self.up("report"):
            for report in batch["reports"]:
                entry = report["asrun"]
                assert entries.setdefault(entry["number"], entry) == entry, "an entry never changes"
        return [entries[number] for number in sorted(entries)]

    def report(self, order: OrderId) -> dict[str, Any]:
        """The one as-run entry of an order."""
        (entry,) = (entry for entry in self.reports() if entry["id"] == order)
        return entry

    # ------------------------------------------------------------ waiting

    async def until(self, what: Callable[[], object], *, within_s: float = 300) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(within_s):
            while not what():  # noqa: ASYNC110 - the world's things have no events
                await asyncio.sleep(_LOOK_S)

    async def reaches(self, order: OrderId, state: OrderState | str, *, within_s: float = 300) -> None:
        """Wait until the server was told that an order is in a state."""
        await self.until(lambda: str(state) in self.states(order), within_s=within_s)

    async def ends(self, *orders: OrderId, within_s: float = 600) -> list[str]:
        """Wait for orders' ends; returns their last states."""
        await self.until(
            lambda: all(not _ENDS.isdisjoint(self.states(order)) for order in orders), within_s=within_s
        )
        return [self.states(order)[-1] for order in orders]

    async def quiet(self, *, within_s: float = 4_000) -> None:
        """Wait until no order is open and the server has acknowledged everything."""
        await self.until(
            lambda: not self._open() and not self.world.database.rows(_UNTOLD), within_s=within_s
        )

    def _open(self) -> list[str]:
        return [order for order, state in self.ledger().items() if state not in _ENDS]

    # ------------------------------------------------------------ what is left

    def ledger(self) -> dict[str, str]:
        """State by order, as stored."""
        return {
            str(order): str(state)
            for order, state in self.world.database.rows("SELECT id, state FROM ledger")
        }

    def stored(self) -> list[dict[str, Any]]:
        """The as-run log as it is stored."""
        rows = self.world.database.rows("SELECT entry FROM asrun ORDER BY number")
        return [msgspec.json.decode(str(entry)) for (entry,) in rows]

    def outcomes(self) -> dict[str, str]:
        """Outcome by order, from the stored log."""
        return {entry["id"]: entry["outcome"] for entry in self.stored()}

    def lines(self, *, life: int = -1) -> list[tuple[str, bool, float]]:
        """A process's changes of output lines after their request: (name, ACTIVE, seconds of its boot)."""
        seen: set[str] = set()
        changes = []
        for change in self.world.lives()[life].lines:
            if change.line in seen:
                changes.append((change.line, change.active, round(change.at_ns / NS, 3)))
            seen.add(change.line)
        return changes

    def judge(self) -> None:
        """What holds at the end of every story. Raises AssertionError naming the seed."""
        self.world.check()
        seed = f"World(seed={self.world.seed})"
        strange = [how for how in self.world.ended if not how.startswith(self.may_end or ("-",))]
        assert not strange, f"{seed}: the process ended by itself: {strange}"
        chain = _chain(self.world)
        assert chain.broken_at is None, f"{seed}: the as-run chain is broken at {chain.broken_at}"
        stored = {entry["number"]: entry for entry in self.stored()}
        for entry in self.reports():
            assert stored.get(entry["number"]) == entry, f"{seed}: the server was told another entry: {entry}"

    # ------------------------------------------------------------ within

    async def _acknowledge(self) -> None:
        """The server's own ledger: it acknowledges the numbers that it has without a gap."""
        seen: dict[str, set[int]] = {}
        acknowledged: dict[str, int] = {}
        broker, read = self.world.broker, 0
        while True:
            await asyncio.sleep(self.acknowledges_every_s)
            if broker.received_ever > read:
                news = broker.server_received[read - broker.received_ever :]
                read = broker.received_ever
                for message in (entry.message for entry in news):
                    if message.topic.endswith("/up/state"):
                        acknowledged.clear()  # a new connection: what was said on the last one may be lost
                    elif message.topic.endswith(("/up/cmd", "/up/report")):
                        content = msgspec.json.decode(message.payload)
                        numbers = [report["n"] for report in content.get("reports", ())] or [content["n"]]
                        seen.setdefault(content["log"], set()).update(numbers)
            for log, known in seen.items():
                upto = acknowledged.get(log, 0)
                while upto + 1 in known:
                    upto += 1
                if self.deaf or upto == acknowledged.get(log):
                    continue
                acknowledged[log] = upto
                ack = msgspec.json.encode({"upto": upto, "log": log})
                broker.server_publish(Message(topic=f"{ROOT}/{NODE}/dn/ack", payload=ack))


_UNTOLD = "SELECT 1 FROM outbox WHERE lane > 0 LIMIT 1"


def sealed(order: Order) -> bytes:
    """The order, signed by its issuer's own key."""
    return seal(order, signers=[signers.signer(f"{order.issuer}-2026")])


def _chain(world: World) -> Any:
    """The chain's check, on the world's committed state."""
    image = world.database.image()
    assert image is not None
    connection = sqlite3.connect(":memory:")
    try:
        if not image:
            connection.executescript("".join(agent.SCHEMAS))
        else:
            connection.deserialize(image)
        return verify_chain(connection)
    finally:
        connection.close()
