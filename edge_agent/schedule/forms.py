"""The shape of a schedule document, as it is signed and sent."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge_agent import patterns

RULES_MAX = 5_000
DATE_PATTERN = r"^20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])\Z"
TIME_PATTERN = r"^([01][0-9]|2[0-3]):[0-5][0-9]\Z"
RULE_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,39}\Z"

FORMS = {
    **patterns.FORMS,
    DATE_PATTERN: "a date like 2026-11-30",
    TIME_PATTERN: "a time of day like 05:30",
    RULE_PATTERN: "a name of 1 to 40 of a-z, 0-9, `_`, `-`",
}

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_Date = Annotated[str, Meta(pattern=DATE_PATTERN)]
_Time = Annotated[str, Meta(pattern=TIME_PATTERN)]
_Url = Annotated[str, Meta(pattern=patterns.URL, max_length=2048)]
_Media = Annotated[str, Meta(pattern=patterns.MEDIA)]
_Language = Annotated[str, Meta(pattern=patterns.LANGUAGE)]
_Words = Annotated[str, Meta(min_length=1, max_length=4000)]
_Span = Annotated[int, Meta(ge=5, le=6 * 3600)]


class StreamForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A station's stream. `pin`: the sha256 of its certificate, https only."""

    url: _Url
    pin: _Media | None = None


class StandbyForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What sounds while the station is lost, in this order: another stream, a recording, a text."""

    stream: StreamForm | None = None
    media: _Media | None = None
    url: _Url | None = None
    say: _Words | None = None
    language: _Language = "vi"


class PartForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One part of a programme: `media`, `say`, `stream` or `line_in`, one of them."""

    media: _Media | None = None
    url: _Url | None = None
    """Where `media` may be fetched; without it the media document says so."""
    size: Annotated[int, Meta(ge=1)] | None = None
    seconds: Annotated[float, Meta(gt=0, le=86400)] | None = None
    """How long `media` is, so that collisions are seen beforehand."""
    say: _Words | None = None
    language: _Language = "vi"
    stream: StreamForm | None = None
    standby: StandbyForm = StandbyForm()
    line_in: bool = False
    for_s: _Span | None = None
    """For how long `stream` or `line_in` sounds; they need it."""


class LateForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens to a turn whose time has passed before it could begin."""

    policy: Literal["skip", "within", "always"] = "within"
    """skip: it is missed after a minute; within: after `minutes`; always: an emergency, for the rest of a day."""
    minutes: Annotated[int, Meta(ge=1, le=720)] = 5


class RepeatForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Further turns after each of `at`."""

    times: Annotated[int, Meta(ge=1, le=48)]
    """How many turns in all."""
    every_min: Annotated[int, Meta(ge=1, le=720)]


class RuleForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a programme sounds. Times and dates are Vietnam's (UTC+7)."""

    id: Annotated[str, Meta(pattern=RULE_PATTERN)]
    title: Annotated[str, Meta(max_length=200)] = ""
    klass: Literal["routine", "priority", "emergency"] = msgspec.field(name="class", default="routine")
    at: Annotated[tuple[_Time, ...], Meta(min_length=1, max_length=48)]
    days: Annotated[tuple[Day, ...], Meta(min_length=1, max_length=7)] | None = None
    """On these days of the week; null: on every one."""
    begins: _Date | None = msgspec.field(name="from", default=None)
    ends: _Date | None = msgspec.field(name="to", default=None)
    """The last day."""
    dates: Annotated[tuple[_Date, ...], Meta(max_length=400)] = ()
    """On these days, too, whatever `days` says; with `days` empty and this given, only on these."""
    excepted: Annotated[tuple[_Date, ...], Meta(max_length=400)] = msgspec.field(name="except", default=())
    holidays: Literal["play", "skip", "only"] = "play"
    """On the days of the document's list of holidays."""
    late: LateForm = LateForm()
    repeat: RepeatForm | None = None
    volume: Annotated[int, Meta(ge=0, le=100)] | None = None
    zones: Annotated[tuple[Annotated[str, Meta(pattern=patterns.ZONE)], ...], Meta(max_length=16)] = ()
    max_s: _Span | None = None
    together: bool = False
    """Its first frame sounds at the very instant, on every node that has the rule."""
    programme: Annotated[tuple[PartForm, ...], Meta(min_length=1, max_length=64)]


class ScheduleForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a schedule document: the whole list, in place of the one before."""

    rules: Annotated[tuple[RuleForm, ...], Meta(max_length=RULES_MAX)]
    holidays: Annotated[tuple[_Date, ...], Meta(max_length=400)] = ()
