"""An RSS or Atom feed's bytes to headlines that may be shown to a village (pure; slow, called on a thread).

The parser is feedparser, which understands every feed there is, and much that is none. It opens what it is given where that
is the name of a file, bytes too, so it is given an open one; a body that declares entities is not given to it at all.
"""

from __future__ import annotations

import calendar
import html
import io
import re
import unicodedata
from dataclasses import dataclass
from typing import Any, Final

BYTES_MAX: Final = 512 * 1024
ENTRIES_MAX: Final = 40
CHARACTERS_MAX: Final = 160
"""A longer headline is none; it is left out, never cut."""

_TAG: Final = re.compile(r"<[^<>]{0,500}>")
_ENTITY: Final = re.compile(rb"<!ENTITY", re.IGNORECASE)
_END: Final = re.compile(rb"</(rss|feed|rdf:rdf)\s*>", re.IGNORECASE)
_SPACES: Final = re.compile(r"\s+")


class FeedBroken(Exception):
    """It is no feed that can be read; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class Headline:
    """One headline. `at_s`: when it was published, seconds since 1970; None: the feed does not say."""

    text: str
    at_s: int | None


def headlines(body: bytes) -> tuple[Headline, ...]:
    """The headlines in the feed's order, cleaned; what cannot be shown is left out. Raises FeedBroken."""
    if len(body) > BYTES_MAX:
        raise FeedBroken(f"The feed has more than {BYTES_MAX} bytes.")
    plain = body.replace(b"\0", b"")  # UTF-16 has a zero beside each letter
    if _ENTITY.search(plain):
        raise FeedBroken("The feed declares entities of its own, which no portal needs.")
    if not _END.search(plain[-400:]):
        raise FeedBroken("The feed is cut short, or this is none.")
    import feedparser

    try:
        found: Any = feedparser.parse(io.BytesIO(body), sanitize_html=True, resolve_relative_uris=False)
    except Exception as error:  # the library promises none, and keeps no list of those that come all the same
        raise FeedBroken(f"The feed cannot be read ({type(error).__name__}).") from error
    if not found.get("version"):
        raise FeedBroken("This is no RSS or Atom feed.")
    texts: dict[str, Headline] = {}
    for entry in found.entries[:ENTRIES_MAX]:
        text = cleaned(str(entry.get("title", "")))
        if text and text not in texts:
            moment = entry.get("published_parsed") or entry.get("updated_parsed")
            texts[text] = Headline(text, None if moment is None else calendar.timegm(moment))
    return tuple(texts.values())


def cleaned(title: str) -> str:
    """A headline as plain text on one line; "" when it is none."""
    text = title[: 4 * CHARACTERS_MAX]
    for _ in range(2):  # titles are often escaped twice
        text = html.unescape(_TAG.sub(" ", text))
    text = "".join(
        character for character in text if character.isspace() or unicodedata.category(character)[0] != "C"
    )
    text = unicodedata.normalize("NFC", _SPACES.sub(" ", text).strip())
    return text if len(text) <= CHARACTERS_MAX and "\ufffd" not in text else ""
