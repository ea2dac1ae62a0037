"""What an alert means at this node: whether, how urgently, until when, in which words (pure).

PROTOCOL.md, "CAP 1.2 alerts":

    status      Actual; Exercise and Test only where enabled and then announced as such; else never
    scope       Public only
    area        a geocode of ours, or our position in a polygon or circle; neither given: not aired
    urgency     Immediate, Expected + Extreme, Severe + Observed, Likely   EMERGENCY
                Future + Extreme, Severe, Moderate, not Unlikely           PRIORITY
                anything else                                              the board only
    languages   those configured, in that order; if it has none of them, the first that holds here

An exercise never breaks in (PRIORITY at most), a test waits for everyone (ROUTINE), and no alert
is more urgent than the order that carries it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from edge_agent.command.alert_settings import AlertSettings
from edge_agent.command.area import Place, covers
from edge_agent.command.cap import Alert, Block
from edge_agent.model import Digest, Intent, Precedence, Reason, ReasonCode, Voice

PARAMETER_MESSAGE = "pa-message"
"""A CAP parameter of this name names a stored message."""
CHARACTERS_MAX = 2_000
"""Spoken of one block; about two and a half minutes."""

_VIETNAMESE = re.compile(r"[ăđơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ]", re.IGNORECASE)
_SHA256 = re.compile(r"(?:sha256:)?([0-9a-f]{64})", re.IGNORECASE)
_URI = re.compile(r"https?://([A-Za-z0-9.-]+)(?::[0-9]{1,5})?(?:/[!-~]*)?")
"""An address whose host is plain to see: no user name, no brackets, no escapes before the path."""
_SPOKEN_OF = {
    "Exercise": {"vi": "Đây là diễn tập. Diễn tập.", "en": "This is an exercise. Exercise only."},
    "Test": {"vi": "Đây là thử nghiệm. Thử nghiệm.", "en": "This is a test. Test only."},
}
_SHOWN_OF = {"Exercise": "DIỄN TẬP: ", "Test": "THỬ NGHIỆM: "}
_SHOWN_AT_LEAST = {
    Precedence.EMERGENCY: "CẢNH BÁO KHẨN CẤP",
    Precedence.PRIORITY: "CẢNH BÁO",
    Precedence.ROUTINE: "THÔNG BÁO",
}
_CEILING = {"Exercise": Precedence.PRIORITY, "Test": Precedence.ROUTINE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Heed(Intent):
    """An `alert` order as it came, not judged yet: a CAP alert, a stored message's name, or both."""

    alert: Alert | None
    content: str
    """sha256 of the CAP text: two orders with the same carry the same alert."""
    message: str | None
    since_ns: int
    """When the order was accepted, CLOCK_BOOTTIME."""
    issued_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What is to be aired. `audible` False: the board only."""

    precedence: Precedence
    audible: bool
    until: datetime
    voices: tuple[Voice, ...]
    texts: tuple[str, ...]
    title: str
    recording: Digest | None = None
    url: str | None = None


def turned_away(alert: Alert, settings: AlertSettings) -> Reason | None:
    """Why the message is not even looked at, or None: its status, its scope, its kind."""
    enabled = {"Actual": True, "Exercise": settings.exercise, "Test": settings.test}
    if not enabled.get(alert.status, False):
        how = "never aired" if alert.status not in enabled else "not enabled here ([alerts] in the config)"
        return Reason(ReasonCode.OUT_OF_SCOPE, f"The alert's status is {alert.status}, which is {how}.")
    if alert.scope != "Public":
        return Reason(
            ReasonCode.OUT_OF_SCOPE, f"The alert's scope is {alert.scope}; only Public ones are aired."
        )
    if alert.kind not in {"Alert", "Update", "Cancel"}:
        return Reason(
            ReasonCode.UNSUPPORTED,
            f"The alert's msgType is {alert.kind}, which is between systems; there is nothing to air.",
        )
    return None


def advise(
    alert: Alert, *, settings: AlertSettings, now: datetime, highest: Precedence, message: str | None = None
) -> Advice | Reason:
    """What to air of an Alert or Update that passed `turned_away`, or why nothing.

    `now` is the best knowledge of wall time; `highest` is the order's own class.
    """
    held = [block for block in alert.blocks if _until(block, alert, now, settings) > now]
    if not held:
        ended = max(_until(block, alert, now, settings) for block in alert.blocks)
        return Reason(
            ReasonCode.EXPIRED,
            f"The alert ended on {ended.isoformat(timespec='minutes')}; send an Update if it still holds.",
        )
    place = Place.of(settings.position, settings.geocodes)
    here = [block for block in held if any(covers(one, place) for one in block.areas)]
    if not here:
        return Reason(ReasonCode.WRONG_AUDIENCE, _not_here(held, settings))
    chosen = _chosen(here, settings.languages)
    precedence = max(_class_of(block) for block in chosen)
    precedence = min(precedence, highest, _CEILING.get(alert.status, Precedence.EMERGENCY))
    recording, url = _recording(chosen, settings, alert.status, message)
    return Advice(
        precedence=precedence,
        audible=any(_class_of(block) > Precedence.ROUTINE for block in chosen),
        until=max(_until(block, alert, now, settings) for block in chosen),
        voices=_voices(chosen, alert.status),
        texts=_texts(chosen[0], alert.status, precedence),
        title=_plain(chosen[0].headline or chosen[0].event)[:200],
        recording=recording,
        url=url,
    )


def language_of(block: Block) -> str:
    """The language that a block is spoken in. CAP's default is en-US, but who forgets the tag in Vietnam
    writes Vietnamese, and its letters tell."""
    if block.language is not None:
        return block.language
    words = f"{block.headline} {block.description} {block.instruction} {block.event}"
    return "vi" if _VIETNAMESE.search(words) else "en-US"


def _class_of(block: Block) -> Precedence:
    """By urgency, severity and certainty alone; ROUTINE means the board only."""
    soon = block.urgency in {"Immediate", "Expected"}
    if soon and block.severity in {"Extreme", "Severe"} and block.certainty in {"Observed", "Likely"}:
        return Precedence.EMERGENCY
    grave = block.severity in {"Extreme", "Severe", "Moderate"} and block.certainty != "Unlikely"
    return Precedence.PRIORITY if grave and block.urgency == "Future" else Precedence.ROUTINE


def _until(block: Block, alert: Alert, now: datetime, settings: AlertSettings) -> datetime:
    """When a block ends: as it says, or by our default; never later than our ceiling. Both count from
    when it was sent, so that a late delivery does not prolong it."""
    sent = min(alert.identity.sent, now)
    ceiling = sent + timedelta(minutes=settings.max_expiry_min)
    ends = block.expires or sent + timedelta(minutes=settings.default_expiry_min)
    return min(ends, ceiling)


def _not_here(blocks: Sequence[Block], settings: AlertSettings) -> str:
    areas = [area for block in blocks for area in block.areas]
    if not any(area.bounded for area in areas):
        return "The alert gives no geocode, polygon or circle, so nobody can say where it holds; add one."
    if settings.position is None and not settings.geocodes:
        return "This node does not know where it stands; set alerts.geocodes, or latitude and longitude."
    return "This node does not stand in the alert's area."


def _chosen(blocks: Sequence[Block], languages: Sequence[str]) -> list[Block]:
    """For each configured language its gravest block; if there is none of them, the first block."""
    chosen: list[Block] = []
    for language in languages:
        spoken = [block for block in blocks if _same_language(language_of(block), language)]
        if spoken and (gravest := max(spoken, key=_class_of)) not in chosen:
            chosen.append(gravest)
    return chosen or [blocks[0]]


def _same_language(one: str, other: str) -> bool:
    return _primary(one) == _primary(other)


def _primary(language: str) -> str:
    return language.partition("-")[0].casefold()


def _voices(blocks: Sequence[Block], status: str) -> tuple[Voice, ...]:
    voices: list[Voice] = []
    for block in blocks:
        language = language_of(block)
        parts = [
            _sentence(part) for part in (block.headline or block.event, block.description, block.instruction)
        ]
        voices.append(Voice(_cut(" ".join(part for part in parts if part)), language))
    announced = _SPOKEN_OF.get(status)
    if announced is None:
        return tuple(voices)
    framed: list[Voice] = []
    for voice in voices:
        primary = _primary(voice.language)
        said = (
            Voice(announced[primary], voice.language)
            if primary in announced
            else Voice(announced["vi"], "vi")
        )
        framed += [said, voice, said]
    return tuple(framed)


def _texts(block: Block, status: str, precedence: Precedence) -> tuple[str, ...]:
    """What the board may show, the fullest first, down to a word that always fits."""
    first = _SHOWN_OF.get(status, "")
    headline, instruction, event = (_plain(part) for part in (block.headline, block.instruction, block.event))
    wanted = [f"{_sentence(headline)} {instruction}" if headline and instruction else "", headline, event]
    texts = [first + text for text in wanted if text]
    return tuple(dict.fromkeys([*texts, first + _SHOWN_AT_LEAST[precedence]]))


def _recording(
    blocks: Sequence[Block], settings: AlertSettings, status: str, message: str | None
) -> tuple[Digest | None, str | None]:
    """The stored message that the order or the alert names, else the alert's own recording if we may fetch it.

    None for an exercise or a test: a recording cannot say that it is one, so the voice reads the text.
    """
    if status in _SPOKEN_OF:
        return None, None
    names = [message] if message is not None else []
    names += [
        value for block in blocks for name, value in block.parameters if name.casefold() == PARAMETER_MESSAGE
    ]
    for name in names:
        stored = settings.messages.get(name)
        if stored is not None:
            return Digest(stored.media), stored.url
    for resource in (resource for block in blocks[:1] for resource in block.resources):
        digest = _SHA256.fullmatch(resource.digest)
        if (
            digest
            and resource.mime_type.startswith("audio/")
            and _allowed(resource.uri, settings.audio_hosts)
        ):
            return Digest(f"sha256:{digest[1].lower()}"), resource.uri
    return None, None


def _allowed(uri: str, hosts: Sequence[str]) -> bool:
    found = _URI.fullmatch(uri)
    return found is not None and len(uri) <= 2048 and found[1].casefold() in hosts


def _plain(text: str) -> str:
    """On one line, without what cannot be seen or said."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _sentence(text: str) -> str:
    text = _plain(text)
    return text if not text or text[-1] in ".!?…:;。！？" else f"{text}."


def _cut(text: str) -> str:
    """At most `CHARACTERS_MAX`, ending with a sentence if one ends in its second half."""
    if len(text) <= CHARACTERS_MAX:
        return text
    head = text[:CHARACTERS_MAX]
    end = max(head.rfind(mark) for mark in (". ", "! ", "? "))
    return head[: end + 1] if end > CHARACTERS_MAX // 2 else head.rsplit(" ", 1)[0]
