"""What the technician may set about the broker, about orders, and about who is believed."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

URL_PATTERN = (
    r"^mqtts?://(\[[0-9a-fA-F:.]+\]|[^\s/:@\[\]]+)"
    r"(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?/?\Z"
)
"""A host, or an address in brackets, and a port up to 65535."""
ROOT_PATTERN = r"^[a-z0-9_-]{1,30}(/[a-z0-9_-]{1,30}){0,3}\Z"


class BrokerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the node reaches the central server."""

    url: Annotated[
        str,
        Meta(
            pattern=URL_PATTERN,
            max_length=300,
            description="address of the broker: mqtt://host:1883, or mqtts://host:8883 with TLS",
        ),
    ] = "mqtt://127.0.0.1:1883"
    username: (
        Annotated[str, Meta(max_length=100, description="user name at the broker; the node id when left out")]
        | None
    ) = None
    password_file: (
        Annotated[
            str,
            Meta(max_length=300, description="file with the password, one line; never the password itself"),
        ]
        | None
    ) = None
    ca_file: (
        Annotated[
            str,
            Meta(
                max_length=300, description="PEM file of the authority that signed the broker's certificate"
            ),
        ]
        | None
    ) = None
    cert_file: (
        Annotated[str, Meta(max_length=300, description="PEM file of this node's certificate")] | None
    ) = None
    key_file: (
        Annotated[str, Meta(max_length=300, description="PEM file of this node's private key")] | None
    ) = None
    keepalive_s: Annotated[
        int, Meta(ge=5, le=600, description="seconds of silence after which the line is probed")
    ] = 30
    root: Annotated[
        str,
        Meta(
            pattern=ROOT_PATTERN,
            description="first part of every topic; the same on the server",
        ),
    ] = "pa/v1"
    backoff_min_s: Annotated[
        float, Meta(ge=0.1, le=60, description="longest wait before the first new attempt to connect")
    ] = 1.0
    backoff_max_s: Annotated[
        float, Meta(ge=1, le=3600, description="longest wait between attempts to connect")
    ] = 300.0
    receive_maximum: Annotated[
        int, Meta(ge=8, le=64, description="orders the broker may send before the first is acknowledged")
    ] = 16
    group_jitter_s: Annotated[
        float,
        Meta(ge=0, le=120, description="a group's order is answered within this many seconds, at random"),
    ] = 10.0


class OrderSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits for orders; the defaults are those of the protocol."""

    payload_max_bytes: Annotated[
        int, Meta(ge=1024, le=65536, description="largest order, in bytes, that is looked at")
    ] = 65536
    open_orders_max: Annotated[
        int,
        Meta(
            ge=4,
            le=256,
            description="orders that may be under way at once; emergencies and stops have as many again",
        ),
    ] = 64
    clock_skew_s: Annotated[
        int, Meta(ge=0, le=600, description="how far ahead of ours an issuer's clock may be, in seconds")
    ] = 120
    remember_days: Annotated[
        int, Meta(ge=1, le=31, description="days after its expiry for which an order's id is remembered")
    ] = 7
    ledger_rows_max: Annotated[
        int, Meta(ge=1000, le=200_000, description="ids remembered at most; beyond it new orders are refused")
    ] = 20_000
    reports_per_minute: Annotated[
        int,
        Meta(
            ge=1,
            le=600,
            description="refused or repeated orders answered per minute; the rest are only counted",
        ),
    ] = 30


class TrustSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose orders are believed."""

    keys_file: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=300,
                description="the first keys document, brought by the technician; newer ones come from the server",
            ),
        ]
        | None
    ) = None
    accept_unsigned: (
        Annotated[
            bool,
            Meta(
                description="also take orders without a signature; only where no real relay is driven. "
                'When not set: true without keys_file on a bench (hardware.gpio = "sim"), else false'
            ),
        ]
        | None
    ) = None

    def takes_unsigned(self, *, real_lines: bool) -> bool:
        """Whether orders without a signature are taken. Never where real relays are driven."""
        if real_lines:
            return False
        return self.keys_file is None if self.accept_unsigned is None else self.accept_unsigned
