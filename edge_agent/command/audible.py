"""The orders that ask for the loudspeaker: `play`, `say`, `live_start`. Shapes of their arguments, and their intents. Pure."""

from __future__ import annotations

import base64
import ipaddress
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edge_agent import patterns
from edge_agent.command.envelope import Order
from edge_agent.errors import OrderRefused
from edge_agent.model import (
    Digest,
    Live,
    Play,
    ReasonCode,
    RtpOrigin,
    Say,
    Standby,
    Voice,
    WebOrigin,
)

MEDIA_PATTERN = patterns.MEDIA
URL_PATTERN = patterns.URL
ZONE_PATTERN = patterns.ZONE
HOST_PATTERN = r"^[A-Za-z0-9._:-]{1,253}\Z"
KEY_PATTERN = r"^[A-Za-z0-9+/]{40}\Z"
LANGUAGE_PATTERN = patterns.LANGUAGE

FORMS = {
    **patterns.FORMS,
    HOST_PATTERN: "a host name or an address",
    KEY_PATTERN: "30 bytes (16 of key, 14 of salt) in base64, 40 characters",
}

LIVE_S_MAX = 6 * 3600
TEXT_MAX = 4000
_CLOCKS = {
    "pcmu": (8_000,),
    "pcma": (8_000,),
    "opus": (48_000,),
    "l16": (8_000, 16_000, 24_000, 32_000, 44_100, 48_000),
}

Media = Annotated[str, Meta(pattern=MEDIA_PATTERN)]
Url = Annotated[str, Meta(pattern=URL_PATTERN, max_length=2048)]
Volume = Annotated[int, Meta(ge=0, le=100)]
Zones = Annotated[tuple[Annotated[str, Meta(pattern=ZONE_PATTERN)], ...], Meta(max_length=16)]
Title = Annotated[str, Meta(max_length=200)]
_Host = Annotated[str, Meta(pattern=HOST_PATTERN)]
_Port = Annotated[int, Meta(ge=1024, le=65535)]
_Type = Annotated[int, Meta(ge=0, le=127)]
_Language = Annotated[str, Meta(pattern=LANGUAGE_PATTERN)]
_Words = Annotated[str, Meta(min_length=1, max_length=TEXT_MAX)]
_Moment = Annotated[datetime, Meta(tz=True)]


class PlayArgs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`play`: the digest is the identity, the URL only says where it may be fetched.

    With `start_at` the first frame sounds at that instant on every node that is told so; who is late joins in.
    """

    media: Media
    url: Url | None = None
    volume: Volume | None = None
    zones: Zones = ()
    title: Title = ""
    start_at: _Moment | None = None


class SayArgs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`say`: a text that the node speaks itself, after a chime, so many `times` with `gap_s` between."""

    text: _Words
    language: _Language = "vi"
    times: Annotated[int, Meta(ge=1, le=10)] = 1
    gap_s: Annotated[float, Meta(ge=0, le=60)] = 1.0
    volume: Volume | None = None
    zones: Zones = ()
    title: Title = ""
    start_at: _Moment | None = None


class RelayArgs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who forwards the packets to a node that nobody can reach: the node speaks to it first, and again every 15 s."""

    host: _Host
    port: Annotated[int, Meta(ge=1, le=65535)]


class RtpArgs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """RTP over UDP: to the node's `port`, or to a multicast `group`, or by a `relay`. RTCP comes on the same port."""

    port: _Port | None = None
    group: _Host | None = None
    source: _Host | None = None
    """Only packets from this host count."""
    relay: RelayArgs | None = None
    codec: Literal["opus", "pcmu", "pcma", "l16"] = "opus"
    clock_hz: Annotated[int, Meta(ge=8000, le=48000)] | None = None
    payload_type: _Type = 96
    red_type: _Type | None = 97
    srtp: Annotated[str, Meta(pattern=KEY_PATTERN)] | None = None
    """Key and salt of AES-CM-128 with HMAC-SHA1-80 (RFC 3711), base64; the same as in SDP's `a=crypto`."""


class StreamArgs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stream that the node fetches: Icecast, HLS or a plain HTTP body. `pin`: the server's certificate."""

    url: Url
    pin: Media | None = None
    """`sha256:` of the certificate (DER); then it is believed, and no other."""


