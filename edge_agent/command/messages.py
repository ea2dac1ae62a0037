"""Arguments of orders -> intents, and what the node answers -> bytes. Pure.

The wire models below are the single source of the argument schemas; every field that is not
named here is refused by name, because an order that half works is worse than one that does not.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from edge_agent import patterns
from edge_agent.command import audible, cap, envelope
from edge_agent.command.assessment import Heed
from edge_agent.command.audible import LiveStartArgs, PlayArgs, SayArgs
from edge_agent.command.envelope import DEPTH_MAX, ID_PATTERN, Order, depth, worded
from edge_agent.errors import OrderRefused
from edge_agent.model import (
    NS,
    BoardClear,
    BoardShow,
    Intent,
    OrderId,
    OrderState,
    Ping,
    Precedence,
    Reason,
    ReasonCode,
    Release,
    SetVolume,
    Stop,
)

T = TypeVar("T")

NOTICE_TTL_S_MAX = 7 * 86400
STOP_S_MAX = 30 * 86400
"""Longest that a stop may last; who needs more sends another, or switches the node off."""

_MESSAGE_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,31}\Z"

FORMS = (
    envelope.FORMS
    | audible.FORMS
    | {
        _MESSAGE_PATTERN: "a stored message's name of a-z, 0-9, `_`, `-`",
    }
)

_Id = Annotated[str, Meta(pattern=ID_PATTERN)]
_Class = Literal["routine", "priority", "emergency"]
_Text = Annotated[str, Meta(min_length=1, max_length=4000)]


class StopArgs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`stop`: one order, or every class up to `class`; neither means everything, once.

    With `until` or `for_s` it is sticky: what it covers does not sound before that, whoever orders it.
    """

    order: _Id | None = None
    klass: _Class | None = msgspec.field(default=None, name="class")
    until: Annotated[datetime, Meta(tz=True)] | None = None
    for_s: Annotated[int, Meta(ge=0, le=STOP_S_MAX)] = 0


class ReleaseArgs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`release`: ends the sticky stop that order `stop` made, or every one."""

    stop: Annotated[str, Meta(min_length=1, max_length=64)] | None = None


class BoardShowArgs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`board_show`: a text, for so many seconds."""

    text: _Text
    ttl_s: Annotated[int, Meta(ge=1, le=NOTICE_TTL_S_MAX)] = 3600
    boards: Annotated[tuple[Annotated[str, Meta(pattern=patterns.BOARD)], ...], Meta(max_length=8)] = ()
    """Names of the node's boards; none = all."""


class BoardClearArgs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`board_clear`: the notice of one order, or all."""

    order: _Id | None = None


class VolumeArgs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`volume`: 0 to 100, kept over restarts."""

    volume: audible.Volume


class AlertArgs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`alert`: a CAP 1.2 message as XML text, or the name of a message stored in the node, or both: then
    the stored message is played in place of the spoken text."""

    cap: Annotated[str, Meta(min_length=1, max_length=cap.BYTES_MAX)] | None = None
    message: Annotated[str, Meta(pattern=_MESSAGE_PATTERN)] | None = None


class PingArgs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`ping`: nothing."""


ARGS_OF_VERB: dict[str, type[msgspec.Struct]] = {
    "play": PlayArgs,
    "say": SayArgs,
    "live_start": LiveStartArgs,
    "stop": StopArgs,
    "release": ReleaseArgs,
    "board_show": BoardShowArgs,
    "board_clear": BoardClearArgs,
    "volume": VolumeArgs,
    "alert": AlertArgs,
    "ping": PingArgs,
}
"""Every verb of this version, with the shape of its arguments."""

SOUNDING = frozenset({"play", "say", "live_start", "alert"})
"""The verbs that make sound; with a doubtful clock these need the birth's nonce."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When an order counts from, in CLOCK_BOOTTIME: `since_ns` it was accepted, `deadline_ns` it must have begun."""

    since_ns: int
    deadline_ns: int
    since: datetime | None = None
    """The date at `since_ns`, where the clock is trusted; else the order's own date of issue serves."""


def intent_of(order: Order, timing: Timing) -> Intent:
    """What the order asks. Raises OrderRefused(bad_args) naming the field."""
    shape = ARGS_OF_VERB[order.verb]
    try:
        args = msgspec.convert(order.args, shape)
    except (msgspec.MsgspecError, ValueError, OverflowError) as error:
        known = ", ".join(shape.__struct_encode_fields__) or "none"
        raise OrderRefused(
            ReasonCode.BAD_ARGS,
            f"The arguments of {order.verb} are wrong: {worded(error, FORMS)}. It takes: {known}.",
        ) from None
    return _intent(order, args, timing)


