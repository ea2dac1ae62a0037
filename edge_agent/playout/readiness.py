"""Makes ready what is to be played: assets held in the cellar and measured once, words spoken."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from edge_agent.errors import MediaRefused
from edge_agent.model import Digest, Precedence, ReasonCode, Voice

if TYPE_CHECKING:
    from edge_agent.cache.store import Asset
    from edge_agent.playout.announcement import Part
    from edge_agent.playout.settings import LevelSettings
    from edge_agent.playout.source import Source
    from hal.ports import Speech

SILENCE_LUFS = -70.0
"""What stands in the cellar for a programme without sound (EBU R 128's absolute gate)."""


class Cellar(Protocol):
    """What this room asks of `cache.store`."""

    async def find(self, digest: Digest) -> Asset | None:
        """The asset, if it is held."""

    def open_read(self, digest: Digest) -> BinaryIO:
        """A reader of a held asset."""

    async def note_loudness(
        self, digest: Digest, gain_db: float, lufs: float, duration_s: float
    ) -> Asset | None:
        """Keep what was measured."""

    def pinned(self, digest: Digest) -> AbstractContextManager[None]:
        """Nobody evicts it meanwhile."""


class Fetching(Protocol):
    """What this room asks of `cache.fetcher`."""

    async def obtain(self, digest: Digest, url: str | None, *, urgent: bool) -> Asset:
        """Hold the asset, fetching it if need be. Raises MediaRefused."""


class Readiness:
    """Cellar, fetcher, meter and voice in one question."""

    def __init__(
        self, *, store: Cellar, fetcher: Fetching, levels: LevelSettings, speech: Speech | None = None
    ) -> None:
        self.store = store
        self.levels = levels
        self._fetcher = fetcher
        self._speech = speech

    async def recording(
        self, media: Digest, url: str | None, *, urgent: bool, asset: Asset | None = None
    ) -> Part:
        """A held or fetched asset as something that sounds. Raises as `gain_db` does."""
        announcement = await library("announcement")
        gain_db = await self.gain_db(media, url, urgent=urgent, asset=asset)
        part: Part = announcement.Media(lambda: self.store.open_read(media), gain_db)
        return part

    async def spoken(self, voice: Voice) -> Part:
        """Words as something that sounds. Raises SpeechError, MediaRefused."""
        if self._speech is None:
            raise MediaRefused(ReasonCode.NO_MEDIA, "This node has no voice.")
        announcement = await library("announcement")
        wav = await self._speech.speak(voice.text, voice.language)
        part: Part = await announcement.spoken(wav, self.levels)
        return part

    async def announced(
        self, parts: Sequence[Part], *, precedence: Precedence, times: int, gap_s: float
    ) -> Source:
        """The attention tone and the parts, so many times."""
        announcement = await library("announcement")
        source: Source = announcement.announcement(
            parts, precedence=precedence, levels=self.levels, times=times, gap_s=gap_s
        )
        return source

    async def gain_db(
        self, media: Digest, url: str | None, *, urgent: bool, asset: Asset | None = None
    ) -> float:
        """Fetch it if need be (`asset`: it is held), measure it once; returns the gain it is played with.

        Raises MediaRefused, DatabaseError, DiskError.
        """
        if asset is None:
            asset = await self._fetcher.obtain(media, url, urgent=urgent)
        if asset.gain_db is not None:
            return asset.gain_db
        loudness = await library("loudness")
        measured = await loudness.measure(self.store.open_read(media), seconds=self.levels.measure_s)
        gain_db = self.levels.gain_db(measured.lufs)
        await self.store.note_loudness(
            media,
            gain_db=gain_db,
            lufs=SILENCE_LUFS if measured.lufs is None else measured.lufs,
            duration_s=measured.duration_s,
        )
        return gain_db


async def library(name: str, *, room: str = "playout") -> Any:
    """A module that needs the heavy libraries; imported off the loop, when first needed."""
    return await asyncio.to_thread(importlib.import_module, f"edge_agent.{room}.{name}")
