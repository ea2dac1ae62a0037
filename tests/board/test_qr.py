"""A QR code on a board is read back by a decoder that we have not written, or is not shown."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import pytest
import zxingcpp
from PIL import Image

from edge_agent.board.painter import Painter
from edge_agent.board.picture import Colours, Picture
from edge_agent.board.settings import BoardSettings
from edge_agent.errors import TextRefused
from hal.sim import picture as leds

ADDRESS = "https://xa.vn/gop-y"


def painter(**said: Any) -> Painter:
    return Painter(msgspec.convert({"lit_percent_max": 100} | said, BoardSettings))


def shown(text: str, caption: str = "", **said: Any) -> Picture:
    (page,) = painter(**said).code(text, caption)
    return page.picture


def as_image(picture: Picture, scale: int) -> Image.Image:
    """The dots as squares on a dark wall."""
    if picture.colours is Colours.FULL:
        image = Image.frombytes("RGB", (picture.width, picture.height), picture.cells).convert("L")
    else:
        cells = bytes(255 if cell else 0 for cell in picture.cells)
        image = Image.frombytes("L", (picture.width, picture.height), cells)
    large = image.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
    wall = Image.new("L", (large.width + 80, large.height + 80), 20)
    wall.paste(large, (40, 40))
    return wall


def read(image: Image.Image) -> list[str]:
    return [code.text for code in zxingcpp.read_barcodes(image)]


@pytest.mark.parametrize(
    ("columns", "rows", "colours", "text"),
    [
        (64, 64, "mono", "https://xa.vn/1"),
        (128, 64, "red_green", "https://xa.vn/1"),
        (96, 96, "rgb", ADDRESS),
        (192, 96, "rgb", ADDRESS),
        (1920, 1080, "full", "https://dichvucong.gov.vn/p/home/dvc-trang-chu.html?thon=mo-phong"),
    ],
)
def test_the_dots_are_read_back(columns: int, rows: int, colours: str, text: str) -> None:
    picture = shown(text, columns=columns, rows=rows, colours=colours)
    assert read(as_image(picture, 1 if columns > 1000 else 4)) == [text]


def test_it_is_read_from_round_lamps_too() -> None:
    picture = shown(ADDRESS, columns=96, rows=96, colours="rgb")
    cells = tuple(bytes(picture.row(y)) for y in range(picture.height))
    photo = Image.open(io.BytesIO(leds.png(cells))).convert("L")
    blurred = photo.resize((photo.width // 4, photo.height // 4), Image.Resampling.LANCZOS)
    assert read(blurred) == [ADDRESS]


def test_with_a_caption_beside_it_it_is_still_read() -> None:
    picture = shown(ADDRESS, "Góp ý với xã", columns=192, rows=96, colours="rgb")
    assert read(as_image(picture, 4)) == [ADDRESS]
    right = [x for x in range(100, 192) for y in range(96) if picture.row(y)[x]]
    assert right, "the caption stands beside it"


def test_a_caption_is_as_large_as_there_is_room_for() -> None:
    picture = shown(ADDRESS, "Nộp hồ sơ", columns=640, rows=360, colours="full")
    lit = [y for y in range(360) if any(picture.row(y)[3 * 362 :])]
    assert lit[-1] - lit[0] > 180, "three lines of the largest letters"
    small = shown(ADDRESS, "Mời bà con góp ý với ủy ban nhân dân xã", columns=192, rows=96, colours="rgb")
    assert any(small.row(y)[x] for x in range(100, 192) for y in range(96)), "a longer one is smaller"


@pytest.mark.parametrize(("columns", "rows"), [(96, 16), (192, 32), (256, 48), (40, 64)])
def test_where_no_camera_could_read_it_it_is_refused_with_the_size_that_it_needs(
    columns: int, rows: int
) -> None:
    with pytest.raises(TextRefused, match=r"needs \d+ x \d+ dots to be scanned"):
        shown(ADDRESS, columns=columns, rows=rows)


def test_too_much_for_any_code_is_refused() -> None:
    with pytest.raises(TextRefused, match=r"No QR code can be made|to be scanned"):
        shown("x" * 4000, columns=1920, rows=1080, colours="full")


def test_a_caption_that_does_not_fit_is_refused_not_cut() -> None:
    with pytest.raises(TextRefused):
        shown(ADDRESS, "Góp ý với Ủy ban nhân dân xã Vị Hương", columns=112, rows=96)


def test_a_code_needs_light_and_a_weak_power_supply_refuses_it() -> None:
    with pytest.raises(TextRefused, match="30 % are allowed"):
        shown("https://xa.vn/1", columns=64, rows=64, lit_percent_max=30)
