"""Headlines are looked at now and then, kept over a restart, and never shown when they are old or nobody knows how old."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta

from edge_agent import kept
from edge_agent.cache import headlines
from edge_agent.cache.headlines import Headlines
from edge_agent.cache.settings import CacheSettings
from edge_agent.clocktrust import ClockSettings, ClockTrust
from hal.sim import loop
from hal.sim.clock import VirtualClock
from hal.sim.database import VirtualDatabase
from hal.sim.network import VirtualWeb

URL = "https://xa.vn/rss"


def rss(*titles: str, date: str = "") -> bytes:
    items = "".join(f"<item><title>{title}</title>{date}</item>" for title in titles)
    return f'<rss version="2.0"><channel><title>Xã</title>{items}</channel></rss>'.encode()


class Portal:
    """A node that looks at a portal. `restart` makes a new process on the same database."""

    def __init__(self, *, synced: bool = True) -> None:
        self.counter = loop.Counter()
        self.clock = VirtualClock(self.counter)
        if not synced:
            self.clock.lose()
        self.web = VirtualWeb(self.clock, random.Random(1))
        self.database = VirtualDatabase((kept.SCHEMA, headlines.SCHEMA))
        self.received = 0
        self.headlines = self._made()
        self._life: asyncio.Task[None] | None = None

    def _made(self) -> Headlines:
        def received(count: int) -> None:
            self.received += count

        return Headlines(
            web=self.web,
            database=self.database,
            clock=self.clock,
            trust=ClockTrust(settings=ClockSettings(), clock=self.clock, database=self.database),
            settings=CacheSettings(feed_hosts=("xa.vn",)),
            rng=random.Random(2),
            received=received,
        )

    def run(self, story: Callable[[], Awaitable[None]]) -> None:
        async def main() -> None:
            self._life = asyncio.create_task(self.headlines.life(), name="headlines")
            await story()
            await self._stop()

        loop.run(main(), self.counter)

    async def restart(self) -> None:
        await self._stop()
        self.headlines = self._made()
        self._life = asyncio.create_task(self.headlines.life(), name="headlines")

    async def _stop(self) -> None:
        assert self._life is not None
        self._life.cancel()
        await asyncio.gather(self._life, return_exceptions=True)

    def latest(self, keep_h: int = 24, most: int = 3) -> tuple[str, ...]:
        return self.headlines.latest(URL, keep_h, most)


def test_the_newest_are_there_after_a_moment_and_bytes_are_counted() -> None:
    portal = Portal()
    portal.web.put(URL, rss("Một", "Hai", "Ba", "Bốn"))

    async def story() -> None:
        portal.headlines.want([URL])
        await asyncio.sleep(5)
        assert portal.latest() == ("Một", "Hai", "Ba")
        assert portal.received == len(rss("Một", "Hai", "Ba", "Bốn"))

    portal.run(story)


def test_what_is_the_same_is_not_fetched_again_and_news_is_seen() -> None:
    portal = Portal()
    portal.web.put(URL, rss("Một"))

    async def story() -> None:
        portal.headlines.want([URL])
        await asyncio.sleep(3600 * 3)
        assert 5 <= len(portal.web.requests) <= 8
        assert portal.received == len(rss("Một")), "If-None-Match"
        portal.web.put(URL, rss("Hai"))
        await asyncio.sleep(2400)
        assert portal.latest() == ("Hai",)

    portal.run(story)


def test_nothing_stale_is_shown_when_the_portal_is_gone() -> None:
    portal = Portal()
    portal.web.put(URL, rss("Một"))

    async def story() -> None:
        portal.headlines.want([URL])
        await asyncio.sleep(60)
        portal.web.put(URL, status=404, etag=None)
        await asyncio.sleep(3600 * 11)
        assert portal.latest(keep_h=12) == ("Một",)
        assert "404" in portal.headlines.faults[URL]
        await asyncio.sleep(3600 * 2)
        assert portal.latest(keep_h=12) == ()
        assert len(portal.web.requests) < 40, "it waits longer after each error"

    portal.run(story)


def test_old_headlines_of_a_fresh_feed_are_left_out() -> None:
    portal = Portal()
    now = portal.clock.utc_now()
    date = f"<pubDate>{(now - timedelta(hours=30)):%a, %d %b %Y %H:%M:%S} +0000</pubDate>"
    portal.web.put(URL, rss("Cũ", date=date))

    async def story() -> None:
        portal.headlines.want([URL])
        await asyncio.sleep(60)
        assert portal.latest(keep_h=24) == ()
        assert portal.latest(keep_h=48) == ("Cũ",)

    portal.run(story)


def test_without_a_date_that_is_believed_there_are_none() -> None:
    portal = Portal(synced=False)
    portal.web.put(URL, rss("Một"))

    async def story() -> None:
        portal.headlines.want([URL])
        await asyncio.sleep(60)
        assert portal.latest() == ()

    portal.run(story)


def test_they_are_there_again_after_a_restart_without_network() -> None:
    portal = Portal()
    portal.web.put(URL, rss("Một"))

    async def story() -> None:
        portal.headlines.want([URL])
        await asyncio.sleep(60)
        portal.web.network = "lost"
        await portal.restart()
        portal.headlines.want([URL])
        await asyncio.sleep(60)
        assert portal.latest() == ("Một",)

    portal.run(story)


def test_a_host_that_the_config_does_not_name_is_never_asked() -> None:
    portal = Portal()
    for url in (
        "https://evil.vn/rss",
        "https://xa.vn@evil.vn/rss",
        "https://evil.vn\\@xa.vn/rss",
        "https://xa.vn.evil.vn/rss",
        "https://evil.vn#@xa.vn/",
        "ftp://xa.vn/rss",
        "https://xa.vn:443:80/",
    ):
        assert not portal.headlines.allowed(url), url

    async def story() -> None:
        portal.headlines.want(["https://evil.vn/rss"])
        await asyncio.sleep(60)
        assert not portal.web.requests

    portal.run(story)
    assert portal.headlines.allowed("https://XA.vn:8443/rss?x=1")


def test_a_portal_that_redirects_elsewhere_is_not_followed() -> None:
    portal = Portal()

    async def story() -> None:
        portal.web.put(URL, redirect="http://169.254.169.254/rss")
        portal.web.put("http://169.254.169.254/rss", rss("Không phải của ta"))
        portal.headlines.want([URL])
        await asyncio.sleep(60)
        assert [request.url for request in portal.web.requests] == [URL]
        assert portal.headlines.latest(URL, 24, 5) == ()
        assert "not allowed" in portal.headlines.faults[URL]
        portal.web.put(URL, redirect="https://xa.vn/rss.xml")
        portal.web.put("https://xa.vn/rss.xml", rss("Của ta"))
        await asyncio.sleep(3600)
        assert portal.headlines.latest(URL, 24, 5) == ("Của ta",)

    portal.run(story)


def test_a_feed_that_is_too_large_or_hostile_is_given_up() -> None:
    portal = Portal()
    portal.web.put(URL, b"<rss>" + bytes(600_000))

    async def story() -> None:
        portal.headlines.want([URL])
        await asyncio.sleep(30)
        assert "bytes" in portal.headlines.faults[URL]
        assert portal.received < 700_000

    portal.run(story)


def test_what_nobody_wants_any_more_is_forgotten() -> None:
    portal = Portal()
    portal.web.put(URL, rss("Một"))

    async def story() -> None:
        portal.headlines.want([URL])
        await asyncio.sleep(60)
        portal.headlines.want([])
        await asyncio.sleep(60)
        assert portal.latest() == ()
        assert portal.database.rows("SELECT count(*) FROM feed") == [(0,)]

    portal.run(story)
