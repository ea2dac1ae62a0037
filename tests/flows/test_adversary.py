"""A week with a broker that is the enemy: it replays, reorders, duplicates, delays, retains, invents and flips.

It reads everything and holds no key. Whatever it does, nothing sounds that no authority ordered, nothing
happens twice, and every order that reached the node in time has an end.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from edge_agent.command.envelope import Order, seal
from edge_agent.command.signing import Signer
from edge_agent.command.topics import order_topic
from edge_agent.model import TERMINAL, OrderId
from hal.ports import Message
from tests import signers
from tests.flows.conftest import Programme
from tests.flows.scene import COMMUNE, DISTRICT, GROUP, KEYS, NODE, ROOT, Asset, Village, sealed

DAY_S = 86_400
OWN = f"{ROOT}/{NODE}/dn"
VERBS = ("play", "stop", "board_show", "board_clear", "volume", "ping")
_ENDS = frozenset(str(state) for state in TERMINAL)


class Enemy:
    """The broker's operator. `take` gets what the server publishes; the node gets what this makes of it."""

    def __init__(self, village: Village, rng: random.Random, evil: Asset) -> None:
        self.village = village
        self.rng = rng
        self.evil = evil
        self.recorded: list[Message] = []
        self.delayed: set[asyncio.Task[None]] = set()
        self.did: Counter[str] = Counter()

    def take(self, message: Message) -> None:
        """One honest message. It reaches the node at least once, sooner or later, in some disguise."""
        self.recorded.append(message)
        kind = self.rng.choices(("straight", "late", "twice", "moved", "retained"), (5, 3, 2, 1, 1))[0]
        self.did[kind] += 1
        match kind:
            case "straight":
                self.send(message)
            case "late":
                self._later(message, self.rng.choice((0.5, 5, 60, 400, 5000)))
            case "twice":
                for _ in range(self.rng.randint(2, 6)):
                    self._later(message, self.rng.uniform(0, 30))
            case "moved":
                verb = self.rng.choice(VERBS)
                self.send(replace(message, topic=order_topic(ROOT, verb=verb, group=GROUP)))
            case "retained":
                self.send(replace(message, retain=True))

    def mischief(self) -> None:
        """Something of its own."""
        deed = self.rng.choice(
            (self._replay, self._invent, self._flip, self._keys, self._pending, self._junk)
        )
        self.did[deed.__name__] += 1
        deed()

    def send(self, message: Message) -> None:
        self.village.world.broker.server_publish(message)

    def _later(self, message: Message, delay_s: float) -> None:
        async def wait() -> None:
            await asyncio.sleep(delay_s)
            self.send(message)

        task = asyncio.create_task(wait(), name="delayed")
        self.delayed.add(task)
        task.add_done_callback(self.delayed.discard)

    def _replay(self) -> None:
        """Yesterday's traffic, in any order, with its broker's expiry taken off."""
        for message in self.rng.choices(self.recorded, k=self.rng.randint(1, 20)) if self.recorded else ():
            self.send(replace(message, expiry_s=None, retain=self.rng.random() < 0.2))

    def _invent(self) -> None:
        """Orders of its own, for its own programme, signed as well as one can without a key."""
        order = self.village.make_order(
            "play",
            self.rng.choice(("routine", "priority", "emergency")),
            media=self.evil.digest,
            url=self.evil.url,
        )
        own = signers.signer("stranger")
        for blob in (
            seal(order),
            seal(order, signers=[own]),
            seal(order, signers=[Signer(f"{COMMUNE}-2026", own.seed)]),
            seal(replace(order, issuer=type(order.issuer)("stranger")), signers=[own]),
            seal(order, signers=[own, Signer(f"{DISTRICT}-2026", own.seed)]),
        ):
            self.send(Message(topic=f"{OWN}/cmd/play", payload=blob))
        if self.recorded:  # the id of an honest order, burnt in advance or afterwards
            known = self.rng.choice(self.recorded)
            assert known.correlation is not None
            stolen = replace(order, id=OrderId(known.correlation.decode()))
            self.send(Message(topic=f"{OWN}/cmd/play", payload=seal(stolen, signers=[own])))

    def _flip(self) -> None:
        """An honest order with something changed in it."""
        if not self.recorded:
            return
        message = self.rng.choice(self.recorded[-20:])
        blob = bytearray(message.payload)
        for _ in range(self.rng.randint(1, 3)):
            blob[self.rng.randrange(len(blob))] ^= 1 << self.rng.randrange(8)
        if bytes(blob) != message.payload:
            self.send(replace(message, payload=bytes(blob), expiry_s=None))

    def _keys(self) -> None:
        """Keys documents: forged, of the past, or with an old signature on new words."""
        theirs = signers.document(signers.authority("stranger"), version=self.rng.randint(1, 99))
        old = signers.document(signers.authority(COMMUNE, "stranger"), version=1)
        blob = self.rng.choice(
            (signers.signed(theirs, "stranger"), signers.signed(KEYS), signers.signed(old), b"?")
        )
        self.send(Message(topic=f"{OWN}/desired/keys", payload=blob, retain=self.rng.random() < 0.5))

    def _pending(self) -> None:
        """The past once more, as if the server still wanted it."""
        some = b",".join(m.payload for m in self.rng.choices(self.recorded, k=5)) if self.recorded else b""
        self.send(Message(topic=f"{OWN}/pending", payload=b'{"orders":[' + some + b"]}"))

    def _junk(self) -> None:
        for _ in range(50):
            self.send(Message(topic=f"{OWN}/cmd/play", payload=self.rng.randbytes(self.rng.randint(0, 300))))


