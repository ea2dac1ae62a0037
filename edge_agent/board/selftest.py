"""What a board shows when it is tested, so that somebody in front of it can tell what is wrong (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edge_agent.board.dots import Dots
from edge_agent.board.picture import INK, Colours, Picture, coloured
from edge_agent.board.settings import BoardSettings

LETTERS = "Ắẳẵặ Ềểễệ Ốổỗộ Ữựử Đđ 01234 56789"


@dataclass(frozen=True, slots=True)
class Step:
    """One picture and what to look for; `code` is one of the catalogue's sentences."""

    code: str
    picture: Picture
    facts: dict[str, str]


def steps(settings: BoardSettings) -> Iterator[Step]:
    """The pictures: the frame, odd and even columns and rows, and each colour."""
    width, height = settings.columns, settings.rows
    full = (1 << width) - 1
    edge = 1 << width - 1 | 1
    thin = (settings.lit_percent_max < 50) + 2
    """One of so many columns is lit: no test is brighter than the power supply allows."""
    columns = sum(1 << x for x in range(0, width, thin))
    yield Step("test_frame", _in(settings, Dots(width, (full, *(edge,) * (height - 2), full))), {})
    yield Step("test_columns", _in(settings, Dots(width, (columns,) * height)), {"which": "1, 3, 5 …"})
    yield Step(
        "test_columns", _in(settings, Dots(width, (columns << 1 & full,) * height)), {"which": "2, 4, 6 …"}
    )
    rows = tuple(0 if y % thin else full for y in range(height))
    yield Step("test_rows", _in(settings, Dots(width, rows)), {})
    names = {Colours.MONO: (), Colours.RED_GREEN: ("red", "green", "amber")}.get(settings.colours, tuple(INK))
    for name in names:
        dots = Dots(width, (sum(1 << x for x in range(0, width, 4)),) * height)
        yield Step("test_colour", coloured(dots, settings.colours, name), {"colour": name})


def _in(settings: BoardSettings, dots: Dots) -> Picture:
    return coloured(dots, settings.colours, settings.colour)
