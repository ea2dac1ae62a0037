"""RTCP: what sender and receiver tell each other beside the sound (RFC 3550, section 6).

A sender's report ties the stream's timestamps to wall time, which is what poles need to speak together.
Compound packets are read leniently where the RFC's own rules would throw away what is useful:
reduced-size packets (RFC 5506) are taken, and unknown kinds are passed over.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.errors import PacketRefused
from edge_agent.model import NS

SENDER_REPORT = 200
RECEIVER_REPORT = 201
DESCRIPTION = 202
GOODBYE = 203
NTP_EPOCH_S = 2_208_988_800
"""Seconds from 1900, where NTP begins, to 1970."""
_BLOCK_BYTES = 24
_PACKETS_MAX = 16
_REASON_BYTES_MAX = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportBlock:
    """What a receiver says of one stream. `lost` is cumulative, `fraction` of 256 since the last report."""

    ssrc: int
    fraction: int
    lost: int
    highest_sequence: int
    jitter: int
    """Ticks, RFC 3550 A.8."""
    last_sr: int
    """The middle 32 bits of the NTP time in the last sender's report, 0 before any."""
    delay: int
    """Since that report came, in 1/65536 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderReport:
    """At wall time `ntp` (32.32 fixed point since 1900) the stream's clock stood at `timestamp`."""

    ssrc: int
    ntp: int
    timestamp: int
    packets: int
    octets: int
    blocks: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverReport:
    """How a receiver fares."""

    ssrc: int
    blocks: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """Who a source is: its canonical name."""

    ssrc: int
    cname: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Goodbye:
    """These sources have ended."""

    ssrcs: tuple[int, ...]


Report = SenderReport | ReceiverReport | Description | Goodbye


def is_rtcp(blob: bytes) -> bool:
    """Whether a datagram on a shared port is RTCP and not RTP (RFC 5761, section 4)."""
    return len(blob) >= 2 and 192 <= blob[1] <= 223


def wall_ns(ntp: int) -> int:
    """An NTP time as nanoseconds since 1970; the second era (from 2036) is understood."""
    if ntp < 1 << 63:  # the sign bit tells the eras apart (RFC 4330, section 3)
        ntp += 1 << 64
    return (ntp * NS >> 32) - NTP_EPOCH_S * NS


