"""Where each key of a TOML text stands, whatever way it is written."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.config.toml_lines import KeyPath, lines_of

LETTER = """\
# a comment with [brackets] = and "quotes"
title = "a # that is no comment"

[broker]            # line 4
url = 'mqtt://x'
"quoted key" = 1
tls.ca = "a"
tls . key = "b"

[sense.inputs.stop]
offset = 1
[sense.inputs."nút dừng"]
offset = 2

[amplifier]
power = { offset = 17, chip = 0 }
zones = { cho = {offset = 5}, 'truong' = { offset = 6 } }
list = [
  1,   # first
  [2,
   3],
  { a = 1 },
]
text = \"\"\"
[not.a.table]
key = \\"\"\" 1
\"\"\"
raw = '''
x = 1''''
after = 1979-05-27 07:32:00

[[board]]
rows = 16
[board.line]
baud = 1
[[board]]
rows = 32
[board.line]
baud = 2
"""


def test_tables_and_keys_have_their_lines() -> None:
    lines = lines_of(LETTER)
    assert lines["title",] == 2
    assert lines["broker",] == 4
    assert lines["broker", "url"] == 5
    assert lines["broker", "quoted key"] == 6


def test_dotted_keys_make_tables_where_they_first_stand() -> None:
    lines = lines_of(LETTER)
    assert lines["broker", "tls"] == 7
    assert lines["broker", "tls", "ca"] == 7
    assert lines["broker", "tls", "key"] == 8


def test_nested_headers_name_every_table_on_the_way() -> None:
    lines = lines_of(LETTER)
    assert lines["sense", "inputs"] == 10
    assert lines["sense", "inputs", "stop", "offset"] == 11
    assert lines["sense", "inputs", "nút dừng"] == 12
    assert lines["sense", "inputs", "nút dừng", "offset"] == 13


def test_inline_tables_and_arrays_are_looked_into() -> None:
    lines = lines_of(LETTER)
    assert lines["amplifier", "power", "chip"] == 16
    assert lines["amplifier", "zones", "truong", "offset"] == 17
    assert lines["amplifier", "list", 0] == 19
    assert lines["amplifier", "list", 1, 0] == 20
    assert lines["amplifier", "list", 1, 1] == 21
    assert lines["amplifier", "list", 2, "a"] == 22


def test_text_over_several_lines_hides_no_key_and_makes_none() -> None:
    lines = lines_of(LETTER)
    assert ("not",) not in lines
    assert lines["amplifier", "text"] == 24
    assert lines["amplifier", "raw"] == 28
    assert lines["amplifier", "after"] == 30


def test_tables_of_an_array_are_told_apart() -> None:
    lines = lines_of(LETTER)
    assert lines["board", 0, "rows"] == 33
    assert lines["board", 0, "line", "baud"] == 35
    assert lines["board", 1, "rows"] == 37
    assert lines["board", 1, "line", "baud"] == 39


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_every_key_of_the_letter_is_found_with_any_line_ending(ending: str) -> None:
    text = LETTER.replace("\n", ending)
    lines = lines_of(text)
    rows = text.split("\n")
    for path in paths_in(tomllib.loads(text), ()):
        assert path in lines, path
        if isinstance(path[-1], str):
            assert path[-1] in rows[lines[path] - 1], path


_NAMES = st.text("abc-_", min_size=1, max_size=3)
_VALUES = st.recursive(
    st.one_of(
        st.integers(-9, 9).map(str),
        st.sampled_from(
            ['"a # ]"', "'}'", '"""x\n y = "1" ]"""', "'''\n[t]'''", "true", "1.5", "07:32:00", '"\\""']
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[" + ",\n ".join(items) + " ]"),
        st.dictionaries(_NAMES, inner, max_size=3).map(
            lambda pairs: "{ " + ", ".join(f"{key} = {value}" for key, value in pairs.items()) + " }"
        ),
    ),
    max_leaves=6,
)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.dictionaries(_NAMES, st.dictionaries(_NAMES, _VALUES, max_size=4), max_size=4))
def test_no_key_of_any_text_is_missed(sections: dict[str, dict[str, str]]) -> None:
    text = ""
    for section, pairs in sections.items():
        text += f"[{section}] # one\n" + "".join(f"{key} = {value}\n\n" for key, value in pairs.items())
    lines = lines_of(text)
    rows = text.split("\n")
    for path in paths_in(tomllib.loads(text), ()):
        assert path in lines
        if isinstance(path[-1], str):
            assert path[-1] in rows[lines[path] - 1]


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.text("ab=[]{}\"'#.,\n \\", max_size=40))
def test_nonsense_ends(text: str) -> None:
    lines_of(text)


def paths_in(value: Any, path: KeyPath) -> list[KeyPath]:
    """Every key and array place in a parsed text."""
    inner: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    found: list[KeyPath] = []
    for part, below in inner:
        found += [(*path, part), *paths_in(below, (*path, part))]
    return found
