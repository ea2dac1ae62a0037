"""What may be told to any board, and the shape of a codec that says it in one board's language.

A codec does no I/O: commands in, bytes to send out; bytes received in, replies out. What a board cannot do stands in its
`Caps`, and its codec is never asked for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from edge_agent.board.picture import Colours, Picture
from hal.ports import SerialSettings

LINE = SerialSettings()
"""9600 8N1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """What a board can do, and what it does that it should not. Each is what the codec makes use of, no more."""

    columns: int
    rows: int
    colours: Colours
    slots: int
    """Pictures it can hold at once; 0: it shows a picture as it is sent (`Draw`), and holds no other."""
    takeover: bool = False
    """It has a place for an emergency that hides, and later hands back, what was shown."""
    takeover_ends: bool = False
    """The board itself ends a takeover after `TakeOver.left_s`, though the node be dead."""
    hands_back: bool = False
    """It can be used without touching what a stranger has put on it, and shows that again after `HandBack`."""
    answers: bool = False
    """The line runs both ways, and it says something of what it was sent."""
    acknowledges: bool = False
    """It answers what it is sent: `Ack` or `Nak`."""
    keeps_errors: bool = False
    """It answers `AskErrors`."""
    tells_plan: bool = False
    """It answers `AskPlan`."""
    reads_back: bool = False
    """It answers `AskPicture` with the dots that it holds."""
    tells_status: bool = False
    """It answers `AskStatus`."""
    finds_dead_dots: bool = False
    """It answers `AskDeadDots`."""
    tests_itself: bool = False
    """It takes `SelfTest`."""
    brightness_steps: int = 0
    """Levels of `Dim`, dark not counted; 0: its brightness cannot be set."""
    switches: bool = False
    """It takes `Power`: its dots go dark without forgetting anything."""
    clock: bool = False
    """It has a clock that `SetClock` sets."""
    clock_text: bool = False
    """It can show `ClockText` in place of a picture, without going dark when the time changes."""
    scrolls: bool = False
    """It is redrawn so quickly that a line can run through it."""
    watch_s: float = 0.0
    """So often it should be looked at, s; 0: only an alert's board is, and the checks."""
    erases_on_set_up: bool = False
    """`SetUp` forgets all pictures and leaves it dark for a while."""
    blanks_on_write: bool = False
    """It goes dark while a picture is sent to it."""
    storage: Literal["ram", "flash"] = "ram"
    """Where what it is sent is kept. Flash wears: see `BoardSettings.flash_writes_a_day`."""
    line: SerialSettings = LINE
    """How its line is set unless the config says otherwise."""


# ---------------------------------------------------------------- to the board


@dataclass(frozen=True, slots=True)
class SetUp:
    """Prepare the board's memory for our pictures."""


@dataclass(frozen=True, slots=True)
class Settle:
    """Make the board show our own place and nothing else, without touching pictures."""


@dataclass(frozen=True, slots=True)
class Store:
    """Put a picture into a slot (0 .. caps.slots - 1) that is not being shown. Only with slots."""

    slot: int
    picture: Picture


@dataclass(frozen=True, slots=True)
class Show:
    """Show a slot, or (None) nothing, in the ordinary place. Only with slots."""

    slot: int | None


@dataclass(frozen=True, slots=True)
class Draw:
    """Show this picture at once, in the place of what is shown. Only without slots."""

    picture: Picture


@dataclass(frozen=True, slots=True)
class TakeOver:
    """Show a slot (without slots: the picture) above everything else until `Release`, or for `left_s` seconds where
    `caps.takeover_ends`."""

    what: int | Picture
    left_s: float


@dataclass(frozen=True, slots=True)
class Release:
    """End a takeover; what the ordinary place shows is seen again."""


@dataclass(frozen=True, slots=True)
class HandBack:
    """Go away: what a stranger has put on the board is seen again. Only where it `hands_back`."""


@dataclass(frozen=True, slots=True)
class Dim:
    """Set the brightness, 1-100 %."""

    percent: int


@dataclass(frozen=True, slots=True)
class Power:
    """Light (True) or darken (False) the dots."""

    on: bool


@dataclass(frozen=True, slots=True)
class SetClock:
    """Set the board's clock; a local time."""

    local: datetime


@dataclass(frozen=True, slots=True)
class ClockText:
    """Show `HH:MM` in the ordinary place, in the board's own digits; said again each minute."""

    local: datetime


@dataclass(frozen=True, slots=True)
class SelfTest:
    """Begin (True) or end (False) the board's own test pattern."""

    on: bool


@dataclass(frozen=True, slots=True)
class ForgetErrors:
    """Clear the board's record of transmission errors."""


@dataclass(frozen=True, slots=True)
class AskErrors:
    """Ask for the record of transmission errors; answered by `Errors`."""


@dataclass(frozen=True, slots=True)
class AskPlan:
    """Ask whether the board's memory is still as `SetUp` left it; answered by `Plan`."""


@dataclass(frozen=True, slots=True)
class AskPicture:
    """Ask for the dots that a slot (without slots: the board) holds; answered by `Held`."""

    slot: int | None


@dataclass(frozen=True, slots=True)
class AskStatus:
    """Ask how it is; answered by `Status`."""


@dataclass(frozen=True, slots=True)
class AskDeadDots:
    """Have it look for dead dots; answered by `DeadDots`."""


Command = (
    SetUp | Settle | Store | Show | Draw | TakeOver | Release | HandBack | Dim | Power | SetClock | ClockText | SelfTest
    | ForgetErrors | AskErrors | AskPlan | AskPicture | AskStatus | AskDeadDots
)  # fmt: skip


# ---------------------------------------------------------------- from the board


@dataclass(frozen=True, slots=True)
class Ack:
    """It has taken what it was sent."""


@dataclass(frozen=True, slots=True)
class Nak:
    """It has refused what it was sent: `why` in words, from the protocol's table."""

    why: str
    lost: bool = False
    """Something was addressed that its memory does not have: it is no longer as `SetUp` left it."""


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


@dataclass(frozen=True, slots=True)
class Held:
    """The dots that it holds; None: nothing, or no picture of ours."""

    picture: Picture | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How the board is, as far as it tells; None: it does not."""

    dark: bool | None = None
    takeover: bool | None = None
    celsius: float | None = None
    humidity: float | None = None
    brightness: int | None = None


@dataclass(frozen=True, slots=True)
class DeadDots:
    """How many dots do not light."""

    count: int


Reply = Ack | Nak | Errors | Plan | Held | Status | DeadDots


@dataclass(frozen=True, slots=True)
class Tx:
    """Bytes to send at once, the silence that must follow, and the reply that must come (None: none does).

    A `Nak` may come in the place of any reply.
    """

    payload: bytes
    gap_after_s: float = 0.0
    expect: type[Reply] | None = None
    reply_bytes: int = 0
    """How long that reply is, where it is long: the line needs its time for it."""


class Codec(Protocol):
    """One board's language."""

    @property
    def caps(self) -> Caps:
        """What the board can do."""

    def encode(self, command: Command) -> tuple[Tx, ...]:
        """The bytes that say it, in order. Asserts that the caps allow it."""

    def feed(self, received: bytes) -> Sequence[Reply]:
        """Take received bytes, any split, garbage included; return the replies that became whole."""

    def forget(self) -> None:
        """Throw away a reply received in part."""
