"""QR codes (ISO/IEC 18004), where they can be scanned: at least two dots a module, light ground around it (segno makes them).

Lit dots are light modules. The standard wants four light modules around a code; telephones read it with two, so a board too
small for four has three, or two, and never fewer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edge_agent.board.dots import Dots
from edge_agent.errors import TextRefused
from edge_agent.model import ReasonCode

DOTS_A_MODULE_MIN: Final = 2
GROUND: Final = (4, 3, 2)


@dataclass(frozen=True, slots=True)
class Code:
    """A code as dots, its light ground included."""

    dots: Dots
    dots_a_module: int


def code(text: str, *, columns: int, rows: int) -> Code:
    """The largest code that fits.

    Raises:
        TextRefused: BAD_ARGS when it cannot be scanned from this board, with the size that it would need.
    """
    import segno

    try:
        made = segno.make(text, error="l", boost_error=True, micro=False)
    except (segno.DataOverflowError, ValueError) as error:
        raise TextRefused(
            ReasonCode.BAD_ARGS, f"No QR code can be made of this ({error}). Use a shorter address."
        ) from error
    modules = len(made.matrix)
    side = min(columns, rows)
    for ground in GROUND:
        dots_a_module = side // (modules + 2 * ground)
        if dots_a_module >= DOTS_A_MODULE_MIN:
            return Code(_dots(made.matrix, ground).scaled(dots_a_module), dots_a_module)
    need = DOTS_A_MODULE_MIN * (modules + 2 * GROUND[-1])
    raise TextRefused(
        ReasonCode.BAD_ARGS,
        f"The QR code has {modules} modules a side and needs {need} x {need} dots to be scanned; the board has {columns} x {rows}. "
        "Use a shorter address, or a larger board.",
    )


def _dots(matrix: tuple[bytearray, ...], ground: int) -> Dots:
    """One dot a module: dark modules are dark dots."""
    width = len(matrix) + 2 * ground
    light = (1 << width) - 1
    rows = [light] * ground
    for line in matrix:
        dark = int("".join("1" if module else "0" for module in line), 2) << ground
        rows.append(light & ~dark)
    return Dots(width, tuple(rows + [light] * ground))
