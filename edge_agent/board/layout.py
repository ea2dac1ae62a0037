"""Words to lines, lines to pages, pages to seconds (pure, given a measure of widths).

A line is broken at a space, or after - and / between letters; never inside a syllable. What
belongs together stays together: number and unit, `xã X`, dates, times, telephone numbers. The
lines are chosen all at once, cheapest first (Knuth and Plass, "Breaking paragraphs into
lines", 1981, without stretching): a broken bond costs more than any number of lines, a line
more than a lonely last syllable, and that more than any raggedness.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from edge_agent.board.spelling import GLUE
from edge_agent.errors import TextRefused
from edge_agent.model import ReasonCode

Measure = Callable[[str], int]
"""Width of a string in dots, as it will be drawn on one line."""

LINE_COST = 1_000_000
LEAST_ADVANCE = 2
"""No character takes fewer columns: one of ink, one dark."""
LONELY_COST = 400_000
BOND_COST = {0: 0, 1: 10**12, 2: 10**15}
"""By strength: 0 breaks freely, 1 holds a phrase (ngày 5 | tháng 3), 2 holds a unit (5 | km)."""

_NUMBER = re.compile(r"[+(]?\d[\d.,:/()-]*%?\Z")
_CLOCK = re.compile(r"\d{1,2}(?:h\d{0,2}|g\d{0,2}|:\d\d)\Z", re.IGNORECASE)
_DASHES = frozenset("-–—÷×")
_ENDS = ".,;:!?)»”\"'…"
_UNITS = frozenset(
    ["m", "km", "cm", "mm", "ha", "m²", "m³", "km²", "kg", "g", "tấn", "tạ", "yến", "lít", "ml", "l", "độ", "°c", "°f", "%", "giờ", "phút", "giây", "ngày", "tuần", "tháng", "năm", "tuổi", "người", "hộ", "em", "cháu", "suất", "đồng", "đ", "vnđ", "nghìn", "ngàn", "triệu", "tỷ", "tỉ", "con", "cây", "bao", "liều", "lần", "điểm", "kw", "kwh", "v", "w", "mw"]
)  # fmt: skip
_PLACES = frozenset(
    [
        "xã",
        "thôn",
        "bản",
        "ấp",
        "xóm",
        "buôn",
        "làng",
        "phường",
        "quận",
        "huyện",
        "tỉnh",
        "tổ",
        "khu",
        "đường",
        "phố",
        "ql",
        "tl",
        "đèo",
        "hồ",
        "sông",
        "suối",
    ]
)
_TWO_WORD_PLACES = frozenset(
    {("thị", "trấn"), ("thị", "xã"), ("thành", "phố"), ("quốc", "lộ"), ("tỉnh", "lộ")}
)
_COUNTED = _PLACES | frozenset(
    ["ngày", "tháng", "năm", "mùng", "mồng", "tuần", "quý", "lúc", "khoá", "khóa", "điều", "số", "km", "lộ"]
)
"""Words that a number belongs to when it follows them."""
_CALENDAR = frozenset({"ngày", "tháng", "năm"})
_OF_THE_DAY = frozenset({"rưỡi", "sáng", "trưa", "chiều", "tối", "đêm", "ngày"})
_WEEKDAYS = frozenset({"hai", "ba", "tư", "năm", "sáu", "bảy"})


@dataclass(frozen=True, slots=True)
class PageText:
    """One page: its lines from the top, and how long it stands."""

    lines: tuple[str, ...]
    dwell_s: float

    @property
    def text(self) -> str:
        """The page in one string, for the record."""
        return " ".join(self.lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How long a page must stand to be read."""

    page_least_s: float = 3.0
    characters_per_s: float = 7.0
    emergency: bool = False

    def dwell_s(self, lines: Sequence[str]) -> float:
        """The longer of the least time and the reading time; twice that in an emergency."""
        characters = sum(map(len, lines)) + len(lines) - 1
        seconds = max(self.page_least_s, characters / self.characters_per_s)
        return 2 * seconds if self.emergency else seconds


@dataclass(frozen=True, slots=True)
class _Piece:
    """What is never broken, and how it hangs on the piece before it."""

    text: str
    spaced: bool
    """A space stands before it (else it follows a hyphen or a slash)."""
    bond: int


def pages_of(
    text: str, *, measure: Measure, width: int, lines_per_page: int, pages_max: int, reading: Reading
) -> tuple[PageText, ...]:
    """Lay out a cleaned text (`spelling.clean`) on pages of `lines_per_page` lines of `width` dots.

    Raises:
        TextRefused: BAD_ARGS when a word is wider than the board, or the pages are too many.
    """
    if len(text) > pages_max * lines_per_page * width // LEAST_ADVANCE:
        _refuse_too_long(f"The text of {len(text)} characters cannot fit on {pages_max} pages of this board.")
    lines: list[str] = []
    for paragraph in text.split("\n"):
        lines += _broken(_pieces(paragraph), measure, width)
    pages = tuple(
        PageText(page, reading.dwell_s(page))
        for page in (tuple(lines[at : at + lines_per_page]) for at in range(0, len(lines), lines_per_page))
    )
    if len(pages) > pages_max:
        _refuse_too_long(
            f"The text needs {len(pages)} pages on this board and {pages_max} are allowed (board.pages_max)."
        )
    return pages


