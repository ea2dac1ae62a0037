"""A screen as a board: asleep at boot, unplugged, a smaller one in its place, handed back, a line that runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from edge_agent.board import scroll
from edge_agent.board.drawing import TextJob
from edge_agent.board.presenter import Presenter
from edge_agent.board.screen import WATCH_S, ScreenPanel
from edge_agent.board.settings import BoardSettings
from edge_agent.clocktrust import ClockSettings, ClockTrust
from edge_agent.model import NS, BoardClear, BoardShow, Finished, Issuer, OrderId, OrderState, Precedence
from edge_agent.playlist import Item, Playlist, TextContent
from hal.sim import loop
from hal.sim.clock import VirtualClock
from hal.sim.database import VirtualDatabase
from hal.sim.screen import VirtualScreen
from tests.board.conftest import NOTHING_ELSE, SCHEMAS

ALARM = "Lũ quét!"


class Hall:
    """A node with a screen of 200 x 120 pixels, of which 160 x 96 at (20, 10) are ours."""

    def __init__(self, **more: Any) -> None:
        said = {
            "protocol": "screen",
            "columns": 160,
            "rows": 96,
            "x": 20,
            "y": 10,
            "colours": "full",
            "idle": "dark",
            "lit_percent_max": 100,
        }
        self.settings = msgspec.convert(said | more, BoardSettings)
        self.counter = loop.Counter()
        self.clock = VirtualClock(self.counter)
        self.screen = VirtualScreen(self.clock, width=200, height=120)
        self.screen.pixels[:] = b"\x11" * len(self.screen.pixels)
        """Something of its owner's."""
        database = VirtualDatabase(SCHEMAS)
        self.presenter = Presenter(
            name="main",
            settings=self.settings,
            clock=self.clock,
            trust=ClockTrust(settings=ClockSettings(), clock=self.clock, database=database),
            outlet=ScreenPanel(screen=self.screen, settings=self.settings, clock=self.clock),
            database=database,
            sources=NOTHING_ELSE,
        )

    def run(self, story: Callable[[], Awaitable[None]]) -> None:
        async def main() -> None:
            life = asyncio.create_task(self.presenter.life(), name="presenter")
            await story()
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)

        loop.run(main(), self.counter)

    async def shown(self, text: str, precedence: Precedence = Precedence.ROUTINE) -> Finished:
        now_ns = self.clock.monotonic_ns()
        ticket = self.presenter.show(
            BoardShow(
                id=OrderId(f"order-{text}"),
                issuer=Issuer("xa"),
                precedence=precedence,
                deadline_ns=now_ns + 3600 * NS,
                until_ns=now_ns + 3600 * NS,
                text=text,
            )
        )
        if await ticket.granted():
            ticket.begin()
        return await ticket.ended()

    def viewport(self) -> bytes:
        settings = self.settings
        return self.screen.part(
            settings.x, settings.y, settings.columns * settings.scale, settings.rows * settings.scale
        )


def test_a_notice_stands_in_the_viewport_and_nowhere_else() -> None:
    hall = Hall()

    async def story() -> None:
        finished = await hall.shown("Họp")
        assert finished.state is OrderState.SUCCESSFUL
        assert finished.asrun.proof == 2
        picture = hall.presenter.state().picture
        assert picture is not None
        assert hall.viewport() == picture.cells
        assert set(hall.screen.part(0, 0, 200, 10)) == {0x11}
        assert set(hall.screen.part(180, 0, 20, 120)) == {0x11}

    hall.run(story)


