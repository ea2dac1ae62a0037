"""Adalight: the fourth codec, which shows how one is added."""

from __future__ import annotations

from edge_agent.board.picture import BLUE, RED, Colours, Picture
from edge_agent.board.protocols import Dim, Draw
from edge_agent.board.protocols.adalight import AdalightCodec, frame
from tests.board.wires import Wire


def test_a_frame_of_two_lamps() -> None:
    assert frame(b"\xff\x00\x00\x00\x00\xff") == b"Ada\x00\x01\x54\xff\x00\x00\x00\x00\xff"


def test_the_count_has_two_bytes_and_a_check() -> None:
    head = frame(bytes(3 * 2048))[:6]
    assert head == b"Ada" + bytes((0x07, 0xFF, 0x07 ^ 0xFF ^ 0x55))


def test_a_serpentine_string_runs_back_in_every_second_row() -> None:
    picture = Picture(2, 2, Colours.RGB, bytes((RED, 0, BLUE, 0)))
    codec = AdalightCodec(columns=2, rows=2, colours=Colours.RGB, serpentine=True)
    (tx,) = codec.encode(Draw(picture))
    assert tx.payload[6:] == b"\xff\x00\x00" + bytes(3) + bytes(3) + b"\x00\x00\xff"


def test_dimming_shows_the_same_again_darker() -> None:
    wire = Wire.of("adalight", columns=2, rows=1, colours=Colours.RGB)
    picture = Picture(2, 1, Colours.RGB, bytes((RED | BLUE, 0)))
    assert wire.codec.encode(Dim(40)) == ()
    wire.say(Draw(picture))
    assert wire.board.brightness == 40
    wire.say(Dim(80))
    assert wire.board.brightness == 80
    assert wire.seen(Colours.RGB) == picture


def test_a_wall_of_full_colours_is_dimmed_value_by_value() -> None:
    codec = AdalightCodec(columns=1, rows=1, colours=Colours.FULL)
    codec.encode(Dim(50))
    (tx,) = codec.encode(Draw(Picture(1, 1, Colours.FULL, bytes((255, 100, 0)))))
    assert tuple(tx.payload[6:]) == (127, 49, 0)
