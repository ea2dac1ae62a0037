"""The board document: hands the playlist to the boards, and what came of its items to the as-run log."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, Protocol

from edge_agent.board.proof import Proof
from edge_agent.clocktrust import ClockTrust
from edge_agent.desired import Signed, Understood
from edge_agent.errors import Fault
from edge_agent.model import NS, Digest, OrderId, Recording
from edge_agent.persistence import until_stored
from edge_agent.playlist import FeedContent, ImageContent, Playlist
from edge_agent.report import asrun as asrun_log
from edge_agent.report.asrun import Timebase
from edge_agent.report.outbox import Outbox
from edge_agent.schedule import playlist_form
from hal.ports import Clock, Database

logger = logging.getLogger(__name__)

VERB: Final = "board"
LOOK_EVERY_S: Final = 30.0
RETRY_S: Final = 5.0
LAST_WORD_S: Final = 1.0
"""So long a node that stops waits for the last entries to be stored."""


class Junction(Protocol):
    """What this file asks of `edge_agent.router`."""

    def post(self, playlist: Playlist) -> None:
        """This list is in force on the boards from now on."""

    def proofs(self, *, everything: bool = False) -> list[Proof]:
        """What came of its items, where an entry is due; `everything`: of all."""


class Cellar(Protocol):
    """What this file asks of `cache.steward`."""

    def want(self, whose: str, recordings: Sequence[Recording], soon: Collection[Digest] = ()) -> None:
        """From now on these are kept, and fetched ahead; those needed `soon` by day, too."""


class Feeds(Protocol):
    """What this file asks of `cache.headlines`."""

    def allowed(self, url: str) -> bool:
        """Whether the config names the feed's host."""

    def want(self, urls: Collection[str]) -> None:
        """From now on these are looked at, and no others."""


class Standing:
    """Takes the board document. The boards' rooms decide what is shown."""

    def __init__(
        self,
        *,
        clock: Clock,
        trust: ClockTrust,
        database: Database,
        router: Junction,
        cellar: Cellar,
        feeds: Feeds,
        outbox: Outbox,
        report_topic: str,
        boards: Mapping[str, bool],
    ) -> None:
        """`boards`: the node's boards by name, and whether each is somebody else's (`requisitioned`)."""
        self._clock = clock
        self._trust = trust
        self._database = database
        self._router = router
        self._cellar = cellar
        self._feeds = feeds
        self._outbox = outbox
        self._topic = report_topic
        self._boards = dict(boards)

    def understand(self, body: bytes, signed: Signed) -> Understood:
        """See `desired.Taker`."""
        playlist = playlist_form.read(body, signed)
        return Understood(content=playlist, warnings=tuple(self._warnings(playlist)))

    async def take(self, understood: Understood | None) -> str | None:
        """See `desired.Taker`. The items of the list before go."""
        playlist: Playlist = Playlist() if understood is None else understood.content
        images, soon = _pictures(playlist)
        self._cellar.want(VERB, images, soon)
        self._feeds.want(
            [item.content.url for item in playlist.items if isinstance(item.content, FeedContent)]
        )
        self._router.post(playlist)
        return None

    def _warnings(self, playlist: Playlist) -> Iterator[Fault]:
        for place, item in enumerate(playlist.items):
            if isinstance(item.content, FeedContent) and not self._feeds.allowed(item.content.url):
                yield Fault(
                    f"$.items[{place}].feed.url",
                    "The node's config does not name this host (cache.feed_hosts); the item will not be shown.",
                )

        for place, board in _each([item.boards for item in playlist.items]):
            if board not in self._boards:
                known = ", ".join(self._boards)
                yield Fault(f"$.items[{place}].boards", f"This node has no board {board}; it has {known}.")
        for place, board in _each([one.boards for one in playlist.requisitions]):
            if not self._boards.get(board, False):
                text = f"This node has no board {board} that is marked as requisitioned in its config; nothing is taken over."
                yield Fault(f"$.requisitions[{place}].boards", text)

    async def life(self) -> None:
        """Write down what was shown until cancelled; and then the rest."""
        try:
            while True:
                await asyncio.sleep(LOOK_EVERY_S)
                await self._record(self._router.proofs())
        finally:
            await self._last_word()

    async def _last_word(self) -> None:
        """The entries that are not due yet: after a restart nobody would know of them."""
        try:
            async with asyncio.timeout(LAST_WORD_S):
                await self._record(self._router.proofs(everything=True))
        except TimeoutError:
            logger.warning("What the boards have shown lately is not written down.")

    async def _record(self, proofs: list[Proof]) -> None:
        """An entry each, in one transaction, however long the disk refuses."""
        if not proofs:
            return
        base = Timebase.read(self._clock, self._trust.look())

        def work(connection: sqlite3.Connection) -> None:
            for proof in proofs:
                board = (proof.asrun.live or {}).get("board", "")
                asrun_log.record(
                    connection,
                    order_id=OrderId(f"{proof.key}-{board}-{base.monotonic_ns // NS}-{base.boot[:8]}"),
                    issuer=proof.issuer,
                    verb=VERB,
                    precedence=proof.precedence,
                    asrun=proof.asrun,
                    timebase=base,
                    topic=self._topic,
                )

        await until_stored(
            lambda: self._database.run(work),
            what="What the boards have shown",
            log=logger,
            wait_s=RETRY_S,
            most_s=10 * RETRY_S,
        )
        self._outbox.wake()


def _pictures(playlist: Playlist) -> tuple[tuple[Recording, ...], frozenset[Digest]]:
    """The image files of a list, all of them needed soon."""
    images = [item.content for item in playlist.items if isinstance(item.content, ImageContent)]
    wanted = tuple(Recording(media=image.media, url=image.url) for image in images)
    return wanted, frozenset(image.media for image in images)


def _each(lists: Sequence[Collection[str]]) -> Iterator[tuple[int, str]]:
    """Each name with the place of the list that it stands in."""
    return ((place, board) for place, boards in enumerate(lists) for board in sorted(boards))
