"""Picture files from outside: fitted and dithered, or refused before they can do harm."""

from __future__ import annotations

import io
import zlib
from struct import pack
from typing import Any

import pytest
from PIL import Image

from edge_agent.board import images
from edge_agent.board.picture import BLUE, GREEN, RED, Colours, Picture
from edge_agent.errors import TextRefused


def blob(image: Image.Image, form: str = "PNG", **how: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **how)
    return file.getvalue()


def drawn(
    content: bytes, colours: Colours = Colours.RGB, *, columns: int = 64, rows: int = 32, load: int = 100
) -> Picture:
    return images.drawn(content, columns=columns, rows=rows, colours=colours, load_percent_max=load)


def solid(colour: tuple[int, int, int], size: tuple[int, int] = (64, 32)) -> Image.Image:
    return Image.new("RGB", size, colour)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_the_three_formats_are_shown(form: str) -> None:
    picture = drawn(blob(solid((255, 0, 0)), form))
    assert set(picture.cells) == {RED}


@pytest.mark.parametrize("form", ["GIF", "BMP", "TIFF", "PPM"])
def test_no_other_format_is_even_opened(form: str) -> None:
    with pytest.raises(TextRefused, match="no whole picture of the formats PNG, JPEG, WEBP"):
        drawn(blob(solid((255, 0, 0)), form))


@pytest.mark.parametrize(
    ("colours", "colour", "cell"),
    [
        (Colours.RGB, (255, 255, 0), RED | GREEN),
        (Colours.RGB, (0, 0, 255), BLUE),
        (Colours.RED_GREEN, (0, 255, 0), GREEN),
        (Colours.RED_GREEN, (255, 255, 0), RED | GREEN),
        (Colours.MONO, (255, 255, 255), 1),
        (Colours.MONO, (0, 0, 0), 0),
    ],
)
def test_a_boards_own_colours_are_not_dithered(
    colours: Colours, colour: tuple[int, int, int], cell: int
) -> None:
    assert set(drawn(blob(solid(colour)), colours).cells) == {cell}


@pytest.mark.parametrize("colours", [Colours.MONO, Colours.RED_GREEN, Colours.RGB])
def test_a_grey_is_a_mixture_of_what_there_is(colours: Colours) -> None:
    picture = drawn(blob(solid((128, 128, 128), (640, 320))), colours)
    assert 35 <= picture.load_percent <= 65
    assert max(picture.cells) <= {Colours.MONO: 1, Colours.RED_GREEN: 3}.get(colours, 7)


def test_a_screen_gets_every_shade() -> None:
    picture = drawn(blob(solid((12, 200, 99))), Colours.FULL)
    assert picture.cells == bytes((12, 200, 99)) * 64 * 32


def test_it_is_whole_in_proportion_and_in_the_middle() -> None:
    picture = drawn(blob(solid((255, 0, 0), (100, 100))))
    lit = [x for x in range(64) if picture.row(16)[x]]
    assert (lit[0], lit[-1]) == (16, 47)
    tall = drawn(blob(solid((255, 0, 0), (10, 1000))))
    assert sum(map(bool, tall.row(0))) == 1


def test_a_telephones_picture_stands_upright() -> None:
    image = solid((255, 0, 0), (320, 640))
    image.paste((0, 0, 255), (0, 0, 320, 320))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    picture = drawn(blob(image, "JPEG", exif=exif, quality=95))
    assert (picture.row(16)[1], picture.row(16)[62]) == (RED, BLUE)


def test_what_is_transparent_is_dark() -> None:
    image = Image.new("RGBA", (64, 32), (255, 255, 255, 0))
    assert set(drawn(blob(image)).cells) == {0}


def test_a_bright_picture_is_darkened_and_one_that_stays_bright_refused() -> None:
    picture = drawn(blob(solid((255, 255, 255), (640, 320))), load=50)
    assert 20 <= picture.load_percent <= 50
    with pytest.raises(TextRefused, match="10 % are allowed"):
        drawn(blob(solid((255, 255, 255), (640, 320))), load=10)


def test_a_picture_cut_short_anywhere_is_refused_with_a_sentence() -> None:
    for form in ("PNG", "JPEG", "WEBP"):
        content = blob(Image.effect_noise((40, 20), 80).convert("RGB"), form)
        for length in range(0, len(content) - 12, max(1, len(content) // 40)):
            with pytest.raises(TextRefused, match=r"no whole picture"):
                drawn(content[:length])


def bomb(width: int, height: int) -> bytes:
    """A small PNG that says it is so large."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return pack(">I", len(body)) + kind + body + pack(">I", zlib.crc32(kind + body))

    head = pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    row = b"\0" + bytes(min(10_000, width) // 8)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(row * 100))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(10_000, 10_000), (60_000, 60_000), (30_000, 10), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_refused_before_it_is_decoded(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", never)
    with pytest.raises(TextRefused):
        drawn(bomb(*size))


def test_a_large_picture_is_a_jpeg_or_refused_for_the_nodes_memory() -> None:
    large = solid((255, 0, 0), (4000, 3000))
    assert set(drawn(blob(large, "JPEG")).cells) == {0, RED}
    with pytest.raises(TextRefused, match="save it as JPEG"):
        drawn(blob(large))


def test_a_huge_file_is_not_looked_at() -> None:
    with pytest.raises(TextRefused, match="are the most"):
        drawn(bytes(images.BYTES_MAX + 1))


def test_of_a_picture_that_moves_the_first_moment_is_shown() -> None:
    frames = [solid((255, 0, 0)), solid((0, 255, 0))]
    content = blob(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=100, lossless=True)
    assert set(drawn(content).cells) == {RED}
