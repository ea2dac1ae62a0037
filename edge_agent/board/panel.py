"""What the board holds and shows, as far as we know, and how it is brought to hold and show something else.

Every picture has a slot; a picture that the board already has is not sent again ("write only on
change"). Where the board answers, its error record is read after every write: what it did not
understand is sent again, and when it no longer knows our files it is set up anew.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum

from edge_agent.board.link import BoardFault, Link
from edge_agent.board.picture import Picture
from edge_agent.board.protocols import (
    AskErrors,
    AskPlan,
    Caps,
    Command,
    Errors,
    ForgetErrors,
    Plan,
    Release,
    Settle,
    SetUp,
    Show,
    Store,
    TakeOver,
)

ATTEMPTS = 3


class Sight(Enum):
    """What is in a place when it is no picture."""

    UNKNOWN = "unknown"
    NOTHING = "nothing"


class Panel:
    """One board. Every method may raise SerialError or BoardFault; then call `lost`."""

    def __init__(self, *, link: Link, caps: Caps) -> None:
        self._link = link
        self._caps = caps
        self._slots: dict[Picture, int] = {}
        """Which slot holds a picture, the longest unused first."""
        self._ordinary: Picture | Sight = Sight.UNKNOWN
        self._above: Picture | Sight = Sight.UNKNOWN
        """What the takeover shows."""
        self._believed = False
        """The memory was set up by us and nothing has made us doubt it."""
        self.ready = False

    @property
    def shown(self) -> Picture | None:
        """What is to be seen, as far as we know."""
        place = self._above if isinstance(self._above, Picture) else self._ordinary
        return place if isinstance(place, Picture) else None

    def lost(self) -> None:
        """The line or the board failed: doubt everything, begin with `assure`."""
        self.ready = False
        self._link.close()

    def holds(self, picture: Picture) -> bool:
        """Whether the board has this picture."""
        return picture in self._slots

    async def assure(self, *, alert: bool) -> None:
        """Make certain that the board is there, set up, and shows our own place; what it shows is rewritten next.

        Args:
            alert: an emergency is shown. A board that cannot be asked is then not erased.
        """
        await self._link.say(ForgetErrors())
        if self._caps.keeps_errors:
            plan = await self._link.say(AskPlan())
            assert isinstance(plan, Plan)
            if not plan.ours:
                await self._set_up()
        elif not (alert and self._believed):
            await self._set_up()
        if not self._caps.keeps_errors:
            self._slots.clear()
        await self._link.say(Settle())
        self._ordinary = self._above = Sight.UNKNOWN
        self.ready = True

    async def store(self, picture: Picture, *, keep: Collection[Picture]) -> None:
        """Give the board a picture, in the slot of the longest unused one that is not in `keep` or shown."""
        if picture in self._slots:
            return
        used = {slot: held for held, slot in self._slots.items()}
        if len(used) < self._caps.slots:
            slot = next(free for free in range(self._caps.slots) if free not in used)
        else:
            oldest = next(
                held for held in self._slots if held not in keep and held not in (self._ordinary, self._above)
            )
            slot = self._slots.pop(oldest)
        if await self._understood(Store(slot, picture)):
            self._slots[picture] = slot

    async def show(self, picture: Picture | None) -> bool:
        """Show a stored picture, or nothing, in the ordinary place, and end a takeover. Whether it was another before."""
        wanted = Sight.NOTHING if picture is None else picture
        if self._ordinary == wanted and self._above is Sight.NOTHING:
            return False
        if self._ordinary != wanted and await self._understood(
            Show(None if picture is None else self._used(picture))
        ):
            self._ordinary = wanted
        if self.ready and self._above is not Sight.NOTHING and await self._understood(Release()):
            self._above = Sight.NOTHING
        return True

    async def take_over(self, picture: Picture, *, left_s: float) -> bool:
        """Show a stored picture above everything else. Whether it was another before.

        A board that has lost its memory would take the order and show nothing, so it is asked first; see `ready`.
        """
        if self._above == picture:
            return False
        await self.look()
        if self.ready and await self._understood(TakeOver(self._used(picture), left_s)):
            self._above = picture
        return True

    async def look(self) -> None:
        """Find out whether the board still has our pictures; if not, it is no longer `ready`."""
        if self._caps.keeps_errors and not await self._still_ours():
            self.ready = False

    def _used(self, picture: Picture) -> int:
        """The slot of a picture, which is now the latest used."""
        slot = self._slots.pop(picture)
        self._slots[picture] = slot
        return slot

    async def _set_up(self) -> None:
        self._slots.clear()
        self._believed = False
        await self._link.say(SetUp())
        self._believed = True

    async def _understood(self, command: Command) -> bool:
        """Say it until the board has understood it. False: it no longer knows our files, see `ready`."""
        errors = Errors(())
        for _ in range(ATTEMPTS):
            await self._link.say(command)
            if not self._caps.keeps_errors:
                return True
            reply = await self._link.say(AskErrors())
            assert isinstance(reply, Errors)
            errors = reply
            if not errors.found:
                return True
            await self._link.say(ForgetErrors())
            if errors.unknown_file and not await self._still_ours():
                self.ready = False
                return False
        raise BoardFault(
            f"The board answers, but reports what it receives as wrong: {', '.join(errors.found)}. Check the cable's "
            "length and earth, and that speed and parity agree."
        )

    async def _still_ours(self) -> bool:
        plan = await self._link.say(AskPlan())
        assert isinstance(plan, Plan)
        return plan.ours
