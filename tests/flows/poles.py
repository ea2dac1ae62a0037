"""Several whole nodes on one network, told the same thing; and how far apart a listener between them hears them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from edge_agent import agent
from edge_agent.command.envelope import Order
from edge_agent.command.topics import order_topic
from edge_agent.model import NS, Issuer, OrderId, Precedence
from edge_agent.stream.settings import LiveSettings
from hal.ports import Hardware, Message
from hal.sim.village import Village
from tests import signers
from tests.flows.scene import COMMUNE, GROUP, KEYS, ROOT, SETTINGS, sealed
from tests.flows.studio import STUDIO, Studio

if TYPE_CHECKING:
    from hal.ports import Frames
    from hal.sim.world import World

RATE_HZ = 48_000
MULTICAST = ("239.5.5.5", 5004)
_PIECE = RATE_HZ // 4
_REACH = RATE_HZ // 20


@dataclass(frozen=True)
class Offset:
    """How much later than the first node another one was heard at a time, seconds of the world."""

    at_s: float
    ms: float


class Poles:
    """`nodes` whole agents; `tell` runs a story and judges."""

    def __init__(
        self,
        *,
        nodes: int,
        seed: int = 1,
        drift_ppm: float = 100.0,
        clock_error_ms: float = 0.3,
        trims_ms: Sequence[float] = (),
    ) -> None:
        self._trims_ms = trims_ms
        self.village = Village(
            seed=seed,
            nodes=nodes,
            names=[f"cot-{number}" for number in range(nodes)],
            schemas=agent.SCHEMAS,
            drift_ppm=drift_ppm,
            clock_error_ms=clock_error_ms,
        )
        self._orders = 0

    def tell(self, story: Callable[[], Awaitable[None]], *, limit_s: float = 1_000) -> None:
        """Start every node, tell, stop, judge."""

        async def whole() -> None:
            for world in self.village.nodes:
                world.start(self._agent(world))
            await asyncio.sleep(3)
            await story()

        self.village.run(whole(), limit_s=limit_s)
        self.village.check()

    def order(self, verb: str, *, good_for_s: float = 300, node: int | None = None, **args: Any) -> OrderId:
        """An order to the group, or to one node."""
        self._orders += 1
        now = self.village.outside.utc_now()
        order = Order(
            id=OrderId(f"01J{self._orders:023d}"),
            issuer=Issuer(COMMUNE),
            audience=(f"g:{GROUP}" if node is None else f"n:cot-{node}",),
            verb=verb,
            seq=self._orders,
            issued_at=now,
            expires_at=now + timedelta(seconds=good_for_s),
            precedence=Precedence.PRIORITY,
            args=args,
        )
        topic = order_topic(
            ROOT,
            verb=verb,
            node=None if node is None else f"cot-{node}",
            group=GROUP if node is None else None,
        )
        message = Message(topic=topic, payload=sealed(order), expiry_s=round(good_for_s), correlation=b"x")
        self.village.broker.server_publish(message)
        return order.id

    def studio(self, frames: Frames) -> Studio:
        """A sender whose clock is right."""
        return Studio(self.village.neighbour(STUDIO), self.village.outside, frames)

    def report(self, node: int, order: OrderId) -> dict[str, Any]:
        """The as-run entry of an order at a node."""
        rows = self.village.nodes[node].database.rows("SELECT entry FROM asrun ORDER BY number")
        entries = [msgspec.json.decode(str(entry)) for (entry,) in rows]
        (found,) = (entry for entry in entries if entry["id"] == order)
        return dict(found)

    def offsets(self, node: int, *, every_s: float = 1.0) -> list[Offset]:
        """Of a node against node 0, at each second in which both are heard."""
        first, other = (self._line(self.village.nodes[number]) for number in (0, node))
        found = []
        at_s = max(first.begin_s, other.begin_s) + 0.1
        while at_s < min(first.end_s, other.end_s) - 0.6:
            ms = _offset_ms(
                first.piece(at_s, _PIECE), other.piece(at_s - _REACH / RATE_HZ, _PIECE + 2 * _REACH)
            )
            if ms is not None:
                found.append(Offset(at_s, ms))
            at_s += every_s
        return found

    def edges_s(self, node: int) -> tuple[float, float]:
        """When a node is first and last heard."""
        line = self._line(self.village.nodes[node])
        return line.begin_s, line.end_s

    def _agent(self, world: World) -> Callable[[Hardware], Coroutine[Any, Any, None]]:
        settings = msgspec.structs.replace(
            SETTINGS,
            node=msgspec.structs.replace(SETTINGS.node, id=world.name),
            live=LiveSettings(trim_ms=self._trims_ms[int(world.name[4:])] if self._trims_ms else 0.0),
        )

        async def run(hardware: Hardware) -> None:
            stop = asyncio.Event()
            serving = asyncio.create_task(
                agent.serve(settings, hardware, stop=stop, rng=world.rng("agent"), keys=signers.signed(KEYS))
            )
            try:
                await asyncio.shield(serving)
            except asyncio.CancelledError:
                stop.set()
                await serving

        return run

    def _line(self, world: World) -> _Line:
        return _Line(world)


class _Line:
    """What a node's loudspeaker gave off, over the world's time; its card's true rate is known here."""

    def __init__(self, world: World) -> None:
        heard = world.lives()[-1].heard
        self._per_s = RATE_HZ * (1 + world.card.drift_ppm / 1e6)
        segments = [segment for segment in heard.segments if np.abs(segment.frames).max() > 1e-4]
        self._segments = [(segment.start_ns / NS, segment.frames) for segment in segments]
        ends = [
            np.flatnonzero(np.abs(frames) > 1e-4) for _, frames in (self._segments[0], self._segments[-1])
        ]
        self.begin_s = self._segments[0][0] + ends[0][0] / self._per_s
        self.end_s = self._segments[-1][0] + ends[1][-1] / self._per_s

    def piece(self, at_s: float, count: int) -> Frames:
        """`count` samples at 48 kHz of true time, from an instant on."""
        out: Frames = np.zeros(count, np.float32)
        for start_s, frames in self._segments:
            begin = (at_s - start_s) * self._per_s
            if begin >= frames.size - 1 or begin + count * self._per_s / RATE_HZ <= 0:
                continue
            places = begin + np.arange(count) * (self._per_s / RATE_HZ)
            inside = (places >= 0) & (places < frames.size - 1)
            whole = places[inside].astype(np.int64)
            part = (places[inside] - whole).astype(np.float32)
            out[inside] = frames[whole] * (1 - part) + frames[whole + 1] * part
        return out


def _offset_ms(piece: Frames, wider: Frames) -> float | None:
    """Where in `wider` the piece lies, against its middle; None where it is too soft, or nothing alike is found."""
    if float(np.sqrt((piece**2).mean())) < 0.003:
        return None
    products = np.correlate(wider, piece, "valid")
    power = np.sqrt(np.convolve(wider**2, np.ones(piece.size), "valid") * float(piece @ piece)) + 1e-9
    likeness = products.astype(np.float64) / power
    at = int(np.argmax(likeness))
    if likeness[at] < 0.8 or not 0 < at < likeness.size - 1:
        return None
    left, here, right = likeness[at - 1 : at + 2]
    fine = 0.5 * (left - right) / (left - 2 * here + right)
    return float((at + fine - _REACH) / RATE_HZ * 1_000)


def p95(offsets: list[Offset], *, after_s: float = 0.0) -> float:
    """Of the magnitudes, ms."""
    return float(np.percentile([abs(offset.ms) for offset in offsets if offset.at_s >= after_s], 95))
