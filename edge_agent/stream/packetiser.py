"""The sender's side, pure: frames become Opus, Opus becomes RTP with copies of earlier packets, and reports.

What a district's studio sends (`edge-agent send`), and what the tests send. Each packet but the first few carries a
copy of the one `red_offset` packets older (RFC 2198): a burst that takes less than that loses nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.model import RATE_HZ
from edge_agent.stream import red, rtcp, rtp
from edge_agent.stream.opus import OpusEncoder
from edge_agent.stream.red import Block
from edge_agent.stream.rtp import RtpPacket

if TYPE_CHECKING:
    from hal.ports import Frames

FRAMES = RATE_HZ // 50
"""20 ms a packet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """How a stream is sent."""

    ssrc: int
    payload_type: int = 96
    red_type: int = 97
    red_offset: int = 4
    """Packets between the sound and its copy; 0: no copies. At 20 ms a packet 17 is the most (RFC 2198)."""
    bitrate: int = 32_000
    fec: bool = True
    loss_percent: int = 10
    voice: bool = True
    dtx: bool = False
    cname: str = "village-node"
    first_sequence: int = 0
    first_timestamp: int = 0


class Packetiser:
    """One stream. `protect` and `protect_rtcp` encrypt what leaves (SRTP), or pass it on."""

    def __init__(self, sending: Sending, encode: Callable[[Frames], bytes] | None = None) -> None:
        assert sending.red_offset * FRAMES <= red.OFFSET_MAX, "a copy is at most 341 ms old"
        self.sending = sending
        self._encode = encode or self._encoder().encode
        self._sent: deque[bytes] = deque(maxlen=max(1, sending.red_offset))
        self._index = 0
        self._octets = 0

    def _encoder(self) -> OpusEncoder:
        sending = self.sending
        return OpusEncoder(
            bitrate=sending.bitrate,
            fec=sending.fec,
            loss_percent=sending.loss_percent,
            voice=sending.voice,
            dtx=sending.dtx,
        )

    @property
    def timestamp(self) -> int:
        """Of the next packet."""
        return (self.sending.first_timestamp + self._index * FRAMES) & 0xFFFFFFFF

    def packet(self, frames: Frames) -> bytes:
        """The next 20 ms as one RTP packet."""
        sending = self.sending
        opus = self._encode(frames)
        kind, payload = sending.payload_type, opus
        if sending.red_offset:
            kind = sending.red_type
            newest = Block(sending.payload_type, 0, opus)
            whole = len(self._sent) == sending.red_offset
            copy = Block(sending.payload_type, sending.red_offset * FRAMES, self._sent[0]) if whole else None
            fits = copy is not None and len(copy.payload) <= red.LENGTH_MAX
            payload = red.join((copy, newest) if copy is not None and fits else (newest,))
            self._sent.append(opus)
        sequence = (sending.first_sequence + self._index) & 0xFFFF
        packet = RtpPacket(kind, self._index == 0, sequence, self.timestamp, sending.ssrc, payload)
        self._index += 1
        self._octets += len(payload)
        return rtp.build(packet)

    def report(self, wall_ns: int) -> bytes:
        """A sender's report: the next packet's first frame was taken at this wall time (ns since 1970)."""
        return rtcp.build(
            (
                rtcp.SenderReport(
                    ssrc=self.sending.ssrc,
                    ntp=rtcp.ntp_of(wall_ns),
                    timestamp=self.timestamp,
                    packets=self._index,
                    octets=self._octets,
                ),
                rtcp.Description(ssrc=self.sending.ssrc, cname=self.sending.cname),
            )
        )

    def goodbye(self, wall_ns: int) -> bytes:
        """The last report: the stream has ended."""
        return self.report(wall_ns) + rtcp.build((rtcp.Goodbye(ssrcs=(self.sending.ssrc,)),))
