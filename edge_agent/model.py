"""Frozen values that all rooms share: ids, precedence, intents, steps, outcomes.

Bytes become these at the edge (`command`, `config`); rooms hand only these to one another.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from enum import IntEnum, StrEnum
from typing import NewType

NodeId = NewType("NodeId", str)
OrderId = NewType("OrderId", str)
"""A ULID or UUID, chosen by the issuer, unique for ever."""
Issuer = NewType("Issuer", str)
Digest = NewType("Digest", str)
"""`sha256:` and 64 lower-case hex digits: the identity of an asset."""

RATE_HZ = 48_000
"""The one sample rate inside the node (AUDIO.md: 48 kHz mono float32)."""
PERIOD_FRAMES = 2_400
"""What the card takes at once: 50 ms."""
RING_FRAMES = 28_800
"""The most that waits between pump and card: 600 ms."""

NS = 1_000_000_000
"""Nanoseconds in a second."""
MS = NS // 1_000
"""Nanoseconds in a millisecond."""

LOCAL_TIME = timezone(timedelta(hours=7), "UTC+7")
"""Vietnam's time, which has no daylight saving: quiet hours, days and an authority's hours are meant in it."""


class Precedence(IntEnum):
    """The three classes of Vietnamese rules: thường < ưu tiên < khẩn cấp (Circular 39/2020/TT-BTTTT)."""

    ROUTINE = 0
    PRIORITY = 1
    EMERGENCY = 2

    @property
    def wire(self) -> str:
        """The name in orders and reports."""
        return self.name.lower()

    @classmethod
    def from_wire(cls, name: str) -> Precedence:
        """Inverse of `wire`; raises KeyError."""
        return cls[name.upper()] if name.islower() else cls[name]


class ReasonCode(StrEnum):
    """Why something was refused or ended as it did (PROTOCOL.md, "Codes")."""

    BAD_ENVELOPE = "bad_envelope"
    UNKNOWN_KEY = "unknown_key"
    REVOKED_KEY = "revoked_key"
    BAD_SIGNATURE = "bad_signature"
    OUT_OF_SCOPE = "out_of_scope"
    WRONG_AUDIENCE = "wrong_audience"
    REPLAYED = "replayed"
    EXPIRED = "expired"
    CLOCK_UNTRUSTED = "clock_untrusted"
    BAD_ARGS = "bad_args"
    UNSUPPORTED = "unsupported"
    BUSY = "busy"
    MUTED = "muted"
    NO_MEDIA = "no_media"
    NO_SPACE = "no_space"
    HARDWARE_FAULT = "hardware_fault"
    QUIET_HOURS = "quiet_hours"
    GOVERNOR = "governor"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    INTERRUPTED = "interrupted"
    PREEMPTED = "preempted"
    TIMEOUT = "timeout"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Reason:
    """A code for machines and an English sentence for people."""

    code: ReasonCode
    text: str


class Outcome(StrEnum):
    """How a request ended, in the as-run log."""

    AIRED = "AIRED"
    PARTIAL = "PARTIAL"
    PREEMPTED = "PREEMPTED"
    MISSED = "MISSED"
    REFUSED = "REFUSED"
    FAILED = "FAILED"


class OrderState(StrEnum):
    """The states of an order on `up/cmd`; those of `TERMINAL` never change."""

    RECEIVED = "received"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    WAITING = "waiting"
    EXECUTING = "executing"
    SUCCESSFUL = "successful"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    INTERRUPTED = "interrupted"


TERMINAL = frozenset(
    {
        OrderState.REJECTED,
        OrderState.SUCCESSFUL,
        OrderState.FAILED,
        OrderState.CANCELLED,
        OrderState.EXPIRED,
        OrderState.SUPERSEDED,
        OrderState.INTERRUPTED,
    }
)


# ---------------------------------------------------------------- intents: what the node is asked to do


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What every request carries.

    `deadline_ns` is the last CLOCK_BOOTTIME instant at which it may still begin; the order's wall
    expiry was turned into it once, when it was accepted, so a later clock step changes nothing.
    """

    id: OrderId
    issuer: Issuer
    precedence: Precedence
    deadline_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Audible(Intent):
    """What asks for a turn at the loudspeaker. `volume` 0-100 for this turn only (None: the node's); `zones` () = all."""

    media: Digest | None = None
    """What sounds, where it can be named beforehand."""
    volume: int | None = None
    zones: tuple[str, ...] = ()
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Play(Audible):
    """Play an asset."""

    media: Digest
    url: str | None = None
    starts_at: datetime | None = None
    """Its first frame sounds then, on every node at once; who is late joins in. None: when its turn comes."""


