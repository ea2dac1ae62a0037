"""CAP alerts for tests, our own: a flash flood in Vietnamese, and whatever a test changes about it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from xml.sax.saxutils import escape

NAMESPACE = "urn:oasis:names:tc:emergency:cap:1.2"
SENDER = "pctt.hagiang@example.vn"
VIETNAM = timezone(timedelta(hours=7))
CODE = ("ma-dvhc", "00691")
"""The commune that the tests' node stands in."""
HERE = f"<geocode><valueName>{CODE[0]}</valueName><value>{CODE[1]}</value></geocode>"
ELSEWHERE = "<geocode><valueName>ma-dvhc</valueName><value>79</value></geocode>"

HEADLINE = "Lũ quét trên suối Nậm Đăm"
DESCRIPTION = "Mưa 180 mm trong ba giờ qua; nước suối đang lên rất nhanh"
INSTRUCTION = "Rời ngay bờ suối, lên nhà văn hóa thôn"
FLOOD = ("Immediate", "Extreme", "Observed")
RAIN = ("Future", "Moderate", "Likely")
FOG = ("Expected", "Minor", "Likely")


def when(moment: datetime) -> str:
    """As CAP has it."""
    return moment.astimezone(VIETNAM).isoformat(timespec="seconds")


def block(
    *,
    grade: tuple[str, str, str] = FLOOD,
    language: str | None = "vi-VN",
    event: str = "Lũ quét",
    headline: str = HEADLINE,
    description: str = DESCRIPTION,
    instruction: str = INSTRUCTION,
    expires: datetime | None = None,
    area: str = HERE,
    more: str = "",
) -> str:
    """One info block."""
    urgency, severity, certainty = grade
    spoken = f"<language>{language}</language>" if language else ""
    until = f"<expires>{when(expires)}</expires>" if expires else ""
    texts = "".join(
        f"<{name}>{escape(text)}</{name}>"
        for name, text in (("headline", headline), ("description", description), ("instruction", instruction))
        if text
    )
    return (
        f"<info>{spoken}<category>Met</category><event>{escape(event)}</event><urgency>{urgency}</urgency>"
        f"<severity>{severity}</severity><certainty>{certainty}</certainty>{until}{texts}{more}"
        f"<area><areaDesc>Xã Vị Hương</areaDesc>{area}</area></info>"
    )


def alert(
    identifier: str,
    sent: datetime,
    *blocks: str,
    kind: str = "Alert",
    status: str = "Actual",
    scope: str = "Public",
    references: Sequence[tuple[str, datetime]] = (),
    sender: str = SENDER,
) -> str:
    """A whole CAP message."""
    refers = " ".join(f"{sender},{name},{when(moment)}" for name, moment in references)
    refers = f"<references>{refers}</references>" if refers else ""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><alert xmlns="{NAMESPACE}"><identifier>{identifier}</identifier>'
        f"<sender>{sender}</sender><sent>{when(sent)}</sent><status>{status}</status><msgType>{kind}</msgType>"
        f"<scope>{scope}</scope>{refers}{''.join(blocks)}</alert>"
    )
