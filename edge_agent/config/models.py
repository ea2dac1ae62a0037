"""Files of board models: what they say counts where a board's own table says nothing."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from edge_agent.config.conversion import Report

SITE: Final = Path("/etc/edge-agent/boards")
"""Models that a technician has written; they go before ours."""

_PACKAGE: Final = Path(__file__).resolve().parents[1]
SHIPPED: Final = (_PACKAGE / "_shipped" / "boards", _PACKAGE.parent / "config" / "boards")
"""Models that come with the agent: installed, or in a work tree."""

LARGEST_FILE_BYTES: Final = 64 * 1024


def lay_under(tables: dict[str, Any], report: Report, *, places: Sequence[Path] = (SITE, *SHIPPED)) -> None:
    """Give each board that names a `model` the keys of its file that it does not set itself."""
    boards = tables.get("boards")
    found = [(("boards", name), table) for name, table in boards.items()] if isinstance(boards, dict) else []
    for path, table in [(("board",), tables.get("board")), *found]:
        model = table.get("model") if isinstance(table, dict) else None
        if not isinstance(table, dict) or not isinstance(model, str) or not model:
            continue
        known = names(places)
        if model not in known:
            report((*path, "model"), "no_such_model", found=model, valid=", ".join(known))
            continue
        try:
            said = read(model, places)
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            report((*path, "model"), "bad_model", found=model, why=str(error))
            continue
        for key, value in said.items():
            table.setdefault(key, value)


def names(places: Sequence[Path] = (SITE, *SHIPPED)) -> list[str]:
    """Every model that there is."""
    return sorted({file.stem for place in places if place.is_dir() for file in place.glob("*.toml")})


def read(model: str, places: Sequence[Path] = (SITE, *SHIPPED)) -> Mapping[str, Any]:
    """The keys of one model's file. Raises OSError, UnicodeDecodeError, tomllib.TOMLDecodeError."""
    for place in places:
        file = place / f"{model}.toml"
        if file.is_file():
            with file.open("rb") as opened:
                return tomllib.loads(opened.read(LARGEST_FILE_BYTES).decode("utf-8-sig"))
    raise FileNotFoundError(f"no {model}.toml in {', '.join(map(str, places))}")
