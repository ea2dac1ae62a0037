"""What may be asked through the local socket, and what is answered: one JSON object a line. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge_agent import patterns
from edge_agent.desired import Found
from edge_agent.errors import Refused
from edge_agent.model import ReasonCode
from edge_agent.report.asrun import AsRunEntry
from edge_agent.report.status import BoardNote, LiveNote, Muted, Turn

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


class NextRequest(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do", tag="next"
):
    """What will sound?"""

    days: Annotated[int, Meta(ge=1, le=31)] = 7
    limit: Annotated[int, Meta(ge=1, le=300)] = 300


class AssetsRequest(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do", tag="assets"
):
    """What is in the cellar? A page, by digest."""

    after: Annotated[str, Meta(max_length=80)] = ""
    limit: Annotated[int, Meta(ge=1, le=300)] = 300


class VerifyRequest(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do", tag="verify"
):
    """Hash one file once more."""

    media: Annotated[str, Meta(pattern=patterns.MEDIA)]


class CollectRequest(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do", tag="collect"
):
    """Remove every file that no document wants and nobody uses."""


class ImportRequest(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do", tag="import"
):
    """Take what lies in the import directory."""


class EntriesRequest(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do", tag="entries"
):
    """A page of the as-run log, and when the node ran."""

    after: Annotated[int, Meta(ge=0)] = 0
    limit: Annotated[int, Meta(ge=1, le=100)] = 50


class EventsRequest(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do", tag="events"
):
    """A page of the black box."""

    after: Annotated[int, Meta(ge=0)] = 0
    limit: Annotated[int, Meta(ge=1, le=150)] = 150


LookUp = (
    NextRequest
    | AssetsRequest
    | VerifyRequest
    | CollectRequest
    | ImportRequest
    | EntriesRequest
    | EventsRequest
)
Request = LiveRequest | StatusRequest | StopRequest | ReleaseRequest | LookUp


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
    boards: Sequence[BoardNote] = ()


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


class NextAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The turns to come. `waits`: the time is in doubt, so nothing begins."""

    ok: Literal[True] = True
    clock: str
    wall: str | None
    turns: Sequence[Turn]
    waits: bool


class AssetNote(msgspec.Struct, frozen=True, kw_only=True):
    """One file: here or not, wanted by a document, kept from eviction, or spoilt and why."""

    media: str
    held: bool
    size: int | None
    wanted: bool
    kept: bool
    quarantined: str | None


class AssetsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the cellar."""

    ok: Literal[True] = True
    assets: Sequence[AssetNote]
    total: int
    missing: int
    """Wanted files that are not here."""
    surplus_mib: int
    """By so much the documents want more than the quota."""


class VerifyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with the file, or null."""

    ok: Literal[True] = True
    fault: str | None


class CollectAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What was removed."""

    ok: Literal[True] = True
    removed: int
    bytes: int


class ImportAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of each file of the stick."""

    ok: Literal[True] = True
    files: Sequence[Found]


class BootNote(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the agent. `offset_ms`: wall time less ms since boot, where it was ever learnt."""

    boot: str
    offset_ms: int | None
    first: str | None
    last: str | None


class EntriesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the as-run log."""

    ok: Literal[True] = True
    node: str
    entries: Sequence[AsRunEntry]
    boots: Sequence[BootNote]


class EventsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the black box."""

    ok: Literal[True] = True
    events: Sequence[Mapping[str, str | int | None]]


class RefusedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """It was not done."""

    ok: Literal[False] = False
    code: str
    text: str


LookedUp = (
    NextAnswer | AssetsAnswer | VerifyAnswer | CollectAnswer | ImportAnswer | EntriesAnswer | EventsAnswer
)
Answer = LiveAnswer | StatusAnswer | StopAnswer | ReleaseAnswer | RefusedAnswer | LookedUp


def read(line: bytes) -> Request:
    """What is asked. Raises Refused(bad_args)."""
    try:
        asked: Request = msgspec.json.decode(line, type=Request)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Refused(
            ReasonCode.BAD_ARGS,
            f"This is not a request ({error}); send one JSON object with `do`: status, live, stop, release, next, assets ...",
        ) from None
    if isinstance(asked, StopRequest) and asked.order is not None and asked.klass is not None:
        raise Refused(ReasonCode.BAD_ARGS, "A stop takes `order` or `class`, not both; send two.")
    return asked
