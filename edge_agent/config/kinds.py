"""What kinds of TOML value there are, and what msgspec says of the kinds a type takes. Pure."""

from __future__ import annotations

from typing import Final

from msgspec import inspect as mi

from edge_agent.config.toml_lines import KeyPath

_SHOWN_CHARS: Final = 40
_SECRET_WORDS: Final = ("url", "password", "secret", "token")

_KIND_OF_VALUE: Final = (
    (bool, "bool"),
    (int, "int"),
    (float, "float"),
    (str, "str"),
    (list, "list"),
    (dict, "table"),
)
"""In this order: a bool is also an int."""

_KIND_OF_TYPE: Final = {
    mi.BoolType: "bool",
    mi.IntType: "int",
    mi.FloatType: "float",
    mi.StrType: "str",
    mi.CustomType: "str",
    mi.StructType: "table",
    mi.DictType: "table",
    mi.ListType: "list",
    mi.VarTupleType: "list",
    mi.TupleType: "list",
    mi.SetType: "list",
    mi.FrozenSetType: "list",
}


def kind_of(value: object) -> str:
    """The TOML kind of a value, as a token of the catalogue."""
    return next((kind for python, kind in _KIND_OF_VALUE if isinstance(value, python)), "date")


def kinds_of(value: object) -> set[str]:
    """The kinds a value can serve as: a whole number is also a number."""
    found = kind_of(value)
    return {"int", "float"} if found == "int" else {found}


def kinds_taken(kind: mi.Type) -> set[str]:
    """The kinds of value that a type takes."""
    match plain(kind):
        case mi.UnionType(types=members):
            return {taken for member in members for taken in kinds_taken(member)}
        case mi.NoneType():
            return set()
        case mi.EnumType(cls=cls):
            return {kind_of(member.value) for member in cls}
        case mi.LiteralType(values=values):
            return {kind_of(value) for value in values}
        case other:
            return {_KIND_OF_TYPE.get(type(other), "date")}


def plain(kind: mi.Type) -> mi.Type:
    """The type without its descriptions."""
    while isinstance(kind, mi.Metadata):
        kind = kind.type
    return kind


def note_of(kind: mi.Type) -> str:
    """The description in the type's `Meta`, or ""."""
    while isinstance(kind, mi.Metadata):
        found = (kind.extra_json_schema or {}).get("description")
        if found:
            return str(found)
        kind = kind.type
    return ""


def bounds_of(kind: mi.IntType | mi.FloatType) -> str:
    """The numbers a type takes, written without words."""
    low = f"≥ {kind.ge}" if kind.ge is not None else f"> {kind.gt}" if kind.gt is not None else ""
    high = f"≤ {kind.le}" if kind.le is not None else f"< {kind.lt}" if kind.lt is not None else ""
    return ", ".join(part for part in (low, high) if part) or "< ∞"


def shown(path: KeyPath, value: object) -> str:
    """A value as people may see it: short, and never one that may carry a password."""
    name = str(path[-1])
    if isinstance(value, str) and any(word in name for word in _SECRET_WORDS):
        return "…"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return "{…}" if isinstance(value, dict) else "[…]"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"
