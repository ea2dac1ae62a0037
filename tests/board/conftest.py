"""The cast of the board's stories: a presenter, a line and an emulated sign in virtual time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, cast

import msgspec
import pytest

from edge_agent import kept
from edge_agent.board import lease, notices
from edge_agent.board.bill import NoHeadlines, Sources
from edge_agent.board.codecs import panel_on
from edge_agent.board.picture import Colours, Picture
from edge_agent.board.presenter import Presenter
from edge_agent.board.settings import BoardSettings
from edge_agent.clocktrust import ClockSettings, ClockTrust
from edge_agent.model import (
    LOCAL_TIME,
    NS,
    BoardClear,
    BoardShow,
    Finished,
    Issuer,
    OrderId,
    Precedence,
    ReasonCode,
)
from edge_agent.playlist import Content, Item, Playlist, Requisition, TextContent
from edge_agent.ticket import Ticket
from hal.ports import Clock, Database, SerialPort
from hal.sim import loop
from hal.sim.board_line import VirtualSerial
from hal.sim.boards import board_of
from hal.sim.clock import VirtualClock
from hal.sim.database import VirtualDatabase
from hal.sim.emulator import Emulator

SCHEMAS = (kept.SCHEMA, notices.SCHEMA, lease.SCHEMA)
NOTICE = "Mời bà con đến nhà văn hóa thôn lúc 19h30 họp bàn phòng chống bão số 9"


class Village:
    """A node with a board. `presenter` is replaced by `restart`; sign, line and database stay."""

    def __init__(self, **settings: Any) -> None:
        self.settings = msgspec.convert({"idle": "dark"} | settings, BoardSettings)
        self.counter = loop.Counter()
        self.clock = VirtualClock(self.counter)
        self.outside = VirtualClock(self.counter)
        """The sign's time, which goes on when the node boots."""
        self.sign: Emulator = board_of(
            self.settings.protocol,
            columns=self.settings.columns,
            rows=self.settings.rows,
            baud=self.settings.baud,
            address=bytes.fromhex(self.settings.sign_address),
        )
        self.serial = VirtualSerial(self.outside, self.sign, self.settings.line)
        self.database = VirtualDatabase(SCHEMAS)
        self.sources = NOTHING_ELSE
        self.playlist = Playlist()
        self.presenter = self._presenter()
        self._life: asyncio.Task[None] | None = None
        self._ids = itertools.count(1)

    def run(self, story: Callable[[], Awaitable[None]]) -> None:
        """Tell a story in virtual time, with the presenter alive."""

        async def main() -> None:
            self._life = asyncio.create_task(self.presenter.life(), name="presenter")
            try:
                await story()
            finally:
                await self._stop()

        loop.run(main(), self.counter)

    async def restart(self, *, reboot: bool = False, dark_s: float = 5.0) -> None:
        """The agent stops and starts again; with `reboot`, so does the whole node."""
        await self._stop()
        if reboot:
            self.clock.reboot(dark_s=dark_s)
        self.presenter = self._presenter()
        self._life = asyncio.create_task(self.presenter.life(), name="presenter")

    def ask(
        self,
        text: str = NOTICE,
        precedence: Precedence = Precedence.ROUTINE,
        *,
        for_s: float = 3600,
        begin_within_s: float = 3600,
    ) -> Ticket:
        """An order to show a text, whose asker begins it at once."""
        intent = self.intent(text, precedence, for_s=for_s, begin_within_s=begin_within_s)
        ticket = self.presenter.show(intent)
        self._begin(ticket)
        return ticket

    def intent(
        self,
        text: str,
        precedence: Precedence = Precedence.ROUTINE,
        *,
        for_s: float = 3600,
        begin_within_s: float = 3600,
    ) -> BoardShow:
        """What such an order asks for."""
        now_ns = self.clock.monotonic_ns()
        return BoardShow(
            id=OrderId(f"order-{next(self._ids)}"),
            issuer=Issuer("xa-vi-huong"),
            precedence=precedence,
            deadline_ns=now_ns + round(begin_within_s * NS),
            text=text,
            until_ns=now_ns + round(for_s * NS),
        )

    async def shown(
        self, text: str = NOTICE, precedence: Precedence = Precedence.ROUTINE, **times: float
    ) -> Finished:
        """Ask and wait for the end."""
        return await self.ask(text, precedence, **times).ended()

    def clear(self, precedence: Precedence = Precedence.EMERGENCY, target: OrderId | None = None) -> Ticket:
        """An order to take notices down."""
        ticket = self.presenter.clear(
            BoardClear(
                id=OrderId(f"order-{next(self._ids)}"),
                issuer=Issuer("xa-vi-huong"),
                precedence=precedence,
                deadline_ns=self.clock.monotonic_ns() + 3600 * NS,
                target=target,
            )
        )
        self._begin(ticket)
        return ticket

    async def dots(self, text: str, precedence: Precedence = Precedence.ROUTINE) -> list[Picture]:
        """What the pages of a text should look like."""
        return [page.picture for page in await self.presenter.vet(self.intent(text, precedence))]

    def carried_bytes(self) -> int:
        """What has gone over the line, both ways, cut or whole."""
        return self.serial.carried_bytes

    def kind(self) -> str:
        """Whether the sign shows its run sequence, the priority file, or nothing."""
        return self.sign.current.kind

    @property
    def seen(self) -> Picture:
        """What is to be seen on the sign now."""
        return as_dots(self.sign.current.dots)

    def violations(self) -> list[str]:
        """What the sign minded."""
        return [f"{one.kind}: {one.text}" for one in self.sign.violations]

    def _presenter(self) -> Presenter:
        presenter = presenter_on(self.serial, self.settings, self.clock, self.database, sources=self.sources)
        presenter.post(self.playlist)
        return presenter

    def post(self, *items: Item, requisitions: tuple[Requisition, ...] = ()) -> None:
        """A new version of the list is in force; the node has it at its next start, too."""
        version = self.playlist.version + 1
        self.playlist = Playlist(version=version, items=items, requisitions=requisitions)
        self.presenter.post(self.playlist)

    @property
    def local(self) -> datetime:
        return self.clock.utc_now().astimezone(LOCAL_TIME)

    def _begin(self, ticket: Ticket) -> None:
        async def begin() -> None:
            if await ticket.granted():
                ticket.begin()

        self._begun = asyncio.create_task(begin(), name=f"asker of {ticket.intent.id}")

    async def _stop(self) -> None:
        self.presenter.wind_up()
        if self._life is not None:
            self._life.cancel()
            await asyncio.gather(self._life, return_exceptions=True)


