"""Several simulated nodes on one network and one time, each with its own box, card and wrong clock.

    village = Village(seed=7, nodes=2, schemas=SCHEMAS)

    async def story() -> None:
        for world in village.nodes:
            world.start(run_agent)
        await asyncio.sleep(30)

    village.run(story())
    village.check()

Node n is at 10.0.0.(n + 2). Its wall clock is off as a time server leaves it: a constant part and a slow
wander; its card runs fast or slow. Both come from the seed, within the bounds that are given.
"""

from __future__ import annotations

import math
from collections.abc import Coroutine, Sequence
from typing import Any, Self, TypeVar

from hal.sim.datagram import VirtualDatagrams
from hal.sim.surroundings import Surroundings
from hal.sim.world import World

T = TypeVar("T")

WANDER_S = 600.0
"""The period of a wall clock's wander: a time daemon's loop swings over minutes."""


class Village:
    """See the module. `clock_error_ms` bounds how far a node's wall clock is off at any time."""

    def __init__(
        self,
        *,
        seed: int,
        nodes: int,
        names: Sequence[str] = (),
        drift_ppm: float = 0.0,
        clock_error_ms: float = 0.0,
        **world: Any,
    ) -> None:
        self.around = Surroundings(seed=seed)
        self.broker = self.around.broker
        self.web_server = self.around.web_server
        self.udp = self.around.udp
        self.outside = self.around.outside
        self.noted: list[str] = []
        rng = self.around.rng("village")
        self.nodes = [
            World(
                seed=seed,
                name=names[number] if names else f"node-{number}",
                around=self.around,
                address=f"10.0.0.{number + 2}",
                drift_ppm=rng.uniform(-drift_ppm, drift_ppm),
                **world,
            )
            for number in range(nodes)
        ]
        for node in self.nodes:
            constant_ms = rng.uniform(-0.5, 0.5) * clock_error_ms
            node.clock.step(constant_ms / 1000)
            node.clock.error_ns = round(clock_error_ms * 1e6)
            node.clock.wander(0.5e6 * clock_error_ms, period_s=WANDER_S, phase=rng.uniform(0, math.tau))

    def neighbour(self, address: str) -> VirtualDatagrams:
        """UDP at another address of the network: a sender, a relay, a stranger who floods."""
        return VirtualDatagrams(self.outside, self.udp, address)

    def run(self, main: Coroutine[Any, Any, T], *, limit_s: float | None = None) -> T:
        """Run a story to its end, then stop all nodes' processes and note who is left. As `World.run`."""
        return self.around.run(main, finish=self._finish, noted=self.noted, limit_s=limit_s)

    def check(self) -> None:
        """Raise AssertionError when anything was violated, anywhere."""
        assert not self.noted, f"Village(seed={self.around.seed}) was violated: {self.noted}"
        for node in self.nodes:
            node.check()

    def close(self) -> None:
        """End the event loop. A village that is just forgotten does it, too."""
        self.around.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _finish(self) -> None:
        for node in self.nodes:
            await node.finish()
