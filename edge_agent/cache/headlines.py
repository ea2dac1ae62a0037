"""The feeds that the boards' playlist names: looked at every half hour, kept over restarts, and forgotten when they are old."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
import sqlite3
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from edge_agent.cache import feed
from edge_agent.cache.feed import FeedBroken, Headline
from edge_agent.cache.settings import CacheSettings
from edge_agent.clocktrust import ClockTrust
from hal.errors import DatabaseError, DiskError, WebError
from hal.ports import Clock, Database, Web

logger = logging.getLogger(__name__)

SCHEMA = """
CREATE TABLE IF NOT EXISTS feed (
    url       TEXT PRIMARY KEY,
    etag      TEXT,
    fetched_s INTEGER,                   -- seconds since 1970; NULL: the date was not known
    headlines TEXT NOT NULL              -- JSON: [[text, seconds since 1970 or null], ...]
) WITHOUT ROWID;
"""

FEEDS_MAX = 16
_ADDRESS = re.compile(r"https?://([A-Za-z0-9.-]+)(?::\d+)?(?:/[^\s\\@]*)?")
"""Nothing that two readers of addresses might take for two hosts."""
RETRY_S = (60.0, 3600.0)
"""After an error: first wait, longest wait."""
READ_BYTES = 64 * 1024
HOUR_S = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class _Feed:
    """What is known of one feed."""

    etag: str | None = None
    fetched_s: int | None = None
    headlines: tuple[Headline, ...] = ()


class Headlines:
    """Belongs to one event loop."""

    def __init__(
        self,
        *,
        web: Web,
        database: Database,
        clock: Clock,
        trust: ClockTrust,
        settings: CacheSettings,
        rng: random.Random,
        received: Callable[[int], None],
    ) -> None:
        self._web = web
        self._database = database
        self._clock = clock
        self._trust = trust
        self._settings = settings
        self._rng = rng
        self._received = received
        self._feeds: dict[str, _Feed] = {}
        self._wanted: tuple[str, ...] = ()
        self._due_s: dict[str, float] = {}
        """When each is looked at next, s since boot."""
        self._wait_s: dict[str, float] = {}
        """How long to wait after the next error."""
        self._why: dict[str, str] = {}
        self._read = False
        self._wake = asyncio.Event()

    # ------------------------------------------------------------ asked from above

    def allowed(self, url: str) -> bool:
        """Whether the config names the feed's host."""
        found = _ADDRESS.fullmatch(url)
        return found is not None and found[1].lower() in self._settings.feed_hosts

    def want(self, urls: Collection[str]) -> None:
        """From now on these are looked at, and no others; at most `FEEDS_MAX`."""
        self._wanted = tuple(url for url in dict.fromkeys(urls) if self.allowed(url))[:FEEDS_MAX]
        self._wake.set()

    def latest(self, url: str, keep_h: int, most: int) -> tuple[str, ...]:
        """The newest headlines of a feed, none older than `keep_h`, none of a feed fetched longer ago.

        Without a date that is believed there are none: nobody could say how old they are.
        """
        known, now = self._feeds.get(url), self._now_s()
        if known is None or now is None or known.fetched_s is None or now - known.fetched_s > keep_h * HOUR_S:
            return ()
        fresh = [
            one
            for one in known.headlines
            if one.at_s is None or now - keep_h * HOUR_S <= one.at_s <= now + HOUR_S
        ]
        return tuple(one.text for one in fresh[:most])

    @property
    def faults(self) -> dict[str, str]:
        """Why a feed cannot be had, by address."""
        return dict(self._why)

    # ------------------------------------------------------------ its life

    async def life(self) -> None:
        """Look at each feed when it is due, until cancelled."""
        while True:
            self._wake.clear()
            least_s = 0.1
            try:
                await self._look()
            except (DatabaseError, DiskError) as error:
                logger.warning("Headlines cannot be kept. error=%s", error)
                least_s = RETRY_S[0]
            except Exception:
                logger.exception("The feeds failed; they are looked at again.")
                least_s = RETRY_S[0]
            now_s = self._mono_s()
            left_s = [max(least_s, self._due_s.get(url, now_s) - now_s) for url in self._wanted]
            try:
                async with asyncio.timeout(min(left_s, default=None)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _look(self) -> None:
        """Fetch what is due. Raises DatabaseError, DiskError."""
        if not self._wanted and not self._feeds:
            return
        if not self._read:
            self._feeds |= await self._database.run(_kept)
            self._read = True
        gone = [url for url in self._feeds if url not in self._wanted]
        if gone:
            await self._database.run(lambda connection: _forget(connection, gone))
            for url in gone:
                self._feeds.pop(url)
                for known in (self._due_s, self._wait_s, self._why):
                    known.pop(url, None)
        for url in self._wanted:
            if self._mono_s() >= self._due_s.get(url, 0.0):
                await self._fetch(url)

    async def _fetch(self, url: str) -> None:
        """One look at one feed. Raises DatabaseError, DiskError."""
        known = self._feeds.get(url, _Feed())
        period_s = self._settings.feed_minutes * 60.0
        try:
            fresh = await self._fetched(url, known)
        except (WebError, ValueError, FeedBroken) as error:
            wait_s = self._wait_s.get(url, RETRY_S[0])
            self._wait_s[url] = min(2 * wait_s, RETRY_S[1])
            self._due_s[url] = self._mono_s() + wait_s * (0.5 + self._rng.random())
            if self._why.get(url) != str(error):
                logger.warning("A feed cannot be had. url=%s why=%s", url, error)
            self._why[url] = str(error)
            return
        self._why.pop(url, None)
        self._wait_s.pop(url, None)
        if fresh.fetched_s is None:  # nobody can say how old they are until the date is known
            period_s = RETRY_S[0]
        self._due_s[url] = self._mono_s() + period_s * (0.9 + 0.2 * self._rng.random())
        self._feeds[url] = fresh
        if fresh.headlines != known.headlines or fresh.etag != known.etag or _stale(known, fresh):
            await self._database.run(lambda connection: _keep(connection, url, fresh))

    async def _fetched(self, url: str, known: _Feed) -> _Feed:
        """What the feed says now. Raises WebError, ValueError, FeedBroken."""
        etag = known.etag if known.headlines else None
        download = await self._web.get(url, etag=etag, follow=self.allowed)
        try:
            if download.status == 304:
                return replace(known, fetched_s=self._now_s())
            if download.status != 200:
                raise FeedBroken(f"The server answers {download.status}.")
            body = bytearray()
            while piece := await download.read(READ_BYTES):
                body += piece
                self._received(len(piece))
                if len(body) > feed.BYTES_MAX:
                    raise FeedBroken(f"The feed has more than {feed.BYTES_MAX} bytes.")
            etag = download.etag
        finally:
            await download.close()
        found = await asyncio.to_thread(feed.headlines, bytes(body))
        return _Feed(etag=etag, fetched_s=self._now_s(), headlines=found)

    def _now_s(self) -> int | None:
        now = self._trust.believed()
        return None if now is None else int(now.timestamp())

    def _mono_s(self) -> float:
        return self._clock.monotonic_ns() / 1e9


def _stale(known: _Feed, fresh: _Feed) -> bool:
    """Whether what is kept on the disk is more than some hours behind: few writes, but a restart must not lose a day."""
    if known.fetched_s is None or fresh.fetched_s is None:
        return known.fetched_s != fresh.fetched_s
    return fresh.fetched_s // (6 * HOUR_S) != known.fetched_s // (6 * HOUR_S)


def _kept(connection: sqlite3.Connection) -> dict[str, _Feed]:
    rows = connection.execute("SELECT url, etag, fetched_s, headlines FROM feed").fetchall()
    return {
        url: _Feed(
            etag=etag,
            fetched_s=fetched_s,
            headlines=tuple(Headline(text, at_s) for text, at_s in json.loads(headlines)),
        )
        for url, etag, fetched_s, headlines in rows
    }


def _keep(connection: sqlite3.Connection, url: str, known: _Feed) -> None:
    text = json.dumps([[one.text, one.at_s] for one in known.headlines], ensure_ascii=False)
    connection.execute(
        "INSERT OR REPLACE INTO feed VALUES (?, ?, ?, ?)", (url, known.etag, known.fetched_s, text)
    )


def _forget(connection: sqlite3.Connection, urls: Collection[str]) -> None:
    connection.executemany("DELETE FROM feed WHERE url = ?", [(url,) for url in urls])
