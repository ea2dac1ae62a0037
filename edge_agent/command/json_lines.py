"""On which line of a JSON text a path such as `$.rules[3].at[0]` lies. Pure."""

from __future__ import annotations

import json
import re
from json.decoder import scanstring  # type: ignore[attr-defined] # the decoder's own reader of strings
from typing import Final

_SPACE: Final = re.compile(r"[ \t\r\n]*")
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
_DECODER: Final = json.JSONDecoder()


def line_of(text: bytes, path: str) -> int | None:
    """The line (from 1) on which the value at `path` begins, or the deepest part of the path that is there.

    None when the text is not JSON.
    """
    try:
        whole = text.decode()
        at = _start(whole, 0)
        for name, index in _STEP.findall(path):
            inner = _member(whole, at, name) if name else _item(whole, at, int(index))
            if inner is None:
                break
            at = inner
    except (ValueError, IndexError, RecursionError):
        return None
    return whole.count("\n", 0, at) + 1


def _member(text: str, at: int, name: str) -> int | None:
    """Where the value of this member begins, in the object at `at`."""
    if text[at] != "{":
        return None
    at = _start(text, at + 1)
    while text[at] == '"':
        found, at = scanstring(text, at + 1)
        at = _start(text, _start(text, at) + 1)
        if found == name:
            return at
        at = _next(text, at)
    return None


def _item(text: str, at: int, index: int) -> int | None:
    """Where this item begins, in the list at `at`."""
    if text[at] != "[":
        return None
    at = _start(text, at + 1)
    while text[at] != "]":
        if index == 0:
            return at
        index -= 1
        at = _next(text, at)
    return None


def _next(text: str, at: int) -> int:
    """Past the value at `at`, and past a comma behind it."""
    _, at = _DECODER.raw_decode(text, at)
    at = _start(text, at)
    return _start(text, at + 1) if text[at] == "," else at


def _start(text: str, at: int) -> int:
    """The first place from `at` on that is no white space."""
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()
