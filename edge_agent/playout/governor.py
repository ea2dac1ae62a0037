"""The house rules that no order bypasses: quiet hours, longest turn, minutes and repeats a day, volume. Pure.

An emergency breaks quiet hours and has ceilings and an account of its own; it never uses up what is
left for the rest of the day, nor the rest what is left for it. Airtime is the time for which a turn
has the live amplifier. Days and hours are Vietnam's. Where the time is not known (it is not trusted):
a ROUTINE request is refused while there are quiet hours at all, because this may be one; a PRIORITY
request was made just now (its nonce says so) by somebody who knows the hour; and a new day begins only
after the node has run for 24 h.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from edge_agent.hours import DAY_S, DayHours
from edge_agent.model import LOCAL_TIME, NS, Audible, Digest, Intent, OrderId, Precedence, Reason, ReasonCode
from edge_agent.playout.settings import Ceilings, GovernorSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Time as the governor needs it."""

    at_ns: int
    """CLOCK_BOOTTIME of boot `boot`."""
    boot: str
    utc: datetime | None
    """The date, aware; None where it is not trusted."""

    @property
    def local(self) -> datetime | None:
        """In Vietnam."""
        return None if self.utc is None else self.utc.astimezone(LOCAL_TIME)


@dataclass(slots=True, kw_only=True)
class Page:
    """The account of one day: one for emergencies, one for the rest."""

    number: int
    """1, 2, 3 ..."""
    day: int | None
    """The date as days since year 1; None: it began while nobody knew the date."""
    boot: str
    began_ns: int
    """When this boot first saw it."""
    airtime_ns: dict[bool, int] = field(default_factory=dict)
    """By whether it was an emergency."""
    begun: dict[tuple[Digest, bool], int] = field(default_factory=dict)
    """How often each asset has begun, by the same."""

    def after(self, *, day: int | None, moment: Moment) -> Page:
        """The next page, empty."""
        return Page(number=self.number + 1, day=day, boot=moment.boot, began_ns=moment.at_ns)


