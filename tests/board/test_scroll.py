"""A line that runs: never faster than one reads, and every word wholly there for two seconds."""

from __future__ import annotations

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edge_agent.board import scroll
from edge_agent.board.dots import Dots
from edge_agent.board.picture import Colours, coloured

SYLLABLES = st.sampled_from(["Mời", "bà", "con", "đến", "nhà", "văn", "hóa", "nghiêng", "Ủy", "ban", "2026,"])


def measure(text: str) -> int:
    return 10 * len(text)


@settings(derandomize=True, max_examples=200)
@given(st.lists(SYLLABLES, min_size=1, max_size=30), st.integers(16, 2000))
def test_every_word_is_wholly_visible_for_two_seconds(words: list[str], width: int) -> None:
    text = " ".join(words)
    pace = scroll.speed(text, measure=measure, width=width)
    if pace is None:
        assert width < scroll.WIDTH_MIN or max(map(measure, words)) >= width
        return
    assert pace * len(text) <= 6 * measure(text) * 1.000001, "at most six characters a second"
    for word in words:
        assert (width - measure(word)) / pace >= 2 - 1e-9


def test_a_board_of_64_dots_does_not_scroll() -> None:
    assert scroll.speed("Họp", measure=measure, width=64) is None


@settings(derandomize=True, max_examples=100)
@given(st.integers(1, 60), st.integers(1, 40), st.integers(-80, 120))
def test_a_window_shows_the_strip_where_it_is_and_darkness_elsewhere(
    length: int, width: int, at: int
) -> None:
    assume(length)
    dots = Dots(length, ((1 << length) - 1, 0b1))
    strip = scroll.Strip(coloured(dots, Colours.MONO, "red"), 10.0)
    shown = scroll.window(strip, width, at)
    assert shown.row(0) == bytes(0 <= at + x < length for x in range(width))
    assert shown.row(1) == bytes(at + x == length - 1 for x in range(width))


def test_one_pass_brings_all_of_it_through() -> None:
    strip = scroll.Strip(coloured(Dots(200, (1,)), Colours.MONO, "red"), 50.0)
    assert scroll.offset(strip, 128, 0) == -128
    whole_s = scroll.pass_s(strip, 128)
    assert scroll.offset(strip, 128, whole_s - 0.01) == 200
    assert scroll.offset(strip, 128, whole_s) == -128, "and begins anew"
