"""What a process really asked of the file system, by strace, and what a power cut may leave of it.

Facts it imitates, as POSIX has them, which is harder than ext4: what was written to a file is durable only after
fsync or fdatasync of that file, until then any of its writes may be there or not, the last one in part; a name that
was made, renamed or removed is durable only after fsync of its directory, until then a directory may have only the
first few of its changes. Not imitated: sectors torn inside a write that was synced, and a disk that lies about syncs.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

STRACE = shutil.which("strace")

CALLS = (
    "openat,mkdir,write,writev,pwrite64,pwritev,fsync,fdatasync,rename,renameat,renameat2,"
    "unlink,unlinkat,ftruncate,fallocate,close"
)
_LINE = re.compile(r"(\d+) +(?:<\.\.\. )?(\w+)(.*)", re.DOTALL)
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_SECTOR = 512


@dataclass(frozen=True, slots=True)
class Call:
    """One system call that ended well."""

    name: str
    texts: tuple[bytes, ...]
    """Its strings: paths, or what was written."""
    numbers: tuple[int, ...]
    flags: str
    result: int


def record(command: Sequence[str], where: Path) -> list[Call]:
    """Run a program and return what it asked, in the order in which the answers came."""
    assert STRACE is not None
    traced = [STRACE, "-f", "--seccomp-bpf", "-xx", "-s", "4194304", "-e", f"trace={CALLS}", "-o", str(where)]
    subprocess.run([*traced, *command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return list(_calls(where.read_text()))


def _calls(text: str) -> Iterator[Call]:
    begun: dict[str, str] = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        thread, name, rest = match.groups()
        if rest.endswith("<unfinished ...>"):
            begun[thread] = rest.removesuffix("<unfinished ...>")
            continue
        if rest.startswith(" resumed>"):
            rest = begun.pop(thread) + rest.removeprefix(" resumed>")
        asked, _, answer = rest.rpartition(" = ")
        result = answer.split(" ")[0]
        if not result.isdecimal():
            continue  # refused: nothing happened
        plain = _TEXT.sub("", asked).rstrip().removesuffix(")").removeprefix("(")
        texts = tuple(bytes.fromhex(found.replace("\\x", "")) for found in _TEXT.findall(asked))
        numbers = tuple(int(part) for part in plain.replace(",", " ").split() if part.lstrip("-").isdecimal())
        yield Call(name, texts, numbers, plain, int(result))


# ---------------------------------------------------------------- what the disk makes of it


@dataclass(slots=True)
class _File:
    """`durable` is what was synced, `pending` what was asked since: (offset, bytes), or a new length."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes] | int] = field(default_factory=list)

    def sync(self) -> None:
        self.durable = _written(self.durable, self.pending)
        self.pending = []

    def left(self, rng: random.Random) -> bytes:
        """What a cut leaves: of each write since the last sync, a coin says."""
        chance = rng.choice((0.0, 0.5, 0.5, 0.9, 1.0))
        luck = [change for change in self.pending if rng.random() < chance]
        if luck and rng.random() < 0.5 and not isinstance(luck[-1], int):
            offset, payload = luck[-1]
            luck[-1] = (offset, payload[: rng.randrange(0, len(payload) + 1, _SECTOR)])
        return bytes(_written(self.durable, luck))


@dataclass(frozen=True, slots=True)
class _Naming:
    """A change of names: `inode` (None: nothing) stands at `path`, and nothing any more at `away`."""

    path: str
    inode: _File | None
    away: str | None = None


@dataclass(slots=True)
class _Handle:
    path: str
    file: _File | None
    offset: int = 0


