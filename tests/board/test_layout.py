"""Words to lines to pages: where lines break, what stays together, how long a page stands."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.board import layout, spelling
from edge_agent.errors import TextRefused
from edge_agent.model import ReasonCode

GLUE = spelling.GLUE


def lines(text: str, width: int, *, pages_max: int = 99) -> list[str]:
    """The lines on a board that has room for `width` characters."""
    pages = layout.pages_of(
        spelling.clean(text),
        measure=lambda line: 2 * len(line),
        width=2 * width,
        lines_per_page=1,
        pages_max=pages_max,
        reading=layout.Reading(),
    )
    return [line for page in pages for line in page.lines]


def test_lines_break_at_spaces_only() -> None:
    assert lines("mời bà con đến họp", 11) == ["mời bà con", "đến họp"]


def test_lines_break_after_a_hyphen_or_slash_between_letters() -> None:
    assert lines("Tày-Nùng", 5) == ["Tày-", "Nùng"]
    assert lines("và/hoặc", 5) == ["và/", "hoặc"]


def test_glue_is_not_broken_while_it_fits() -> None:
    assert lines(f"gặp ông{GLUE}Ba", 8) == ["gặp", "ông Ba"]


@pytest.mark.parametrize(
    "together",
    [
        "5 km",
        "100 mm",
        "25 °C",
        "xã Nà Hẩu",
        "thị trấn Việt Lâm",
        "thành phố Hà Giang",
        "thôn 3",
        "23/11/2026",
        "ngày 5/3",
        "ngày 23",
        "thứ Ba",
        "7 giờ 30 phút",
        "lúc 19h30",
        "8:00 - 17:00",
        "0912 345 678",
        "0219-3866-123",
        "số 9",
    ],
)
@pytest.mark.parametrize("before", ["", "đi", "bà con", "mời bà con"])
@pytest.mark.parametrize("after", ["", " nhé", ", mời dự họp"])
def test_what_belongs_together_stays_together(together: str, before: str, after: str) -> None:
    broken = lines(f"{before} {together}{after}", 19)
    assert any(together in line for line in broken), broken


def test_a_bond_breaks_before_a_text_is_refused() -> None:
    assert lines("xã Nà Hẩu", 6) == ["xã", "Nà Hẩu"]


def test_a_last_syllable_is_not_left_alone() -> None:
    assert lines("họp bàn việc làng", 12) == ["họp bàn", "việc làng"]


def test_a_new_line_in_the_text_is_a_new_line_on_the_board() -> None:
    assert lines("một\nhai", 20) == ["một", "hai"]


def test_a_word_wider_than_the_board_is_refused_and_named() -> None:
    with pytest.raises(TextRefused, match=r"'nghiêngg' .*16 of 14") as refused:
        lines("đi nghiêngg", 7)
    assert refused.value.code is ReasonCode.BAD_ARGS
    assert "hyphen" in refused.value.text


def test_too_many_pages_are_refused_with_both_numbers() -> None:
    with pytest.raises(TextRefused, match=r"needs 3 pages .* 2 are allowed"):
        lines("một hai ba", 5, pages_max=2)


def test_a_text_far_too_long_is_refused_before_it_is_laid_out() -> None:
    with pytest.raises(TextRefused, match="4000 characters"):
        lines("a" * 4_000, 48, pages_max=12)


@pytest.mark.parametrize(
    ("characters", "emergency", "seconds"),
    [(1, False, 3.0), (14, False, 3.0), (28, False, 4.0), (1, True, 6.0), (28, True, 8.0)],
)
def test_a_page_stands_as_long_as_it_takes_to_read(
    characters: int, *, emergency: bool, seconds: float
) -> None:
    assert layout.Reading(emergency=emergency).dwell_s(["a" * characters]) == pytest.approx(seconds)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    st.lists(st.text(alphabet="aáạbđư19", min_size=1, max_size=9), min_size=1, max_size=30),
    st.integers(min_value=9, max_value=30),
)
def test_every_word_is_shown_once_in_order_and_every_line_fits(words: list[str], width: int) -> None:
    broken = lines(" ".join(words), width)
    assert " ".join(broken).split() == words
    assert all(len(line) <= width for line in broken)
