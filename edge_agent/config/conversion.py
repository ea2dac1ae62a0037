"""TOML values to typed settings, with every problem found in one pass.

Pure. `msgspec.convert` stops at the first error; a technician at the foot of a pole should not
have to come back once per error. So this walks msgspec's own description of the types.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Final

import msgspec
from msgspec import inspect as mi

from edge_agent.config.kinds import bounds_of, kind_of, kinds_of, kinds_taken, note_of, plain, shown
from edge_agent.config.toml_lines import KeyPath

Report = Callable[..., None]
"""`report(path, code, **details)` takes a problem down."""

_Listed = mi.ListType | mi.VarTupleType | mi.TupleType | mi.SetType | mi.FrozenSetType
_COLLECTIONS: Final[Mapping[type[mi.Type], Callable[[list[Any]], Any]]] = {
    mi.ListType: list,
    mi.VarTupleType: tuple,
    mi.TupleType: tuple,
    mi.SetType: set,
    mi.FrozenSetType: frozenset,
}

BAD: Final = object()
"""Stands for a value that could not be converted; its problem has been reported."""


def convert(
    root: type[msgspec.Struct], value: Mapping[str, Any], raw: Mapping[KeyPath, str], report: Report
) -> dict[str, Any]:
    """The fields of `root` that `value` gives, each converted or BAD; what is left out has its default.

    Args:
        root: a struct whose fields are the sections.
        value: the parsed file with overrides laid over it.
        raw: the text as typed of values from the command line, for string keys that look like numbers.
        report: called once per problem.
    """
    kind = mi.type_info(root)
    assert isinstance(kind, mi.StructType)
    return _Conversion(kind, raw, report).fields(kind, value, ())


class _Conversion:
    """One pass over one file."""

    def __init__(self, root: mi.StructType, raw: Mapping[KeyPath, str], report: Report) -> None:
        self._root = root
        self._raw = raw
        self._report = report

    # ---- tables

    def fields(self, kind: mi.StructType, value: Mapping[str, Any], path: KeyPath) -> dict[str, Any]:
        """Each field that is given or required, converted or BAD."""
        fields = {field.encode_name: field for field in kind.fields}
        for name in value:
            if name not in fields:
                self._unknown(name, list(fields), path)
        made: dict[str, Any] = {}
        for name, field in fields.items():
            here = (*path, name)
            if name in value:
                made[field.name] = self.any(field.type, value[name], here)
            elif field.required and isinstance(plain(field.type), mi.StructType):
                made[field.name] = self.any(field.type, {}, here)
            elif field.required:
                self._report(here, "missing", note=note_of(field.type))
                made[field.name] = BAD
        return made

    def struct(self, kind: mi.StructType, value: Mapping[str, Any], path: KeyPath) -> Any:
        made = self.fields(kind, value, path)
        known = {field.encode_name for field in kind.fields}
        if not known.issuperset(value) or any(part is BAD for part in made.values()):
            return BAD
        try:
            return kind.cls(**made)
        except (ValueError, TypeError) as error:
            self._report(path, "room_refused", text=str(error))
            return BAD

    def _unknown(self, name: str, valid: Sequence[str], path: KeyPath) -> None:
        code = "unknown_key" if path else "unknown_section"
        close = difflib.get_close_matches(name, valid, n=1, cutoff=0.6)
        elsewhere = [] if close else self._homes_of(name, path)
        suggestion = close[0] if close else elsewhere[0] if elsewhere else ""
        self._report((*path, name), code, name=name, suggestion=suggestion, valid=", ".join(valid))

    def _homes_of(self, name: str, path: KeyPath) -> list[str]:
        """Other sections that have a key of this name."""
        homes = []
        for section in self._root.fields:
            inner = plain(section.type)
            if isinstance(inner, mi.StructType) and (section.encode_name,) != path:
                homes += [
                    f"{section.encode_name}.{name}" for field in inner.fields if field.encode_name == name
                ]
        return homes

    # ---- values

    def any(self, kind: mi.Type, value: Any, path: KeyPath) -> Any:
        note = note_of(kind)
        while isinstance(kind, mi.Metadata):
            kind = kind.type
        match kind:
            case mi.UnionType():
                return self._union(kind, value, path)
            case mi.StructType() | mi.DictType():
                return self._table(kind, value, path)
            case mi.ListType() | mi.VarTupleType() | mi.TupleType() | mi.SetType() | mi.FrozenSetType():
                return self._list(kind, value, path)
            case mi.EnumType():
                return self._choice({str(member.value): member for member in kind.cls}, value, path)
            case mi.LiteralType():
                return self._choice({str(choice): choice for choice in kind.values}, value, path)
            case _:
                return self._leaf(kind, value, path, note)

    def _union(self, kind: mi.UnionType, value: Any, path: KeyPath) -> Any:
        for member in kind.types:
            if not isinstance(plain(member), mi.NoneType) and kinds_taken(member) & kinds_of(value):
                return self.any(member, value, path)
        if path in self._raw:
            for member in kind.types:
                if isinstance(plain(member), mi.StrType):
                    return self.any(member, value, path)
        return self._wrong(kind, value, path)

    def _table(self, kind: mi.StructType | mi.DictType, value: Any, path: KeyPath) -> Any:
        if not isinstance(value, dict):
            return self._wrong(kind, value, path)
        if isinstance(kind, mi.StructType):
            return self.struct(kind, value, path)
        made = {}
        for name, item in value.items():
            key = self.any(kind.key_type, name, (*path, name))
            made[name] = self.any(kind.value_type, item, (*path, name)) if key is not BAD else BAD
        if any(item is BAD for item in made.values()) or not self._length_fits(kind, len(made), path):
            return BAD
        return made

    def _list(self, kind: _Listed, value: Any, path: KeyPath) -> Any:
        if not isinstance(value, list):
            return self._wrong(kind, value, path)
        if isinstance(kind, mi.TupleType):
            inner: tuple[mi.Type, ...] = kind.item_types
            if len(value) != len(inner):
                self._report(path, "bad_length", found=str(len(value)), bounds=f"= {len(inner)}")
                return BAD
        else:
            inner = (kind.item_type,) * len(value)
        made = [
            self.any(each, item, (*path, row))
            for row, (each, item) in enumerate(zip(inner, value, strict=True))
        ]
        if any(item is BAD for item in made):
            return BAD
        if not isinstance(kind, mi.TupleType) and not self._length_fits(kind, len(made), path):
            return BAD
        return _COLLECTIONS[type(kind)](made)

    def _choice(self, choices: Mapping[str, Any], value: Any, path: KeyPath) -> Any:
        if not isinstance(value, str) and self._raw.get(path) in choices:
            return choices[self._raw[path]]
        for choice in choices.values():
            plain = choice.value if isinstance(choice, Enum) else choice
            if type(plain) is type(value) and plain == value:
                return choice
            if isinstance(plain, str) and isinstance(value, str) and plain == value:
                return choice
        close = difflib.get_close_matches(str(value), list(choices), n=1, cutoff=0.6)
        self._report(
            path,
            "bad_choice",
            found=shown(path, value),
            choices=", ".join(choices),
            suggestion=close[0] if close else "",
        )
        return BAD

    def _leaf(self, kind: mi.Type, value: Any, path: KeyPath, note: str) -> Any:
        if isinstance(kind, mi.StrType | mi.CustomType) and not isinstance(value, str) and path in self._raw:
            value = self._raw[path]
        if not isinstance(kind, mi.AnyType) and not kinds_taken(kind) & kinds_of(value):
            return self._wrong(kind, value, path)
        match kind:
            case mi.IntType():
                return value if self._number_fits(kind, value, path) else BAD
            case mi.FloatType():
                return float(value) if self._number_fits(kind, value, path) else BAD
            case mi.StrType():
                return value if self._text_fits(kind, value, path, note) else BAD
            case mi.CustomType():
                return kind.cls(value)
            case _:
                return value

    # ---- bounds

    def _number_fits(self, kind: mi.IntType | mi.FloatType, value: float, path: KeyPath) -> bool:
        fits = (
            value - value == 0  # neither infinite nor NaN
            and (kind.ge is None or value >= kind.ge)
            and (kind.gt is None or value > kind.gt)
            and (kind.le is None or value <= kind.le)
            and (kind.lt is None or value < kind.lt)
        )
        if not fits:
            self._report(path, "out_of_bounds", found=shown(path, value), bounds=bounds_of(kind))
        elif kind.multiple_of is not None and value % kind.multiple_of:
            self._report(path, "bad_multiple", found=shown(path, value), step=str(kind.multiple_of))
            fits = False
        return fits

    def _text_fits(self, kind: mi.StrType, value: str, path: KeyPath, note: str) -> bool:
        if not self._length_fits(kind, len(value), path):
            return False
        if kind.pattern is not None and re.search(kind.pattern, value) is None:
            self._report(path, "bad_form", found=shown(path, value), pattern=kind.pattern, note=note)
            return False
        return True

    def _length_fits(self, kind: Any, length: int, path: KeyPath) -> bool:
        low, high = kind.min_length, kind.max_length
        if (low is None or length >= low) and (high is None or length <= high):
            return True
        bounds = " ".join(part for part in (low and f"≥ {low}", high is not None and f"≤ {high}") if part)
        self._report(path, "bad_length", found=str(length), bounds=bounds)
        return False

    def _wrong(self, kind: mi.Type, value: Any, path: KeyPath) -> Any:
        expected = "|".join(sorted(kinds_taken(kind)))
        self._report(
            path, "wrong_type", found=shown(path, value), found_kind=kind_of(value), expected_kind=expected
        )
        return BAD
