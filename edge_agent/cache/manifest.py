"""Which assets are wanted, and which of them is fetched next: the media document, and the decision. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from edge_agent import patterns
from edge_agent.cache.settings import MIB, CacheSettings
from edge_agent.errors import DocumentRefused, Fault
from edge_agent.hours import DayHours
from edge_agent.model import LOCAL_TIME, Digest, ReasonCode, Recording

ASSETS_MAX = 20_000
_GUESS_BYTES = 4 * MIB
"""What a file is reckoned with whose size nobody said."""


class AssetForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file that the node is to have."""

    media: Annotated[str, Meta(pattern=patterns.MEDIA)]
    url: Annotated[str, Meta(pattern=patterns.URL, max_length=2048)]
    size: Annotated[int, Meta(ge=1)] | None = None
    urgent: bool = False
    """Fetched first, and by day, too: what is needed in an emergency."""


class MediaForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a media document: the whole list, the most important first, in place of the one before."""

    assets: Annotated[tuple[AssetForm, ...], Meta(max_length=ASSETS_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """One asset that is wanted."""

    media: Digest
    url: str | None
    size: int | None = None
    urgent: bool = False
    soon: bool = False
    """It is needed within a day: it does not wait for the night."""


@dataclass(slots=True, kw_only=True)
class Today:
    """What was spent on fetching ahead since midnight."""

    day: int
    bytes: int = 0
    failures: Counter[Digest] = field(default_factory=Counter)
    hopeless: set[Digest] = field(default_factory=set)
    """Their server says for good that it has no such file."""


def read(body: bytes) -> tuple[Want, ...]:
    """The wants of a media document. Raises DocumentRefused."""
    form = patterns.decoded(body, MediaForm, what="media")
    return tuple(
        Want(media=Digest(one.media), url=one.url, size=one.size, urgent=one.urgent) for one in form.assets
    )


def of_recordings(recordings: Iterable[Recording], soon: Collection[Digest]) -> tuple[Want, ...]:
    """The wants of a schedule, each once, with the first address that anybody says."""
    found: dict[Digest, Want] = {}
    for one in recordings:
        known = found.get(one.media)
        if known is None or (known.url is None and one.url is not None):
            found[one.media] = Want(media=one.media, url=one.url, size=one.size, soon=one.media in soon)
    return tuple(found.values())


def merged(by_source: Mapping[str, Sequence[Want]]) -> dict[Digest, Want]:
    """All wants, each asset once: urgent if anybody says so, with an address if anybody has one."""
    whole: dict[Digest, Want] = {}
    for wants in by_source.values():
        for want in wants:
            known = whole.get(want.media)
            if known is not None:
                want = Want(  # noqa: PLW2901 - the same want, completed
                    media=want.media,
                    url=known.url or want.url,
                    size=known.size or want.size,
                    urgent=known.urgent or want.urgent,
                    soon=known.soon or want.soon,
                )
            whole[want.media] = want
    return whole


def surplus_bytes(wants: Iterable[Want], settings: CacheSettings) -> int:
    """By how much the wanted files exceed the quota, as far as their sizes are known; 0 or less: they fit."""
    return sum(want.size or 0 for want in wants) - settings.quota_bytes


def next_fetch(
    wants: Iterable[Want],
    held: Collection[Digest],
    today: Today,
    now: datetime | None,
    settings: CacheSettings,
) -> Want | None:
    """What is to be fetched now; None: nothing may be, or nothing is missing. `now`: None while the date is unknown.

    Urgent ones first, then what is needed soon, then, in the hours for it, the rest.
    """
    night = now is not None and DayHours([settings.prefetch_hours]).covers(now.astimezone(LOCAL_TIME))
    missing = [
        want
        for want in wants
        if want.url is not None
        and want.media not in held
        and want.media not in today.hopeless
        and today.failures[want.media] < settings.prefetch_attempts_a_day
        and (want.size is None or want.size <= settings.asset_max_bytes)
    ]
    missing.sort(key=lambda want: (not want.urgent, not want.soon))
    for want in missing:
        if not (want.urgent or want.soon or night):
            return None
        spent = today.bytes + (want.size or _GUESS_BYTES)
        if want.urgent or spent <= settings.prefetch_mib_a_day * MIB:
            return want
    return None


def too_much(surplus: int, settings: CacheSettings) -> DocumentRefused:
    """The refusal of a document that wants more than can ever be kept."""
    text = (
        f"The files want {surplus / MIB:.0f} MiB more than the {settings.quota_mib} MiB of this node's cache; "
        "list fewer, or raise cache.quota_mib."
    )
    return DocumentRefused(ReasonCode.NO_SPACE, text, [Fault("$.assets", text)])
