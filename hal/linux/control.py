"""The local control door: a Unix socket beside the daemon, one line in, one line out.

Facts about Unix sockets: whoever may write to the socket's file and pass its directory may connect; the
kernel tells who it was (SO_PEERCRED, taken at connect), but in a user namespace (systemd's PrivateUsers=)
every id except root's and ours shows as 65534. A path has at most 107 bytes; a longer one is reached through
/proc/self/fd. A file left by a dead process must be replaced: we bind beside it and rename over it.
"""

from __future__ import annotations

import asyncio
import contextlib
import grp
import logging
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hal.errors import ControlError
from hal.ports import Peer

log = logging.getLogger(__name__)

LINE_BYTES: Final = 4096
ANSWER_BYTES: Final = 64 * 1024
LINE_WITHIN_S: Final = 5.0
CALLS_MAX: Final = 8
_PATH_BYTES: Final = 107
_CREDENTIALS: Final = struct.Struct("3i")


class SocketCall:
    """`hal.ports.ControlCall`."""

    def __init__(self, peer: Peer, line: bytes) -> None:
        self.peer = peer
        self.line = line
        self._answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def answer(self, line: bytes) -> None:
        assert len(line) <= ANSWER_BYTES
        assert b"\n" not in line
        if not self._answer.done():
            self._answer.set_result(line)
        await asyncio.sleep(0)

    async def answered(self) -> bytes:
        """What is to be sent."""
        return await self._answer


class SocketDesk:
    """`hal.ports.ControlDesk`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode = path.stat().st_ino
        self._calls: asyncio.Queue[SocketCall] = asyncio.Queue(CALLS_MAX)
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._closed = False

    async def listen(self, listener: socket.socket) -> None:
        """Begin to take connections."""
        self._server = await asyncio.start_unix_server(self._connected, sock=listener, limit=LINE_BYTES)

    async def receive(self) -> SocketCall:
        return await self._calls.get()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(OSError):
            if self._path.stat().st_ino == self._inode:  # nobody has taken our place
                self._path.unlink()
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.set_name("control call")
        try:
            if len(self._tasks) < CALLS_MAX and not self._closed:
                self._tasks.add(task)
                await self._serve(reader, writer)
        except asyncio.CancelledError:
            pass  # only `close` cancels it; asyncio's own callback would log a cancelled one
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            log.debug("A local request was hung up on. error=%r", error)
        finally:
            self._tasks.discard(task)
            writer.transport.abort() if self._closed else writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = _peer(writer.get_extra_info("socket"))
        async with asyncio.timeout(LINE_WITHIN_S):
            line = await reader.readuntil(b"\n")
        call = SocketCall(peer, line[:-1])
        self._calls.put_nowait(call)  # as many places as calls are served
        writer.write(await call.answered() + b"\n")
        async with asyncio.timeout(LINE_WITHIN_S):
            await writer.drain()


class SocketDoor:
    """`hal.ports.ControlDoor`: the socket at `path`, mode 0660, for our group or the named one."""

    def __init__(self, path: Path, *, group: str | None = None) -> None:
        self._path = path
        self._group = group

    async def open(self) -> SocketDesk:
        try:
            listener = self._bind()
        except (OSError, KeyError) as error:
            raise ControlError(f"The local socket {self._path} cannot be made: {error}.") from error
        desk = SocketDesk(self._path)
        await desk.listen(listener)
        return desk

    def _bind(self) -> socket.socket:
        """A socket under its final name, that never had rights it must not have."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        beside = self._path.with_name(self._path.name + ".new")
        beside.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            os.fchmod(listener.fileno(), 0)  # what `bind` makes has this mode, less the umask
            with short_path(beside) as name:
                listener.bind(name)
            if self._group is not None:
                os.chown(beside, -1, grp.getgrnam(self._group).gr_gid)
            beside.chmod(0o660)
            listener.listen(CALLS_MAX)
            beside.rename(self._path)
        except BaseException:
            listener.close()
            beside.unlink(missing_ok=True)
            raise
        listener.setblocking(False)
        return listener


@contextlib.contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A name of `path` that fits into a socket address, while the context lasts."""
    if len(os.fsencode(path)) <= _PATH_BYTES:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def _peer(connection: socket.socket) -> Peer:
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(packed)
    return Peer(pid=pid, uid=uid, gid=gid)
