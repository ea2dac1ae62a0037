"""A cellar for tests: store and fetcher on a virtual disk, database and clock, and a scripted web."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Coroutine
from typing import Any, TypeVar

from edge_agent import kept
from edge_agent.cache import store as store_file
from edge_agent.cache.fetcher import Fetcher
from edge_agent.cache.settings import CacheSettings
from edge_agent.cache.store import Asset, Store
from edge_agent.errors import MediaRefused
from edge_agent.model import Digest, ReasonCode
from hal.sim.clock import VirtualClock
from hal.sim.database import VirtualDatabase
from hal.sim.disk import VirtualDisk
from hal.sim.loop import Counter, run
from tests.cache.scripted_web import ScriptedWeb

T = TypeVar("T")

MIB = 1 << 20
URL = "http://server/bulletin.mp3"


def digest_of(payload: bytes) -> Digest:
    return Digest(f"sha256:{hashlib.sha256(payload).hexdigest()}")


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


class Cellar:
    """The cast. `reborn` is the same cellar after a power cut."""

    def __init__(
        self, settings: CacheSettings | None = None, *, capacity_bytes: int = 4 << 30, **changes: Any
    ) -> None:
        self.settings = settings or CacheSettings(**changes)
        self.counter = Counter()
        self.clock = VirtualClock(self.counter)
        self.disk = VirtualDisk(clock=self.clock, capacity_bytes=capacity_bytes, rng=random.Random(7))
        self.database = VirtualDatabase([kept.SCHEMA, store_file.SCHEMA])
        self.web = ScriptedWeb()
        self.build()

    def build(self) -> None:
        self.store = Store(disk=self.disk, database=self.database, clock=self.clock, settings=self.settings)
        self.fetcher = Fetcher(
            web=self.web, store=self.store, clock=self.clock, settings=self.settings, rng=random.Random(1)
        )

    def power_cut(self) -> None:
        self.disk, self.database = self.disk.reborn(), self.database.reborn()
        self.build()

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        return run(main, self.counter)

    async def keep(self, payload: bytes) -> Asset:
        """Put an asset in, without the web."""
        incoming = await self.store.stage(digest_of(payload), len(payload))
        try:
            await incoming.write(payload)
            return await incoming.admit()
        finally:
            await incoming.abandon()

    async def obtain(self, payload: bytes, url: str | None = URL, *, urgent: bool = False) -> Asset:
        return await self.fetcher.obtain(digest_of(payload), url, urgent=urgent)

    async def refusal(self, obtaining: Coroutine[Any, Any, Asset]) -> MediaRefused:
        try:
            await obtaining
        except MediaRefused as refused:
            return refused
        raise AssertionError("it was not refused")

    def files(self) -> dict[str, bytes]:
        return self.disk.image()

    async def is_clean(self) -> bool:
        """No stage is open and no connection: nothing was left lying about."""
        used = sum(map(len, self.files().values()))
        return await self.disk.free_bytes() == self.disk.capacity_bytes - used and self.web.open_now == 0


__all__ = ["MIB", "URL", "Cellar", "ReasonCode", "digest_of", "noise"]
