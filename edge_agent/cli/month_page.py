"""A month's figures as people keep them: a printed page, a spreadsheet, a terminal, and JSON for machines. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

from edge_agent import catalogue
from edge_agent.catalogue import Language
from edge_agent.cli import month_chart
from edge_agent.cli.month import EVERY_ZONE, LOCAL, Month, Turn
from edge_agent.cli.month_chart import MS_PER_MINUTE
from edge_agent.sentences_report import REPORT

BYTE_ORDER_MARK: Final = "\ufeff"
"""By this a spreadsheet knows that the file is UTF-8."""

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet computes a cell that begins so; with an apostrophe before, it shows it."""

_ROWS_MOST: Final = 6
"""So many rows of a table go on the page; the CSV has all."""
_REASONS_MOST: Final = 3

_COLUMNS: Final = (
    "report_number", "report_date", "report_time", "report_backfill", "report_clock", "report_class",
    "report_authority", "report_verb", "report_zone", "report_outcome", "report_why", "report_code",
    "report_note", "report_seconds", "report_order",
)  # fmt: skip

_STYLE: Final = """
@page { size: A4 portrait; margin: 11mm 13mm; }
* { box-sizing: border-box; -webkit-print-color-adjust: exact; print-color-adjust: exact; }
body { font: 9.5pt/1.18 "Times New Roman", "Liberation Serif", "Noto Serif", serif; color: #111; margin: 0 auto; max-width: 184mm; padding: 4mm 0; }
h1 { font-size: 15pt; text-align: center; text-transform: uppercase; margin: 0; }
h2 { font-size: 10.5pt; margin: 2.4mm 0 .8mm; }
p { margin: .7mm 0; }
.node { text-align: center; font-weight: bold; margin-bottom: 2mm; }
.note { font-size: 8pt; font-style: italic; }
.chart { width: 100%; height: auto; display: block; font-family: "Liberation Sans", Arial, sans-serif; }
.columns { display: flex; gap: 5mm; }
.columns > div { flex: 1; min-width: 0; }
table { width: 100%; border-collapse: collapse; font-size: 8.5pt; }
th, td { border: .3mm solid #555; padding: .4mm 1.2mm; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
th { background: #eee; }
.figure { text-align: right; white-space: nowrap; }
.outcome td:first-child { white-space: nowrap; }
.signatures { display: flex; margin-top: 3mm; break-inside: avoid; text-align: center; }
.signatures > div { flex: 1; }
.signatures .room { height: 14mm; }
@media print { body { max-width: none; padding: 0; } h2, tr, .chart { break-inside: avoid; } }
@media screen { body { padding: 8mm; max-width: 210mm; } }
"""


# ---------------------------------------------------------------- for machines


def as_json(month: Month) -> dict[str, Any]:
    """The figures, whole milliseconds and seconds; names as in the as-run log."""
    return {
        "month": f"{month.year}-{month.month:02d}",
        "sounded_ms": {
            "whole": month.sounded_ms,
            "by_class": dict(month.by_class),
            "by_authority": dict(month.by_authority),
            "by_zone": dict(month.by_zone),
            "by_day": {day.isoformat(): dict(by_class) for day, by_class in month.by_day.items()},
        },
        "planned": month.planned,
        "outcomes": {
            name.lower(): {"turns": tally.turns, "reasons": dict(tally.reasons)}
            for name, tally in month.outcomes.items()
        },
        "uptime_s": month.uptime_s,
        "so_far_s": month.so_far_s,
        "uptime_percent": None if month.uptime_percent is None else round(month.uptime_percent, 2),
        "backfilled": month.backfilled,
        "undated": month.undated,
        "not_aired": [_missed(turn) for turn in month.not_aired],
    }


def as_csv(month: Month, language: Language) -> str:
    """One row a turn, RFC 4180, with the mark by which a spreadsheet finds the Vietnamese letters."""
    words, text = _Words(language), io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([_harmless(words.say(code)) for code in _COLUMNS])
    for turn in month.turns:
        entry = turn.entry
        writer.writerow(
            [
                entry.number,
                turn.at.date().isoformat(),
                turn.at.strftime("%H:%M:%S"),
                words.say("yes") if turn.backfilled else "",
                _harmless(entry.clock),
                _harmless(words.named("class", entry.precedence)),
                _harmless(entry.issuer),
                _harmless(words.named("verb", entry.verb)),
                _harmless(words.zones(entry.zones)),
                _harmless(words.named("outcome", entry.outcome)),
                _harmless(words.why(entry.code)),
                _harmless(entry.code or ""),
                _harmless(entry.reason or ""),
                round(entry.sounded_ms / 1000),
                _harmless(entry.id),
            ]
        )
    return BYTE_ORDER_MARK + text.getvalue()


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _missed(turn: Turn) -> dict[str, Any]:
    entry = turn.entry
    return {
        "number": entry.number,
        "order": entry.id,
        "at": turn.at.astimezone(LOCAL).isoformat(timespec="seconds"),
        "backfilled": turn.backfilled,
        "issuer": entry.issuer,
        "verb": entry.verb,
        "class": entry.precedence,
        "outcome": entry.outcome.lower(),
        "code": entry.code,
        "reason": entry.reason,
    }


