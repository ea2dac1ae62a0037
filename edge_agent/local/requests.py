"""What may be asked through the local socket, and what is answered: one JSON object a line. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge_agent.errors import Refused
from edge_agent.model import ReasonCode
from edge_agent.report.status import LiveNote, Muted

STOP_S_MAX = 30 * 86400

_Id = Annotated[str, Meta(min_length=1, max_length=64)]


class StatusRequest(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do", tag="status"
):
    """How is it?"""


class StopRequest(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do", tag="stop"
):
    """Silence. Without `order` and `class`: everything now, and for `for_s` everything but new emergencies."""

    order: _Id | None = None
    klass: Literal["routine", "priority", "emergency"] | None = msgspec.field(default=None, name="class")
    for_s: Annotated[int, Meta(ge=0, le=STOP_S_MAX)] = 0


class ReleaseRequest(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do", tag="release"
):
    """End one sticky stop, or all."""

    stop: _Id | None = None


class LiveRequest(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do", tag="live"
):
    """How do the live sessions fare?"""


Request = LiveRequest | StatusRequest | StopRequest | ReleaseRequest


class Airtime(msgspec.Struct, frozen=True, kw_only=True):
    """How much of the day's minutes is used, in seconds."""

    used_s: int
    most_s: int


class StatusAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How the node is."""

    ok: Literal[True] = True
    node: str
    agent: str
    up_s: int
    clock: str
    wall: str | None
    online: bool
    volume: int
    sounding: str | None
    """The order that has the loudspeaker."""
    waiting: int
    suspended: int
    amplifier: str
    muted: Sequence[Muted]
    quiet_hours: Sequence[str]
    quiet: bool | None
    """Whether it is quiet hours now; null while the time is not known."""
    today: Airtime
    today_emergency: Airtime
    alerts: Sequence[str]


class LiveAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Every live session, as `up/health` tells it."""

    ok: Literal[True] = True
    live: Sequence[LiveNote]


class StopAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What was stopped, and which sticky stop stands now because of it."""

    ok: Literal[True] = True
    orders: Sequence[str]
    stop: str | None
    until: str | None


class ReleaseAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Which stops do not stand any more."""

    ok: Literal[True] = True
    released: Sequence[str]


class RefusedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """It was not done."""

    ok: Literal[False] = False
    code: str
    text: str


Answer = LiveAnswer | StatusAnswer | StopAnswer | ReleaseAnswer | RefusedAnswer


def read(line: bytes) -> Request:
    """What is asked. Raises Refused(bad_args)."""
    try:
        asked: Request = msgspec.json.decode(line, type=Request)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Refused(
            ReasonCode.BAD_ARGS,
            f"This is not a request ({error}); send one JSON object with `do`: status, live, stop or release.",
        ) from None
    if isinstance(asked, StopRequest) and asked.order is not None and asked.klass is not None:
        raise Refused(ReasonCode.BAD_ARGS, "A stop takes `order` or `class`, not both; send two.")
    return asked
