"""Drives one board by hand, without the daemon: the self-test, and the release when the daemon has gone."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent import catalogue
from edge_agent.board import selftest, spelling
from edge_agent.board.codecs import link_on
from edge_agent.board.drawing import DrawingTable, TextJob
from edge_agent.board.grade import Grade
from edge_agent.board.link import BoardFault, Counts, Link, Refusal
from edge_agent.board.panel import Panel
from edge_agent.board.protocols import Draw, Release, Show
from edge_agent.board.screen import ScreenPanel
from edge_agent.board.settings import BoardSettings
from edge_agent.cli.board import FAILED
from edge_agent.errors import TextRefused
from hal.errors import DatabaseError, DiskError, ScreenError, SerialError
from hal.linux.clock import SystemClock
from hal.linux.serial import SerialDevice
from hal.ports import Screen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edge_agent.board.picture import Picture
    from edge_agent.catalogue import Language


class Trial:
    """One self-test, told step by step."""

    def __init__(self, name: str, settings: BoardSettings, *, step_s: float, tongue: Language) -> None:
        self._name = name
        self._settings = settings
        self._step_s = step_s
        self._tongue = tongue
        clock = SystemClock()
        self._link: Link | None = None
        self._panel: Panel | ScreenPanel
        if settings.protocol == "screen":
            self._panel = ScreenPanel(screen=_screen(settings), settings=settings, clock=clock)
        else:
            self._link = link_on(SerialDevice(settings.device, settings.line, clock), settings, clock)
            self._panel = Panel(link=self._link, caps=self._link.caps, clock=clock)

    async def run(self) -> int:
        """The exit code."""
        settings = self._settings
        screen = settings.protocol == "screen"
        facts = {"protocol": settings.protocol, "columns": settings.columns, "rows": settings.rows}
        place = (settings.connector or settings.surface) if screen else settings.device
        self._say("test_begins", name=self._name, place=place, **facts)
        try:
            await self._reach()
            count = await self._show_all()
            await self._panel.show(None)
        except (SerialError, ScreenError, BoardFault) as error:
            self._say("test_failed", text=error)
            if isinstance(error, SerialError) and "exclusively lock" in str(error):
                self._say("test_held")
            return FAILED
        finally:
            self._panel.lost()
        counts = Counts() if self._link is None else self._link.counts
        told = {"sent": counts.sent_bytes, "refusals": counts.refusals, "silences": counts.silences}
        self._say("test_done", steps=count, **told)
        return 0

    async def _reach(self) -> None:
        """Open it, and tell what it says of itself."""
        panel = self._panel
        await panel.assure(alert=False)
        if panel.caps.answers:
            self._say("test_reached", grade=Grade.ACKED.word)
        else:
            self._say("test_oneway")
        if panel.status.celsius is not None:
            self._say("test_status", text=f"{panel.status.celsius:.0f} °C")

    async def _show_all(self) -> int:
        """Every picture, for some seconds each; how many."""
        panel, letters = self._panel, _letters(self._settings)
        said = [(step.code, step.picture, step.facts) for step in selftest.steps(self._settings)]
        said += [("test_letters", picture, {"text": text}) for text, picture in letters]
        count = len(said) + panel.caps.tests_itself
        for number, (code, picture, facts) in enumerate(said, start=1):
            colour = facts.get("colour")
            words = {"colour": catalogue.say(f"colour_{colour}", self._tongue)} if colour else {}
            self._say(code, step=number, steps=count, **(facts | words))
            await panel.store(picture, keep=(), urgent=True)
            await panel.show(picture)
            await asyncio.sleep(self._step_s)
        if isinstance(panel, Panel) and panel.caps.tests_itself:
            self._say("test_pattern", step=count, steps=count)
            await panel.self_test(on=True)
            await asyncio.sleep(self._step_s)
            await panel.self_test(on=False)
        dead = await panel.dead_dots() if isinstance(panel, Panel) else None
        if dead:
            self._say("test_dead", count=dead)
        return count

    def _say(self, code: str, **facts: object) -> None:
        print(catalogue.say(code, self._tongue, **facts), flush=True)


def _letters(settings: BoardSettings) -> list[tuple[str, Picture]]:
    """Pages of Vietnamese letters; none where the font is missing."""
    try:
        pages = DrawingTable(settings).draw_now(TextJob(text=spelling.clean(selftest.LETTERS)))
    except TextRefused:
        return []
    return [(page.text, page.picture) for page in pages]


def _screen(settings: BoardSettings) -> Screen:
    if settings.surface == "fbdev":
        from hal.linux.framebuffer import FramebufferScreen

        return FramebufferScreen(connector=settings.connector)
    from hal.linux.kmsdrm import KmsScreen

    return KmsScreen(settings.connector)


async def handed_back(name: str, settings: BoardSettings, state_dir: str, *, within_s: float) -> str | None:
    """Hand a lent board back as it was found. None: it is not in our hands; else why it could not be done, or ""."""
    from edge_agent.board.lease import Lease
    from edge_agent.doors import DATABASE
    from edge_agent.rooms import SCHEMAS
    from hal.linux.database import open_database

    path = Path(state_dir) / DATABASE
    if not path.exists():
        return None
    try:
        database = await open_database(path, SCHEMAS)
    except (DatabaseError, DiskError) as error:
        return str(error)
    try:
        lease = Lease(board=name, database=database)
        await lease.read()
        if not lease.held:
            return None

        async def hand_back(_: Link, panel: Panel) -> None:
            panel.found_dark = lease.found_dark
            await panel.hand_back()

        fault = await _driven(settings, hand_back, within_s=within_s)
        if fault is None:
            await lease.end()
        return fault or ""
    finally:
        await database.close()


async def released(settings: BoardSettings, *, within_s: float) -> str | None:
    """End a takeover and show nothing; why it could not be done, or None."""

    async def release(link: Link, panel: Panel) -> None:
        try:
            if link.caps.tells_plan and not await panel.is_ours():
                return  # nothing of ours stands there
            if link.caps.takeover:
                await link.say(Release())
            await link.say(Show(None) if link.caps.slots else Draw(panel.darkness()))
        except Refusal as refusal:
            if not refusal.lost:
                raise

    return await _driven(settings, release, within_s=within_s)


async def _driven(
    settings: BoardSettings, work: Callable[[Link, Panel], Awaitable[None]], *, within_s: float
) -> str | None:
    """Do something with a board on a line; why it could not be done, or None."""
    clock = SystemClock()
    link = link_on(SerialDevice(settings.device, settings.line, clock), settings, clock)
    panel = Panel(link=link, caps=link.caps, clock=clock)
    try:
        async with asyncio.timeout(within_s):
            await work(link, panel)
    except (SerialError, BoardFault) as error:
        return str(error)
    except TimeoutError:
        return f"it took longer than {within_s:.0f} s"
    finally:
        panel.lost()
    return None
