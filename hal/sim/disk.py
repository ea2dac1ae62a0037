"""A virtual disk: files in memory, with room, faults, and a memory of what was made durable.

Facts it imitates (ext4, data=ordered): a staged file is seen by nobody; a power cut leaves of it what
was synced and some part of its last write, as rubbish that the next opening removes; a rename is atomic, but until the directory is synced a power cut may bring the old file
back; a removed file may come back until something in its directory was synced. Which of the
two it is comes from the seed. Nothing that `hal.ports.Disk` promises is ever broken.
"""

from __future__ import annotations

import asyncio
import io
import random
from collections import Counter as Tally
from dataclasses import dataclass, field
from typing import BinaryIO, Literal

from hal.errors import DiskError, DiskFull, DiskMissing
from hal.ports import Clock

_SMALL_BYTES = 1 << 20

Operation = Literal["read", "write_atomic", "stage", "write", "commit", "open_read", "remove", "list", "any"]


@dataclass(slots=True, kw_only=True)
class _Fault:
    kind: Literal["full", "io"]
    operation: Operation
    times: int


@dataclass(slots=True, kw_only=True)
class Platter:
    """What lies on the medium. `undone` holds, for each path changed but not yet synced, the file that
    a power cut may bring back (None: there was none). `torn` is what it left in the stage directory."""

    files: dict[str, bytes] = field(default_factory=dict)
    undone: dict[str, bytes | None] = field(default_factory=dict)
    torn: list[bytes] = field(default_factory=list)


