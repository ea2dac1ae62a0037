"""The commune's month: sums that agree, local days, entries without a date, and nothing that escapes its page."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.catalogue import Language
from edge_agent.cli.month import EVERY_ZONE, BootSpan, Month, month_of
from edge_agent.cli.month_chart import tick_step
from edge_agent.cli.month_page import BYTE_ORDER_MARK, as_csv, as_html, as_json, as_text
from edge_agent.model import Outcome, ReasonCode
from edge_agent.report.asrun import AsRunEntry, rfc3339
from edge_agent.sentences_report import REPORT

NOVEMBER = {"year": 2026, "month": 11}
FIRST = datetime(2026, 11, 1, tzinfo=UTC)
BOOTED = datetime(2026, 11, 10, 0, 0, tzinfo=UTC)
OFFSET_MS = round(BOOTED.timestamp() * 1000)
EVIL = '<script>alert("x")</script>&\'"'


def entry(number: int = 1, at: datetime | None = None, **more: Any) -> AsRunEntry:
    """One that began at `at`; None: the clock was unknown, and it began a minute after the boot."""
    wall = None if at is None else rfc3339(at)
    sounded_ms = more.get("sounded_ms", 60_000)
    begun = sounded_ms > 0
    fields: dict[str, Any] = {
        "number": number, "id": f"order-{number}", "issuer": "xa-vi-huong", "verb": "play", "precedence": "routine",
        "outcome": "AIRED", "code": None, "reason": None, "recorded": wall, "recorded_ms": 90_000, "planned": wall,
        "planned_ms": 60_000, "started": wall if begun else None, "started_ms": 60_000 if begun else None,
        "ended": wall if begun else None, "ended_ms": 90_000 if begun else None, "clock": "synced" if at else "unknown",
        "boot": "b1", "media": None, "volume": 70, "sounded_ms": sounded_ms, "frames": sounded_ms * 48, "underruns": 0,
        "preempted": 0, "pages": 0, "proof": 1 if begun else 0,
    }  # fmt: skip
    return AsRunEntry(**(fields | more))


def missed(number: int, at: datetime | None, **more: Any) -> AsRunEntry:
    return entry(
        number, at, **({"outcome": "MISSED", "code": "expired", "reason": "Late.", "sounded_ms": 0} | more)
    )


ENTRIES = st.lists(
    st.builds(
        entry,
        number=st.integers(1, 10_000),
        at=st.integers(-7 * 86_400, 35 * 86_400).map(lambda s: FIRST + timedelta(seconds=s)) | st.none(),
        precedence=st.sampled_from(("routine", "priority", "emergency")),
        issuer=st.sampled_from(("xa-vi-huong", "huyen", "", "=1+1")),
        outcome=st.sampled_from([each.value for each in Outcome]),
        code=st.none() | st.sampled_from([each.value for each in ReasonCode]),
        verb=st.sampled_from(("play", "say", "live_start", "alert", "stop", "ping", "volume")),
        zones=st.sampled_from(((), ("cho",), ("cho", "dinh"))),
        sounded_ms=st.integers(0, 5_000_000),
        boot=st.sampled_from(("b1", "b2")),
    ),
    max_size=30,
    unique_by=lambda each: each.number,
)


@given(ENTRIES)
def test_every_sum_is_the_same_sum(entries: list[AsRunEntry]) -> None:
    month = month_of(entries, [BootSpan("b1", OFFSET_MS, None, None)], **NOVEMBER)
    whole = sum(turn.entry.sounded_ms for turn in month.turns)
    assert sum(month.by_class.values()) == whole
    assert sum(month.by_authority.values()) == whole
    assert sum(sum(day.values()) for day in month.by_day.values()) == whole
    assert sum(month.by_zone.values()) >= whole
    assert sum(tally.turns for tally in month.outcomes.values()) == month.planned == len(month.turns)
    assert len(month.by_day) == 30
    assert month.undated + len(month.turns) <= len(entries)
    for language in Language:
        assert len(rows(as_csv(month, language))) == 1 + len(month.turns)
        svg_of(as_html(month, language, node="thon-3"))
        assert as_text(month, language)
    assert as_json(month)["sounded_ms"]["whole"] == whole


@pytest.mark.parametrize(
    ("at", "day"),
    [
        (datetime(2026, 11, 3, 16, 59, 59, 999_000, tzinfo=UTC), date(2026, 11, 3)),
        (datetime(2026, 11, 3, 17, 0, tzinfo=UTC), date(2026, 11, 4)),
        (datetime(2026, 10, 31, 16, 59, 59, 999_000, tzinfo=UTC), None),
        (datetime(2026, 10, 31, 17, 0, tzinfo=UTC), date(2026, 11, 1)),
        (datetime(2026, 11, 30, 16, 59, 59, 999_000, tzinfo=UTC), date(2026, 11, 30)),
        (datetime(2026, 11, 30, 17, 0, tzinfo=UTC), None),
    ],
)
def test_a_day_begins_at_midnight_in_vietnam(at: datetime, day: date | None) -> None:
    month = month_of([entry(1, at)], [], **NOVEMBER)
    assert [found for found, by_class in month.by_day.items() if by_class] == ([] if day is None else [day])


def test_december_has_thirty_one_days_and_ends_with_the_year() -> None:
    at = datetime(2026, 12, 31, 16, 0, tzinfo=UTC)
    month = month_of([entry(1, at), entry(2, at + timedelta(hours=1))], [], year=2026, month=12)
    assert len(month.by_day) == 31
    assert month.planned == 1


def test_an_entry_without_a_date_gets_it_from_its_boot_and_is_marked() -> None:
    boots = [BootSpan("b1", OFFSET_MS, None, None), BootSpan("b2", None, None, None)]
    month = month_of([entry(1), entry(2, boot="b2"), entry(3, BOOTED)], boots, **NOVEMBER)
    assert [(turn.entry.number, turn.backfilled) for turn in month.turns] == [(3, False), (1, True)]
    assert month.turns[1].at == BOOTED + timedelta(minutes=1)
    assert (month.backfilled, month.undated) == (1, 1)
    assert "1 turn(s) without a date" in as_text(month, Language.EN)
    assert rows(as_csv(month, Language.EN))[2][3] == "yes"


def test_what_has_no_date_counts_where_it_may_have_been() -> None:
    october, november = datetime(2026, 10, 20, tzinfo=UTC), datetime(2026, 11, 20, tzinfo=UTC)
    december = datetime(2026, 12, 20, tzinfo=UTC)
    entries = [
        entry(1), entry(2, october), entry(3), entry(4, november), entry(5), entry(6, december), entry(7),
        missed(8, None, verb="stop"),
    ]  # fmt: skip
    undated = [month_of(entries, [], year=2026, month=month).undated for month in (9, 10, 11, 12)]
    assert undated == [1, 2, 2, 2]


def test_what_is_no_turn_does_not_count() -> None:
    at = datetime(2026, 11, 20, tzinfo=UTC)
    entries = [entry(number, at, verb=verb, sounded_ms=0) for number, verb in enumerate(("stop", "ping"), 1)]
    assert month_of(entries, [], **NOVEMBER).planned == 0
    assert month_of([entry(1, at, verb="of-a-later-version")], [], **NOVEMBER).planned == 1


def test_outcomes_with_their_reasons_and_what_was_not_aired() -> None:
    at = datetime(2026, 11, 20, tzinfo=UTC)
    entries = [
        entry(1, at),
        missed(2, at),
        missed(3, at),
        missed(4, at, code="muted", outcome="REFUSED"),
        missed(5, at, code="preempted", outcome="PREEMPTED"),
        entry(6, at, code="preempted", outcome="PREEMPTED"),
        entry(7, at, code="cancelled", outcome="PARTIAL"),
        missed(8, at, code="no_media", outcome="FAILED"),
        missed(9, at, code="hardware_fault", outcome="PARTIAL", verb="alert", pages=2),
    ]
    month = month_of(entries, [], **NOVEMBER)
    counts = {name: (tally.turns, tally.reasons) for name, tally in month.outcomes.items()}
    assert counts == {
        "AIRED": (1, {}),
        "PARTIAL": (2, {"cancelled": 1, "hardware_fault": 1}),
        "PREEMPTED": (2, {"preempted": 2}),
        "MISSED": (2, {"expired": 2}),
        "REFUSED": (1, {"muted": 1}),
        "FAILED": (1, {"no_media": 1}),
    }
    assert [turn.entry.number for turn in month.not_aired] == [2, 3, 4, 5, 8]
    page = as_html(month, Language.VI, node="thon-3")
    assert "quá giờ phải phát: 2" in page
    assert "khẩn cấp" in page


def test_minutes_by_zone() -> None:
    at = datetime(2026, 11, 20, tzinfo=UTC)
    entries = [entry(1, at), entry(2, at, zones=("cho",)), entry(3, at, zones=("cho", "dinh"))]
    month = month_of(entries, [], **NOVEMBER)
    assert month.by_zone == {"cho": 120_000, EVERY_ZONE: 60_000, "dinh": 60_000}
    assert "tất cả khu vực" in as_html(month, Language.VI, node="thon-3")


def test_uptime_is_of_the_month_so_far_and_counts_no_second_twice() -> None:
    boots = [
        BootSpan("a", 0, "2026-10-30T17:00:00.000Z", "2026-11-01T17:00:00.000Z"),
        BootSpan("b", 0, "2026-11-01T05:00:00.000Z", "2026-11-01T17:00:00.000Z"),
        BootSpan("c", 0, "2026-11-02T17:00:00.000Z", "2026-11-04T17:00:00.000Z"),
        BootSpan("d", None, None, None),
    ]
    month = month_of([], boots, **NOVEMBER)
    assert (month.uptime_s, month.so_far_s, month.uptime_percent) == (3 * 86_400, 4 * 86_400, 75.0)
    october = month_of([], boots, year=2026, month=10)
    assert (october.uptime_s, october.so_far_s) == (86_400, 31 * 86_400)
    assert month_of([], boots, year=2026, month=12).uptime_percent is None
    assert month_of([], [], **NOVEMBER).uptime_percent is None


def evil_month() -> Month:
    at = datetime(2026, 11, 20, tzinfo=UTC)
    return month_of(
        [
            entry(1, at, issuer=EVIL, zones=(EVIL,), precedence=EVIL),
            missed(2, at, issuer="=cmd|' /C calc'!A0", code=EVIL, reason="@SUM(1,1)\r\n;", verb="play"),
            missed(3, at, issuer="-1", reason="+1", id="\t=1"),
            missed(4, at, outcome=EVIL),
        ],
        [],
        **NOVEMBER,
    )


@pytest.mark.parametrize("language", Language)
def test_nothing_escapes_the_page(language: Language) -> None:
    page = as_html(evil_month(), language, node=EVIL)
    assert "<script" not in page
    assert EVIL not in page
    assert page.count("&lt;script&gt;") >= 4
    assert not re.search(r"(?:src|href|url)\s*[=(]\s*[\"']?https?:", page)
    assert "<link" not in page
    svg_of(page)
    balanced = Balance()
    balanced.feed(page)
    assert not balanced.open


def test_nothing_escapes_its_cell_and_no_cell_computes() -> None:
    text = as_csv(evil_month(), Language.VI)
    assert text.startswith(BYTE_ORDER_MARK)
    assert "khẩn cấp" not in text
    found = rows(text)
    assert [len(row) for row in found] == [15] * 5
    assert not [cell for row in found for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert found[2][6] == "'=cmd|' /C calc'!A0"
    assert found[2][12] == "'@SUM(1,1)\r\n;"


def test_no_name_steers_the_terminal() -> None:
    month = month_of([entry(1, datetime(2026, 11, 20, tzinfo=UTC), issuer="\x1b[2J\nxa")], [], **NOVEMBER)
    assert "\x1b" not in as_text(month, Language.VI)
    assert "\nxa" not in as_text(month, Language.VI)


def test_the_chart_shows_each_day_and_class() -> None:
    at = datetime(2026, 11, 20, tzinfo=UTC)
    entries = [
        entry(1, at, sounded_ms=600_000),
        entry(2, at, precedence="priority", sounded_ms=300_000),
        entry(3, at, precedence="emergency", sounded_ms=120_000),
    ]
    svg = svg_of(as_html(month_of(entries, [], **NOVEMBER), Language.VI, node="thon-3"))
    fills = [each.get("fill") for each in svg.iter() if each.get("stroke-width") == ".6"]
    assert fills == ["url(#routine)", "url(#priority)", "url(#emergency)"]
    texts = [each.text for each in svg.iter() if each.tag.endswith("text")]
    assert {"thường", "ưu tiên", "khẩn cấp", "phút", "ngày", "17", "1", "30"} <= set(texts)


def test_the_ticks_of_the_axis() -> None:
    steps = [tick_step(most) for most in (0, 0.5, 5, 5.1, 11, 26, 51, 260, 1440)]
    assert steps == [1, 1, 1, 2, 5, 10, 20, 100, 500]


def test_the_page_is_short_and_the_spreadsheet_whole() -> None:
    at = datetime(2026, 11, 1, tzinfo=UTC)
    entries = [missed(n, at + timedelta(hours=n), issuer=f"don-vi-{n}") for n in range(1, 200)]
    month = month_of(entries, [], **NOVEMBER)
    assert as_html(month, Language.EN, node="thon-3").count("<tr>") < 40
    assert "193 more; the CSV file has all" in as_html(month, Language.EN, node="thon-3")
    assert len(rows(as_csv(month, Language.EN))) == 200


def test_every_word_of_the_log_is_in_both_languages() -> None:
    for kind, names in (
        ("reason", [each.value for each in ReasonCode]),
        ("outcome", [each.value for each in Outcome]),
        ("class", ["routine", "priority", "emergency"]),
        ("verb", ["play", "say", "live_start", "alert"]),
    ):
        for name in names:
            vietnamese, english = REPORT[f"{kind}_{name}"]
            assert vietnamese != english


def rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text.removeprefix(BYTE_ORDER_MARK), newline="")))


def svg_of(page: str) -> ET.Element:
    return ET.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])


class Balance(HTMLParser):
    """Every tag that opens closes, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
