"""A playlist: what is to be seen on the boards in turn, and between which dates; as read from a signed document."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from edge_agent.model import Digest, Issuer, OrderId, Precedence


@dataclass(frozen=True, slots=True, kw_only=True)
class TextContent:
    """The same words in one language or several (RFC 5646 tag, text), which take turns for equal times."""

    texts: tuple[tuple[str, str], ...]
    scroll: bool = False
    """On a screen that is wide enough it runs through one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageContent:
    """A picture file of the media cellar."""

    media: Digest
    url: str | None = None
    caption: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QrContent:
    """Something to scan."""

    text: str
    caption: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockContent:
    """The time, the date, the temperature where it is known, the place's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedContent:
    """The latest headlines of a portal's RSS or Atom feed."""

    url: str
    headlines: int = 3
    keep_h: int = 24
    """A headline older than that, or fetched longer ago, is not shown."""


Content = TextContent | ImageContent | QrContent | ClockContent | FeedContent


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One member of the list."""

    key: OrderId
    """`id@vN`: its name in the document and the document's version."""
    issuer: Issuer
    precedence: Precedence
    content: Content
    seconds: float | None = None
    """How long it stands in each turn; None: as long as reading takes."""
    begins: datetime | None = None
    ends: datetime | None = None
    days: frozenset[int] = frozenset(range(7))
    """Weekdays, 0 = Monday."""
    hours: tuple[str, ...] = ()
    """Spans of the local day, HH:MM-HH:MM; none = all day."""
    boards: frozenset[str] = frozenset()
    """Names of the boards that show it; () = all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requisition:
    """A time for which the authorities have taken over boards that are not theirs."""

    boards: frozenset[str]
    begins: datetime
    ends: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Playlist:
    """The whole document. An empty one shows nothing."""

    version: int = 0
    items: tuple[Item, ...] = ()
    requisitions: tuple[Requisition, ...] = ()
