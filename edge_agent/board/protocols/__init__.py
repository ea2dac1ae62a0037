"""What may be told to any board, and the shape of a codec that says it in one board's language.

A codec does no I/O: commands in, bytes to send out; bytes received in, replies out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from edge_agent.board.dots import Dots


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """What a board can do."""

    columns: int
    rows: int
    slots: int
    """Pictures it can hold at once."""
    takeover: bool
    """It has a place for an emergency that hides, and later hands back, what was shown."""
    read_back: bool
    """It answers questions."""
    erases_on_set_up: bool
    """Setting up its memory forgets all pictures and leaves it dark for a while."""


# ---------------------------------------------------------------- to the board


@dataclass(frozen=True, slots=True)
class SetUp:
    """Divide the board's memory for our pictures; erases whatever it held."""


@dataclass(frozen=True, slots=True)
class Settle:
    """Make the board show our own place and nothing else, without touching pictures."""


@dataclass(frozen=True, slots=True)
class Store:
    """Put a picture into a slot (0 .. caps.slots - 1) that is not being shown."""

    slot: int
    dots: Dots


@dataclass(frozen=True, slots=True)
class Show:
    """Show a slot, or (None) nothing, in the ordinary place."""

    slot: int | None


@dataclass(frozen=True, slots=True)
class TakeOver:
    """Show a slot above everything else until `Release`."""

    slot: int


@dataclass(frozen=True, slots=True)
class Release:
    """End a takeover; what the ordinary place shows is seen again."""


@dataclass(frozen=True, slots=True)
class ForgetErrors:
    """Clear the board's record of transmission errors."""


@dataclass(frozen=True, slots=True)
class AskErrors:
    """Ask for the record of transmission errors; answered by `Errors`."""


@dataclass(frozen=True, slots=True)
class AskPlan:
    """Ask how the board's memory is divided; answered by `Plan`."""


Command = SetUp | Settle | Store | Show | TakeOver | Release | ForgetErrors | AskErrors | AskPlan


# ---------------------------------------------------------------- from the board


@dataclass(frozen=True, slots=True)
class Errors:
    """What the board found wrong with what it received since `ForgetErrors`; () = nothing."""

    found: tuple[str, ...]
    unknown_file: bool = False
    """Something was addressed that its memory does not have."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How its memory is divided; `ours` if that is what `SetUp` would make."""

    ours: bool


Reply = Errors | Plan


@dataclass(frozen=True, slots=True)
class Tx:
    """Bytes to send at once, the silence that must follow, and the reply that must come (None: none does)."""

    payload: bytes
    gap_after_s: float = 0.0
    expect: type[Reply] | None = None


class Codec(Protocol):
    """One board's language."""

    @property
    def caps(self) -> Caps:
        """What the board can do."""

    def encode(self, command: Command) -> tuple[Tx, ...]:
        """The bytes that say it, in order."""

    def feed(self, received: bytes) -> Sequence[Reply]:
        """Take received bytes, any split, garbage included; return the replies that became whole."""

    def forget(self) -> None:
        """Throw away a reply received in part."""
