"""The local control door in virtual time: a test, or a story, is the technician with the laptop.

Bounds as at the real one: a line of 4096 bytes, 5 s to say it, 8 calls at once.
"""

from __future__ import annotations

import asyncio
from typing import Final

from hal.errors import ControlError
from hal.ports import Peer

LINE_BYTES: Final = 4096
ANSWER_BYTES: Final = 64 * 1024
LINE_WITHIN_S: Final = 5.0
CALLS_MAX: Final = 8

TECHNICIAN: Final = Peer(pid=4711, uid=1000, gid=1000)


class VirtualCall:
    """`hal.ports.ControlCall`."""

    def __init__(self, peer: Peer, line: bytes) -> None:
        self.peer = peer
        self.line = line
        self.answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def answer(self, line: bytes) -> None:
        assert len(line) <= ANSWER_BYTES
        assert b"\n" not in line
        if not self.answered.done():
            self.answered.set_result(line)


class VirtualDesk:
    """`hal.ports.ControlDesk`, and the street before it: `say`."""

    def __init__(self) -> None:
        self._calls: asyncio.Queue[VirtualCall] = asyncio.Queue(CALLS_MAX)
        self._served: set[VirtualCall] = set()
        self._waiting = 0
        self._closed = False

    async def receive(self) -> VirtualCall:
        return await self._calls.get()

    async def close(self) -> None:
        self._closed = True
        for call in self._served:
            if not call.answered.done():
                call.answered.set_result(b"")

    async def say(self, sent: bytes, peer: Peer = TECHNICIAN) -> bytes:
        """Connect, send these bytes, and hear until the other side hangs up: b"" is no answer."""
        if self._closed or self._waiting >= CALLS_MAX:
            return b""
        self._waiting += 1
        try:
            line, newline, _ = sent.partition(b"\n")
            if not newline and len(sent) <= LINE_BYTES:
                await asyncio.sleep(LINE_WITHIN_S)
                return b""
            if len(line) > LINE_BYTES:
                return b""
            call = VirtualCall(peer, line)
            self._served.add(call)
            self._calls.put_nowait(call)
            answer = await call.answered
            self._served.discard(call)
            return answer + b"\n" if answer else b""
        finally:
            self._waiting -= 1


class VirtualControl:
    """`hal.ports.ControlDoor`."""

    def __init__(self) -> None:
        self.broken = False
        """The socket cannot be made."""
        self.desk: VirtualDesk | None = None

    async def open(self) -> VirtualDesk:
        if self.broken:
            raise ControlError("The local socket cannot be made: this is a test.")
        self.desk = VirtualDesk()
        return self.desk

    async def say(self, sent: bytes, peer: Peer = TECHNICIAN) -> bytes:
        """Send bytes from this machine; b"" when nobody listens, or hangs up."""
        return b"" if self.desk is None else await self.desk.say(sent, peer)
