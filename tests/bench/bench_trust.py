"""What signatures cost: verify and journal, the time to acceptance, and a flood of refused orders.

The journal is a real SQLite file with the real driver's durability; the flood runs in virtual time on the
virtual broker, with every signature really verified.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from edge_agent.clocktrust import Quality, Sight
from edge_agent.command.acceptance import Arrival, Circumstances, Trust, Verdict, judge
from edge_agent.command.envelope import Order, seal
from edge_agent.command.messages import ARGS_OF_VERB
from edge_agent.command.ring import Ring
from edge_agent.command.scribe import Room, Scribe
from edge_agent.command.settings import OrderSettings
from edge_agent.command.topics import Topics
from edge_agent.model import NodeId, OrderId, OrderState, Precedence
from edge_agent.report.asrun import Timebase
from hal.linux.database import open_database
from hal.ports import Message
from hal.sim.loop import run
from tests.bench.measure import figure, seconds
from tests.command.scene import GROUP, NODE, ROOT, SCHEMAS, Scene, an_order
from tests.entries import START, ident
from tests.signers import authority, document, signed, signer

XA = "xa-vi-huong"
KEY = f"{XA}-2026"
ORDERS = 2000
RUNS = 3
FLOOD_PER_S, FLOOD_S = 10_000, 10
TOPICS = Topics(root=ROOT, node=NodeId(NODE), groups=(GROUP,))
DOCUMENT = document(*(authority(name) for name in (XA, "huyen-bach-thong", "tinh-bac-kan")))
TRUST = Trust(ring=Ring(DOCUMENT))
SIGHT = Sight(quality=Quality.SYNCED, now=START, floor=START)
NOW = Circumstances(now_ns=10, boot="boot", sight=SIGHT, birth_nonce="n")
LONG = timedelta(days=1)


def main() -> None:
    """Print the figures."""
    blobs = [_sealed(_order(number)) for number in range(ORDERS)]
    forged = seal(_order(0), signers=[type(signer(KEY))(KEY, signer("stranger").seed)])
    _judge(blobs[0])  # loads the library
    figure("verify_only", [_rate(blobs) for _ in range(RUNS)], "orders/s")
    figure("refuse_bad_signature", [_rate([forged] * ORDERS) for _ in range(RUNS)], "orders/s")
    rates, p99s = zip(*(asyncio.run(_journal(blobs)) for _ in range(RUNS)), strict=True)
    figure("verify_and_journal", rates, "orders/s", orders=ORDERS)
    figure("acceptance_p99", p99s, "ms", orders=ORDERS)
    _flood()


def _order(number: int) -> Order:
    return an_order(number, "ping", expires_at=START + LONG)


def _sealed(order: Order) -> bytes:
    return seal(order, signers=[signer(KEY)])


def _judge(blob: bytes) -> Verdict | None:
    verdict = judge(
        Arrival(blob=blob, topic_verb="ping"),
        NOW,
        topics=TOPICS,
        settings=OrderSettings(),
        verbs=ARGS_OF_VERB,
        trust=TRUST,
    )
    return verdict if isinstance(verdict, Verdict) else None


def _rate(blobs: list[bytes]) -> float:
    began = seconds()
    for blob in blobs:
        _judge(blob)
    return len(blobs) / (seconds() - began)


async def _journal(blobs: list[bytes]) -> tuple[float, float]:
    """Judge and journal one after another, each durable before the next: (orders/s, p99 in ms)."""
    room = Room(open_max=10**9, rows_max=10**9)
    scribe = Scribe(
        topics=TOPICS, timebase=Timebase(monotonic_ns=10, utc=START, boot="b", quality=Quality.SYNCED)
    )
    times_s = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        database = await open_database(Path(name, "node.sqlite3"), SCHEMAS)
        for blob in blobs:
            began = seconds()
            verdict = _judge(blob)
            assert verdict is not None
            entry, seat, kids = verdict.entry, verdict.seat, verdict.kids
            _, stands = await database.run(
                lambda connection, entry=entry, seat=seat, kids=kids: scribe.receive(  # type: ignore[misc]  # bound now
                    connection, entry, room, tell=True, seat=seat, kids=kids
                )
            )
            assert stands.state is OrderState.ACCEPTED
            times_s.append(seconds() - began)
        await database.close()
    return len(blobs) / sum(times_s), statistics.quantiles(times_s, n=100)[98] * 1000


def _flood() -> None:
    """Ten seconds of forged orders, 10,000 a second, and ten emergencies among them."""
    scene = Scene()
    scene.keys = signed(DOCUMENT)
    scene.broker = type(scene.broker)(
        scene.clock, random.Random(1), delay_s=0.0002, queue_cap=10**6, received_cap=10**6
    )
    scene.router.lasts_s = 0.1
    forgeries = _forgeries()
    emergencies: list[OrderId] = []
    delays_s: list[float] = []

    async def main() -> None:
        async with scene.running():
            for tick in range(FLOOD_S * 100):
                for number in range(FLOOD_PER_S // 100):
                    scene.broker.server_publish(forgeries[(tick * 97 + number) % len(forgeries)])
                if tick % 100 == 50:
                    order = an_order(
                        10_000 + tick, "play", precedence=Precedence.EMERGENCY, expires_at=START + LONG
                    )
                    emergencies.append(order.id)
                    scene.send(order, by=(KEY,))
                    delays_s.append(await _until(lambda: emergencies[-1] in scene.router.begun))
                await asyncio.sleep(0.01)
            await asyncio.sleep(5)

    began = seconds()
    run(main(), scene.counter)
    took_s = seconds() - began
    assert set(scene.router.begun) == set(emergencies), "an emergency was lost, or a forgery begun"
    assert set(scene.ledger()) == set(emergencies), "a forgery was written"
    figure(
        "flood_emergency_to_begun",
        [delay * 1000 for delay in delays_s],
        "ms",
        flood=f"{FLOOD_PER_S}/s for {FLOOD_S} s, virtual time",
        lost=len(emergencies) - len(scene.router.whole),
    )
    figure("flood_handled", [FLOOD_PER_S * FLOOD_S / took_s], "orders/s", time="real")


async def _until(what: Callable[[], bool]) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not what():  # noqa: ASYNC110 - the scene has no events
        await asyncio.sleep(0.001)
    return loop.time() - began


def _forgeries() -> list[Message]:
    """Every kind, from what costs nothing to a signature that must be verified to be refused."""
    topic = f"{ROOT}/{NODE}/dn/cmd/ping"
    rng = random.Random(7)
    wrong = type(signer(KEY))(KEY, signer("stranger").seed)
    blobs = []
    for number in range(500):
        order = replace(_order(number), id=ident(500_000 + number))
        good = bytearray(_sealed(replace(order, seq=7)))
        good[rng.randrange(len(good))] ^= 1
        blobs += [
            rng.randbytes(200),
            seal(order),
            seal(order, signers=[signer("stranger")]),
            seal(order, signers=[wrong]),
            bytes(good),
        ]
    return [Message(topic=topic, payload=blob, qos=1) for blob in blobs]


if __name__ == "__main__":
    main()