class StandbyArgs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What sounds while the stream is lost, in this order: another stream, a recording, a spoken text."""

    stream: StreamArgs | None = None
    media: Media | None = None
    url: Url | None = None
    say: _Words | None = None
    language: _Language = "vi"


class LiveStartArgs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`live_start`: a stream that sounds from now on, for at most `max_s`: `rtp` or `stream`, one of them."""

    rtp: RtpArgs | None = None
    stream: StreamArgs | None = None
    mode: Literal["talk", "solo", "group"] = "solo"
    delay_ms: Annotated[int, Meta(ge=60, le=3000)] | None = None
    """From being taken to sounding; in a group it must be said, and is the same for all."""
    max_s: Annotated[int, Meta(ge=1, le=LIVE_S_MAX)] = 3600
    lost_s: Annotated[int, Meta(ge=5, le=3600)] = 60
    """Lost for so long, with nothing in its place, it ends."""
    standby: StandbyArgs = StandbyArgs()
    volume: Volume | None = None
    zones: Zones = ()
    title: Title = ""


def play(order: Order, args: PlayArgs, asked: dict[str, Any]) -> Play:
    """Raises OrderRefused(bad_args)."""
    return Play(
        **asked, media=Digest(args.media), url=args.url, volume=args.volume, zones=args.zones, title=args.title,
        starts_at=_start(order, args.start_at),
    )  # fmt: skip


def say(order: Order, args: SayArgs, asked: dict[str, Any]) -> Say:
    """Raises OrderRefused(bad_args)."""
    return Say(
        **asked, voice=Voice(args.text, args.language), times=args.times, gap_s=args.gap_s, volume=args.volume,
        zones=args.zones, title=args.title, starts_at=_start(order, args.start_at),
    )  # fmt: skip


def live(args: LiveStartArgs, asked: dict[str, Any]) -> Live:
    """Raises OrderRefused(bad_args)."""
    if (args.rtp is None) == (args.stream is None):
        raise _bad("live_start", "it takes `rtp` or `stream`, one of them.")
    if args.mode == "group" and args.rtp is None:
        raise _bad(
            "live_start", "a fetched `stream` carries no wall time; poles speak together with `rtp` only."
        )
    if args.mode == "group" and args.delay_ms is None:
        raise _bad("live_start", "a group needs `delay_ms`, the same for every node.")
    origin = _web(args.stream) if args.stream is not None else None
    standby = args.standby
    return Live(
        **asked,
        origin=origin or _rtp(args.rtp or RtpArgs()),
        mode=args.mode,
        delay_ms=args.delay_ms,
        max_s=args.max_s,
        lost_s=args.lost_s,
        standby=Standby(
            stream=None if standby.stream is None else _web(standby.stream),
            media=None if standby.media is None else Digest(standby.media),
            url=standby.url,
            voice=None if standby.say is None else Voice(standby.say, standby.language),
        ),
        volume=args.volume,
        zones=args.zones,
        title=args.title,
    )


def _rtp(args: RtpArgs) -> RtpOrigin:
    if args.port is None and args.relay is None:
        raise _bad("live_start", "`rtp` needs a `port`, or a `relay` that learns it.")
    if args.group is not None and not _is_group(args.group):
        raise _bad(
            "live_start", "`rtp.group` is no multicast address (224.0.0.0 to 239.255.255.255, or ff00::/8)."
        )
    clocks = _CLOCKS[args.codec]
    clock_hz = args.clock_hz or clocks[-1]
    if clock_hz not in clocks:
        raise _bad("live_start", f"`rtp.clock_hz` of {args.codec} is one of {', '.join(map(str, clocks))}.")
    if args.red_type == args.payload_type:
        raise _bad("live_start", "`rtp.red_type` and `rtp.payload_type` are two numbers.")
    return RtpOrigin(
        port=args.port or 0,
        group=args.group,
        source=args.source,
        relay=None if args.relay is None else (args.relay.host, args.relay.port),
        codec=args.codec,
        clock_hz=clock_hz,
        payload_type=args.payload_type,
        red_type=args.red_type,
        srtp_key=None if args.srtp is None else base64.b64decode(args.srtp),
    )


def _web(args: StreamArgs) -> WebOrigin:
    if args.pin is not None and not args.url.startswith("https://"):
        raise _bad("live_start", "a `pin` needs an https address.")
    return WebOrigin(url=args.url, pin=args.pin)


def _is_group(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_multicast
    except ValueError:
        return False


def _start(order: Order, start_at: datetime | None) -> datetime | None:
    """A start lies between the order's issue and its expiry, because nothing begins after that."""
    if start_at is not None and not order.issued_at - timedelta(minutes=10) <= start_at <= order.expires_at:
        raise _bad(order.verb, "`start_at` lies before `iat` or after `exp`; give it longer.")
    return start_at


def _bad(verb: str, what: str) -> OrderRefused:
    return OrderRefused(ReasonCode.BAD_ARGS, f"The arguments of {verb} are wrong: {what}")
