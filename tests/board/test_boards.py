"""Several boards on one node: one order for all or for some, and one end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from edge_agent.board.boards import Boards
from edge_agent.board.presenter import Presenter
from edge_agent.board.settings import BoardSettings
from edge_agent.errors import Refused, TextRefused
from edge_agent.model import (
    NS,
    BoardClear,
    BoardShow,
    Finished,
    Issuer,
    OrderId,
    OrderState,
    Outcome,
    Precedence,
    ReasonCode,
)
from edge_agent.ticket import Ticket
from hal.sim import loop
from hal.sim.board_line import VirtualSerial
from hal.sim.clock import VirtualClock
from hal.sim.database import VirtualDatabase
from hal.sim.jetfile import JetfileSign
from hal.sim.sign import AlphaSign
from tests.board.conftest import SCHEMAS, as_dots, presenter_on

LONG = "Mời bà con đến nhà văn hóa thôn lúc 19h30 họp bàn phòng chống bão số 9 và chuẩn bị sơ tán"
SHORT = "Họp"


class Place:
    """A node with a wide board and a small one."""

    def __init__(self) -> None:
        self.counter = loop.Counter()
        self.clock = VirtualClock(self.counter)
        database = VirtualDatabase(SCHEMAS)
        self.signs: dict[str, AlphaSign] = {}
        self.serials: dict[str, VirtualSerial] = {}
        self.presenters: dict[str, Presenter] = {}
        for name, columns in (("main", 96), ("cho", 48)):
            settings = msgspec.convert({"columns": columns, "idle": "dark", "pages_max": 9}, BoardSettings)
            self.signs[name] = AlphaSign(columns=columns)
            self.serials[name] = VirtualSerial(self.clock, self.signs[name], settings.line)
            self.presenters[name] = presenter_on(
                self.serials[name], settings, self.clock, database, name=name
            )
        self.boards = Boards(self.presenters)

    def run(self, story: Callable[[], Awaitable[None]]) -> None:
        async def main() -> None:
            life = asyncio.create_task(self.boards.life(), name="boards")
            await asyncio.sleep(0)
            await story()
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)

        loop.run(main(), self.counter)

    def notice(self, text: str = SHORT, **more: Any) -> BoardShow:
        now_ns = self.clock.monotonic_ns()
        return BoardShow(
            id=OrderId("order-1"),
            issuer=Issuer("xa"),
            precedence=Precedence.ROUTINE,
            deadline_ns=now_ns + 3600 * NS,
            until_ns=now_ns + 3600 * NS,
            text=text,
            **more,
        )

    async def shown(self, intent: BoardShow) -> Finished:
        ticket = self.boards.show(intent)
        if await ticket.granted():
            ticket.begin()
        return await ticket.ended()

    async def clearing(self, order: str) -> Ticket:
        """An order to take all routine notices down, begun."""
        ticket = self.boards.clear(
            BoardClear(
                id=OrderId(order),
                issuer=Issuer("xa"),
                precedence=Precedence.ROUTINE,
                deadline_ns=self.clock.monotonic_ns() + 60 * NS,
            )
        )
        if await ticket.granted():
            ticket.begin()
        return ticket

    def lit(self) -> list[str]:
        return [name for name, sign in self.signs.items() if sign.current.kind != "blank"]


def test_a_notice_for_all_is_on_all_when_its_order_ends() -> None:
    place = Place()

    async def story() -> None:
        finished = await place.shown(place.notice())
        assert finished.state is OrderState.SUCCESSFUL
        assert finished.asrun.outcome is Outcome.AIRED
        assert finished.result["boards"] == {
            name: {"state": "successful", "pages": 1, "proof": 2} for name in place.signs
        }
        assert place.lit() == ["main", "cho"]
        for name, sign in place.signs.items():
            assert as_dots(sign.current.dots) == place.boards.states()[name].picture

    place.run(story)


def test_a_notice_for_one_leaves_the_other_dark() -> None:
    place = Place()

    async def story() -> None:
        finished = await place.shown(place.notice(boards=("cho",)))
        assert finished.state is OrderState.SUCCESSFUL
        await asyncio.sleep(30)
        assert place.lit() == ["cho"]

    place.run(story)


def test_a_board_that_is_not_there_is_refused_by_name() -> None:
    place = Place()

    async def story() -> None:
        with pytest.raises(Refused, match="no board ga; it has main, cho") as refused:
            await place.boards.vet(place.notice(boards=("ga",)))
        assert refused.value.code is ReasonCode.UNSUPPORTED

    place.run(story)


def test_what_fits_one_board_only_is_shown_there_and_the_result_says_where_not() -> None:
    place = Place()

    async def story() -> None:
        await place.boards.vet(place.notice(LONG))
        finished = await place.shown(place.notice(LONG))
        assert finished.state is OrderState.FAILED, "not rejected: it is on show"
        assert finished.asrun.outcome is Outcome.PARTIAL
        told = finished.result["boards"]
        assert isinstance(told, dict)
        assert told["main"]["state"] == "successful"
        assert told["cho"]["code"] == "bad_args"
        assert place.lit() == ["main"]

    place.run(story)


def test_each_board_has_the_fullest_text_that_fits_it() -> None:
    place = Place()

    async def story() -> None:
        finished = await place.shown(place.notice(LONG, shorter=(SHORT,)))
        assert finished.state is OrderState.SUCCESSFUL
        states = place.boards.states()
        assert states["main"].pages > 1
        assert states["cho"].text in SHORT

    place.run(story)


def test_what_fits_no_board_is_refused_before_it_takes_a_place() -> None:
    place = Place()

    async def story() -> None:
        with pytest.raises(TextRefused):
            await place.boards.vet(place.notice(LONG * 9))

    place.run(story)


def test_a_dark_board_fails_the_order_but_not_its_neighbour() -> None:
    place = Place()
    place.serials["cho"].missing = True

    async def story() -> None:
        finished = await place.shown(place.notice())
        assert finished.state is OrderState.FAILED
        assert finished.asrun.outcome is Outcome.PARTIAL
        assert place.lit() == ["main"]
        assert list(place.boards.faults) == ["cho"]

    place.run(story)


def test_a_clear_reaches_every_board() -> None:
    place = Place()

    async def story() -> None:
        await place.shown(place.notice())
        assert place.boards.wanted == ("order-1",)
        ticket = await place.clearing("order-2")
        assert (await ticket.ended()).state is OrderState.SUCCESSFUL
        await asyncio.sleep(5)
        assert place.lit() == []

    place.run(story)


def test_a_clear_ends_although_a_board_of_somebody_else_is_among_them() -> None:
    place = Place()
    settings = msgspec.convert({"protocol": "jetfile", "requisitioned": True}, BoardSettings)
    stranger = JetfileSign()
    serial = VirtualSerial(place.clock, stranger, settings.line)
    place.presenters["quang-cao"] = presenter_on(
        serial, settings, place.clock, VirtualDatabase(SCHEMAS), name="quang-cao"
    )
    place.boards = Boards(place.presenters)

    async def story() -> None:
        await place.shown(place.notice())
        for number in range(12):
            ticket = await place.clearing(f"clear-{number}")
            async with asyncio.timeout(30):
                assert (await ticket.ended()).state is OrderState.SUCCESSFUL
        assert place.lit() == []

    place.run(story)
    assert stranger.frames == 0


def test_a_clear_tells_what_it_took_from_every_board() -> None:
    place = Place()

    async def story() -> None:
        await place.shown(place.notice("Một", boards=("main",)))
        await place.shown(replace(place.notice("Hai", boards=("cho",)), id=OrderId("order-2")))
        wanted = set(place.boards.wanted)
        ticket = await place.clearing("clear")
        finished = await ticket.ended()
        assert wanted == {"order-1", "order-2"}
        assert finished.result["cleared"] == ["order-1", "order-2"]

    place.run(story)
