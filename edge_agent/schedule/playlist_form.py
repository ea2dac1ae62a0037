"""The shape of a board document, as it is signed and sent, and the playlist that it makes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from edge_agent import patterns
from edge_agent.desired import Signed
from edge_agent.errors import DocumentRefused, Fault
from edge_agent.model import Digest, OrderId, Precedence, ReasonCode
from edge_agent.patterns import decoded
from edge_agent.playlist import (
    ClockContent,
    Content,
    FeedContent,
    ImageContent,
    Item,
    Playlist,
    QrContent,
    Requisition,
    TextContent,
)
from edge_agent.schedule.forms import DAYS, FORMS, RULE_PATTERN, Day

ITEMS_MAX: Final = 100
LANGUAGES_MAX: Final = 8
REQUISITIONS_MAX: Final = 16
REQUISITION_LONGEST: Final = timedelta(days=30)

_Text = Annotated[str, Meta(min_length=1, max_length=4000)]
_Caption = Annotated[str, Meta(max_length=200)]
_Url = Annotated[str, Meta(pattern=patterns.URL, max_length=2048)]
_Board = Annotated[str, Meta(pattern=patterns.BOARD)]
_Moment = Annotated[datetime, Meta(tz=True)]


class ImageForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A picture file: PNG, JPEG or WebP. Without `url` the media document says where it is fetched."""

    media: Annotated[str, Meta(pattern=patterns.MEDIA)]
    url: _Url | None = None
    caption: _Caption = ""


class QrForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something to scan; shown only where a camera can read it."""

    text: Annotated[str, Meta(min_length=1, max_length=500)]
    caption: _Caption = ""


class FeedForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The latest headlines of an RSS or Atom feed, of a host that the node's config allows."""

    url: _Url
    headlines: Annotated[int, Meta(ge=1, le=10)] = 3
    keep_h: Annotated[int, Meta(ge=1, le=24 * 30)] = 24


class ItemForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One member of the list: one of `text`, `texts`, `image`, `qr`, `clock`, `feed`.

    Without `from` it stands at once, without `to` until the document changes.
    """

    id: Annotated[str, Meta(pattern=RULE_PATTERN)]
    klass: Literal["routine", "priority", "emergency"] = msgspec.field(name="class", default="routine")
    text: _Text | None = None
    texts: (
        Annotated[
            dict[Annotated[str, Meta(pattern=patterns.LANGUAGE)], _Text],
            Meta(min_length=1, max_length=LANGUAGES_MAX),
        ]
        | None
    ) = None
    """The same in several languages; each has the same time."""
    image: ImageForm | None = None
    qr: QrForm | None = None
    clock: bool = False
    feed: FeedForm | None = None
    scroll: bool = False
    """A text runs through one line, on a screen that is wide enough."""
    seconds: Annotated[float, Meta(ge=3, le=3600)] | None = None
    """How long it stands in each turn; never less than reading takes."""
    begins: _Moment | None = msgspec.field(name="from", default=None)
    ends: _Moment | None = msgspec.field(name="to", default=None)
    days: Annotated[tuple[Day, ...], Meta(min_length=1, max_length=7)] = DAYS
    hours: Annotated[tuple[Annotated[str, Meta(pattern=patterns.SPAN)], ...], Meta(max_length=8)] = ()
    """Spans of the local day."""
    boards: Annotated[tuple[_Board, ...], Meta(max_length=8)] = ()
    """Names of the boards that show it; none = all."""


class RequisitionForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A time for which boards that are somebody else's are taken over."""

    boards: Annotated[tuple[_Board, ...], Meta(min_length=1, max_length=8)]
    begins: _Moment = msgspec.field(name="from")
    ends: _Moment = msgspec.field(name="to")


class BoardForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a board document."""

    items: Annotated[tuple[ItemForm, ...], Meta(max_length=ITEMS_MAX)]
    requisitions: Annotated[tuple[RequisitionForm, ...], Meta(max_length=REQUISITIONS_MAX)] = ()


def read(body: bytes, signed: Signed) -> Playlist:
    """The playlist of a document. Raises DocumentRefused with every fault."""
    form = decoded(body, BoardForm, what="board", forms={**FORMS, **patterns.FORMS})
    faults = [
        Fault(f"$.items[{place}].{key}", text)
        for place, item in enumerate(form.items)
        for key, text in _faults_of(item, signed)
    ]
    names = [item.id for item in form.items]
    faults += [
        Fault(f"$.items[{place}].id", f"Item {name!r} stands in the list twice.")
        for place, name in enumerate(names)
        if name in names[:place]
    ]
    faults += [
        Fault(f"$.requisitions[{place}].{key}", text)
        for place, one in enumerate(form.requisitions)
        for key, text in _faults_of_requisition(one)
    ]
    if faults:
        raise DocumentRefused(ReasonCode.BAD_ARGS, faults[0].message, faults)
    return Playlist(
        version=signed.version,
        items=tuple(_item(item, signed) for item in form.items),
        requisitions=tuple(
            Requisition(
                boards=frozenset(one.boards),
                begins=one.begins.astimezone(UTC),
                ends=one.ends.astimezone(UTC),
            )
            for one in form.requisitions
        ),
    )


def _faults_of(item: ItemForm, signed: Signed) -> Iterator[tuple[str, str]]:
    """What is wrong with one item: key and sentence."""
    if Precedence.from_wire(item.klass) > signed.highest:
        yield "class", f"The document is signed for {signed.highest.wire} at most."
    contents = [key for key in ("text", "texts", "image", "qr", "feed") if getattr(item, key) is not None]
    contents += ["clock"] if item.clock else []
    if len(contents) != 1:
        found = f"it has {', '.join(contents)}" if contents else "it has none"
        yield "id", f"An item shows one of text, texts, image, qr, clock, feed; {found}."
    if item.scroll and item.text is None and item.texts is None:
        yield "scroll", "Only a text scrolls."
    for key, moment in (("from", item.begins), ("to", item.ends)):
        if moment is not None and not _in_calendar(moment):
            yield key, "The date is out of the calendar."
    both = item.begins is not None and item.ends is not None
    if both and item.begins >= item.ends:  # type: ignore[operator] # neither is None
        yield "to", "It ends before it begins."


def _faults_of_requisition(one: RequisitionForm) -> Iterator[tuple[str, str]]:
    for key, moment in (("from", one.begins), ("to", one.ends)):
        if not _in_calendar(moment):
            yield key, "The date is out of the calendar."
            return
    if one.begins >= one.ends:
        yield "to", "It ends before it begins."
    elif one.ends - one.begins > REQUISITION_LONGEST:
        yield (
            "to",
            f"A board is taken over for {REQUISITION_LONGEST.days} days at most; sign another one then.",
        )


def _in_calendar(moment: datetime) -> bool:
    try:
        moment.astimezone(UTC)
    except OverflowError:
        return False
    return True


def _item(item: ItemForm, signed: Signed) -> Item:
    return Item(
        key=OrderId(f"{item.id}@v{signed.version}"),
        issuer=signed.issuer,
        precedence=Precedence.from_wire(item.klass),
        content=_content(item),
        seconds=item.seconds,
        begins=None if item.begins is None else item.begins.astimezone(UTC),
        ends=None if item.ends is None else item.ends.astimezone(UTC),
        days=frozenset(DAYS.index(day) for day in item.days),
        hours=item.hours,
        boards=frozenset(item.boards),
    )


def _content(item: ItemForm) -> Content:
    """The one content that it has."""
    if item.image is not None:
        return ImageContent(media=Digest(item.image.media), url=item.image.url, caption=item.image.caption)
    if item.qr is not None:
        return QrContent(text=item.qr.text, caption=item.qr.caption)
    if item.feed is not None:
        return FeedContent(url=item.feed.url, headlines=item.feed.headlines, keep_h=item.feed.keep_h)
    if item.clock:
        return ClockContent()
    texts = item.texts if item.texts is not None else {"vi": item.text or ""}
    return TextContent(texts=tuple(texts.items()), scroll=item.scroll)