class Governor:
    """The rules and the day's account. No await, no clock: the time is handed in."""

    def __init__(self, settings: GovernorSettings, page: Page | None = None) -> None:
        self._settings = settings
        self._quiet = DayHours(settings.quiet_hours)
        self._begun: set[OrderId] = set()
        """Orders that have begun and may go on: a resumed turn is no repetition."""
        self.page = page or Page(number=1, day=None, boot="", began_ns=0)

    def look(self, moment: Moment) -> None:
        """Turn the page when a new day has begun."""
        page, local = self.page, moment.local
        if page.boot != moment.boot:
            page.boot, page.began_ns = moment.boot, moment.at_ns
        if local is None:
            if moment.at_ns - page.began_ns < DAY_S * NS:
                return
            self.page = page.after(day=None, moment=moment)
            return
        today = local.toordinal()
        if page.day is None:
            page.day = today  # now it is known which day this is
        elif page.day != today:
            self.page = page.after(day=today, moment=moment)

    # ------------------------------------------------------------ what may sound

    def refuses(self, intent: Intent, moment: Moment) -> Reason | None:
        """Why a request may not begin, or go on, now; None when it may."""
        self.look(moment)
        emergency, ceilings = self._of(intent.precedence)
        if not emergency and (quiet := self._in_quiet(intent, moment)) is not None:
            return quiet
        if self._used_ns(emergency) >= ceilings.day_s * NS:
            return _no_minutes(ceilings, emergency=emergency)
        if isinstance(intent, Audible) and intent.media is not None and intent.id not in self._begun:
            times = self.page.begun.get((intent.media, emergency), 0)
            if times >= ceilings.repeats:
                return Reason(
                    ReasonCode.GOVERNOR,
                    f"This recording has begun {times} times today, which is as often as {_key('repeats_a_day', emergency)}"
                    " allows; send it tomorrow.",
                )
        return None

    def cuts(self, intent: Intent, airtime_ns: int, moment: Moment) -> Reason | None:
        """Why the turn that sounds, and has had so much airtime, must end now; None when it may go on."""
        self.look(moment)
        emergency, ceilings = self._of(intent.precedence)
        local = moment.local
        if not emergency and local is not None and self._quiet.covers(local):
            return _QUIET
        if airtime_ns >= ceilings.turn_s * NS:
            return Reason(
                ReasonCode.GOVERNOR,
                f"It was cut after {ceilings.turn_s:g} s, the longest turn that {_key('turn_max_s', emergency)} allows.",
            )
        if self._used_ns(emergency) >= ceilings.day_s * NS:
            return _no_minutes(ceilings, emergency=emergency)
        return None

    def good_for_ns(self, intent: Intent, airtime_ns: int, moment: Moment) -> int:
        """For how long `cuts` will have nothing to say, if the clock does not jump. At least 0."""
        emergency, ceilings = self._of(intent.precedence)
        bounds = [round(ceilings.turn_s * NS) - airtime_ns, ceilings.day_s * NS - self._used_ns(emergency)]
        local = moment.local
        if not emergency and local is not None and (begins := self._quiet.begins_in_s(local)) is not None:
            bounds.append(round(begins * NS))
        return max(0, min(bounds))

    def quiet(self, moment: Moment) -> bool | None:
        """Whether these are quiet hours; None while nobody knows."""
        return None if moment.local is None else self._quiet.covers(moment.local)

    def volume_max(self, precedence: Precedence) -> int:
        """The loudest that a class may be."""
        return self._of(precedence)[1].volume

    # ------------------------------------------------------------ what has sounded

    def begin(self, intent: Intent) -> bool:
        """A turn is about to sound for the first time, or again; whether the account has changed."""
        if intent.id in self._begun:
            return False
        self._begun.add(intent.id)
        if not isinstance(intent, Audible) or intent.media is None:
            return False
        key = (intent.media, intent.precedence is Precedence.EMERGENCY)
        self.page.begun[key] = self.page.begun.get(key, 0) + 1
        return True

    def charge(self, precedence: Precedence, airtime_ns: int) -> None:
        """So much has sounded since the last charge."""
        assert airtime_ns >= 0
        emergency = precedence is Precedence.EMERGENCY
        self.page.airtime_ns[emergency] = self._used_ns(emergency) + airtime_ns

    def ended(self, order: OrderId) -> None:
        """It will not go on."""
        self._begun.discard(order)

    # ------------------------------------------------------------ within

    def _of(self, precedence: Precedence) -> tuple[bool, Ceilings]:
        return precedence is Precedence.EMERGENCY, self._settings.ceilings(precedence)

    def _used_ns(self, emergency: bool) -> int:  # noqa: FBT001 - the key of an account
        return self.page.airtime_ns.get(emergency, 0)

    def _in_quiet(self, intent: Intent, moment: Moment) -> Reason | None:
        local = moment.local
        if local is not None:
            return _QUIET if self._quiet.covers(local) else None
        doubtful = intent.precedence is Precedence.ROUTINE and bool(self._quiet)
        return _UNKNOWN_HOUR if doubtful else None


_QUIET = Reason(
    ReasonCode.QUIET_HOURS,
    "These are quiet hours here (governor.quiet_hours), in which only emergencies sound; send it again in the morning.",
)
_UNKNOWN_HOUR = Reason(
    ReasonCode.CLOCK_UNTRUSTED,
    "This node does not know the hour, so these may be quiet hours; only PRIORITY and EMERGENCY sound until its clock is set.",
)


def _no_minutes(ceilings: Ceilings, *, emergency: bool) -> Reason:
    return Reason(
        ReasonCode.GOVERNOR,
        f"The day's {ceilings.day_s // 60} minutes ({_key('minutes_a_day', emergency)}) are used up; send it tomorrow.",
    )


def _key(name: str, emergency: bool) -> str:  # noqa: FBT001 - two names of one rule
    return f"governor.emergency_{name}" if emergency else f"governor.{name}"
