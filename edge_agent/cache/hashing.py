"""The digest of what lies on the disk: at once on another thread, or slowly beside everything else."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Final

from hal.errors import DiskError, DiskMissing
from hal.ports import Disk

_BLOCK_BYTES: Final = 1 << 16
_SLOW_BYTES: Final = 1 << 18


def digest_of(disk: Disk, path: str) -> str:
    """`sha256:` and 64 hex digits, or "" when the file cannot be read. Blocks."""
    hasher = hashlib.sha256()
    try:
        with disk.open_read(path) as reader:
            while block := reader.read(_BLOCK_BYTES):
                hasher.update(block)
    except (DiskMissing, DiskError, OSError):
        return ""
    return f"sha256:{hasher.hexdigest()}"


async def digest_slowly(disk: Disk, path: str, *, bytes_per_s: int | None) -> str:
    """The same, no faster than asked (None: as fast as it goes), without holding up the loop."""
    hasher = hashlib.sha256()
    try:
        reader = disk.open_read(path)
        try:
            while block := await asyncio.to_thread(reader.read, _SLOW_BYTES):
                hasher.update(block)
                if bytes_per_s is not None:
                    await asyncio.sleep(len(block) / bytes_per_s)
        finally:
            reader.close()
    except (DiskMissing, DiskError, OSError):
        return ""
    return f"sha256:{hasher.hexdigest()}"
