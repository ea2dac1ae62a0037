"""The cellar's thread of life: keeps what documents want, fetches it ahead by night, and hashes slowly what is kept.

Nothing here is in a hurry: one file at a time, within the day's bytes and attempts, each after a pause at random so
that a district's nodes do not ask the server at once. What an order needs now goes its own way (`fetcher`).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Final

from edge_agent import kept
from edge_agent.cache import manifest
from edge_agent.cache.assets import well_formed
from edge_agent.cache.fetcher import Fetcher
from edge_agent.cache.manifest import Today, Want
from edge_agent.cache.settings import MIB, CacheSettings
from edge_agent.cache.store import Store
from edge_agent.clocktrust import ClockTrust
from edge_agent.desired import Signed, Understood
from edge_agent.errors import MediaRefused
from edge_agent.hours import DAY_S, DayHours
from edge_agent.model import LOCAL_TIME, Digest, ReasonCode, Recording
from hal.errors import DatabaseError, DiskError
from hal.ports import Database

logger = logging.getLogger(__name__)

LOOK_S: Final = 600.0
GIVE_WAY_S: Final = 60.0
_PAUSE_S: Final = 30.0
"""Between two files, at random up to so much."""
_JITTER_S: Final = 1_800.0
"""A node begins so much later in the night, at random; the same each night."""
_VERIFY_LEAST_S: Final = 60.0
KEPT_VERIFIED: Final = "cache.verified"
_HOPELESS: Final = frozenset({ReasonCode.BAD_ARGS, ReasonCode.NO_MEDIA})


PICTURE_BYTES_MAX = 8 * MIB


class Steward:
    """Takes the media document, and the wants of other rooms."""

    def __init__(
        self,
        *,
        store: Store,
        fetcher: Fetcher,
        trust: ClockTrust,
        database: Database,
        settings: CacheSettings,
        rng: random.Random,
        addresses: dict[Digest, str],
        spent: Callable[[], bool] = lambda: False,
    ) -> None:
        """`addresses`: filled here, read by the fetcher. `spent`: whether the month's data is used up."""
        self._store = store
        self._fetcher = fetcher
        self._trust = trust
        self._database = database
        self._settings = settings
        self._rng = rng
        self._addresses = addresses
        self._spent = spent
        self._by_source: dict[str, tuple[Want, ...]] = {}
        self._wants: dict[Digest, Want] = {}
        self._today = Today(day=-1)
        self._jitter_s = rng.uniform(0, _JITTER_S)
        self._wake = asyncio.Event()
        self.surplus_mib = 0
        """By so much the documents want more than the quota."""
        self.lacking: tuple[Digest, ...] = ()
        """Urgent files, and those of the next day's turns, that are not here, as of the last look."""

    # ------------------------------------------------------------ what is wanted

    def understand(self, body: bytes, signed: Signed) -> Understood:
        """See `desired.Taker`."""
        wants = manifest.read(body)
        surplus = manifest.surplus_bytes(wants, self._settings)
        if surplus > 0:
            raise manifest.too_much(surplus, self._settings)
        return Understood(content=wants)

    async def take(self, understood: Understood | None) -> str | None:
        """See `desired.Taker`."""
        self._replace("media", () if understood is None else understood.content)
        return None

    def want(self, whose: str, recordings: Sequence[Recording], soon: Collection[Digest] = ()) -> None:
        """From now on these are kept, and fetched ahead; those of an earlier call are let go."""
        self._replace(whose, manifest.of_recordings(recordings, soon))

    def wanted(self) -> dict[Digest, Want]:
        """Everything that some document wants."""
        return dict(self._wants)

    def _replace(self, whose: str, wants: tuple[Want, ...]) -> None:
        if self._by_source.get(whose) == wants:
            return
        self._by_source[whose] = wants
        before, self._wants = self._wants, manifest.merged(self._by_source)
        for media in self._wants.keys() - before.keys():
            self._store.keep(media)
        for media in before.keys() - self._wants.keys():
            self._store.unpin(media)
        self._addresses.clear()
        self._addresses.update({m: want.url for m, want in self._wants.items() if want.url is not None})
        self.surplus_mib = max(0, manifest.surplus_bytes(self._wants.values(), self._settings)) // MIB
        for media, want in self._wants.items():  # another address is another chance
            if media not in before or before[media].url != want.url:
                self._today.hopeless.discard(media)
                self._today.failures.pop(media, None)
        self._wake.set()

    # ------------------------------------------------------------ its life

    async def life(self) -> None:
        """Bring the store within its quota, then fetch and verify until cancelled."""
        await self._store.tidy()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._fetch_ahead(), name="fetch ahead")
            group.create_task(self._verify_slowly(), name="verify slowly")
            group.create_task(self._give_way(), name="give way")

    async def _fetch_ahead(self) -> None:
        while True:
            self._wake.clear()
            try:
                want = await self._next()
                if want is not None:
                    await asyncio.sleep(self._rng.uniform(0, _PAUSE_S))
                    await self._fetch(want)
                    continue
            except (DatabaseError, DiskError) as error:
                logger.warning("What is wanted cannot be looked up. error=%s", error)
            except Exception:
                logger.exception("Fetching ahead failed; it goes on.")
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _give_way(self) -> None:
        """When something else fills the disk, what can be fetched again goes first: the journal needs room."""
        while True:
            await asyncio.sleep(GIVE_WAY_S)
            with suppress(DiskError):
                if await self._store.squeezed():
                    await self._store.tidy()

    async def _next(self) -> Want | None:
        sight = self._trust.look()
        day = sight.now.astimezone(LOCAL_TIME).toordinal()
        if day != self._today.day:
            self._today = Today(day=day)
        held = await self._store.held(self._wants)
        self.lacking = tuple(
            media for media, want in self._wants.items() if (want.soon or want.urgent) and media not in held
        )
        now = None
        if sight.quality.trusted:
            now = sight.now
            begins_in_s = DayHours([self._settings.prefetch_hours]).begins_in_s(now.astimezone(LOCAL_TIME))
            assert begins_in_s is not None, "there is one span"
            if -begins_in_s % DAY_S < self._jitter_s:
                now = None
        want = manifest.next_fetch(self._wants.values(), held, self._today, now, self._settings)
        return None if want is None or (self._spent() and not want.urgent) else want

    async def _fetch(self, want: Want) -> None:
        try:
            asset = await self._fetcher.obtain(want.media, want.url, urgent=False)
        except MediaRefused as refusal:
            self._today.failures[want.media] += 1
            if refusal.code in _HOPELESS:
                self._today.hopeless.add(want.media)
            logger.warning("A wanted file cannot be fetched. digest=%s why=%s", want.media, refusal.text)
            return
        self._today.bytes += asset.size

    async def fetched(self, digest: Digest, url: str, *, most: int) -> bytes:
        """A document behind a pointer, whole. Raises MediaRefused, DatabaseError, DiskError."""
        with self._store.pinned(digest):
            asset = await self._fetcher.obtain(digest, url, urgent=True)
            if asset.size > most:
                raise MediaRefused(
                    ReasonCode.BAD_ARGS,
                    f"The document has {asset.size} bytes, its pointer says {most}; correct one.",
                )
            return await self._read(digest, most)

    async def picture(self, media: Digest, url: str | None) -> bytes:
        """An image file for a board, whole; one that is not here is being fetched ahead, and is refused until then.

        Raises MediaRefused, DatabaseError, DiskError.
        """
        with self._store.pinned(media):
            asset = await self._store.find(media)
            if asset is None:
                raise MediaRefused(
                    ReasonCode.NO_MEDIA, "The picture's file is not here yet; it is being fetched."
                )
            if asset.size > PICTURE_BYTES_MAX:
                raise MediaRefused(
                    ReasonCode.BAD_ARGS,
                    f"The picture's file has {asset.size} bytes, {PICTURE_BYTES_MAX} are the most. Send a smaller one.",
                )
            return await self._read(media, asset.size)

    async def _read(self, digest: Digest, most: int) -> bytes:
        with self._store.open_read(digest) as reader:
            return await asyncio.to_thread(reader.read, most + 1)

    async def _verify_slowly(self) -> None:
        """Every kept asset once in `verify_days`, in the order of the digests, over restarts, too."""
        place = await self._place()
        while True:
            try:
                digests = sorted(
                    row.asset.digest for row in await self._store.listing() if not row.quarantined
                )
            except (DatabaseError, DiskError):
                digests = []
            pause_s = self._settings.verify_days * DAY_S / max(1, len(digests))
            await asyncio.sleep(max(_VERIFY_LEAST_S, min(pause_s, DAY_S)))
            following = [digest for digest in digests if digest > place] or digests
            if not following:
                continue
            place = following[0]
            try:
                fault = await self._store.verify(place, bytes_per_s=self._settings.verify_bytes_per_s)
                if fault is not None:
                    self._wake.set()  # it is fetched anew, if somebody wants it
                text = str(place)
                await self._database.run(lambda connection: kept.put(connection, KEPT_VERIFIED, text))  # noqa: B023 - awaited at once
            except (DatabaseError, DiskError) as error:
                logger.warning("A kept file cannot be verified. digest=%s error=%s", place, error)

    async def _place(self) -> str:
        try:
            place = await self._database.run(lambda connection: kept.get(connection, KEPT_VERIFIED))
        except (DatabaseError, DiskError):
            place = None
        return place if place is not None and well_formed(place) else ""