class Medium:
    """A root directory below which calls are imitated; everything else they do is ignored but `told`."""

    def __init__(self, root: Path, *, syncs: bool = True) -> None:
        """`syncs`: whether the disk heeds fsync; one that does not is there to see that the tests would notice."""
        self.told = ""
        self._root = str(root)
        self._syncs = syncs
        self._now: dict[str, _File | None] = {}
        """What a reader sees: a file, or None for a directory."""
        self._durable: dict[str, _File | None] = {}
        self._namings: dict[str, list[_Naming]] = {}
        """Changes of names that are not durable, by directory, oldest first."""
        self._handles: dict[int, _Handle] = {}

    def apply(self, call: Call) -> None:
        """Go on by one call."""
        match call.name:
            case "openat":
                self._open(call)
            case "mkdir" if self._inside(call.texts[0]):
                self._name(_Naming(self._relative(call.texts[0]), None), directory=True)
            case "write" if call.numbers[0] == 1:
                self.told += call.texts[0].decode()
            case "write" | "pwrite64" | "ftruncate":
                self._write(call)
            case "fsync" | "fdatasync":
                self._sync(call.numbers[0])
            case "rename" if self._inside(call.texts[1]):
                source, target = (self._relative(text) for text in call.texts)
                self._name(_Naming(target, self._now[source], source))
            case "unlink" if self._inside(call.texts[0]):
                self._name(_Naming(self._relative(call.texts[0]), None))
            case "close":
                self._handles.pop(call.numbers[0], None)
            case "renameat" | "renameat2" | "unlinkat" | "writev" | "pwritev" | "fallocate":
                touched = any(self._inside(text) for text in call.texts) or call.numbers[:1] == tuple(
                    fd for fd in self._handles if fd == (call.numbers or (-1,))[0]
                )
                assert not touched, f"{call.name} is not imitated"

    def names(self) -> frozenset[str]:
        """What a reader sees now."""
        return frozenset(self._now)

    def materialise(self, target: Path, rng: random.Random) -> None:
        """Lay out below `target` what a cut just now may leave."""
        names = dict(self._durable)
        for changes in self._namings.values():
            for change in changes[: rng.randint(0, len(changes))]:
                _renamed(names, change)
        for path, file in sorted(names.items()):
            if any(str(parent) not in names for parent in list(PurePosixPath(path).parents)[:-1]):
                continue  # its directory was never made durable
            if file is None:
                target.joinpath(path).mkdir(exist_ok=True)
            else:
                target.joinpath(path).write_bytes(file.left(rng))

    # ---------------------------------------------------- within

    def _inside(self, path: bytes) -> bool:
        return path.decode().startswith(self._root + "/")

    def _relative(self, path: bytes) -> str:
        return path.decode().removeprefix(self._root).removeprefix("/")

    def _open(self, call: Call) -> None:
        (text,) = call.texts
        self._handles.pop(call.result, None)
        if not self._inside(text) and text.decode() != self._root:
            return
        path = self._relative(text)
        if path and path not in self._now:
            assert "O_CREAT" in call.flags, f"{path} is opened and was never made"
            self._name(_Naming(path, _File()))
        file = self._now.get(path)
        if "O_TRUNC" in call.flags and file is not None:
            file.pending.append(0)
        self._handles[call.result] = _Handle(path, file)

    def _write(self, call: Call) -> None:
        handle = self._handles.get(call.numbers[0])
        if handle is None or handle.file is None:
            return
        if call.name == "ftruncate":
            handle.file.pending.append(call.numbers[1])
        elif call.name == "pwrite64":
            handle.file.pending.append((call.numbers[2], call.texts[0][: call.result]))
        else:
            handle.file.pending.append((handle.offset, call.texts[0][: call.result]))
            handle.offset += call.result

    def _sync(self, fd: int) -> None:
        handle = self._handles.get(fd)
        if handle is None or not self._syncs:
            return
        if handle.file is not None:
            handle.file.sync()
            return
        for change in self._namings.pop(handle.path, ()):
            _renamed(self._durable, change)

    def _name(self, change: _Naming, *, directory: bool = False) -> None:
        parent = change.path.rpartition("/")[0]
        if directory:
            self._now[change.path] = None
            self._namings.setdefault(parent, []).append(_Naming(change.path, None, change.path))
        else:
            _renamed(self._now, change)
            self._namings.setdefault(parent, []).append(change)


def _renamed(names: dict[str, _File | None], change: _Naming) -> None:
    if change.away == change.path:
        names[change.path] = None  # a directory is made
        return
    if change.away is not None:
        names.pop(change.away, None)
    if change.inode is None:
        names.pop(change.path, None)
    else:
        names[change.path] = change.inode


def _written(before: bytearray, changes: Sequence[tuple[int, bytes] | int]) -> bytearray:
    after = bytearray(before)
    for change in changes:
        if isinstance(change, int):
            del after[change:]
            after.extend(bytes(change - len(after)))
            continue
        offset, payload = change
        after.extend(bytes(max(0, offset - len(after))))
        after[offset : offset + len(payload)] = payload
    return after