@dataclass(frozen=True, slots=True)
class Voice:
    """Words to be spoken; `language` is a tag such as vi or en-US."""

    text: str
    language: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Say(Audible):
    """Speak a text, after a chime."""

    voice: Voice
    times: int = 1
    gap_s: float = 1.0
    starts_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RtpOrigin:
    """Packets that are sent to us: where they come in, from whom, and what is in them."""

    port: int = 0
    """Where we listen; 0: anywhere, as long as the relay knows it."""
    group: str | None = None
    """A multicast group to join."""
    source: str | None = None
    """Only what comes from this host counts; None: from whoever is first."""
    relay: tuple[str, int] | None = None
    """Host and port that is told every few seconds where we are, and sends from there."""
    codec: str = "opus"
    clock_hz: int = 48_000
    payload_type: int = 96
    red_type: int | None = 97
    srtp_key: bytes | None = field(default=None, repr=False)
    """16 bytes of key, 14 of salt; None: in clear."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebOrigin:
    """A stream that is fetched; `pin` is the server's certificate, sha256."""

    url: str
    pin: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standby:
    """What sounds, in this order, while what is live is lost; after all of it: silence."""

    stream: WebOrigin | None = None
    media: Digest | None = None
    url: str | None = None
    """Where `media` may be fetched."""
    voice: Voice | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Live(Audible):
    """Let a live stream sound, for so long at most."""

    origin: RtpOrigin | WebOrigin
    mode: str = "solo"
    """talk, solo or group (`stream.modes`)."""
    delay_ms: int | None = None
    """From being taken to sounding; None: what the network asks for."""
    max_s: int = 3600
    lost_s: int = 60
    """With nothing live and nothing in its place for so long, it ends."""
    standby: Standby = field(default_factory=Standby)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """An asset as a part of a programme."""

    media: Digest
    url: str | None = None
    size: int | None = None
    """Bytes, where they are known beforehand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """Another station's stream as a part of a programme (tiếp sóng), for so long."""

    origin: WebOrigin
    for_s: int
    standby: Standby = field(default_factory=Standby)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineIn:
    """What comes in at the sound card's input as a part of a programme, for so long."""

    for_s: int


Part = Recording | Voice | Relay | LineIn


@dataclass(frozen=True, slots=True, kw_only=True)
class Programme(Audible):
    """Several parts one after another in one turn. A part that cannot be had is left out, and told of."""

    parts: tuple[Part, ...]
    starts_at: datetime | None = None
    max_s: int | None = None
    """It is cut after so long; None: by the house rules alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop(Intent):
    """Stop order `target`, or (target None) everything up to class `highest`; and keep it so until `until_ns`."""

    target: OrderId | None = None
    highest: Precedence = Precedence.EMERGENCY
    """With no target: classes up to and including this one are stopped."""
    until_ns: int | None = None
    """CLOCK_BOOTTIME until which nothing that this stop covers may sound (a sticky stop); None: it stops once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(Intent):
    """End the sticky stop that order `target` made, or (None) every one."""

    target: OrderId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetVolume(Intent):
    """Set the node's volume, 0-100, kept over restarts."""

    volume: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardShow(Intent):
    """Show a text until `until_ns` (CLOCK_BOOTTIME); the presenter keeps it over restarts by wall time too."""

    text: str
    until_ns: int
    shorter: tuple[str, ...] = ()
    """What may be shown in its place on a board that it does not fit, the best first."""
    boards: tuple[str, ...] = ()
    """Names of the boards that are to show it; () = every board."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardClear(Intent):
    """Take down notice `target`, or (None) every notice of the order's class and lower."""

    target: OrderId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Warn(Intent):
    """A public alert, already judged: first take back what `withdraws` names, then say and show this one.

    `deadline_ns` is when it must have begun to sound; it is shown, and may sound, until `until_ns`.
    """

    until_ns: int
    withdraws: tuple[OrderId, ...] = ()
    why: Reason | None = None
    """What the withdrawn are told."""
    verdict: Reason | None = None
    """Why it is not aired itself, although it withdraws others."""
    audible: bool = False
    voices: tuple[Voice, ...] = ()
    recording: Digest | None = None
    """Played instead of the voices, if it can be had."""
    url: str | None = None
    times: int = 1
    """How often it is said."""
    gap_s: float = 0.0
    volume: int | None = None
    texts: tuple[str, ...] = ()
    """What may be shown, the best first; the first that fits is. () = nothing."""
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping(Intent):
    """Answer, nothing else."""


# ---------------------------------------------------------------- steps: how it goes, returned upward


@dataclass(frozen=True, slots=True, kw_only=True)
class AsRun:
    """What a request came to, for the as-run log. Times are CLOCK_BOOTTIME ns; None = did not happen.

    `proof` is the grade reached: 0 none, 1 written to card or board, 2 electrical or read back,
    3 acoustic or seen (AUDIO.md, "Proof of sound").
    """

    outcome: Outcome
    reason: Reason | None = None
    started_ns: int | None = None
    ended_ns: int | None = None
    digest: Digest | None = None
    volume: int | None = None
    frames: int = 0
    """Programme frames that sounded."""
    underruns: int = 0
    preempted_count: int = 0
    pages: int = 0
    """Board pages shown."""
    proof: int = 0
    zones: tuple[str, ...] = ()
    """Where it was to sound; () = everywhere."""
    title: str = ""
    live: dict[str, object] | None = None
    """Of a live session: what the network did to it, and what sounded in its place; of a programme: its parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The request is accepted and waits for its turn, or its asset."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Executing:
    """It begins now: nothing has sounded or been shown before whoever asked has stored this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """It has ended. `state` is terminal."""

    state: OrderState
    asrun: AsRun
    result: dict[str, object] = field(default_factory=dict)


Step = Waiting | Executing | Finished
