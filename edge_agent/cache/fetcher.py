"""Gets assets into the cellar: one download for each digest, however many wait for it.

A download belongs to all who wait for it and to nobody else: one who goes away does not end
it, and it never outlives the last of them. Urgent ones have their own places and the line to
themselves: ordinary ones pause while an urgent one is receiving.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from edge_agent.cache import assets
from edge_agent.cache.download import Fetch, shown
from edge_agent.cache.settings import CacheSettings
from edge_agent.cache.store import Asset, Store
from edge_agent.errors import MediaRefused
from edge_agent.model import Digest, ReasonCode
from hal.errors import DatabaseError, DiskError, DiskFull
from hal.ports import Clock, Web


@dataclass(eq=False, slots=True, kw_only=True)
class _Flight:
    """A download under way, and how many wait for it."""

    digest: Digest
    url: str
    urgent: bool
    waiters: int = 0
    running: bool = False
    receiving: bool = False
    task: asyncio.Task[Asset] = field(init=False)


class Fetcher:
    """Fetches assets by digest."""

    def __init__(
        self,
        *,
        web: Web,
        store: Store,
        clock: Clock,
        settings: CacheSettings,
        rng: random.Random | None = None,
        addresses: Mapping[Digest, str] | None = None,
        received: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`addresses`: where assets may be fetched that were asked for without a URL. `received` is told how many bytes came."""
        self._web = web
        self._store = store
        self._settings = settings
        self._rng = rng or random.Random(clock.monotonic_ns())  # noqa: S311 - back-off, no secret
        self._flights: dict[Digest, _Flight] = {}
        self._changed = asyncio.Event()
        self._received = received
        self._addresses = {} if addresses is None else addresses

    async def obtain(self, digest: Digest, url: str | None, *, urgent: bool) -> Asset:
        """The asset from the cache, or fetched from `url`, verified and kept.

        Hold `store.pinned(digest)` around this and the use of it. Raises MediaRefused: NO_MEDIA (not there, not
        what it should be), NO_SPACE, TIMEOUT, BAD_ARGS (digest or URL), BUSY (too many are waiting),
        HARDWARE_FAULT (the disk or the database fails).
        """
        if not assets.well_formed(digest):
            raise MediaRefused(
                ReasonCode.BAD_ARGS, "The digest is not `sha256:` and 64 lower-case hex digits; correct it."
            )
        try:
            asset = await self._store.find(digest)
        except (DiskError, DatabaseError) as error:
            raise _disk_fault(error) from error
        if asset is not None:
            return asset
        url = self._addresses.get(digest) if url is None else url
        if url is None:
            raise MediaRefused(
                ReasonCode.NO_MEDIA,
                f"{digest} is not in the cache and no url was given; send one with the order.",
            )
        while True:
            flight = self._join(digest, url, urgent=urgent)
            try:
                return await self._wait(flight)
            except MediaRefused:
                if flight.url == url:
                    raise

    def _join(self, digest: Digest, url: str, *, urgent: bool) -> _Flight:
        """The flight for this digest, begun if there is none; an urgent waiter makes it urgent."""
        flight = self._flights.get(digest)
        if flight is None:
            kin = sum(other.urgent == urgent for other in self._flights.values())
            if kin >= self._settings.queue_max:
                raise MediaRefused(
                    ReasonCode.BUSY,
                    f"{kin} files are waiting to be fetched already; send the order again later.",
                )
            flight = _Flight(digest=digest, url=url, urgent=urgent)
            self._flights[digest] = flight
            flight.task = asyncio.create_task(self._fly(flight), name=f"fetch {digest[7:19]}")
        elif urgent and not flight.urgent:
            flight.urgent = True
            self._changed.set()
        return flight

    async def _wait(self, flight: _Flight) -> Asset:
        """Wait for a flight; the last one to go away takes it down."""
        flight.waiters += 1
        try:
            await asyncio.wait([flight.task])
            return flight.task.result()
        finally:
            flight.waiters -= 1
            if flight.waiters == 0 and not flight.task.done():
                self._leave(flight)
                flight.task.cancel()
                await asyncio.wait([flight.task])
                if not flight.task.cancelled():
                    flight.task.exception()

    async def _fly(self, flight: _Flight) -> Asset:
        """Wait for a place, then fetch."""
        limit_s = self._settings.fetch_timeout_s
        try:
            await self._until(lambda: self._may_start(flight))
            flight.running = True
            self._changed.set()
            fetch = Fetch(
                web=self._web,
                store=self._store,
                settings=self._settings,
                rng=self._rng,
                digest=flight.digest,
                url=flight.url,
                received=self._received,
                receiving=lambda receiving: self._receive(flight, receiving=receiving),
                calm=lambda: self._until(lambda: self._may_go_on(flight)),
            )
            async with asyncio.timeout(limit_s):
                return await fetch.run()
        except TimeoutError as error:
            raise MediaRefused(
                ReasonCode.TIMEOUT,
                f"The file was not here after {limit_s:.0f} s from {shown(flight.url)}; check the line, or raise "
                "cache.fetch_timeout_s.",
            ) from error
        except (DiskError, DatabaseError) as error:
            raise _disk_fault(error) from error
        finally:
            self._leave(flight)

    def _leave(self, flight: _Flight) -> None:
        if self._flights.get(flight.digest) is flight:
            del self._flights[flight.digest]
        self._changed.set()

    def _may_start(self, flight: _Flight) -> bool:
        """Whether it is first of its kind in the queue, and a place of its kind is free."""
        kin = [other for other in self._flights.values() if other.urgent == flight.urgent]
        waiting = [other for other in kin if not other.running]
        return waiting[0] is flight and len(kin) - len(waiting) < self._settings.downloads_max

    def _may_go_on(self, flight: _Flight) -> bool:
        """Whether nothing more urgent is being received. One that waits, for the server or for a free
        connection, hinders nobody: it could be us who holds the connection."""
        return flight.urgent or not any(other.urgent and other.receiving for other in self._flights.values())

    def _receive(self, flight: _Flight, *, receiving: bool) -> None:
        flight.receiving = receiving
        self._changed.set()

    async def _until(self, ready: Callable[[], bool]) -> None:
        while not ready():
            self._changed.clear()
            await self._changed.wait()


def _disk_fault(error: DiskError | DatabaseError) -> MediaRefused:
    if isinstance(error, DiskFull):
        return MediaRefused(
            ReasonCode.NO_SPACE, f"The disk is full: {error} Free some space and send the order again."
        )
    return MediaRefused(
        ReasonCode.HARDWARE_FAULT, f"The disk or the database failed: {error} Have the SD card looked at."
    )