# ---------------------------------------------------------------- for the terminal


def as_text(month: Month, language: Language) -> str:
    """The figures in a few lines."""
    words = _Words(language)
    lines = [
        words.say("report_title", month=month.month, year=month.year),
        *_summary(month, words),
        *_doubts(month, words),
        *_listed("report_by_class", _by_class(month, words), words),
        *_listed("report_by_authority", _by_authority(month, words), words),
        *_listed("report_by_zone", _by_zone(month, words), words),
        words.say("report_by_outcome") + ":",
        *(f"    {name}: {turns}{f' ({why})' if why else ''}" for name, turns, why in _ended(month, words)),
        words.say("report_not_aired") + ":",
        *(f"    {'  '.join(cells)}" for cells in _not_aired(month, words)),
    ]
    if not month.not_aired:
        lines.append(f"    {words.say('report_none_missed')}")
    return "\n".join(_printable(line) for line in lines) + "\n"


def _listed(title: str, rows: Iterable[Sequence[str]], words: _Words) -> Iterator[str]:
    yield f"{words.say(title)} ({words.say('report_axis_minutes')}):"
    for name, minutes, share in rows:
        yield f"    {name}: {minutes} ({share})"


def _printable(line: str) -> str:
    """Whoever named something does not steer the reader's terminal."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in line)


# ---------------------------------------------------------------- on paper


def as_html(month: Month, language: Language, *, node: str) -> str:
    """One A4 page that needs nothing beside it: no scripts, no fonts, no pictures from elsewhere."""
    words = _Words(language)

    def say(code: str) -> str:
        return escape(words.say(code))

    title = escape(words.say("report_title", month=month.month, year=month.year))
    parts = [
        "<!DOCTYPE html>",
        f'<html lang="{language}">',
        f'<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>',
        f"<style>{_STYLE}</style></head>",
        "<body>",
        f"<h1>{title}</h1>",
        f'<p class="node">{escape(words.say("report_node", node=node))}</p>',
        f"<p>{escape(' '.join(_summary(month, words)))}</p>",
        *(f'<p class="note">{escape(line)}</p>' for line in _doubts(month, words)),
        f"<h2>{say('report_chart')}</h2>",
        month_chart.drawn(month, say),
        *_side_by_side(month, words, say),
        f"<h2>{say('report_by_outcome')}</h2>",
        '<div class="outcome">',
        *_table(
            ("report_outcome", "report_turns", "report_why"),
            _ended(month, words, most=_REASONS_MOST),
            words,
            figures={1},
            most=_ROWS_MOST + 1,
        ),
        "</div>",
        f"<h2>{say('report_not_aired')}</h2>",
        *_missed_table(month, words, say),
        *_signatures(say),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _side_by_side(month: Month, words: _Words, say: Callable[[str], str]) -> Iterator[str]:
    several = any(len(turn.entry.zones) > 1 for turn in month.turns)
    tables = (
        ("class", _by_class(month, words)),
        ("authority", _by_authority(month, words)),
        ("zone", _by_zone(month, words)),
    )
    yield '<div class="columns">'
    for name, rows in tables:
        yield f"<div><h2>{say(f'report_by_{name}')}</h2>"
        yield from _table(
            (f"report_{name}", "report_minutes", "report_share"), rows, words, figures={1, 2}, most=_ROWS_MOST
        )
        if name == "zone" and several:
            yield f'<p class="note">{say("report_zone_note")}</p>'
        yield "</div>"
    yield "</div>"


def _missed_table(month: Month, words: _Words, say: Callable[[str], str]) -> Iterator[str]:
    if not month.not_aired:
        yield f"<p>{say('report_none_missed')}</p>"
        return
    titles = ("report_date", "report_time", "report_authority", "report_verb", "report_outcome", "report_why")
    yield from _table(titles, _not_aired(month, words), words, most=_ROWS_MOST)


def _table(
    titles: Sequence[str],
    rows: Sequence[Sequence[str]],
    words: _Words,
    *,
    most: int,
    figures: Iterable[int] = (),
) -> Iterator[str]:
    kinds = [' class="figure"' if column in set(figures) else "" for column in range(len(titles))]
    heads = (f"<th{kind}>{escape(words.say(code))}</th>" for kind, code in zip(kinds, titles, strict=True))
    yield f"<table><thead><tr>{''.join(heads)}</tr></thead><tbody>"
    for row in rows[:most]:
        cells = (f"<td{kind}>{escape(cell)}</td>" for kind, cell in zip(kinds, row, strict=True))
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</tbody></table>"
    if len(rows) > most:
        yield f'<p class="note">{escape(words.say("report_more", count=len(rows) - most))}</p>'


def _signatures(say: Callable[[str], str]) -> Iterator[str]:
    yield '<div class="signatures">'
    for who, how in (("report_drawn_up", "report_sign_here"), ("report_confirmed", "report_seal_here")):
        yield f"<div><p>{say('report_place_date')}</p><p><b>{say(who)}</b></p><p><i>{say(how)}</i></p>"
        yield '<div class="room"></div></div>'
    yield "</div>"


# ---------------------------------------------------------------- the rows of every table


def _summary(month: Month, words: _Words) -> Iterator[str]:
    aired = month.outcomes["AIRED"].turns
    yield words.say("report_sum", minutes=words.minutes(month.sounded_ms), aired=aired, planned=month.planned)
    percent = month.uptime_percent
    yield words.say(
        "report_uptime",
        hours=words.decimal(month.uptime_s / 3600),
        percent="–" if percent is None else words.decimal(percent),
    )


def _doubts(month: Month, words: _Words) -> Iterator[str]:
    """What the reader should know of the dates."""
    if month.backfilled:
        yield words.say("report_backfilled", count=month.backfilled)
    if month.undated:
        yield words.say("report_undated", count=month.undated)


def _by_class(month: Month, words: _Words) -> list[tuple[str, str, str]]:
    return _shares(month.by_class, month, lambda name: words.named("class", name), words)


def _by_authority(month: Month, words: _Words) -> list[tuple[str, str, str]]:
    return _shares(month.by_authority, month, words.authority, words)


def _by_zone(month: Month, words: _Words) -> list[tuple[str, str, str]]:
    return _shares(month.by_zone, month, words.zone, words)


def _shares(
    sums: Mapping[str, int], month: Month, named: Callable[[str], str], words: _Words
) -> list[tuple[str, str, str]]:
    """Name, minutes, and their share of all that sounded."""
    whole = month.sounded_ms
    return [
        (named(name), words.minutes(ms), f"{words.decimal(100 * ms / whole)} %" if whole else "–")
        for name, ms in sums.items()
    ]


def _ended(month: Month, words: _Words, *, most: int | None = None) -> list[tuple[str, str, str]]:
    """How the turns ended, each with its (`most` frequent) reasons."""
    rows = [(words.say("report_planned"), str(month.planned), "")]
    for name, tally in month.outcomes.items():
        reasons = sorted(tally.reasons.items(), key=lambda item: (-item[1], item[0]))
        why = "; ".join(f"{words.why(code)}: {count}" for code, count in reasons[:most])
        if reasons[:most] != reasons:
            why += "; …"
        rows.append((words.named("outcome", name), str(tally.turns), why))
    return rows


def _not_aired(month: Month, words: _Words) -> list[tuple[str, ...]]:
    return [
        (
            turn.at.strftime("%d/%m/%Y") + ("*" if turn.backfilled else ""),
            turn.at.strftime("%H:%M"),
            words.authority(turn.entry.issuer),
            f"{turn.entry.title or words.named('verb', turn.entry.verb)} ({words.named('class', turn.entry.precedence)})",
            words.named("outcome", turn.entry.outcome),
            words.why(turn.entry.code),
        )
        for turn in month.not_aired
    ]


class _Words:
    """The catalogue in one language, and how it writes figures."""

    def __init__(self, language: Language) -> None:
        self._language = language

    def say(self, code: str, **facts: object) -> str:
        return catalogue.say(code, self._language, **facts)

    def named(self, kind: str, name: str) -> str:
        """A name of the as-run log in words; one that this version does not know stays as it is."""
        code = f"{kind}_{name}"
        return self.say(code) if code in REPORT else name

    def why(self, code: str | None) -> str:
        return "" if code is None else self.named("reason", code)

    def zone(self, name: str) -> str:
        return self.say("report_every_zone") if name == EVERY_ZONE else name

    def zones(self, names: Sequence[str]) -> str:
        return ", ".join(names) if names else self.zone(EVERY_ZONE)

    def authority(self, name: str) -> str:
        return name or self.say("report_nobody")

    def minutes(self, ms: int) -> str:
        return self.decimal(ms / MS_PER_MINUTE)

    def decimal(self, figure: float) -> str:
        text = f"{figure:.1f}"
        return text.replace(".", ",") if self._language is Language.VI else text
