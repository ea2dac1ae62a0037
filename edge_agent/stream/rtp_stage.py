"""The live link by RTP: a socket, its session's reception, and what is said back to the sender.

Only the session's source is listened to: the relay or host of the order, else the address that the session began
with; the kernel keeps others out. After some silence any address may go on with the session, because a sender that
starts again has another port.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from edge_agent.model import NS
from hal.errors import DatagramError

if TYPE_CHECKING:
    from edge_agent.clocktrust import WallTime
    from edge_agent.playout.leveller import Leveller
    from edge_agent.stream.reception import Reception
    from hal.ports import Clock, Datagram, DatagramSocket, Frames

log = logging.getLogger(__name__)

KEEP_ALIVE_S = 15.0
"""A NAT forgets UDP after 30 s at the least (RFC 4787, REQ-5 asks for 2 minutes, carriers give less)."""
REPORT_S = 5.0
FORGET_SOURCE_S = 5.0
_HOUSEKEEPING_S = 1.0

Address = tuple[str, int]


class RtpStage:
    """One session's packets as a `Stage`. Owns the socket."""

    name = "live"

    def __init__(
        self,
        *,
        socket: DatagramSocket,
        reception: Reception,
        leveller: Leveller,
        clock: Clock,
        wall: WallTime | None,
        only_host: str | None,
        relay: Address | None,
        ssrc: int,
        received: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`wall` is given in a group; `only_host` and `relay` are addresses; `ssrc` is our own. `received` is told how
        many bytes came."""
        self._received = received
        self._socket = socket
        self.reception = reception
        self._leveller = leveller
        self._clock = clock
        self._wall = wall
        self._only_host = only_host if relay is None else None
        self._relay = relay
        self._ssrc = ssrc
        self._source: Address | None = relay
        self._strangers = 0
        self._came_ns = clock.monotonic_ns()
        self._present = False
        self._paused = False
        self._life: asyncio.Task[None] | None = None
        if relay is not None:
            socket.only_from(relay)

    @property
    def ready(self) -> bool:
        return True

    @property
    def hopeless(self) -> bool:
        return False

    @property
    def present(self) -> bool:
        return self._present

    @property
    def over(self) -> bool:
        return self.reception.over

    def start(self) -> None:
        if self._life is None:
            self._life = asyncio.create_task(self._keep_house(), name="live packets")

    def stop(self) -> None:
        """It is always listened to: it may come back."""

    def pause(self, *, yes: bool) -> None:
        """Somebody else has the loudspeaker; what comes meanwhile is thrown away."""
        self._paused = yes
        if not yes:
            self._drain()
            self.reception.resume()

    async def read(self, frames: int, playout_ns: int) -> Frames:
        self._drain()
        offset_ns = None if self._wall is None else self._wall.offset_ns()
        made = self.reception.get(frames, playout_ns, offset_ns)
        heard = self.reception.heard
        self._present = heard.real or heard.pausing
        return self._leveller.process(made) if heard.real else made

    async def close(self) -> None:
        life, self._life = self._life, None
        if life is not None:
            life.cancel()
            await asyncio.wait([life])
        self._socket.close()

    def report(self) -> dict[str, object]:
        found = self.reception.report()
        if discarded := self._socket.discarded() + self._strangers:
            found["foreign"] = discarded
        if self._wall is not None and (error_ns := self._wall.error_ns()) is not None:
            found["clock_error_ms"] = round(error_ns / 1e6, 2)
        found["gain_db"] = round(self._leveller.gain_db, 1)
        return found

    # ------------------------------------------------------------ packets

    def _drain(self) -> None:
        try:
            came = self._socket.take()
        except DatagramError as error:
            log.warning("Live packets cannot be taken. error=%s", error)
            return
        if came:
            self._received(sum(len(datagram.payload) for datagram in came))
        for datagram in came:
            self._take(datagram)

    def _take(self, datagram: Datagram) -> None:
        source = datagram.source
        if (self._source is not None and source != self._source) or (
            self._only_host is not None and source[0] != self._only_host
        ):
            self._strangers += 1
            return
        if not self.reception.put(datagram.payload, datagram.arrival_ns):
            return
        self._came_ns = datagram.arrival_ns
        if self._source is None and self.reception.buffer.ssrc is not None:
            self._source = source
            self._socket.only_from(source)

    async def _keep_house(self) -> None:
        """Speak to the relay, report to the sender, let a silent source go."""
        told_ns: int | None = None
        while True:
            now_ns = self._clock.monotonic_ns()
            if self._paused:
                self._drain()
            quiet_s = (now_ns - self._came_ns) / NS
            if self._relay is None and self._source is not None and quiet_s > FORGET_SOURCE_S:
                self._source = None
                self._socket.only_from(None)
            every_s = KEEP_ALIVE_S if quiet_s > REPORT_S else REPORT_S
            if self._source is not None and (told_ns is None or now_ns - told_ns >= every_s * NS):
                told_ns = now_ns
                self._socket.send(self.reception.receiver_report(self._ssrc, now_ns), self._source)
            await asyncio.sleep(_HOUSEKEEPING_S)
