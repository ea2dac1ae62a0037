"""Text from outside: what is cleaned, what is refused, and with which words."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.board import spelling
from edge_agent.errors import TextRefused
from edge_agent.model import ReasonCode


def cleaned(text: str) -> str:
    """The cleaned text, or "" for one that is refused."""
    try:
        return spelling.clean(text)
    except TextRefused:
        return ""


def test_vietnamese_has_134_letters_beyond_ascii() -> None:
    assert len(set(spelling.LETTERS)) == 134
    assert all(len(unicodedata.normalize("NFC", letter)) == 1 for letter in spelling.LETTERS)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.text(alphabet=spelling.LETTERS + "abcxyz0189 .,-/\n\u00a0", min_size=1, max_size=60))
def test_a_decomposed_text_is_the_same_text(text: str) -> None:
    composed = cleaned(text)
    assert cleaned(unicodedata.normalize("NFD", text)) == composed
    assert cleaned(composed) == composed


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.text(max_size=30))
def test_what_was_cleaned_is_clean(text: str) -> None:
    once = cleaned(text)
    assert cleaned(once) == once


def test_an_invisible_character_hides_no_old_encoding() -> None:
    with pytest.raises(TextRefused, match="TCVN3 or VNI"):
        spelling.clean("Vi\x08\u00d6t Nam")


@pytest.mark.parametrize("wrong", ["Ðường", "Ɖường"])
def test_look_alikes_of_the_barred_d_are_folded(wrong: str) -> None:
    assert spelling.clean(wrong) == "Đường"
    assert spelling.clean("ði") == "đi"


def test_both_places_of_the_tone_mark_stay_as_they_came() -> None:
    assert spelling.clean("Thủy và Thuỷ") == "Thủy và Thuỷ"


def test_invisible_characters_go_and_glue_stays() -> None:
    assert spelling.clean("\ufeffbà\u200b con\u00a0ơi\u0007\u202d") == "bà con\u00a0ơi"


def test_spaces_and_empty_lines_are_made_single() -> None:
    assert spelling.clean("  một \u2003 hai\t ba \r\n\n bốn \u00a0 năm ") == "một hai ba\nbốn năm"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Céng hßa x· héi chñ nghÜa ViÖt Nam", "TCVN3 or VNI"),
        ("Th«ng b¸o häp d©n", "TCVN3 or VNI"),
        ("Coäng hoøa xaõ hoäi chuû nghóa Vieät Nam", "TCVN3 or VNI"),
        ("Thoâng baùo hoïp daân", "TCVN3 or VNI"),
        ("MÔØI BAØ CON ÑEÁN HOÏP", "TCVN3 or VNI"),
        ("Mời bà con đến họp".encode().decode("latin-1"), "UTF-8 read as Latin-1"),
        ("Thông báo".encode().decode("cp1252"), "UTF-8 read as Latin-1"),
    ],
)
def test_old_encodings_are_refused_not_guessed(text: str, named: str) -> None:
    with pytest.raises(TextRefused, match=named) as refused:
        spelling.clean(text)
    assert refused.value.code is ReasonCode.BAD_ARGS


@pytest.mark.parametrize(
    "text",
    [
        "Ông Müller gặp bà con thôn 3",
        "Họp thôn «khẩn», giá 25 °C ± 2, 3×4 m, ½ ngày",
        "Hop thon luc 7h tai nha ong Ba",
        "Xã Nà Hẩu",
        "Nà Cà, Tà Lèng",
        "Hoà thuê xoá uý quê suý khuân xuân giêng kiêng hoài nhoà toán",
        "H'Mông, H’Mông và Hʼmông",
    ],
)
def test_honest_text_is_not_taken_for_an_old_encoding(text: str) -> None:
    assert spelling.clean(text) == text


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "empty"),
        ("a " * 2501, "5002 characters"),
        (" \u200b\n\u00a0", "empty"),
        ("ba\u0303\u0302o", "U+0302"),
        ("m\u0302", "U+0302"),
        ("t\ufffdt", "U+FFFD"),
        ("مرحبا", "U+0645"),
        ("\U000e0001a\u0378", "U+0378"),
        ("\ue000", "U+E000"),
    ],
)
def test_what_cannot_be_drawn_is_named(text: str, named: str) -> None:
    with pytest.raises(TextRefused) as refused:
        spelling.clean(text)
    assert named in refused.value.text
    assert refused.value.code is ReasonCode.BAD_ARGS
