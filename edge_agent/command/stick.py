"""What a technician brings on a stick: signed documents and media, taken as if they had come over the network.

`edge-agent cache import` copies it into `import/` of the state directory. Nothing there is believed for lying there:
a document must be signed like any other, and a file is only kept when some document in force wants its digest.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, BinaryIO, Final

from edge_agent.cache.hashing import digest_of
from edge_agent.cache.steward import Steward
from edge_agent.cache.store import Store
from edge_agent.command import documents
from edge_agent.command.envelope import SIZE_MAX
from edge_agent.command.reconcile import Reconciler
from edge_agent.desired import Found
from edge_agent.errors import Refused
from edge_agent.model import Digest
from hal.errors import DatabaseError, DiskError
from hal.ports import Disk

logger = logging.getLogger(__name__)

DIRECTORY: Final = "import"
FILES_MAX: Final = 5_000
_BLOCK_BYTES: Final = 1 << 16


class Stick:
    """Takes what lies in `import/`."""

    def __init__(self, *, disk: Disk, store: Store, steward: Steward, reconciler: Reconciler) -> None:
        self._disk = disk
        self._store = store
        self._steward = steward
        self._reconciler = reconciler
        self._taking = asyncio.Lock()
        self._fetching: set[asyncio.Task[None]] = set()

    async def take(self) -> list[Found]:
        """Documents first, because they say which files are wanted. Each file is removed once it is dealt with.

        Raises DiskError.
        """
        async with self._taking:
            files = (await self._disk.list(DIRECTORY))[:FILES_MAX]
            papers = [name for name, _ in files if name.endswith(".json")]
            found = [await self._document(name) for name in papers]
            found += [await self._file(name, size) for name, size in files if name not in papers]
            for one in found:
                await self._disk.remove(f"{DIRECTORY}/{one.name}")
        return found

    async def _document(self, name: str) -> Found:
        try:
            with self._disk.open_read(f"{DIRECTORY}/{name}") as reader:
                blob = await asyncio.to_thread(reader.read, SIZE_MAX + 1)
            document = documents.opened(blob)
            refusal = await self._reconciler.arrived(document.doc, blob, tell=True, spawn=self._spawn)
        except (Refused, DiskError, DatabaseError) as error:
            return Found(name=name, done="refused", why=str(error))
        if refusal is not None:
            return Found(name=name, done="refused", why=refusal.text)
        if self._reconciler.have.get(document.doc.value) == document.signed.version:
            return Found(name=name, done="applied")
        waits = document.pointer is not None and document.pointer.sha256 in self._reconciler.awaited
        return Found(name=name, done="pending" if waits else "known")

    def _spawn(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """A document behind a pointer is fetched over the network like any other, once there is one."""
        task = asyncio.create_task(work, name=name)
        self._fetching.add(task)
        task.add_done_callback(self._fetching.discard)
        return task

    async def _file(self, name: str, size: int) -> Found:
        try:
            digest = Digest(await asyncio.to_thread(digest_of, self._disk, f"{DIRECTORY}/{name}"))
            if digest not in self._steward.wanted() and digest not in self._reconciler.awaited:
                return Found(name=name, done="refused", why="No signed document wants this file.")
            if await self._store.held([digest]):
                return Found(name=name, done="known")
            await self._admit(name, digest, size)
        except (Refused, DiskError, DatabaseError, OSError) as error:
            return Found(name=name, done="refused", why=str(error))
        return Found(name=name, done="kept")

    async def _admit(self, name: str, digest: Digest, size: int) -> None:
        incoming = await self._store.stage(digest, size)
        reader: BinaryIO | None = None
        try:
            reader = self._disk.open_read(f"{DIRECTORY}/{name}")
            while block := await asyncio.to_thread(reader.read, _BLOCK_BYTES):
                await incoming.write(block)
            await incoming.admit()
        finally:
            if reader is not None:
                reader.close()
            await incoming.abandon()