def _intent(order: Order, args: msgspec.Struct, timing: Timing) -> Intent:  # noqa: C901, PLR0911 - one case a verb
    asked: dict[str, Any] = {
        "id": order.id,
        "issuer": order.issuer,
        "precedence": order.precedence,
        "deadline_ns": timing.deadline_ns,
    }
    match args:
        case PlayArgs():
            return audible.play(order, args, asked)
        case SayArgs():
            return audible.say(order, args, asked)
        case LiveStartArgs():
            return audible.live(args, asked)
        case StopArgs():
            return _stop(order, args, asked, timing)
        case ReleaseArgs():
            return Release(**asked, target=None if args.stop is None else OrderId(args.stop))
        case BoardShowArgs():
            return BoardShow(
                **asked, text=args.text, boards=args.boards, until_ns=timing.since_ns + args.ttl_s * NS
            )
        case BoardClearArgs():
            return BoardClear(**asked, target=None if args.order is None else OrderId(args.order))
        case VolumeArgs():
            return SetVolume(**asked, volume=args.volume)
        case AlertArgs():
            return _heed(order, args, timing, asked)
        case PingArgs():
            return Ping(**asked)
        case _:
            raise AssertionError(f"no intent for {order.verb}")


def _stop(order: Order, args: StopArgs, asked: dict[str, Any], timing: Timing) -> Stop:
    if args.order is not None and args.klass is not None:
        raise _bad_stop("it takes `order` or `class`, not both. Send two stops.")
    if args.until is not None and args.for_s:
        raise _bad_stop("it takes `until` or `for_s`, not both.")
    until_ns = _until_ns(args, timing, order.issued_at)
    if args.order is not None:
        return Stop(**asked, target=OrderId(args.order), until_ns=until_ns)
    if until_ns is not None and args.klass is None:
        raise _bad_stop("one that lasts (`until`, `for_s`) says what it covers: `order`, or `class`.")
    highest = Precedence.EMERGENCY if args.klass is None else Precedence.from_wire(args.klass)
    return Stop(**asked, highest=highest, until_ns=until_ns)


def _until_ns(args: StopArgs, timing: Timing, issued_at: datetime) -> int | None:
    """Until when a stop lasts, in CLOCK_BOOTTIME."""
    if args.until is None:
        return timing.since_ns + args.for_s * NS if args.for_s else None
    span = args.until - (timing.since or issued_at)
    if span > timedelta(seconds=STOP_S_MAX):
        raise _bad_stop(f"`until` is more than {STOP_S_MAX // 86400} days ahead.")
    return timing.since_ns + round(span.total_seconds() * NS)


def _bad_stop(what: str) -> OrderRefused:
    return OrderRefused(ReasonCode.BAD_ARGS, f"The arguments of stop are wrong: {what}")


def _heed(order: Order, args: AlertArgs, timing: Timing, asked: dict[str, Any]) -> Heed:
    if args.cap is None and args.message is None:
        raise OrderRefused(
            ReasonCode.BAD_ARGS, "The arguments of alert are wrong: it takes `cap`, or `message`, or both."
        )
    text = args.cap or ""
    return Heed(
        **asked,
        alert=None if args.cap is None else cap.parse(text),
        content=hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(),
        message=args.message,
        since_ns=timing.since_ns,
        issued_at=order.issued_at,
    )


# ---------------------------------------------------------------- what the node answers


class WireReason(msgspec.Struct, frozen=True):
    """A code for machines, a sentence for people."""

    code: str
    text: str


class CommandState(msgspec.Struct, frozen=True, kw_only=True):
    """One line of an order's life, on `up/cmd`. `mono` is ms since boot; `wall` is null while the clock is unknown."""

    id: str
    issuer: str
    state: OrderState
    reason: WireReason | None
    progress: str | None
    result: dict[str, Any] | None
    mono: int
    wall: str | None
    clock: str


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What the node asks on `up/ask` after it has connected."""

    want: tuple[str, ...] = ("pending",)
    session: str
    nonce: str | None = None
    """To be echoed in the signed time, where that is wanted."""


class Ack(msgspec.Struct, frozen=True, kw_only=True):
    """`dn/ack`: every report up to this number has been stored by the server."""

    upto: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    log: Annotated[str, Meta(max_length=64)] | None = None
    """Which row of numbers is meant (the outbox begins a new one when its database was lost)."""


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """`dn/pending`: the envelopes of the orders that the server still holds for this node."""

    orders: Annotated[list[msgspec.Raw], Meta(max_length=256)]


def wire_reason(reason: Reason | None) -> WireReason | None:
    """A reason as it is sent."""
    return None if reason is None else WireReason(code=str(reason.code), text=reason.text)


def read_ack(blob: bytes) -> Ack:
    """What `dn/ack` says. Raises OrderRefused(bad_envelope)."""
    return _decode(blob, Ack, "acknowledgement")


def read_pending(blob: bytes) -> list[bytes]:
    """The envelopes in `dn/pending`, unopened. Raises OrderRefused(bad_envelope)."""
    return [bytes(raw) for raw in _decode(blob, Pending, "list of pending orders").orders]


def seconds_of(moment: datetime) -> float:
    """Seconds since 1970, for the database."""
    return moment.timestamp()


def moment_of(seconds: float) -> datetime:
    """Inverse of `seconds_of`."""
    return datetime.fromtimestamp(seconds, UTC)


def _decode(blob: bytes, shape: type[T], what: str) -> T:
    if depth(blob) > DEPTH_MAX:
        raise OrderRefused(ReasonCode.BAD_ENVELOPE, f"The {what} is nested too deep; flatten it.")
    try:
        return msgspec.json.decode(blob, type=shape)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise OrderRefused(
            ReasonCode.BAD_ENVELOPE, f"The {what} is not the JSON it should be: {worded(error, FORMS)}."
        ) from None
