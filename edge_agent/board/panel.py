"""What a board on a line holds and shows, as far as we know, and how it is brought to hold and show something else.

Every picture has a slot; a picture that the board already has is not sent again ("write only on
change"). Where the board answers, what it did not understand is sent again, and when it no longer
knows our pictures it is set up anew. A board without slots is drawn on. What a board cannot do (`Caps`)
is not asked of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from datetime import datetime, timedelta
from enum import Enum

from edge_agent.board.grade import Grade
from edge_agent.board.link import BoardFault, Link, Refusal
from edge_agent.board.outlet import WriteBudgetSpent
from edge_agent.board.picture import Picture
from edge_agent.board.protocols import (
    AskDeadDots,
    AskErrors,
    AskPicture,
    AskPlan,
    AskStatus,
    Caps,
    ClockText,
    Command,
    DeadDots,
    Dim,
    Draw,
    Errors,
    ForgetErrors,
    HandBack,
    Held,
    Plan,
    Power,
    Release,
    SelfTest,
    SetClock,
    Settle,
    SetUp,
    Show,
    Status,
    Store,
    TakeOver,
)
from edge_agent.board.scroll import Strip
from edge_agent.board.wear import Wear
from edge_agent.model import NS
from hal.ports import Clock

ATTEMPTS = 3
TAKE_OVER_MAX_S = 3600.0
"""A takeover that the board ends itself is said again before; so long it may outlive a node that has died."""


FORGIVEN_NS = 3600 * NS
"""What a board has refused is tried again after this; one bad hour must not last until the next start."""
COUNTED_NS = 86_400 * NS
"""Retries older than this are told no more."""
SURE_NS = 2 * NS
"""A board that has just been written to well need not be asked whether it still knows our files."""


class Sight(Enum):
    """What is in a place when it is no picture."""

    UNKNOWN = "unknown"
    NOTHING = "nothing"
    CLOCK = "clock"


class Panel:
    """One board. Every method may raise SerialError or BoardFault; then call `lost`."""

    def __init__(self, *, link: Link, caps: Caps, clock: Clock, wear: Wear | None = None) -> None:
        self._link = link
        self.caps = caps
        self._clock = clock
        self._wear = wear
        self._slots: dict[Picture, int] = {}
        """Which slot holds a picture, the longest unused first."""
        self._ordinary: Picture | Sight = Sight.UNKNOWN
        self._above: Picture | Sight = Sight.UNKNOWN
        """What the takeover shows."""
        self._again_ns = 0
        """When a takeover that the board ends itself must be said again."""
        self._believed = False
        """The memory was set up by us and nothing has made us doubt it."""
        self._sure_ns = -SURE_NS
        """When it last took a picture or a page without a word against it: then it has its memory."""
        self._percent: int | None = None
        self._refused: set[type[Command]] = set()
        """What it does not take, and can be spared: brightness, time."""
        self._forgive_ns = 0
        """When that is tried again."""
        self._minute: datetime | None = None
        self._verified: set[Picture] = set()
        """Pictures that the board was asked for, and had."""
        self.found_dark: bool | None = None
        self._stays_dark = False
        """It says that its dots are switched off, and they cannot be switched on: nothing waits for that any more."""
        self._counted, self._counted_ns = link.counts, clock.monotonic_ns()
        """What had gone over the line when the day of which it is told began."""
        self.status = Status()
        self.ready = False

    @property
    def shown(self) -> Picture | None:
        """What is to be seen, as far as we know."""
        place = self._above if isinstance(self._above, Picture) else self._ordinary
        return place if isinstance(place, Picture) else None

    @property
    def grade(self) -> Grade:
        """How well that is known."""
        if self.shown is None and self._ordinary is not Sight.CLOCK:
            return Grade.NONE
        if self.shown in self._verified:
            return Grade.READ_BACK
        return Grade.ACKED if self.caps.answers else Grade.SENT

    def doubts(self) -> list[str]:
        """What is not as it should be, although it works."""
        counts, before = self._link.counts, self._counted
        said, refusals = counts.said - before.said, counts.refusals - before.refusals
        silences = counts.silences - before.silences
        doubts: list[str] = []
        if refusals or silences:
            doubts.append(
                f"Of {said} writes lately {refusals} were refused and {silences} not answered, and had to be said again: see "
                "the cable, its length and its earth."
            )
        if Dim in self._refused:
            doubts.append("The board does not take a brightness; set board.brightness = [].")
        if self.status.dark:
            doubts.append(
                "The board says that its dots are switched off, and does not let the node switch them on."
            )
        return doubts

    def lost(self) -> None:
        """The line or the board failed: doubt everything, begin with `assure`."""
        self.ready = False
        self._link.close()

    def holds(self, picture: Picture) -> bool:
        """Whether the board has this picture."""
        return not self.caps.slots or picture in self._slots

    # ------------------------------------------------------------ well or not

    async def assure(self, *, alert: bool) -> None:
        """Make certain that the board is there, set up, and shows our own place; what it shows is rewritten next."""
        caps, now_ns = self.caps, self._clock.monotonic_ns()
        if now_ns - self._counted_ns >= COUNTED_NS:
            self._counted, self._counted_ns = self._link.counts, now_ns
        if now_ns >= self._forgive_ns:
            self._refused.clear()
        if caps.keeps_errors:
            await self._link.say(ForgetErrors())
        if caps.tells_plan:
            plan = await self._link.say(AskPlan())
            assert isinstance(plan, Plan)
            if not plan.ours:
                await self._set_up()
        elif not (self._believed and (alert or self._lasting)):
            await self._set_up()
        if caps.tells_status:
            await self._light()
        if not caps.tells_plan and not self._lasting:
            self._slots.clear()
            self._verified.clear()
        await self._link.say(Settle())
        self._ordinary = self._above = Sight.UNKNOWN
        self._percent = self._minute = None
        if caps.reads_back:
            await self._audit()
        self.ready = True

    @property
    def _lasting(self) -> bool:
        """Whether its memory outlives its power: what it was once sent is not sent again, because it wears."""
        return self.caps.storage == "flash"

    async def look(self) -> None:
        """Find out whether the board still has our pictures; if not, it is no longer `ready`."""
        if (self.caps.tells_plan and not await self.is_ours()) or (
            self.caps.tells_status
            and self.caps.switches
            and not self._stays_dark
            and (await self._asked()).dark
        ):
            self.ready = False

    async def _asked(self) -> Status:
        status = await self._link.say(AskStatus())
        assert isinstance(status, Status)
        self.status = status
        return status

    async def _light(self) -> None:
        """Ask how it is; switch its dots on where somebody has switched them off."""
        dark = bool((await self._asked()).dark)
        if self.found_dark is None:
            self.found_dark = dark
        if dark and self.caps.switches:
            await self._switch(on=True)
            dark = bool((await self._asked()).dark)
        self._stays_dark = dark

    async def _switch(self, *, on: bool) -> None:
        """Switch the dots; a board that refuses that may well take everything else."""
        with contextlib.suppress(Refusal):
            await self._link.say(Power(on=on))

    async def _audit(self) -> None:
        """Ask for each held picture; forget those that somebody has written over."""
        for picture, slot in list(self._slots.items()):
            held = await self._link.say(AskPicture(slot))
            if not isinstance(held, Held) or held.picture != picture:
                del self._slots[picture]
                self._verified.discard(picture)

    async def _set_up(self) -> None:
        self._slots.clear()
        self._verified.clear()
        self._believed = False
        await self._link.say(SetUp())
        self._believed = True

    async def is_ours(self) -> bool:
        """Whether its memory is as we have set it up."""
        plan = await self._link.say(AskPlan())
        assert isinstance(plan, Plan)
        return plan.ours

    # ------------------------------------------------------------ pictures

    async def store(self, picture: Picture, *, keep: Collection[Picture], urgent: bool) -> None:
        """Give the board a picture, in the slot of the longest unused one that is not in `keep` or shown."""
        if self.holds(picture):
            return
        if self._wear is not None and not self._wear.spend(urgent=urgent):
            raise WriteBudgetSpent(
                f"The board keeps pictures in flash, and {self._wear.most} were written within a day "
                "(board.flash_writes_a_day). Emergencies are shown all the same; the rest waits until the day is over."
            )
        used = {slot: held for held, slot in self._slots.items()}
        if len(used) < self.caps.slots:
            slot = next(free for free in range(self.caps.slots) if free not in used)
        else:
            free = [held for held in self._slots if held not in (self._ordinary, self._above)]
            oldest = next((held for held in free if held not in keep), free[0])
            slot = self._slots.pop(oldest)
            self._verified.discard(oldest)
        for _ in range(ATTEMPTS):
            if not await self._understood(Store(slot, picture)):
                return
            if (
                urgent or not self.caps.reads_back
            ):  # an emergency is shown first and read back by the next audit
                self._slots[picture] = slot
                return
            held_now = await self._link.say(AskPicture(slot))
            if isinstance(held_now, Held) and held_now.picture == picture:
                self._slots[picture] = slot
                self._verified.add(picture)
                return
        raise BoardFault(
            "The board holds other dots than it was sent, again and again. See the cable and its earth."
        )

    async def show(self, picture: Picture | None) -> bool:
        """Show a stored picture, or nothing, in the ordinary place, and end a takeover. Whether it was another before."""
        wanted = Sight.NOTHING if picture is None else picture
        above = self._above is not Sight.NOTHING and self.caps.takeover
        if self._ordinary == wanted and not above:
            return False
        if self._ordinary != wanted and await self._understood(self._showing(picture)):
            self._ordinary = wanted
        if self.ready and above and await self._understood(Release()):
            self._above = Sight.NOTHING
            if not self.caps.slots:  # what stood below may have gone with it
                await self._understood(self._showing(picture))
        return True

    async def take_over(self, picture: Picture, *, left_s: float) -> bool:
        """Show a stored picture above everything else. Whether it was another before.

        A board that has lost its memory would take the order and show nothing, so it is asked first; see `ready`.
        """
        caps = self.caps
        if not caps.takeover:
            return await self.show(picture)
        now_ns = self._clock.monotonic_ns()
        if self._above == picture and not (caps.takeover_ends and now_ns >= self._again_ns):
            return False
        news = self._above != picture
        if now_ns - self._sure_ns > SURE_NS:
            await self.look()
        if self.ready and news and caps.switches:  # whoever has switched it off since we asked
            await self._switch(on=True)
        left_s = min(left_s, TAKE_OVER_MAX_S)
        what = self._used(picture) if caps.slots else picture
        if self.ready and await self._understood(TakeOver(what, left_s)):
            self._above = picture
            self._again_ns = now_ns + round(left_s / 2 * NS)
        return news

    async def hand_back(self) -> None:
        """End what we show; what was there before is seen again."""
        if self.caps.takeover:
            with contextlib.suppress(Refusal):  # there was none; the rest must be said all the same
                await self._link.say(Release())
        if self.caps.hands_back:
            await self._link.say(HandBack())
        if self.found_dark and self.caps.switches:
            await self._switch(on=False)
        self.found_dark = None
        self._ordinary = self._above = Sight.UNKNOWN
        self.ready = False

    def _showing(self, picture: Picture | None) -> Command:
        if not self.caps.slots:
            return Draw(picture or self.darkness())
        return Show(None if picture is None else self._used(picture))

    def darkness(self) -> Picture:
        """A picture of the board's size with no dot lit."""
        caps = self.caps
        return Picture(
            caps.columns, caps.rows, caps.colours, bytes(caps.columns * caps.rows * caps.colours.bytes_a_dot)
        )

    def _used(self, picture: Picture) -> int:
        """The slot of a picture, which is now the latest used."""
        slot = self._slots.pop(picture)
        self._slots[picture] = slot
        return slot

    # ------------------------------------------------------------ the rest

    async def scroll(self, strip: Strip, *, from_s: float, seconds: float) -> None:
        """A line is too slow for that."""
        raise AssertionError("not in the caps of a board on a line")

    async def dim(self, percent: int | None) -> bool:
        """Set the brightness. Whether anything was written."""
        steps = self.caps.brightness_steps
        if percent is None or not steps:
            return False
        step = max(1, round(percent * steps / 100))
        percent = round(step * 100 / steps)
        if percent == self._percent or Dim in self._refused:
            return False
        try:
            await self._link.say(Dim(percent))
        except Refusal:
            self._spare(Dim)
            return True
        self._percent = percent
        if self.caps.keeps_errors:
            reply = await self._link.say(AskErrors())
            if isinstance(reply, Errors) and reply.found:
                self._spare(Dim)
                await self._link.say(ForgetErrors())
        return True

    async def clock_text(self, local: datetime) -> bool:
        """Show the time in the board's own digits. Whether anything was written."""
        minute = local.replace(second=0, microsecond=0)
        if self._ordinary is Sight.CLOCK and self._minute == minute and self._above is Sight.NOTHING:
            return False
        if await self._understood(ClockText(minute)):
            self._ordinary, self._minute = Sight.CLOCK, minute
        if self.ready and self._above is not Sight.NOTHING and await self._understood(Release()):
            self._above = Sight.NOTHING
        return True

    async def set_clock(self, local: datetime) -> None:
        """Set the board's clock, where it has one."""
        if not self.caps.clock or SetClock in self._refused:
            return
        try:
            await self._taken(SetClock(local + timedelta(milliseconds=500)))
        except Refusal:
            self._spare(SetClock)

    def _spare(self, command: type[Command]) -> None:
        """It does not take this: do without for a while."""
        self._refused.add(command)
        self._forgive_ns = self._clock.monotonic_ns() + FORGIVEN_NS

    async def self_test(self, *, on: bool) -> None:
        """Begin or end the board's own test pattern, where it has one."""
        if self.caps.tests_itself:
            await self._link.say(SelfTest(on))

    async def dead_dots(self) -> int | None:
        """How many dots do not light; None: the board does not tell."""
        if not self.caps.finds_dead_dots:
            return None
        found = await self._link.say(AskDeadDots())
        return found.count if isinstance(found, DeadDots) else None

    async def _understood(self, command: Command) -> bool:
        """Say it until the board has understood it. False: it no longer knows our pictures, see `ready`."""
        try:
            return await self._taken(command)
        except Refusal as refusal:
            if refusal.lost:
                self.ready = False
                self._slots.clear()
                return False
            raise

    async def _taken(self, command: Command) -> bool:
        errors = Errors(())
        for attempt in range(ATTEMPTS):
            if attempt and isinstance(command, Show | ClockText):
                await self._link.say(Settle())  # which file is run may have been lost with the rest
            await self._link.say(command)
            if not self.caps.keeps_errors:
                return True
            reply = await self._link.say(AskErrors())
            assert isinstance(reply, Errors)
            errors = reply
            if not errors.found:
                self._sure_ns = self._clock.monotonic_ns()
                return True
            await self._link.say(ForgetErrors())
            if errors.unknown_file and not await self.is_ours():
                self.ready = False
                return False
        raise Refusal(
            f"The board answers, but reports what it receives as wrong: {', '.join(errors.found)}. Check the cable's "
            "length and earth, and that speed and parity agree.",
            lost=False,
        )
