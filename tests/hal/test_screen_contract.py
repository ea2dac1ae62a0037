"""The contract of `hal.ports.Screen`: virtual, PNG files, the framebuffer on a file, and SDL's dummy driver through pygame-ce."""

from __future__ import annotations

import asyncio
import io
import json
import os
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from hal.errors import ScreenError
from hal.linux import connectors
from hal.linux.clock import SystemClock
from hal.linux.framebuffer import FramebufferScreen
from hal.linux.kmsdrm import KmsScreen
from hal.ports import Screen
from hal.sim import loop
from hal.sim.clock import VirtualClock
from hal.sim.screen import PngScreen, VirtualScreen

WIDTH, HEIGHT = 64, 48
RED, BLUE = b"\xff\x00\x00", b"\x00\x00\xff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """A screen, and an eye on it."""

    screen: Screen
    seen: Callable[[int, int], tuple[int, ...]]
    """The colour at (x, y)."""


Story = Callable[[Rig], Awaitable[None]]
Tell = Callable[[Story], None]


def fake_sys(root: Path, *, bits: int = 32, stride: int = WIDTH * 4) -> Path:
    """What the kernel tells of a framebuffer, and of a display on HDMI-A-1 of the second card."""
    place = root / "class/graphics/fb0"
    place.mkdir(parents=True)
    for name, text in (
        ("virtual_size", f"{WIDTH},{HEIGHT}"),
        ("bits_per_pixel", str(bits)),
        ("stride", str(stride)),
    ):
        (place / name).write_text(f"{text}\n")
    (place / "blank").write_text("0")
    for card, name, status in (
        ("card0", "", ""),
        ("card1", "HDMI-A-1", "connected"),
        ("card1", "HDMI-A-2", "disconnected"),
    ):
        folder = root / "class/drm" / (f"{card}-{name}" if name else card)
        folder.mkdir(parents=True)
        if name:
            (folder / "status").write_text(f"{status}\n")
            (folder / "dpms").write_text("On\n")
            (folder / "modes").write_text("1920x1080\n1280x720\n")
    return root


def tell_virtual(_: Path, story: Story) -> None:
    counter = loop.Counter()
    screen = VirtualScreen(VirtualClock(counter), width=WIDTH, height=HEIGHT)
    rig = Rig(screen=screen, seen=lambda x, y: tuple(screen.part(x, y, 1, 1)))
    loop.run(_told(story, rig), counter)


def tell_png(tmp_path: Path, story: Story) -> None:
    directory = tmp_path / "screen"

    def seen(x: int, y: int) -> tuple[int, ...]:
        line = (directory / "screen.jsonl").read_text().splitlines()[-1]
        pixel = Image.open(directory / json.loads(line)["file"]).getpixel((x, y))
        assert isinstance(pixel, tuple)
        return pixel

    screen = PngScreen(directory, SystemClock(), width=WIDTH, height=HEIGHT)
    asyncio.run(_told(story, Rig(screen=screen, seen=seen)))


def tell_framebuffer(tmp_path: Path, story: Story) -> None:
    device = tmp_path / "fb0"
    device.write_bytes(bytes(WIDTH * HEIGHT * 4))

    def seen(x: int, y: int) -> tuple[int, ...]:
        at = 4 * (y * WIDTH + x)
        blue, green, red, _ = device.read_bytes()[at : at + 4]
        return (red, green, blue)

    screen = FramebufferScreen(str(device), connector="HDMI-A-1", sys=fake_sys(tmp_path / "sys"))
    asyncio.run(_told(story, Rig(screen=screen, seen=seen)))


def tell_sdl(tmp_path: Path, story: Story) -> None:
    pygame = pytest.importorskip("pygame", reason="pygame-ce is not installed (extra `screen`)")
    screen = KmsScreen("HDMI-A-1", driver="dummy", size=(WIDTH, HEIGHT), sys=fake_sys(tmp_path / "sys"))

    def seen(x: int, y: int) -> tuple[int, ...]:
        return tuple(pygame.display.get_surface().get_at((x, y)))[:3]

    asyncio.run(_told(story, Rig(screen=screen, seen=seen)))


async def _told(story: Story, rig: Rig) -> None:
    await story(rig)


@pytest.fixture(
    params=[
        pytest.param(tell_virtual, id="virtual"),
        pytest.param(tell_png, id="png"),
        pytest.param(tell_framebuffer, id="framebuffer"),
        pytest.param(tell_sdl, id="sdl-dummy"),
    ]
)
def tell(request: pytest.FixtureRequest, tmp_path: Path) -> Tell:
    return lambda story: request.param(tmp_path, story)


def test_pixels_are_where_they_were_put_and_nowhere_else(tell: Tell) -> None:
    async def story(rig: Rig) -> None:
        surface = await rig.screen.open()
        assert (surface.width, surface.height) == (WIDTH, HEIGHT)
        await surface.draw(bytes(3 * WIDTH * HEIGHT), x=0, y=0, width=WIDTH, height=HEIGHT)
        await surface.draw(RED * 5 + BLUE * 5, x=10, y=20, width=5, height=2)
        assert rig.seen(10, 20) == (255, 0, 0)
        assert rig.seen(14, 21) == (0, 0, 255)
        for x, y in ((9, 20), (15, 20), (10, 19), (10, 22)):
            assert rig.seen(x, y) == (0, 0, 0)
        surface.close()

    tell(story)


def test_what_stands_out_is_cut_off(tell: Tell) -> None:
    async def story(rig: Rig) -> None:
        surface = await rig.screen.open()
        await surface.draw(RED * 100, x=WIDTH - 3, y=HEIGHT - 2, width=10, height=10)
        assert rig.seen(WIDTH - 1, HEIGHT - 1) == (255, 0, 0)
        assert rig.seen(0, HEIGHT - 1) == (0, 0, 0)
        surface.close()

    tell(story)


def test_a_display_is_present_and_light_goes_on_and_off(tell: Tell) -> None:
    async def story(rig: Rig) -> None:
        surface = await rig.screen.open()
        assert await surface.present()
        await surface.light(on=False)
        await surface.light(on=True)
        surface.close()

    tell(story)


def test_a_closed_screen_refuses_closes_again_and_opens_again(tell: Tell) -> None:
    async def story(rig: Rig) -> None:
        surface = await rig.screen.open()
        surface.close()
        surface.close()
        with pytest.raises(ScreenError):
            await surface.draw(RED, x=0, y=0, width=1, height=1)
        again = await rig.screen.open()
        await again.draw(BLUE, x=3, y=3, width=1, height=1)
        assert rig.seen(3, 3) == (0, 0, 255)
        again.close()

    tell(story)


# ---------------------------------------------------------------- drivers of their own


@pytest.mark.parametrize(("bits", "stride"), [(32, WIDTH * 4), (32, WIDTH * 4 + 64), (16, WIDTH * 2)])
def test_a_framebuffer_is_left_as_it_was_found(tmp_path: Path, bits: int, stride: int) -> None:
    device = tmp_path / "fb0"
    found = bytes(n % 251 for n in range(stride * HEIGHT))
    device.write_bytes(found)

    async def story() -> None:
        surface = await FramebufferScreen(
            str(device), sys=fake_sys(tmp_path / "sys", bits=bits, stride=stride)
        ).open()
        await surface.draw(RED * (WIDTH * HEIGHT), x=0, y=0, width=WIDTH, height=HEIGHT)
        pixel = device.read_bytes()[: bits // 8]
        assert pixel == (b"\x00\x00\xff\xff" if bits == 32 else b"\x00\xf8")
        surface.close()

    asyncio.run(story())
    assert device.read_bytes() == found


def test_a_frame_that_is_given_up_is_drawn_into_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = tmp_path / "fb0"
    found = bytes(WIDTH * 4 * HEIGHT)
    device.write_bytes(found)
    begun, go_on, write = threading.Event(), threading.Event(), os.pwrite

    def slow(fd: int, piece: bytes, at: int) -> int:
        if threading.current_thread() is not threading.main_thread():
            begun.set()
            go_on.wait(10)
        return write(fd, piece, at)

    monkeypatch.setattr(os, "pwrite", slow)

    async def story() -> None:
        surface = await FramebufferScreen(str(device), sys=fake_sys(tmp_path / "sys")).open()
        drawing = asyncio.create_task(surface.draw(RED * 60 * 40, x=2, y=2, width=60, height=40))
        await asyncio.to_thread(begun.wait, 10)
        drawing.cancel()
        await asyncio.gather(drawing, return_exceptions=True)
        threading.Timer(0.05, go_on.set).start()
        surface.close()
        other = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)
        await asyncio.get_running_loop().shutdown_default_executor()
        assert os.fstat(other).st_size == 0
        os.close(other)

    asyncio.run(story())
    assert device.read_bytes() == found


@pytest.mark.parametrize("missing", ["sys", "device"])
def test_a_missing_framebuffer_is_named_with_a_remedy(tmp_path: Path, missing: str) -> None:
    sys = tmp_path / "sys" if missing == "sys" else fake_sys(tmp_path / "sys")

    async def story() -> None:
        with pytest.raises(ScreenError, match=r"kmsdrm|group video"):
            await FramebufferScreen(str(tmp_path / "fb0"), sys=sys).open()

    asyncio.run(story())


def test_a_connector_is_found_by_its_name_on_whichever_card(tmp_path: Path) -> None:
    sys = fake_sys(tmp_path / "sys")
    one = connectors.chosen("HDMI-A-1", sys)
    assert one is not None
    assert (one.card, one.card_number, one.connected, one.modes[0]) == ("card1", 1, True, "1920x1080")
    assert connectors.chosen("", sys) == one, "without a name, whichever has a display"
    two = connectors.chosen("HDMI-A-2", sys)
    assert two is not None
    assert not two.connected
    assert connectors.chosen("HDMI-A-9", sys) is None


def test_a_display_that_sleeps_or_is_unplugged_is_not_present(tmp_path: Path) -> None:
    sys = fake_sys(tmp_path / "sys")
    assert connectors.present("HDMI-A-1", sys)
    assert not connectors.present("HDMI-A-2", sys)
    (sys / "class/drm/card1-HDMI-A-1/dpms").write_text("Off\n")
    assert not connectors.present("HDMI-A-1", sys)
    assert connectors.present("HDMI-A-1", tmp_path / "nothing"), "a system that does not tell"


def test_no_display_at_boot_is_an_error_with_a_remedy_and_a_later_one_is_found(tmp_path: Path) -> None:
    pytest.importorskip("pygame")
    sys = fake_sys(tmp_path / "sys")
    status = sys / "class/drm/card1-HDMI-A-1/status"
    status.write_text("disconnected\n")

    async def story() -> None:
        screen = KmsScreen("HDMI-A-1", sys=sys)
        with pytest.raises(ScreenError, match="Is it switched on"):
            await screen.open()
        status.write_text("connected\n")
        later = KmsScreen("HDMI-A-1", driver="dummy", size=(WIDTH, HEIGHT), sys=sys)
        (await later.open()).close()

    asyncio.run(story())


def test_a_screen_has_one_owner(tmp_path: Path) -> None:
    pytest.importorskip("pygame")

    async def story() -> None:
        screen = KmsScreen("", driver="dummy", size=(WIDTH, HEIGHT), sys=fake_sys(tmp_path / "sys"))
        surface = await screen.open()
        with pytest.raises(ScreenError, match="held"):
            await screen.open()
        surface.close()

    asyncio.run(story())


def test_pictures_of_the_same_sight_are_one_file(tmp_path: Path) -> None:
    async def story() -> None:
        surface = await PngScreen(tmp_path, SystemClock(), width=4, height=4).open()
        for colour in (RED, BLUE, RED):
            await surface.draw(colour * 16, x=0, y=0, width=4, height=4)
        surface.close()

    asyncio.run(story())
    assert sorted(file.name for file in tmp_path.glob("*.png")) == ["0001.png", "0002.png"]
    assert len((tmp_path / "screen.jsonl").read_text().splitlines()) == 3
    assert Image.open(io.BytesIO((tmp_path / "0001.png").read_bytes())).size == (4, 4)