def test_one_dot_is_so_many_pixels_each_way() -> None:
    hall = Hall(columns=64, rows=32, scale=2, colours="rgb", colour="white")

    async def story() -> None:
        await hall.shown("Họp")
        picture = hall.presenter.state().picture
        assert picture is not None
        pixels = hall.viewport()
        for y in range(64):
            row = pixels[y * 128 * 3 : (y + 1) * 128 * 3]
            assert row[0::6] == bytes(255 if cell else 0 for cell in picture.row(y // 2))
            assert row[0::6] == row[3::6]

    hall.run(story)


def test_a_television_that_sleeps_at_boot_shows_when_it_wakes() -> None:
    hall = Hall()
    hall.screen.connected = False

    async def story() -> None:
        asking = asyncio.create_task(hall.shown("Họp"))
        await asyncio.sleep(10)
        assert "unplugged" in (hall.presenter.fault or "")
        assert hall.presenter.health()[0] == "dark"
        hall.screen.connected = True
        hall.screen.awake = False
        await asyncio.sleep(8)
        assert "asleep" in (hall.presenter.fault or "")
        hall.screen.awake = True
        assert (await asking).state is OrderState.SUCCESSFUL
        assert hall.presenter.health() == ("ok", [])

    hall.run(story)


def test_a_display_that_is_pulled_out_and_put_in_again_shows_the_same_again() -> None:
    hall = Hall()

    async def story() -> None:
        await hall.shown("Họp")
        before = hall.viewport()
        hall.screen.connected = False
        await asyncio.sleep(WATCH_S + 3)
        assert hall.presenter.health()[0] == "dark"
        hall.screen.pixels[:] = bytes(len(hall.screen.pixels))
        hall.screen.connected = True
        await asyncio.sleep(40)
        assert hall.presenter.health()[0] == "ok"
        assert hall.viewport() == before

    hall.run(story)


def test_a_smaller_display_in_its_place_is_said_and_shows_what_it_can() -> None:
    hall = Hall()

    async def story() -> None:
        await hall.shown("Họp")
        hall.screen.connected = False
        await asyncio.sleep(WATCH_S + 2)
        hall.screen.resize(100, 60)
        hall.screen.connected = True
        await asyncio.sleep(60)
        state, why = hall.presenter.health()
        assert state == "degraded"
        assert "100 x 60 pixels" in why[0]

    hall.run(story)


def test_an_emergency_is_drawn_by_the_same_hand() -> None:
    hall = Hall()

    async def story() -> None:
        await hall.shown("Họp")
        below = hall.viewport()
        await hall.shown(ALARM, Precedence.EMERGENCY)
        assert hall.viewport()[:3] == bytes((190, 0, 0))
        hall.presenter.clear(_clear(hall)).begin()
        await asyncio.sleep(2)
        assert hall.viewport() == below

    hall.run(story)


def _clear(hall: Hall) -> Any:
    from edge_agent.model import BoardClear

    return BoardClear(
        id=OrderId("clear"),
        issuer=Issuer("xa"),
        precedence=Precedence.EMERGENCY,
        deadline_ns=hall.clock.monotonic_ns() + 60 * NS,
        target=OrderId(f"order-{ALARM}"),
    )


def test_when_the_node_stops_the_screen_is_as_it_was_found() -> None:
    hall = Hall()
    found = bytes(hall.screen.pixels)

    async def story() -> None:
        await hall.shown("Họp")
        assert bytes(hall.screen.pixels) != found

    hall.run(story)
    assert bytes(hall.screen.pixels) == found


def test_brightness_is_made_by_smaller_numbers() -> None:
    hall = Hall(brightness=("00:00 40",))

    async def story() -> None:
        hall.clock.sync(hall.clock.utc_now())
        await hall.shown("Họp")
        await asyncio.sleep(1)
        assert max(hall.viewport()) == 255 * 40 // 100
        await hall.shown(ALARM, Precedence.EMERGENCY)
        await asyncio.sleep(1)
        assert max(hall.viewport()) == 255 * 60 // 100, "an emergency has a floor"

    hall.run(story)


def test_a_line_runs_through_and_gives_way_to_an_emergency_at_once() -> None:
    hall = Hall(columns=200, rows=96, x=0, y=0)
    text = "Mời bà con đến nhà văn hóa thôn lúc 19h30 họp bàn phòng chống bão số 9"

    async def story() -> None:
        content = TextContent(texts=(("vi", text),), scroll=True)
        item = Item(
            key=OrderId("tin@v1"), issuer=Issuer("xa"), precedence=Precedence.ROUTINE, content=content
        )
        await hall.shown(ALARM)
        clear = BoardClear(
            id=OrderId("weg"), issuer=Issuer("xa"), precedence=Precedence.ROUTINE, deadline_ns=2**62
        )
        hall.presenter.post(Playlist(version=1, items=(item,)))
        ticket = hall.presenter.clear(clear)
        if await ticket.granted():
            ticket.begin()
        await ticket.ended()
        await asyncio.sleep(20)
        sights = {seen.digest for seen in hall.screen.seen}
        assert len(sights) > 100, "it moves"
        row = 3 * 200
        assert not any(hall.viewport()[: 32 * row]), "nothing else is left above the line"
        assert any(hall.viewport()[32 * row : 64 * row])
        assert not any(hall.viewport()[64 * row :])
        began_ns = hall.clock.monotonic_ns()
        await hall.shown(ALARM, Precedence.EMERGENCY)
        assert hall.clock.monotonic_ns() - began_ns < NS // 2
        assert hall.viewport()[:3] == bytes((190, 0, 0))

    hall.run(story)


LINE = "Mời bà con đến nhà văn hóa thôn lúc 19h30 họp bàn phòng chống bão số 9"


def line(**more: Any) -> Item:
    return Item(
        key=OrderId("tin@v1"),
        issuer=Issuer("xa"),
        precedence=Precedence.ROUTINE,
        content=TextContent(texts=(("vi", LINE),), scroll=True),
        **more,
    )


def test_a_line_runs_to_its_end_and_the_next_item_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    hall = Hall(columns=200, rows=96, x=0, y=0)
    other = Item(
        key=OrderId("b@v1"),
        issuer=Issuer("xa"),
        precedence=Precedence.ROUTINE,
        content=TextContent(texts=(("vi", "Họp"),)),
    )
    places: list[int] = []
    offset = scroll.offset

    def noted(strip: scroll.Strip, width: int, elapsed_s: float) -> int:
        places.append(offset(strip, width, elapsed_s))
        if places[-1] < -190:
            places[:] = places[-1:]
        return places[-1]

    monkeypatch.setattr(scroll, "offset", noted)

    async def story() -> None:
        hall.presenter.post(Playlist(version=1, items=(line(), other)))
        while hall.presenter.state().text != "Họp":
            await asyncio.sleep(1)
            assert hall.clock.monotonic_ns() < 120 * NS
        strip = hall.presenter._table.draw_now(TextJob(text=LINE, scroll=True))[0].strip
        assert strip is not None
        assert places == sorted(places), "it never goes back"
        assert places[-1] > strip.picture.width - 20, "all of it has passed"
        assert max(after - before for before, after in pairwise(places)) < 12, "nor leaps"

    hall.run(story)


def test_a_line_that_ends_is_gone() -> None:
    hall = Hall(columns=200, rows=96, x=0, y=0)

    async def story() -> None:
        hall.clock.sync(hall.clock.utc_now())
        ends = hall.clock.utc_now() + timedelta(seconds=33)
        hall.presenter.post(Playlist(version=1, items=(line(ends=ends),)))
        await asyncio.sleep(20)
        assert any(hall.viewport())
        await asyncio.sleep(50)
        assert not any(hall.viewport())

    hall.run(story)


def test_a_line_that_has_more_time_than_one_pass_runs_again() -> None:
    hall = Hall(columns=200, rows=96, x=0, y=0)

    async def story() -> None:
        hall.presenter.post(Playlist(version=1, items=(line(seconds=300),)))
        dark = 0
        for _ in range(280):
            await asyncio.sleep(1)
            dark += not any(hall.viewport())
        assert dark < 30

    hall.run(story)


def test_a_clear_ends_while_a_line_runs() -> None:
    hall = Hall(columns=200, rows=96, x=0, y=0)

    async def story() -> None:
        hall.presenter.post(Playlist(version=1, items=(line(),)))
        await asyncio.sleep(20)
        ticket = hall.presenter.clear(
            BoardClear(id=OrderId("c"), issuer=Issuer("xa"), precedence=Precedence.ROUTINE, deadline_ns=2**62)
        )
        if await ticket.granted():
            ticket.begin()
        async with asyncio.timeout(10):
            assert (await ticket.ended()).state is OrderState.SUCCESSFUL

    hall.run(story)


def test_after_an_outage_a_page_has_its_whole_time() -> None:
    hall = Hall()

    async def story() -> None:
        items = [
            Item(
                key=OrderId(f"{text}@v1"),
                issuer=Issuer("xa"),
                precedence=Precedence.ROUTINE,
                content=TextContent(texts=(("vi", text),)),
                seconds=20,
            )
            for text in ("Họp", "Chợ")
        ]
        hall.presenter.post(Playlist(version=1, items=tuple(items)))
        await asyncio.sleep(5)
        hall.screen.connected = False
        await asyncio.sleep(60)
        hall.screen.connected = True
        texts: list[str] = []
        for _ in range(90):
            await asyncio.sleep(1)
            if hall.presenter.fault is None:
                texts.append(hall.presenter.state().text)
        first = texts.index("Chợ")
        assert 18 <= first <= 22
        assert set(texts[:first]) == {"Họp"}

    hall.run(story)
