"""Packets in, values out, or a refusal with a reason: never anything else."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import PacketRefused
from edge_agent.model import NS
from edge_agent.stream import red, rtcp, rtp
from edge_agent.stream.red import Block
from edge_agent.stream.rtp import RtpPacket

CAPTURE = bytes.fromhex("80e0 1f2e 0001 5180 deadbeef 78 0102030405060708".replace(" ", ""))
"""Opus from a GStreamer payloader: type 96, marker set."""
REPORTS = rtcp.build(
    (
        rtcp.SenderReport(
            ssrc=7,
            ntp=rtcp.ntp_of(1_790_000_000 * NS),
            timestamp=960,
            packets=50,
            octets=4_000,
            blocks=(
                rtcp.ReportBlock(
                    ssrc=9, fraction=12, lost=-3, highest_sequence=70_000, jitter=33, last_sr=1, delay=2
                ),
            ),
        ),
        rtcp.Description(ssrc=7, cname="studio@district"),
        rtcp.Goodbye(ssrcs=(7, 8)),
    )
)


def refused(parse: Callable[[bytes], object], blob: bytes) -> PacketRefused | None:
    """Why it was refused; None when it was read. Any other error is the test's failure."""
    try:
        parse(blob)
    except PacketRefused as refusal:
        return refusal
    return None


def test_a_capture_is_read() -> None:
    packet = rtp.parse(CAPTURE)
    assert packet == RtpPacket(96, True, 0x1F2E, 0x15180, 0xDEADBEEF, CAPTURE[12:])
    assert rtp.build(packet) == CAPTURE


@pytest.mark.parametrize("blob", [CAPTURE, REPORTS], ids=["rtp", "rtcp"])
def test_cut_at_every_length_it_is_refused_or_shorter(blob: bytes) -> None:
    for length in range(len(blob)):
        for parse in (rtp.parse, rtcp.parse, red.split):
            refusal = refused(parse, blob[:length])
            assert refusal is None or (refusal.code and refusal.text.endswith("."))


@pytest.mark.parametrize(
    ("blob", "code"),
    [
        (CAPTURE[:11], "short"),
        (b"\x40" + CAPTURE[1:], "version"),
        (b"\x8f" + CAPTURE[1:], "short"),
        (b"\x90" + CAPTURE[1:12] + b"\xbe\xde\x00\x04\x00", "short"),
        (b"\x90" + CAPTURE[1:12] + b"\xbe", "short"),
        (b"\xa0" + CAPTURE[1:-1] + b"\xff", "padding"),
        (b"\xa0" + CAPTURE[1:-1] + b"\x00", "padding"),
        (CAPTURE[:12], "empty"),
        (CAPTURE + bytes(3_000), "long"),
    ],
)
def test_each_fault_has_its_code(blob: bytes, code: str) -> None:
    with pytest.raises(PacketRefused) as refusal:
        rtp.parse(blob)
    assert refusal.value.code == code


def test_contributors_extension_and_padding_are_taken_off() -> None:
    blob = b"\xb2" + CAPTURE[1:12] + bytes(8) + b"\xbe\xde\x00\x01abcd" + b"sound" + b"\x00\x00\x03"
    assert rtp.parse(blob).payload == b"sound"


@given(
    st.builds(
        RtpPacket,
        st.integers(0, 127),
        st.booleans(),
        st.integers(0, 0xFFFF),
        st.integers(0, 0xFFFFFFFF),
        st.integers(0, 0xFFFFFFFF),
        st.binary(min_size=1, max_size=400),
    )
)
def test_what_is_built_is_read_again(packet: RtpPacket) -> None:
    assert rtp.parse(rtp.build(packet)) == packet


@given(
    st.lists(
        st.builds(
            Block, st.integers(0, 127), st.integers(1, red.OFFSET_MAX), st.binary(min_size=1, max_size=60)
        ),
        max_size=red.BLOCKS_MAX - 1,
    ),
    st.binary(min_size=1, max_size=60),
)
def test_redundancy_is_taken_apart_as_it_was_put_together(copies: list[Block], newest: bytes) -> None:
    blocks = (*copies, Block(96, 0, newest))
    assert red.split(red.join(blocks)) == blocks


def test_hostile_redundancy_is_refused() -> None:
    endless = b"\xe1\x00\x00\x01" * 400
    with pytest.raises(PacketRefused, match="red_many"):
        red.split(endless)
    with pytest.raises(PacketRefused, match="red_short"):
        red.split(b"\xe1\x3c\x03\xff\x60abc")
    with pytest.raises(PacketRefused, match="red_short"):
        red.split(b"\xe1\x3c\x00\x03\x60abc")
    assert red.split(b"\xe1\x3c\x00\x00\x60new") == (Block(96, 0, b"new"),)


def test_reports_are_read_again() -> None:
    sender, name, goodbye = rtcp.parse(REPORTS)
    assert isinstance(sender, rtcp.SenderReport)
    assert abs(rtcp.wall_ns(sender.ntp) - 1_790_000_000 * NS) < 2
    assert sender.blocks[0].lost == -3
    assert name == rtcp.Description(ssrc=7, cname="studio@district")
    assert goodbye == rtcp.Goodbye(ssrcs=(7, 8))
    assert rtcp.is_rtcp(REPORTS)
    assert not rtcp.is_rtcp(CAPTURE)


def test_the_second_era_of_ntp_is_understood() -> None:
    """From 7 February 2036 the 32 bits of seconds begin again at 0."""
    late = 2_200_000_000 * NS
    assert abs(rtcp.wall_ns(rtcp.ntp_of(late)) - late) < 2


def test_random_bytes_are_refused_or_read_and_nothing_else() -> None:
    rng = random.Random(4)
    for _ in range(20_000):
        blob = bytearray(rng.choice((CAPTURE, REPORTS, rng.randbytes(rng.randrange(80)))))
        for _ in range(rng.randrange(4)):
            if blob:
                blob[rng.randrange(len(blob))] = rng.randrange(256)
        for parse in (rtp.parse, rtcp.parse, red.split):
            refusal = refused(parse, bytes(blob[: rng.randrange(len(blob) + 1)]))
            assert refusal is None or refusal.text.endswith(".")
