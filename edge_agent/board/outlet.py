"""The shape of what a presenter shows on: a board on a line (`panel`) or a screen (`screen`)."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Protocol

from edge_agent.board.grade import Grade
from edge_agent.board.link import BoardFault
from edge_agent.board.picture import Picture
from edge_agent.board.protocols import Caps, Status
from edge_agent.board.scroll import Strip


class WriteBudgetSpent(BoardFault):
    """A board that keeps pictures in flash has been written to as often as it may be today."""


def room_for(all_of_it: list[Picture], least: list[Picture], caps: Caps) -> list[Picture]:
    """What a board should hold: all of it, or, where that is more than it has slots for, the page and the next one."""
    return least if caps.slots and len({*all_of_it}) >= caps.slots else all_of_it


class BoardOutlet(Protocol):
    """One board. Every async method may raise SerialError, ScreenError or BoardFault; then call `lost`."""

    found_dark: bool | None
    """Its dots were switched off when we came, and `hand_back` leaves them so; None: not known yet."""

    @property
    def caps(self) -> Caps:
        """What it can do."""

    @property
    def ready(self) -> bool:
        """It has been found well (`assure`), and nothing has made us doubt it since."""

    @property
    def shown(self) -> Picture | None:
        """What is to be seen, as far as we know."""

    @property
    def grade(self) -> Grade:
        """How well it is known that this is to be seen."""

    @property
    def status(self) -> Status:
        """What the board last said of itself."""

    def doubts(self) -> list[str]:
        """What is not as it should be, although it works; sentences."""

    def lost(self) -> None:
        """It failed: doubt everything, and begin with `assure`. Never raises."""

    def holds(self, picture: Picture) -> bool:
        """Whether `show` and `take_over` can show it now, without `store`."""

    async def assure(self, *, alert: bool) -> None:
        """Make certain that it is there and ready for us; what it shows is rewritten next.

        Args:
            alert: an emergency is shown; a board that cannot be asked is then not erased.
        """

    async def store(self, picture: Picture, *, keep: Collection[Picture], urgent: bool) -> None:
        """Have it hold a picture, in the place of one that is not in `keep` and not shown. May also raise
        WriteBudgetSpent, unless `urgent`."""

    async def show(self, picture: Picture | None) -> bool:
        """Show a held picture, or nothing, in the ordinary place, and end a takeover. Whether it was another before."""

    async def take_over(self, picture: Picture, *, left_s: float) -> bool:
        """Show a held picture above everything else, for at most `left_s` where the board can end that itself. Whether it
        was another before. A board that has lost its memory is no longer `ready` afterwards."""

    async def look(self) -> None:
        """Find out whether it still has our pictures; if not, it is no longer `ready`."""

    async def dim(self, percent: int | None) -> bool:
        """Set the brightness, 1-100 %; None: leave it to the board. Whether anything was written."""

    async def scroll(self, strip: Strip, *, from_s: float, seconds: float) -> None:
        """Let a strip run for `seconds`, from where it was after `from_s` (`caps.scrolls`). May be cancelled at any frame."""

    async def clock_text(self, local: datetime) -> bool:
        """Show the time in the board's own digits (`caps.clock_text`). Whether anything was written."""

    async def set_clock(self, local: datetime) -> None:
        """Set the board's clock, where it has one."""

    async def hand_back(self) -> None:
        """End what we show, and leave everything as it was found."""