def _refuse_too_long(found: str) -> NoReturn:
    raise TextRefused(ReasonCode.BAD_ARGS, f"{found} Shorten it, or split it into several notices.")


def _pieces(paragraph: str) -> list[_Piece]:
    """Cut at spaces, and after - and / between letters; note what hangs together."""
    parts = re.split(f"([ {GLUE}])", paragraph)
    words, spaces = parts[::2], ["", *parts[1::2]]
    pieces: list[_Piece] = []
    for at, word in enumerate(words):
        bond = (2 if spaces[at] == GLUE else _bond(words, at)) if at else 0
        for index, part in enumerate(re.split(r"(?<=[^\W\d_][-/])(?=[^\W\d_])", word)):
            pieces.append(_Piece(part, spaced=not index, bond=0 if index else bond))
    return pieces


def _bond(words: Sequence[str], at: int) -> int:
    """How strongly word `at` hangs on the word before it."""
    left, right = words[at - 1], words[at].rstrip(_ENDS)
    if left[-1] in _ENDS:
        return 0
    return max(_number_bond(words, at, left, right), _place_bond(words, at, left, right))


def _number_bond(words: Sequence[str], at: int, left: str, right: str) -> int:
    """Number and unit, dates, times, telephone numbers, ranges."""
    before, after = left.lower(), right.lower()
    counts, counted = _is_number(left), _is_number(right)
    if (
        counts
        and after in _CALENDAR
        and _is_number(words[at + 1].rstrip(_ENDS) if at + 1 < len(words) else "")
    ):
        return 1  # ngày 23 | tháng 11 | năm 2026: between the parts of a date
    if counts and (counted or right in _DASHES or after in _UNITS):
        return 2
    if counted and (
        before in _COUNTED or before in {"giờ", "lúc"} or (left in _DASHES and _is_number(words[at - 2]))
    ):
        return 2
    if (before == "thứ" and after in _WEEKDAYS) or (before, after) == ("chủ", "nhật"):
        return 2
    return 1 if after in _OF_THE_DAY and (counts or before in {"giờ", "phút"}) else 0


def _place_bond(words: Sequence[str], at: int, left: str, right: str) -> int:
    """`xã Vị Xuyên`, `thị trấn Việt Lâm`: the kind of place and each syllable of its name."""
    if (left.lower(), right.lower()) in _TWO_WORD_PLACES:
        return 2
    if not right[:1].isupper():
        return 0
    first = at - 1
    while (
        first > 0
        and words[first][:1].isupper()
        and words[first - 1][-1] not in _ENDS
        and not _is_place(words, first)
    ):
        first -= 1
    return 2 if _is_place(words, first) else 0


def _is_place(words: Sequence[str], at: int) -> bool:
    pair = (words[at - 1].lower() if at else "", words[at].lower())
    return pair[1] in _PLACES or pair in _TWO_WORD_PLACES


def _is_number(word: str) -> bool:
    return bool(_NUMBER.match(word) or _CLOCK.match(word))


def _join(pieces: Sequence[_Piece]) -> str:
    return "".join((" " if piece.spaced and index else "") + piece.text for index, piece in enumerate(pieces))


def _broken(pieces: Sequence[_Piece], measure: Measure, width: int) -> list[str]:
    """The cheapest lines. `best[n]` is the cost of the first n pieces and where their last line begins."""
    for piece in pieces:
        if measure(piece.text) > width:
            raise TextRefused(
                ReasonCode.BAD_ARGS,
                f"The word '{piece.text}' is wider than the board ({measure(piece.text)} of {width} dots). "
                "Break it with a space or a hyphen, or use a shorter word.",
            )
    best: list[tuple[int, int]] = [(0, 0)]
    for end in range(1, len(pieces) + 1):
        choices: list[tuple[int, int]] = []
        for start in range(end - 1, -1, -1):
            used = measure(_join(pieces[start:end]))
            if used > width:
                break
            cost = best[start][0] + LINE_COST + BOND_COST[pieces[start].bond if start else 0]
            if end == len(pieces):
                cost += LONELY_COST if start and end - start == 1 else 0
            else:
                cost += (width - used) ** 2
            choices.append((cost, start))
        best.append(min(choices))
    lines: list[str] = []
    end = len(pieces)
    while end:
        start = best[end][1]
        lines.append(_join(pieces[start:end]))
        end = start
    return lines[::-1]
