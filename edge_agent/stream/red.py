"""Redundant audio data (RFC 2198): one packet that also carries copies of earlier ones.

The header is a row of blocks, each `F=1 | type (7) | timestamp offset (14) | length (10)`, and a last one of one
byte for the newest sound, whose payload is what remains. The offset is in ticks, so at 48 kHz a copy can be
341 ms old at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.errors import PacketRefused

OFFSET_MAX = (1 << 14) - 1
LENGTH_MAX = (1 << 10) - 1
BLOCKS_MAX = 8
"""The newest and seven copies: more is an attack, or a sender that should lower its bit rate."""


@dataclass(frozen=True, slots=True)
class Block:
    """One piece of sound, `offset` ticks before the packet's own timestamp."""

    payload_type: int
    offset: int
    payload: bytes


def split(payload: bytes) -> tuple[Block, ...]:
    """The blocks of a RED payload, oldest as they stand, the newest last (offset 0).

    Empty copies (a sender that has nothing to repeat yet) are left out. Raises PacketRefused: `red_short`, `red_many`.
    """
    headers: list[tuple[int, int, int]] = []
    at = 0
    while True:
        if at >= len(payload):
            raise PacketRefused("red_short", "The redundancy header does not end.")
        kind = payload[at] & 0x7F
        if not payload[at] & 0x80:
            at += 1
            break
        if len(headers) == BLOCKS_MAX - 1:
            raise PacketRefused("red_many", f"More than {BLOCKS_MAX - 1} copies in one packet; send fewer.")
        if at + 4 > len(payload):
            raise PacketRefused("red_short", "The redundancy header is cut off.")
        word = int.from_bytes(payload[at + 1 : at + 4])
        headers.append((kind, word >> 10, word & LENGTH_MAX))
        at += 4
    blocks: list[Block] = []
    for copy_kind, offset, length in headers:
        if at + length > len(payload):
            raise PacketRefused("red_short", "The copies are longer than the packet.")
        if length and offset:
            blocks.append(Block(copy_kind, offset, payload[at : at + length]))
        at += length
    if at == len(payload):
        raise PacketRefused("red_short", "The packet carries copies, but nothing new.")
    return (*blocks, Block(kind, 0, payload[at:]))


def join(blocks: Sequence[Block]) -> bytes:
    """A RED payload of copies and, last, the newest block. What does not fit its fields must not be handed in."""
    header = bytearray()
    for block in blocks[:-1]:
        assert 0 < block.offset <= OFFSET_MAX, "a copy is older than the packet, by 14 bits of ticks at most"
        assert len(block.payload) <= LENGTH_MAX, "a copy has at most 1,023 bytes"
        header.append(0x80 | block.payload_type)
        header += (block.offset << 10 | len(block.payload)).to_bytes(3)
    header.append(blocks[-1].payload_type)
    return bytes(header) + b"".join(block.payload for block in blocks)