def ntp_of(wall: int) -> int:
    """Nanoseconds since 1970 as an NTP time."""
    return (((wall + NTP_EPOCH_S * NS) << 32) // NS) & ((1 << 64) - 1)


def parse(blob: bytes) -> tuple[Report, ...]:
    """The reports of one datagram. Raises PacketRefused: `rtcp_short`, `rtcp_version`, `rtcp_many`."""
    reports: list[Report] = []
    at = 0
    for _ in range(_PACKETS_MAX):
        if at == len(blob):
            return tuple(reports)
        if at + 4 > len(blob):
            raise PacketRefused("rtcp_short", "The report's header is cut off.")
        first, kind, words = struct.unpack_from("!BBH", blob, at)
        if first >> 6 != 2:
            raise PacketRefused("rtcp_version", "RTCP of another version is not understood; send version 2.")
        end = at + 4 + 4 * words
        if end > len(blob):
            raise PacketRefused("rtcp_short", "The report is longer than its datagram.")
        reports += _one(kind, first & 0x1F, blob[at + 4 : end])
        at = end
    raise PacketRefused("rtcp_many", f"More than {_PACKETS_MAX} reports in one datagram; send fewer.")


def _one(kind: int, count: int, body: bytes) -> list[Report]:
    if kind == SENDER_REPORT:
        if len(body) < 24:
            raise PacketRefused("rtcp_short", "The sender's report is cut off.")
        ssrc, ntp, timestamp, packets, octets = struct.unpack_from("!IQIII", body)
        blocks = _blocks(count, body[24:])
        return [
            SenderReport(
                ssrc=ssrc, ntp=ntp, timestamp=timestamp, packets=packets, octets=octets, blocks=blocks
            )
        ]
    if kind == RECEIVER_REPORT:
        if len(body) < 4:
            raise PacketRefused("rtcp_short", "The receiver's report is cut off.")
        return [ReceiverReport(ssrc=int.from_bytes(body[:4]), blocks=_blocks(count, body[4:]))]
    if kind == DESCRIPTION:
        return _descriptions(count, body)
    if kind == GOODBYE:
        if len(body) < 4 * count:
            raise PacketRefused("rtcp_short", "The goodbye is cut off.")
        return [Goodbye(ssrcs=struct.unpack_from(f"!{count}I", body))]
    return []


def _blocks(count: int, body: bytes) -> tuple[ReportBlock, ...]:
    if len(body) < count * _BLOCK_BYTES:
        raise PacketRefused("rtcp_short", "The report's blocks are cut off.")
    blocks = []
    for index in range(count):
        ssrc, loss, highest, jitter, last_sr, delay = struct.unpack_from(
            "!IIIIII", body, index * _BLOCK_BYTES
        )
        lost = loss & 0xFFFFFF
        blocks.append(
            ReportBlock(
                ssrc=ssrc,
                fraction=loss >> 24,
                lost=lost - (1 << 24) if lost & 0x800000 else lost,
                highest_sequence=highest,
                jitter=jitter,
                last_sr=last_sr,
                delay=delay,
            )
        )
    return tuple(blocks)


def _descriptions(count: int, body: bytes) -> list[Report]:
    """Each source's canonical name; other items are passed over."""
    found: list[Report] = []
    at = 0
    for _ in range(count):
        if at + 4 > len(body):
            raise PacketRefused("rtcp_short", "The description is cut off.")
        ssrc = int.from_bytes(body[at : at + 4])
        at += 4
        while at < len(body) and body[at]:
            if at + 2 > len(body) or at + 2 + body[at + 1] > len(body):
                raise PacketRefused("rtcp_short", "The description's item is cut off.")
            if body[at] == 1:
                text = body[at + 2 : at + 2 + body[at + 1]].decode("utf-8", "replace")
                found.append(Description(ssrc=ssrc, cname=text))
            at += 2 + body[at + 1]
        at += 4 - at % 4  # at least one byte of nought, up to the next word
    return found


# ---------------------------------------------------------------- what we say ourselves


def build(reports: Sequence[Report]) -> bytes:
    """One compound packet. It should begin with a report and name its source (RFC 3550, section 6.1)."""
    return b"".join(_packet(report) for report in reports)


def _packet(report: Report) -> bytes:
    match report:
        case SenderReport():
            fixed = struct.pack(
                "!IQIII",
                report.ssrc,
                report.ntp,
                report.timestamp & 0xFFFFFFFF,
                report.packets & 0xFFFFFFFF,
                report.octets & 0xFFFFFFFF,
            )
            return _framed(SENDER_REPORT, len(report.blocks), fixed + _packed(report.blocks))
        case ReceiverReport():
            return _framed(
                RECEIVER_REPORT, len(report.blocks), struct.pack("!I", report.ssrc) + _packed(report.blocks)
            )
        case Description():
            name = report.cname.encode()[:_REASON_BYTES_MAX]
            body = struct.pack("!IBB", report.ssrc, 1, len(name)) + name
            return _framed(DESCRIPTION, 1, body + bytes(4 - len(body) % 4))
        case Goodbye():
            return _framed(GOODBYE, len(report.ssrcs), struct.pack(f"!{len(report.ssrcs)}I", *report.ssrcs))


def _framed(kind: int, count: int, body: bytes) -> bytes:
    assert len(body) % 4 == 0, "RTCP counts in words"
    return struct.pack("!BBH", 2 << 6 | count, kind, len(body) // 4) + body


def _packed(blocks: Sequence[ReportBlock]) -> bytes:
    return b"".join(
        struct.pack(
            "!IIIIII",
            block.ssrc,
            block.fraction << 24 | max(-(1 << 23), min(block.lost, (1 << 23) - 1)) & 0xFFFFFF,
            block.highest_sequence & 0xFFFFFFFF,
            block.jitter & 0xFFFFFFFF,
            block.last_sr,
            block.delay & 0xFFFFFFFF,
        )
        for block in blocks
    )
