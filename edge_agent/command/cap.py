"""CAP 1.2: XML text -> a frozen alert, or one refusal with a sentence (pure).

OASIS Common Alerting Protocol 1.2 (CAP-v1.2-os). Only what the node acts on is read; elements of
other namespaces (an XML signature, say) are passed over, since the order's own signature counts.
Where a reader could take an element for two things (twice an identifier, a date without its
zone) the alert is refused: signer and node must mean the same.

Facts about hostile XML that this leans on: without a DTD there are no entities but the five of
XML, so nothing can be expanded or fetched; expat itself never opens a file or an address. What is
left, depth and number of elements, is bounded here while it is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from edge_agent.command import area
from edge_agent.command.area import Area
from edge_agent.errors import OrderRefused
from edge_agent.model import ReasonCode

NAMESPACE: Final = "urn:oasis:names:tc:emergency:cap:1.2"
BYTES_MAX: Final = 256 * 1024
DEPTH_MAX: Final = 16
ELEMENTS_MAX: Final = 5_000
BLOCKS_MAX: Final = 32
REFERENCES_MAX: Final = 100

_STATUS = ("Actual", "Exercise", "System", "Test", "Draft")
_KIND = ("Alert", "Update", "Cancel", "Ack", "Error")
_SCOPE = ("Public", "Restricted", "Private")
_URGENCY = ("Immediate", "Expected", "Future", "Past", "Unknown")
_SEVERITY = ("Extreme", "Severe", "Moderate", "Minor", "Unknown")
_CERTAINTY = ("Observed", "Likely", "Possible", "Unlikely", "Unknown")

_NAME = re.compile(r"[^\s,<&]{1,200}")
_WHEN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d")
_LANGUAGE = re.compile(r"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*")


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes an alert this one and no other (CAP 1.2, 3.2.1 `references`)."""

    sender: str
    identifier: str
    sent: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A file beside the text."""

    mime_type: str
    uri: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One `info`: the event in one language and for one area."""

    language: str | None
    event: str
    urgency: str
    severity: str
    certainty: str
    expires: datetime | None = None
    headline: str = ""
    description: str = ""
    instruction: str = ""
    parameters: tuple[tuple[str, str], ...] = ()
    resources: tuple[Resource, ...] = ()
    areas: tuple[Area, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One CAP message."""

    identity: Identity
    status: str
    kind: str
    """`msgType`."""
    scope: str
    references: tuple[Identity, ...] = ()
    blocks: tuple[Block, ...] = ()


def parse(text: str) -> Alert:
    """Read an alert. Raises OrderRefused: BAD_ARGS when it is not well-formed or not plain CAP,
    UNSUPPORTED when it is another version."""
    root = _tree(text)
    if root.tag != _cap("alert"):
        raise OrderRefused(
            ReasonCode.UNSUPPORTED,
            f"The XML's root is {root.tag[:80]!r}; this node reads `alert` of {NAMESPACE} (CAP 1.2).",
        )
    kind = _one_of(root, "msgType", _KIND)
    references = _references(root.text_of("references"))
    if kind == "Cancel" and not references:
        raise _bad("a Cancel without `references` takes nothing back")
    blocks = tuple(_block(one) for one in root.all("info"))
    if len(blocks) > BLOCKS_MAX:
        raise _bad(f"it has {len(blocks)} info blocks and {BLOCKS_MAX} are the most that are read")
    if kind in {"Alert", "Update"} and not blocks:
        raise _bad(f"an {kind} without `info` says nothing")
    return Alert(
        identity=Identity(
            _named(root.needed("sender"), "sender"),
            _named(root.needed("identifier"), "identifier"),
            _when(root.needed("sent"), "sent"),
        ),
        status=_one_of(root, "status", _STATUS),
        kind=kind,
        scope=_one_of(root, "scope", _SCOPE),
        references=references,
        blocks=blocks,
    )


def _block(info: _Element) -> Block:
    expires = info.text_of("expires")
    language = info.text_of("language")
    if language and not _LANGUAGE.fullmatch(language):
        raise _bad(f"`language` is {language[:40]!r}; write a tag such as vi-VN")
    return Block(
        language=language or None,
        event=info.needed("event"),
        urgency=_one_of(info, "urgency", _URGENCY),
        severity=_one_of(info, "severity", _SEVERITY),
        certainty=_one_of(info, "certainty", _CERTAINTY),
        expires=_when(expires, "expires") if expires else None,
        headline=info.text_of("headline"),
        description=info.text_of("description"),
        instruction=info.text_of("instruction"),
        parameters=tuple((one.text_of("valueName"), one.text_of("value")) for one in info.all("parameter")),
        resources=tuple(
            Resource(mime_type=one.text_of("mimeType"), uri=one.text_of("uri"), digest=one.text_of("digest"))
            for one in info.all("resource")
        ),
        areas=tuple(_area(one) for one in info.all("area")),
    )


def _area(element: _Element) -> Area:
    try:
        return Area(
            description=element.text_of("areaDesc"),
            polygons=tuple(area.polygon(one.text) for one in element.all("polygon")),
            circles=tuple(area.circle(one.text) for one in element.all("circle")),
            geocodes=tuple((one.needed("valueName"), one.needed("value")) for one in element.all("geocode")),
        )
    except ValueError as error:
        raise _bad(str(error).rstrip(".")) from None


def _references(text: str) -> tuple[Identity, ...]:
    words = text.split()
    if len(words) > REFERENCES_MAX:
        raise _bad(f"it refers to {len(words)} messages and {REFERENCES_MAX} are the most that are read")
    found = []
    for word in words:
        parts = word.split(",")
        if len(parts) != 3:
            raise _bad(f"the reference {word[:80]!r} is not `sender,identifier,sent`")
        found.append(
            Identity(
                _named(parts[0], "references"),
                _named(parts[1], "references"),
                _when(parts[2], "references"),
            )
        )
    return tuple(found)


def _named(text: str, what: str) -> str:
    if not _NAME.fullmatch(text):
        raise _bad(f"`{what}` holds {text[:80]!r}; it takes 1 to 200 characters without space, comma, < or &")
    return text


def _when(text: str, what: str) -> datetime:
    """A date as CAP has it, in UTC. `Z` is forbidden there: a zone is always told as a difference."""
    try:
        if _WHEN.fullmatch(text) is None:
            raise ValueError
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise _bad(
            f"`{what}` holds {text[:60]!r}; write the date as 2026-11-24T08:00:00+07:00 (±hh:mm, never Z)"
        ) from None


def _one_of(element: _Element, name: str, values: tuple[str, ...]) -> str:
    text = element.needed(name)
    if text not in values:
        raise _bad(f"`{name}` is {text[:40]!r}; it is one of {', '.join(values)}")
    return text


def _cap(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"


def _bad(found: str) -> OrderRefused:
    found = "".join(c if c.isprintable() else "?" for c in found)
    return OrderRefused(
        ReasonCode.BAD_ARGS, f"The CAP alert is not understood: {found}. Correct it and send it anew."
    )


# ---------------------------------------------------------------- XML


@dataclass(slots=True)
class _Element:
    tag: str
    pieces: list[str] = field(default_factory=list)
    children: list[_Element] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces).strip()

    def all(self, name: str) -> Iterator[_Element]:
        """The children of this name, in CAP's namespace."""
        return (child for child in self.children if child.tag == _cap(name))

    def text_of(self, name: str) -> str:
        """The text of the one child of this name; "" when there is none. Raises OrderRefused for two."""
        found = list(self.all(name))
        if len(found) > 1:
            raise _bad(f"`{name}` stands there {len(found)} times where one is allowed")
        return found[0].text if found else ""

    def needed(self, name: str) -> str:
        """As `text_of`, but it must be there."""
        text = self.text_of(name)
        if not text:
            raise _bad(f"`{name}` is missing")
        return text


class _Grower:
    """What the XML parser tells, as elements; refuses what is too deep or too much while it is told."""

    def __init__(self) -> None:
        self._open: list[_Element] = []
        self._root: _Element | None = None
        self._count = 0

    def start(self, tag: str, _attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > ELEMENTS_MAX:
            raise _bad(f"it has more than {ELEMENTS_MAX} elements")
        if len(self._open) >= DEPTH_MAX:
            raise _bad(f"it is nested more than {DEPTH_MAX} deep")
        element = _Element(tag)
        if self._open:
            self._open[-1].children.append(element)
        else:
            self._root = element
        self._open.append(element)

    def data(self, text: str) -> None:
        self._open[-1].pieces.append(text)

    def end(self, _tag: str) -> None:
        self._open.pop()

    def close(self) -> _Element:
        assert self._root is not None, "the parser has refused what has no root"
        return self._root


def _tree(text: str) -> _Element:
    from defusedxml import ElementTree
    from defusedxml.common import DefusedXmlException

    try:
        blob = text.lstrip("\ufeff \t\r\n").encode()
        if len(blob) > BYTES_MAX:
            raise _bad(f"it has {len(blob)} bytes and {BYTES_MAX} are the most that are read")
        parser = ElementTree.DefusedXMLParser(
            target=_Grower(), encoding="utf-8", forbid_dtd=True, forbid_entities=True, forbid_external=True
        )
        parser.feed(blob)
        root: object = parser.close()
    except DefusedXmlException:
        raise _bad(
            "it has a DTD or entities, which could open files and addresses; send it without"
        ) from None
    except ElementTree.ParseError as error:
        raise _bad(f"it is not well-formed XML ({error})") from None
    except (ValueError, LookupError) as error:  # the text is no UTF-8, or names an encoding that is none
        raise _bad(f"it is not XML in UTF-8 ({error})") from None
    assert isinstance(root, _Element)
    return root
