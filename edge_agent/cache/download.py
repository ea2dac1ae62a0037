"""One download: attempts, resumption, back-off, and the sentence when it fails for good.

The identity of a file is its sha256; the URL is only a hint. So a broken download is resumed
whether or not the server gives a strong ETag, and if the pieces do not hash to the digest it
is fetched once more from its first byte (docs/decisions/0161).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from enum import Enum, auto

from edge_agent.cache.incoming import Incoming
from edge_agent.cache.settings import CacheSettings
from edge_agent.cache.store import Asset, Store
from edge_agent.errors import MediaRefused
from edge_agent.model import Digest, ReasonCode
from hal.errors import DiskFull, WebBroken, WebError, WebTimeout
from hal.ports import Download, Web

logger = logging.getLogger(__name__)

BLOCK_BYTES = 1 << 16

_PROGRESS_BYTES = BLOCK_BYTES
"""An attempt that brought this much is not counted against us."""

_TRY_LATER = frozenset({408, 421, 425, 429})

_URL_SHOWN_MAX = 200


class _Later(Exception):
    """The server is there, but wants us to come back."""

    def __init__(self, text: str, after_s: float | None) -> None:
        super().__init__(text)
        self.after_s = after_s


class _End(Enum):
    """How the body ended."""

    WHOLE = auto()
    START_AGAIN = auto()
    """What we have does not belong to what the server has now."""


class Fetch:
    """Fetches one asset from one URL into the store.

    `received` is told how many bytes came, `receiving` when a body begins and ends to flow; `calm` is awaited before each block, and lets
    more urgent downloads go first.
    """

    def __init__(
        self,
        *,
        web: Web,
        store: Store,
        settings: CacheSettings,
        rng: random.Random,
        digest: Digest,
        url: str,
        receiving: Callable[[bool], None],
        received: Callable[[int], None],
        calm: Callable[[], Awaitable[None]],
    ) -> None:
        self._web = web
        self._store = store
        self._settings = settings
        self._rng = rng
        self._digest = digest
        self._url = url
        self._receiving = receiving
        self._received = received
        self._calm = calm
        self._incoming: Incoming | None = None
        self._etag: str | None = None
        self._total: int | None = None
        self._stitched = False

    async def run(self) -> Asset:
        """Fetch it. Raises MediaRefused; DiskError and DatabaseError when the disk fails otherwise than by being full."""
        failures, filled, refetched = 0, False, False
        try:
            while True:
                before = self._written
                after_s: float | None = None
                try:
                    if await self._attempt() is _End.WHOLE:
                        assert self._incoming is not None
                        if not self._stitched or refetched or self._incoming.found() == self._digest:
                            return await self._incoming.admit()
                        refetched = True
                        logger.warning(
                            "The pieces of a download do not fit together. url=%s", shown(self._url)
                        )
                        await self._start_again()
                        continue
                    await self._start_again()
                    fault: Exception = WebBroken("The server's file changed while it was fetched.")
                except DiskFull as error:
                    await self._start_again()
                    if filled:
                        raise MediaRefused(ReasonCode.NO_SPACE, _disk_full()) from error
                    filled = True
                    continue
                except (WebError, _Later) as error:
                    fault = error
                    after_s = error.after_s if isinstance(error, _Later) else None
                failures = 1 if self._written - before >= _PROGRESS_BYTES else failures + 1
                await self._back_off(failures, fault, after_s)
        finally:
            await self._start_again()

    @property
    def _written(self) -> int:
        return 0 if self._incoming is None else self._incoming.written

    async def _start_again(self) -> None:
        incoming, self._incoming = self._incoming, None
        self._etag, self._total, self._stitched = None, None, False
        if incoming is not None:
            await incoming.abandon()

    async def _attempt(self) -> _End:
        """One GET, from where the last one broke."""
        offset = self._written
        try:
            download = await self._web.get(self._url, offset=offset, etag=self._etag if offset else None)
        except ValueError as error:
            raise MediaRefused(
                ReasonCode.BAD_ARGS,
                f"The address {shown(self._url)!r} cannot be fetched: {error} Send one that can.",
            ) from error
        try:
            self._understand(download, offset)
            if offset > 0 and download.status == 200:
                await self._start_again()
            elif offset > 0 and (download.status == 416 or download.total not in {None, self._total}):
                return _End.START_AGAIN
            else:
                self._stitched = offset > 0
            self._etag = download.etag or self._etag
            self._total = download.total if download.total is not None else self._total
            self._receiving(True)
            return await self._body(download)
        finally:
            self._receiving(False)
            await download.close()

    def _understand(self, download: Download, offset: int) -> None:
        """Raises what a status means that brings no body for us."""
        status = download.status
        if status in _TRY_LATER or status >= 500:
            raise _Later(f"The server answered with status {status}.", download.retry_after_s)
        if status not in {200, 206} and not (status == 416 and offset > 0):
            raise MediaRefused(ReasonCode.NO_MEDIA, _final(status, self._url))
        if status == 206 and download.offset != offset:
            raise WebBroken("The server sent another part than was asked for.")

    async def _body(self, download: Download) -> _End:
        if self._incoming is None:
            if self._total == 0:
                raise MediaRefused(
                    ReasonCode.NO_MEDIA,
                    f"The file at {shown(self._url)} is empty (zero length); put the right one there.",
                )
            self._incoming = await self._store.stage(self._digest, self._total)
        while True:
            await self._calm()
            block = await download.read(BLOCK_BYTES)
            if not block:
                break
            self._received(len(block))
            await self._incoming.write(block)
        if self._total is not None and self._incoming.written < self._total:
            raise WebBroken(f"The body ended after {self._incoming.written} of {self._total} bytes.")
        return _End.WHOLE

    async def _back_off(self, failures: int, fault: Exception, after_s: float | None) -> None:
        """Wait at random up to a doubling limit, or as the server asks; raise when it was tried often enough."""
        settings = self._settings
        if failures >= settings.attempts:
            code = ReasonCode.TIMEOUT if isinstance(fault, WebTimeout) else ReasonCode.NO_MEDIA
            raise MediaRefused(
                code,
                f"The file could not be fetched from {shown(self._url)} in {failures} attempts: {fault} "
                "Check the server and the line, and send the order again.",
            ) from fault
        limit_s = min(settings.backoff_max_s, settings.backoff_first_s * 2 ** min(failures - 1, 30))
        wait_s = self._rng.uniform(0, limit_s)
        if after_s is not None:
            wait_s = max(wait_s, min(after_s, settings.backoff_max_s))
        logger.info(
            "A download failed and is tried again. url=%s failures=%d wait_s=%.1f error=%s",
            shown(self._url),
            failures,
            wait_s,
            fault,
        )
        await asyncio.sleep(wait_s)


def shown(url: str) -> str:
    """A URL without what may be secret in it: user, password, query."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url.partition("?")[0][:_URL_SHOWN_MAX]
    authority, slash, path = rest.partition("#")[0].partition("?")[0].partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"[:_URL_SHOWN_MAX]


def _final(status: int, url: str) -> str:
    what = {
        401: "wants a password",
        403: "forbids it",
        404: "has no such file",
        410: "has it no more",
        416: "has no such part of it",
    }.get(status, "does not give it")
    return f"The server {what} (status {status} for {shown(url)}); put the file there, or order it with another address."


def _disk_full() -> str:
    return "The disk became full while the file was written, twice; free some space and send the order again."