class VirtualDisk:
    """`hal.ports.Disk` in memory.

    Attributes:
        slow_s: virtual seconds that every operation takes.
        steps: how many times something reached the medium (write, sync, rename, directory sync,
            remove); `cut_at` counts in these.
        done: operations begun, by name.
        swept: left-over stages that were removed when it was opened.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        capacity_bytes: int = 8 << 30,
        rng: random.Random | None = None,
        platter: Platter | None = None,
    ) -> None:
        self.clock = clock
        self.capacity_bytes = capacity_bytes
        self.slow_s = 0.0
        self.steps = 0
        self.done: Tally[str] = Tally()
        self.swept = 0
        self._rng = rng or random.Random(0)  # noqa: S311 - a world is repeatable
        self._platter = platter or Platter()
        self._faults: list[_Fault] = []
        self._cut_at: int | None = None
        self._powered = True
        self._stages: set[VirtualStage] = set()
        self._readers: set[_Reader] = set()
        self._sweep()

    # ---------------------------------------------------- the port

    async def read(self, path: str) -> bytes:
        """The bytes."""
        await self.begin("read", path)
        payload = self._found(path)
        if len(payload) > _SMALL_BYTES:
            raise DiskError(f"'{path}' is larger than {_SMALL_BYTES} bytes; open it as a stream instead.")
        return payload

    async def write_atomic(self, path: str, payload: bytes) -> None:
        """A stage, written and committed in one."""
        await self.begin("write_atomic", path)
        stage = VirtualStage(self)
        self._stages.add(stage)
        try:
            self.append(stage, bytes(payload), path)
            await self.replace(stage, path)
        finally:
            self._stages.discard(stage)

    async def stage(self) -> VirtualStage:
        """In memory until committed."""
        await self.begin("stage", None)
        stage = VirtualStage(self)
        self._stages.add(stage)
        return stage

    def open_read(self, path: str) -> BinaryIO:
        """A reader of the bytes as they are now."""
        self._check("open_read", path)
        return _Reader(self._found(path), path, self._readers)

    async def remove(self, path: str) -> None:
        """Gone at once, durably only with the next sync of its directory."""
        await self.begin("remove", path)
        old = self._platter.files.get(path)
        if old is None:
            return
        self._step()
        self._platter.undone.setdefault(path, old)
        del self._platter.files[path]

    async def list(self, directory: str) -> tuple[tuple[str, int], ...]:
        """Sorted by name."""
        root = directory in {"", "."}
        await self.begin("list", None if root else directory)
        prefix = "" if root else directory + "/"
        return tuple(
            sorted(
                (path.removeprefix(prefix), len(payload))
                for path, payload in self._platter.files.items()
                if path.startswith(prefix) and "/" not in path.removeprefix(prefix)
            )
        )

    async def free_bytes(self) -> int:
        """Capacity less files and stages."""
        await self.begin("free_bytes", None)
        return self._free()

    # ---------------------------------------------------- the world's side

    def fail(self, kind: Literal["full", "io"], *, operation: Operation = "any", times: int = 1) -> None:
        """Let the next `times` operations of this name fail: "full" (only writers notice) or "io" (EIO)."""
        self._faults.append(_Fault(kind=kind, operation=operation, times=times))

    def mend(self) -> None:
        """No ordered fault is left."""
        self._faults.clear()

    def fill(self, *, leave_bytes: int = 0) -> None:
        """Somebody else fills the disk; `capacity_bytes` shrinks to what is used now plus `leave_bytes`."""
        self.capacity_bytes = self.capacity_bytes - self._free() + leave_bytes

    def cut_at(self, step: int) -> None:
        """Cut the power just before step number `step` of `steps` would be done; it stays off until `power_on`."""
        self._cut_at = step

    def power_off(self) -> None:
        """Lose what was not durable. Every operation fails until `power_on`; open stages are dead for ever."""
        self._powered = False
        self._cut_at = None
        for stage in sorted(self._stages, key=lambda stage: stage.written):
            stage.close()
            self._platter.torn.append(stage.torn(self._rng))
        self._stages.clear()
        self._readers.clear()
        for path, old in sorted(self._platter.undone.items()):
            if self._rng.random() < 0.5:
                _put(self._platter.files, path, old)
        self._platter.undone.clear()

    def power_on(self) -> None:
        """Work again, on what is left."""
        self._powered = True
        self._sweep()

    def power_cut(self) -> None:
        """Off and on."""
        self.power_off()
        self.power_on()

    def reborn(self, *, killed: bool = False) -> VirtualDisk:
        """The same medium behind a new door; this door stays dead for whoever still holds it.

        After a power cut, or (killed) after the process alone was killed: then the system still
        writes everything that was renamed or removed.
        """
        if killed:
            self._platter.undone.clear()
        self.power_off()
        other = VirtualDisk(
            clock=self.clock, capacity_bytes=self.capacity_bytes, rng=self._rng, platter=self._platter
        )
        other.slow_s, other._faults = self.slow_s, self._faults
        return other

    def left_open(self) -> tuple[str, ...]:
        """Stages neither committed nor abandoned, and readers not closed."""
        return (*("a staged file" for _ in self._stages), *(reader.path for reader in self._readers))

    def image(self) -> dict[str, bytes]:
        """A copy of every visible file."""
        return dict(self._platter.files)

    def rubbish(self) -> tuple[bytes, ...]:
        """What a power cut left of staged files; none once the disk is open again."""
        return tuple(self._platter.torn)

    # ---------------------------------------------------- for its stages

    async def begin(self, operation: str, path: str | None) -> None:
        """Count, check, fail if so ordered, and take time."""
        self._check(operation, path)
        await asyncio.sleep(self.slow_s)
        self._assert_powered()

    def append(self, stage: VirtualStage, payload: bytes, path: str) -> None:
        """As much as there is room for, as write(2) does."""
        self._step()
        room = max(0, self._free())
        stage.last_bytes = len(payload[:room])
        stage.written += payload[:room]
        if room < len(payload):
            raise DiskFull(f"No space is left to write '{path}'.")

    async def replace(self, stage: VirtualStage, path: str) -> None:
        """Sync, rename, sync the directory; the power may go between any two."""
        self._step()  # fsync of the data
        stage.last_bytes = 0
        await asyncio.sleep(0)
        self._assert_powered()
        self._step()  # rename: seen at once
        self._platter.undone.setdefault(path, self._platter.files.get(path))
        self._platter.files[path] = bytes(stage.written)
        self._stages.discard(stage)
        await asyncio.sleep(0)
        self._assert_powered()
        self._step()  # fsync of the directory
        directory = path.rpartition("/")[0]
        for changed in [name for name in self._platter.undone if name.rpartition("/")[0] == directory]:
            del self._platter.undone[changed]

    def forget(self, stage: VirtualStage) -> None:
        """Its room is free again."""
        self._stages.discard(stage)

    # ---------------------------------------------------- within

    def _check(self, operation: str, path: str | None) -> None:
        self._assert_powered()
        self.done[operation] += 1
        if path is not None:
            check_path(path)
        for fault in self._faults:
            if fault.operation not in {"any", operation}:
                continue
            if fault.kind == "full" and operation not in {"write_atomic", "stage", "write", "commit"}:
                continue
            fault.times -= 1
            if fault.times <= 0:
                self._faults.remove(fault)
            if fault.kind == "full":
                raise DiskFull(f"No space is left to write '{path or 'a staged file'}'.")
            raise DiskError(f"'{path or 'a staged file'}' failed with EIO: Input/output error.")

    def _assert_powered(self) -> None:
        if not self._powered:
            raise DiskError("The power is off.")

    def _step(self) -> None:
        if self.steps == self._cut_at:
            self.power_off()
            raise DiskError("The power was cut.")
        self.steps += 1

    def _sweep(self) -> None:
        self.swept = len(self._platter.torn)
        self._platter.torn.clear()

    def _found(self, path: str) -> bytes:
        try:
            return self._platter.files[path]
        except KeyError:
            raise DiskMissing(f"There is no file '{path}'.") from None

    def _free(self) -> int:
        files = sum(map(len, self._platter.files.values()))
        staged = sum(len(stage.written) for stage in self._stages)
        return self.capacity_bytes - files - staged - sum(map(len, self._platter.torn))


class VirtualStage:
    """`hal.ports.StagedFile` on a virtual disk."""

    def __init__(self, disk: VirtualDisk) -> None:
        self._disk = disk
        self._open = True
        self.written = bytearray()
        self.last_bytes = 0
        """How much of it the last write brought, while it is not synced."""

    async def write(self, payload: bytes) -> None:
        """Append."""
        self._assert_open()
        await self._disk.begin("write", None)
        self._assert_open()
        self._disk.append(self, bytes(payload), "a staged file")

    async def commit(self, path: str) -> None:
        """Seen after the rename, durable after the directory's sync."""
        self._assert_open()
        await self._disk.begin("commit", path)
        self._assert_open()
        await self._disk.replace(self, path)
        self.close()

    async def abandon(self) -> None:
        """Give the room back."""
        self._disk.forget(self)
        self.close()

    def close(self) -> None:
        """Nothing more goes in."""
        self._open = False

    def torn(self, rng: random.Random) -> bytes:
        """What a power cut leaves of it: the last write in part. Earlier ones were written back meanwhile."""
        whole = len(self.written) - self.last_bytes
        return bytes(self.written[: whole + rng.randint(0, self.last_bytes)])

    def _assert_open(self) -> None:
        if not self._open:
            raise DiskError("This staged file was committed or abandoned before.")


class _Reader(io.BytesIO):
    """Bytes that know whether they were closed."""

    def __init__(self, payload: bytes, path: str, among: set[_Reader]) -> None:
        super().__init__(payload)
        self.path = path
        self._among = among
        among.add(self)

    def close(self) -> None:
        self._among.discard(self)
        super().close()


def check_path(path: str) -> None:
    """Raise DiskError for a path that is not relative, plain and below the root."""
    parts = path.split("/")
    if "\0" in path or any(part in {"", ".", ".."} for part in parts) or parts[0] == ".stage":
        raise DiskError(f"'{path}' is not a path below the state directory.")


def _put(files: dict[str, bytes], path: str, payload: bytes | None) -> None:
    if payload is None:
        files.pop(path, None)
    else:
        files[path] = payload