def item(name: str, content: Content | str | None = None, **more: Any) -> Item:
    """A member of a playlist; a text stands for itself in Vietnamese."""
    if content is None or isinstance(content, str):
        content = TextContent(texts=(("vi", content or name),))
    asked: dict[str, Any] = {
        "key": OrderId(f"{name}@v1"),
        "issuer": Issuer("xa-vi-huong"),
        "precedence": Precedence.ROUTINE,
        "content": content,
    }
    return Item(**(asked | more))


NOTHING_ELSE = Sources(
    pictures=cast("Any", None), headlines=NoHeadlines(), celsius=lambda: None, place="Thôn Mỏ Phong"
)


def presenter_on(
    serial: SerialPort,
    settings: BoardSettings,
    clock: Clock,
    database: Database,
    *,
    name: str = "main",
    sources: Sources = NOTHING_ELSE,
) -> Presenter:
    return Presenter(
        name=name,
        settings=settings,
        clock=clock,
        trust=ClockTrust(settings=ClockSettings(), clock=clock, database=database),
        outlet=panel_on(serial, settings, clock),
        database=database,
        sources=sources,
    )


def reason_of(finished: Finished) -> tuple[ReasonCode, str]:
    """Why it ended so."""
    assert finished.asrun.reason is not None
    return finished.asrun.reason.code, finished.asrun.reason.text


def as_dots(picture: tuple[bytes, ...]) -> Picture:
    """The sign's dots as ours, colours forgotten."""
    cells = b"".join(bytes(bool(dot) for dot in row) for row in picture)
    return Picture(len(picture[0]), len(picture), Colours.MONO, cells)


@pytest.fixture
def village() -> Village:
    return Village()


@pytest.fixture
def village_with() -> type[Village]:
    return Village
