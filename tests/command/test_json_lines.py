"""A path in a JSON text is found on its line, whatever stands around it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.command.json_lines import line_of

TEXT = b"""{
  "rules": [
    {"id": "a", "at": ["05:30",
      "06:00"]},
    {"id": "b\\"]}",
     "programme": [{"say": "x"}]}
  ],
  "holidays": []
}"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("$", 1),
        ("$.rules", 2),
        ("$.rules[0].at[1]", 4),
        ("$.rules[1]", 5),
        ("$.rules[1].programme[0].say", 6),
        ("$.holidays", 8),
        ("$.rules[0].nothing", 3),
        ("$.rules[7].id", 2),
    ],
)
def test_the_line_of_a_path(path: str, line: int) -> None:
    assert line_of(TEXT, path) == line


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b'{"a"', b"nothing", b'{"a": [1,'])
def test_what_is_no_json_has_no_lines_and_no_error(text: bytes) -> None:
    assert line_of(text, "$.a[0].b") in {None, 1}


VALUES = st.recursive(
    st.integers() | st.text() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3)
    ),
)


@given(value=VALUES)
def test_every_place_of_any_value_is_found(value: Any) -> None:
    text = json.dumps(value, indent=1)

    def walk(here: Any, path: str) -> None:
        line = line_of(text.encode(), path)
        assert line is not None
        assert 1 <= line <= text.count("\n") + 1
        if isinstance(here, dict):
            for key, inner in here.items():
                walk(inner, f"{path}.{key}")
        elif isinstance(here, list):
            for index, inner in enumerate(here):
                walk(inner, f"{path}[{index}]")

    walk(value, "$")
