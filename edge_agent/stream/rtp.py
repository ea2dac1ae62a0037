"""RTP packets: bytes in, a frozen value out, or `PacketRefused` (RFC 3550, section 5.1)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from edge_agent.errors import PacketRefused

HEADER_BYTES = 12
PACKET_BYTES_MAX = 2_048
"""More than any audio packet has; a UDP datagram could bring 64 KiB."""
_HEADER = struct.Struct("!BBHII")
_VERSION = 2


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """One packet of sound. `timestamp` counts ticks of the payload's clock, `sequence` packets; both wrap."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes


def parse(blob: bytes) -> RtpPacket:
    """One datagram as an RTP packet; contributing sources, header extension and padding are taken off.

    Raises PacketRefused: `short`, `long`, `version`, `padding`, `empty`.
    """
    if len(blob) < HEADER_BYTES:
        raise PacketRefused("short", f"{len(blob)} bytes are no RTP packet; it has at least {HEADER_BYTES}.")
    if len(blob) > PACKET_BYTES_MAX:
        raise PacketRefused(
            "long", f"{len(blob)} bytes are no audio packet; send at most {PACKET_BYTES_MAX}."
        )
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(blob)
    if first >> 6 != _VERSION:
        raise PacketRefused("version", f"RTP version {first >> 6} is not spoken here; send version 2.")
    begin = HEADER_BYTES + 4 * (first & 0x0F)
    if first & 0x10:
        if len(blob) < begin + 4:
            raise PacketRefused("short", "The header extension is cut off.")
        begin += 4 + 4 * int.from_bytes(blob[begin + 2 : begin + 4])
    end = len(blob)
    if first & 0x20:
        padding = blob[-1]
        if not 0 < padding <= end - begin:
            raise PacketRefused(
                "padding", f"The padding says {padding} bytes, which the packet does not have."
            )
        end -= padding
    if begin > end:
        raise PacketRefused("short", "The header says more than the packet has.")
    if begin == end:
        raise PacketRefused("empty", "The packet carries no payload.")
    return RtpPacket(second & 0x7F, bool(second & 0x80), sequence, timestamp, ssrc, blob[begin:end])


def build(packet: RtpPacket) -> bytes:
    """The packet's bytes; inverse of `parse`."""
    return (
        _HEADER.pack(
            _VERSION << 6,
            packet.marker << 7 | packet.payload_type,
            packet.sequence,
            packet.timestamp,
            packet.ssrc,
        )
        + packet.payload
    )
