"""On which line of a TOML text each key stands (`tomllib` keeps no lines, people need them).

Pure. It walks a text that `tomllib` has accepted, so it only has to find keys and skip values:
tables, arrays of tables, dotted and quoted keys, inline tables, arrays, all four kinds of string.
"""

from __future__ import annotations

import json
from typing import Final

KeyPath = tuple[str | int, ...]
"""Names of tables and keys, and indices of arrays: ("inputs", "stop", "line") or ("board", 0, "name")."""

_BLANK: Final = " \t"
_SPACE: Final = " \t\r\n"
_BARE_END: Final = " \t\r\n.=]#,}"
_VALUE_END: Final = ",]}#\r\n"


def lines_of(text: str) -> dict[KeyPath, int]:
    """Line numbers, from 1, of every table header and key in a valid TOML text.

    A table made by several keys or headers has the line of the first of them. Raises nothing on
    a valid text; on an invalid one the result is what could be found.
    """
    return _Walk(text).walk()


class _Walk:
    """One pass over one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._lines: dict[KeyPath, int] = {}
        self._table: KeyPath = ()
        self._rows: dict[KeyPath, int] = {}
        """How many tables each array of tables has so far."""
        self._counted = (0, 1)
        """A position and its line, so that counting goes on from there."""

    def walk(self) -> dict[KeyPath, int]:
        while True:
            self._skip_filling(_SPACE)
            if self._at >= len(self._text):
                return self._lines
            before = self._at
            if self._peek() == "[":
                self._header()
            else:
                self._pair(self._table)
            if self._at == before:
                return self._lines

    def _peek(self, width: int = 1) -> str:
        return self._text[self._at : self._at + width]

    def _skip_filling(self, blanks: str) -> None:
        """Skip blanks and comments."""
        while self._at < len(self._text):
            if self._text[self._at] in blanks:
                self._at += 1
            elif self._text[self._at] == "#":
                end = self._text.find("\n", self._at)
                self._at = len(self._text) if end < 0 else end
            else:
                return

    def _header(self) -> None:
        many = self._peek(2) == "[["
        line = self._line()
        self._at += 2 if many else 1
        names = self._key()
        self._at += 2 if many else 1
        path: KeyPath = ()
        for name in names[:-1]:
            path = (*path, name)
            self._note(path, line)
            if path in self._rows:
                path = (*path, self._rows[path] - 1)
        path = (*path, names[-1]) if names else path
        self._note(path, line)
        if many:
            row = self._rows.get(path, 0)
            self._rows[path] = row + 1
            path = (*path, row)
            self._note(path, line)
        self._table = path

    def _pair(self, table: KeyPath) -> None:
        """`key = value`, in a table or inside braces."""
        line = self._line()
        path = table
        for name in self._key():
            path = (*path, name)
            self._note(path, line)
        if self._peek() == "=":
            self._at += 1
            self._skip_filling(_BLANK)
            self._value(path)

    def _key(self) -> list[str]:
        """A dotted key, up to what follows it."""
        names: list[str] = []
        while True:
            self._skip_filling(_BLANK)
            if self._peek() in ("'", '"') and self._peek():
                names.append(self._string())
            else:
                start = self._at
                while self._at < len(self._text) and self._text[self._at] not in _BARE_END:
                    self._at += 1
                names.append(self._text[start : self._at])
            self._skip_filling(_BLANK)
            if self._peek() != ".":
                return names
            self._at += 1

    def _value(self, path: KeyPath) -> None:
        match self._peek():
            case "{":
                self._members(path, "}")
            case "[":
                self._members(path, "]")
            case "'" | '"':
                self._string()
            case _:
                while self._at < len(self._text) and self._text[self._at] not in _VALUE_END:
                    self._at += 1

    def _members(self, path: KeyPath, closing: str) -> None:
        """The inside of an array or of an inline table, braces included."""
        self._at += 1
        row = 0
        while True:
            self._skip_filling(_SPACE + ",")
            if self._at >= len(self._text) or self._peek() == closing:
                self._at += 1
                return
            before = self._at
            if closing == "}":
                self._pair(path)
            else:
                self._note((*path, row), self._line())
                self._value((*path, row))
                row += 1
            if self._at == before:
                return

    def _string(self) -> str:
        """A string of any kind; only one-line strings (keys) are returned with their escapes read."""
        quote = self._peek()
        if self._peek(3) == quote * 3:
            self._at += 3
            start = self._at
            while self._at < len(self._text) and self._peek(3) != quote * 3:
                self._at += 2 if self._peek() == "\\" and quote == '"' else 1
            content = self._text[start : self._at]
            self._at += 3
            while self._peek() == quote:
                self._at += 1
            return content
        start = self._at
        self._at += 1
        while self._at < len(self._text) and self._peek() not in (quote, "\n"):
            self._at += 2 if self._peek() == "\\" and quote == '"' else 1
        self._at += 1
        literal = self._text[start : self._at]
        if quote == "'":
            return literal[1:-1]
        try:
            return str(json.loads(literal))
        except ValueError:
            return literal[1:-1]

    def _line(self) -> int:
        position, line = self._counted
        line += self._text.count("\n", position, self._at)
        self._counted = (self._at, line)
        return line

    def _note(self, path: KeyPath, line: int) -> None:
        self._lines.setdefault(path, line)