def honest(village: Village, rng: random.Random, asset: Asset) -> Order:
    """What an authority may want."""
    verb = rng.choices(VERBS, (6, 1, 2, 1, 1, 2))[0]
    choices: dict[str, dict[str, Any]] = {
        "play": {"media": asset.digest, "url": asset.url},
        "stop": {},
        "board_show": {"text": "Họp thôn 19h30", "ttl_s": 600},
        "board_clear": {},
        "volume": {"volume": 60},
        "ping": {},
    }
    klass = rng.choice(("routine", "routine", "priority", "emergency"))
    issuer, to = rng.choice((COMMUNE, DISTRICT)), rng.choice((f"n:{NODE}", f"g:{GROUP}"))
    return village.make_order(
        verb, klass, issuer=issuer, to=to, good_for_s=rng.choice((60, 600, 7200)), **choices[verb]
    )


def message_of(order: Order) -> Message:
    return Message(
        topic=order_topic(ROOT, verb=order.verb, node=NODE),
        payload=sealed(order),
        expiry_s=None,
        correlation=order.id.encode(),
    )


async def misfortune(village: Village, rng: random.Random) -> None:
    """What happens in a week without anybody's ill will; and what a broker can do to a connection."""
    broker = village.world.broker
    match rng.choice(("power", "crash", "kick", "silent", "forget", "twice", "whole")):
        case "power":
            await village.world.outage(dark_s=rng.choice((1, 30, 3600)))
        case "crash":
            await village.world.crash(pause_s=rng.uniform(0, 5))
        case "kick":
            broker.kick(NODE)
        case "silent":
            broker.partition(rng.choice(("lost", "silent")))
            await asyncio.sleep(rng.choice((5, 600)))
            broker.heal()
        case "forget":
            broker.forget_sessions(retained=rng.random() < 0.5)
        case "twice":
            broker.faults.deliver_twice = 0.5
        case "whole":
            broker.faults.deliver_twice = 0.0


def judge(village: Village, orders: dict[OrderId, Order], evil: Asset) -> None:
    """No unauthorised sound, no double execution, every authorised order terminal."""
    ledger = village.ledger()
    assert set(ledger) <= set(orders), "the node wrote an order that nobody gave"
    open_ = {order: state for order, state in ledger.items() if state not in _ENDS}
    assert not open_, open_
    stored = village.stored()
    assert {entry["id"] for entry in stored} <= set(orders)
    assert all(entry.get("digest") != evil.digest for entry in stored)
    begun = Counter(
        key for key, old, new in village.world.database.watched("ledger") if new == "executing" and old != new
    )
    assert all(count == 1 for count in begun.values()), begun
    loud = sum(len(life.loud) for life in village.world.lives())
    plays = sum(orders[OrderId(order)].verb == "play" for order in begun)
    again = len(village.world.past)  # an emergency that sounded begins again after a restart
    assert plays // 2 < loud <= plays + again, (loud, plays, again)
    ends = Counter(ledger.values())
    assert ends["successful"] > len(orders) // 4, ends


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("seed", "days"), [(1, 7), (2, 1)])
def test_a_week_with_an_adversarial_broker(short: Programme, alarm: Programme, seed: int, days: int) -> None:
    village = Village(seed)
    rng = village.world.rng("enemy")
    asset, evil = short.on(village), alarm.on(village)
    enemy = Enemy(village, rng, evil)
    orders: dict[OrderId, Order] = {}

    async def story() -> None:
        end_s = village.world.counter.ns / 1e9 + days * DAY_S
        while village.world.counter.ns / 1e9 < end_s:
            await asyncio.sleep(rng.expovariate(1 / 1200))
            order = honest(village, rng, asset)
            orders[order.id] = order
            enemy.take(message_of(order))
            for _ in range(rng.randint(1, 4)):
                enemy.mischief()
            if rng.random() < 0.1:
                await misfortune(village, rng)
        village.world.broker.faults.deliver_twice = 0.0
        village.world.broker.heal()
        await asyncio.sleep(6000)
        await village.quiet()

    village.tell(story, limit_s=days * DAY_S + 50_000)
    judge(village, orders, evil)
    assert len(orders) > 60 * days
    assert min(enemy.did.values()) > 3 * days, enemy.did
