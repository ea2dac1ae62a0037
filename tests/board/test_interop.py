"""Frames of ours beside those that somebody else's library makes: Alpha by pyalphasign (Hanover: test_hanover.py).

pyalphasign puts FFh bytes where a pause belongs, which a sign takes as nothing; we pause instead. Everything else must be
the same, byte for byte. Of JetFile II and Adalight no library was to be found on PyPI (docs/boards.md).
"""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from alphasign.command.write_small_dots import WriteSmallDots
from alphasign.command.write_text import WriteText
from alphasign.image import Image as TheirImage
from alphasign.packet import Packet
from hypothesis import given, settings
from PIL import Image

from edge_agent.board.picture import Colours, Picture
from edge_agent.board.protocols import Store, alpha
from edge_agent.board.protocols.alpha import AlphaCodec
from tests.board.wires import pictures

PAUSE = b"\xff"


def theirs(command: WriteText | WriteSmallDots, *, with_sum: bool = False) -> bytes:
    command.checksum = with_sum
    packet = Packet()
    packet.add_command(command)
    whole: bytes = packet.to_bytes()
    return whole.replace(PAUSE, b"")


def test_hello_with_its_sum() -> None:
    text = WriteText("HELLO", label="A", position=" ", mode="b")
    assert theirs(text, with_sum=True) == alpha.frame(alpha.text_file(b"A", b"HELLO"))
    assert (
        theirs(text, with_sum=True).hex()
        == "0000000000015a303002" + "41411b2062" + b"HELLO".hex() + "03" + "3032393804"
    )


@settings(derandomize=True, deadline=None, max_examples=60)
@given(pictures("alpha"))
def test_a_picture_of_dots(picture: Picture) -> None:
    digits = b"".join(bytes(0x30 + cell for cell in picture.row(y)) + b"\r" for y in range(picture.height))
    codec = AlphaCodec(columns=picture.width, rows=picture.height, slots=1, colours=picture.colours)
    ours = b"".join(tx.payload for tx in codec.encode(Store(0, picture)))
    assert ours == theirs(WriteSmallDots(digits, "!", picture.width, picture.height), with_sum=False).replace(
        b"\x04", b"\x03" + alpha.checksum(ours[10:-6]) + b"\x04"
    )


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (255, 191, 0), (0, 0, 0)])
def test_red_green_and_amber_have_the_same_digits(colour: tuple[int, int, int], tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("RGB", (5, 2), colour).save(file, "PNG")
    (tmp_path / "a.png").write_bytes(file.getvalue())
    cell = bool(colour[0]) | bool(colour[1]) << 1
    picture = Picture(5, 2, Colours.RED_GREEN, bytes([cell]) * 10)
    assert TheirImage(tmp_path / "a.png").to_bytes() == alpha.picture_rows(picture)
