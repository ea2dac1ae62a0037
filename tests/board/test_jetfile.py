"""JetFile II: frames known to be good, and what a sign says of itself."""

from __future__ import annotations

from datetime import datetime

import pytest

from edge_agent.board.dots import Dots
from edge_agent.board.picture import Colours, coloured
from edge_agent.board.protocols import (
    Ack,
    AskDeadDots,
    AskPlan,
    AskStatus,
    DeadDots,
    Draw,
    HandBack,
    Nak,
    Plan,
    Power,
    SelfTest,
    SetClock,
    SetUp,
    Status,
)
from edge_agent.board.protocols import jetfile as jf
from edge_agent.model import LOCAL_TIME
from hal.sim.jetfile import JetfileSign
from tests.board.wires import Wire

PICTURE = coloured(Dots(96, (0b1,) * 16), Colours.MONO, "red")


def sign(wire: Wire) -> JetfileSign:
    assert isinstance(wire.board, JetfileSign)
    return wire.board


# ---------------------------------------------------------------- known-good frames


def test_ping_of_serial_one() -> None:
    assert jf.packet(jf.PING, serial=1) == bytes.fromhex("55A7050000000000000001000301 0000")


def test_a_text_on_the_ram_disk_in_the_first_format() -> None:
    assert jf.text_frame(b"ETAA", b"Hi") == bytes.fromhex("015A303002410F4554414106486904")


def test_the_sum_counts_everything_behind_it() -> None:
    whole = jf.packet(jf.EMERGENCY, b"\x3c\x00\x00", b"x", serial=0x0102, address=b"\x01\x02")
    assert whole[4:6] == b"\x01\x00"
    assert whole[10:12] == b"\x02\x01"
    assert whole[14:16] == b"\x01\x00"
    assert int.from_bytes(whole[2:4], "little") == sum(whole[4:])


def test_the_clock_is_in_bcd() -> None:
    moment = datetime(2026, 11, 24, 19, 30, 59, tzinfo=LOCAL_TIME)
    assert jf.clock_args(moment).hex() == "262011241930590313000000"


def test_four_dots_a_byte_red_above_green() -> None:
    two = coloured(Dots(5, (0b10011,)), Colours.MONO, "red")
    assert jf.stream_dots(two).hex() == "8280"


# ---------------------------------------------------------------- what the sign says


def test_the_sign_tells_its_status_and_whether_the_stream_stands() -> None:
    wire = Wire.of("jetfile")
    assert Plan(ours=False) in wire.say(AskPlan())
    assert wire.say(SetUp()) == [Ack()]
    assert Plan(ours=True) in wire.say(AskPlan())
    assert Status(dark=False, takeover=False, celsius=31.0) in wire.say(AskStatus())
    wire.say(Power(on=False))
    (status,) = [reply for reply in wire.say(AskStatus()) if isinstance(reply, Status)]
    assert status.dark
    sign(wire).celsius = -5
    (status,) = [reply for reply in wire.say(AskStatus()) if isinstance(reply, Status)]
    assert status.celsius == -5


def test_dots_without_a_stream_are_refused_as_lost() -> None:
    wire = Wire.of("jetfile")
    assert wire.say(Draw(PICTURE)) == [Nak("8305 not streaming", lost=True)]


def test_a_wrong_sum_is_refused_with_its_name() -> None:
    wire = Wire.of("jetfile")
    wire.board.refuse_next = 1
    assert wire.say(SetUp()) == [Nak("9002 checksum")]


def test_its_owners_playlist_is_seen_again() -> None:
    wire = Wire.of("jetfile")
    sign(wire).owner_plays(0, b"SALE")
    before = wire.board.current.dots
    wire.say(SetUp())
    wire.say(Draw(PICTURE))
    assert wire.seen() == PICTURE
    wire.say(HandBack())
    assert wire.board.current.dots == before
    assert sign(wire).flash_writes == 0, "nothing was written to its flash"


def test_clock_test_pattern_and_dead_dots() -> None:
    wire = Wire.of("jetfile")
    wire.say(SetClock(datetime(2026, 11, 24, 19, 30, tzinfo=LOCAL_TIME)))
    assert sign(wire).clock.startswith("2620112419")
    wire.say(SelfTest(on=True))
    assert wire.board.current.lit == 96 * 16
    wire.say(SelfTest(on=False))
    wire.board.dead_dots = frozenset({(0, 0), (5, 3)})
    assert wire.say(AskDeadDots()) == [Ack(), DeadDots(2)]


def test_an_answer_to_something_older_answers_nothing() -> None:
    wire = Wire.of("jetfile")
    (first,) = wire.codec.encode(SetUp())
    late = wire.hear(first.payload)
    wire.codec.encode(AskPlan())
    assert list(wire.codec.feed(late)) == []


@pytest.mark.parametrize("columns", [64, 96, 192])
def test_a_bitmap_is_a_bitmap(columns: int) -> None:
    import io

    from PIL import Image

    picture = coloured(
        Dots(columns, tuple(1 << (n % columns) for n in range(16))), Colours.RED_GREEN, "amber"
    )
    image = Image.open(io.BytesIO(jf.bitmap(picture))).convert("RGB")
    assert image.size == (columns, 16)
    lit = [(x, y) for y in range(16) for x in range(columns) if image.getpixel((x, y)) == (255, 255, 0)]
    assert lit == [(x, y) for y in range(16) for x in range(columns) if picture.row(y)[x]]


def test_serial_numbers_go_round() -> None:
    wire = Wire.of("jetfile")
    codec = wire.codec
    assert isinstance(codec, jf.JetfileCodec)
    codec._serial = 0xFFFE
    for _ in range(4):
        assert Ack() in wire.say(SetUp())
