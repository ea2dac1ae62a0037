"""Hanover's raw dots: frames known to be good, and pyflipdot's, byte for byte."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyflipdot import data as theirs

from edge_agent.board.picture import Colours, Picture
from edge_agent.board.protocols import Draw, SelfTest
from edge_agent.board.protocols import hanover as hv
from tests.board.wires import Wire, pictures

DOT = Picture(2, 3, Colours.MONO, bytes((1, 0, 0, 0, 0, 0)))


def test_frames_known_to_be_good() -> None:
    assert hv.frame(1, 2) == b"\x0212\x039A"
    assert hv.frame(1, 1, hv.image(DOT)) == b"\x021102" + b"0100\x0378"
    assert hv.frame(hv.START_TEST, 0) == b"\x0230\x039A"


def test_the_test_pattern_goes_to_every_sign() -> None:
    wire = Wire.of("hanover")
    wire.say(SelfTest(on=True))
    assert wire.board.current.lit == 96 * 16
    wire.say(SelfTest(on=False))
    assert wire.board.current.kind == "blank"
    assert wire.minded() == []


def test_somebody_elses_address_is_somebody_elses() -> None:
    wire = Wire.of("hanover", columns=2, rows=3)
    wire.hear(hv.frame(1, 5, hv.image(DOT)))
    assert wire.board.current.kind == "blank"
    wire.say(Draw(DOT))
    assert wire.seen() == DOT


@settings(derandomize=True, deadline=None, max_examples=30)
@given(pictures("hanover", columns=120, rows=40), st.integers(0, 15))
def test_a_public_library_makes_the_same_image_packets(picture: Picture, address: int) -> None:
    image = np.frombuffer(picture.cells, dtype=np.uint8).reshape(picture.height, picture.width).astype(bool)
    packet = theirs.ImagePacket(address, image).get_bytes()
    assert hv.frame(hv.WRITE_IMAGE, address, hv.image(picture)) == packet


@pytest.mark.parametrize(
    ("ours", "packet"),
    [
        (hv.frame(hv.START_TEST, 0), theirs.TestSignsStartPacket()),
        (hv.frame(hv.STOP_TEST, 0), theirs.TestSignsStopPacket()),
        (hv.frame(7, 9, b"ABC"), theirs.Packet(7, 9, b"ABC")),
    ],
)
def test_and_the_same_others(ours: bytes, packet: theirs.Packet) -> None:
    assert ours == packet.get_bytes()
