"""An asset on its way in: staged out of sight, hashed as it comes, seen by nobody before `admit`."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

from edge_agent.cache.assets import Asset
from edge_agent.errors import MediaRefused
from edge_agent.model import Digest, ReasonCode

if TYPE_CHECKING:
    from hal.ports import StagedFile

_STEP_BYTES = 4 << 20
"""Room is reserved in such steps when nobody said how large it will be."""


class Shelf(Protocol):
    """What it needs of the store."""

    async def reserve(self, incoming: Incoming, more: int) -> None:
        """Room for more."""

    async def admit(self, incoming: Incoming) -> Asset:
        """Commit, and write the row."""

    def release(self, incoming: Incoming) -> None:
        """It holds no room any more."""


class Incoming:
    """One staged file. After an error, or a cancelled `write`, only `abandon` makes sense."""

    def __init__(self, *, shelf: Shelf, digest: Digest, size: int | None, size_max: int) -> None:
        self.digest = digest
        self.reserved = _STEP_BYTES if size is None else size
        self.written = 0
        self.staged: StagedFile | None = None
        self._shelf = shelf
        self._size_max = size_max
        self._hasher = hashlib.sha256()

    async def write(self, block: bytes) -> None:
        """Append. Raises MediaRefused(NO_SPACE) beyond the largest size or the quota; DiskFull, DiskError."""
        assert self.staged is not None
        total = self.written + len(block)
        if total > self._size_max:
            raise MediaRefused(
                ReasonCode.NO_SPACE,
                f"The file is larger than the {self._size_max >> 20} MiB that this node takes; send a shorter or more "
                "compressed one, or raise cache.asset_max_mib.",
            )
        while total > self.reserved:
            await self._shelf.reserve(self, _STEP_BYTES)
        await self.staged.write(block)
        self._hasher.update(block)
        self.written = total

    def found(self) -> str:
        """The digest of what was written so far."""
        return f"sha256:{self._hasher.hexdigest()}"

    async def admit(self) -> Asset:
        """Let it be seen. Raises MediaRefused(NO_MEDIA) when it is empty or not what it was said to be."""
        if self.written == 0:
            raise MediaRefused(
                ReasonCode.NO_MEDIA, f"The file for {self.digest} is empty; put the right one at its address."
            )
        if self.found() != self.digest:
            raise MediaRefused(
                ReasonCode.NO_MEDIA,
                f"The file is not what was ordered: it is {self.found()} and not {self.digest}; put the right one at "
                "its address, or order it by its own digest.",
            )
        asset = await self._shelf.admit(self)
        self._shelf.release(self)
        return asset

    async def abandon(self) -> None:
        """Throw it away. Idempotent, also after `admit`; never raises."""
        staged, self.staged = self.staged, None
        self._shelf.release(self)
        if staged is not None:
            await staged.abandon()
