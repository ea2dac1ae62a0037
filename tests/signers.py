"""The cast of whoever signs: roots, two authorities, a stranger, and the documents that make them known.

Every seed follows from a name, so that a test reads the same tomorrow. None is worth stealing.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from typing import Any

import msgspec

from edge_agent.command import keys
from edge_agent.command.envelope import wrap
from edge_agent.command.signing import Signer, public_of

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
LONG_AFTER = datetime(2099, 1, 1, tzinfo=UTC)
EVERY_VERB = (
    "schedule",
    "media",
    "board",
    "config",
    "play",
    "say",
    "live_start",
    "stop",
    "release",
    "board_show",
    "board_clear",
    "volume",
    "ping",
    "alert",
)


def signer(kid: str) -> Signer:
    """The key of this name."""
    return Signer(kid, hashlib.sha256(kid.encode()).digest())


def public(kid: str) -> str:
    """Its public half, as documents have it."""
    return base64.b64encode(public_of(signer(kid).seed)).decode()


def root(kid: str) -> keys.RootKey:
    """A root key."""
    return keys.RootKey(kid=kid, pub=public(kid))


def key(kid: str, **changes: Any) -> keys.Key:
    """An authority's key, good for long."""
    whole: dict[str, Any] = {"kid": kid, "pub": public(kid), "not_before": LONG_AGO, "expires": LONG_AFTER}
    return keys.Key(**whole | changes)


def authority(ident: str, *kids: str, **changes: Any) -> keys.Authority:
    """An authority that may order everything; its one key is `<id>-2026` unless others are named."""
    own = tuple(key(kid) for kid in kids or (f"{ident}-2026",))
    whole: dict[str, Any] = {"id": ident, "verbs": EVERY_VERB, "max_class": "emergency", "keys": own}
    return keys.Authority(**whole | changes)


def document(*authorities: keys.Authority, version: int = 1, **changes: Any) -> keys.KeysDocument:
    """A document with one root, `goc-1`."""
    whole: dict[str, Any] = {
        "v": 1,
        "version": version,
        "issued": LONG_AGO,
        "roots": keys.Roots(threshold=1, keys=(root("goc-1"),)),
        "authorities": authorities,
    }
    return keys.KeysDocument(**whole | changes)


def signed(whole: keys.KeysDocument | dict[str, Any], *kids: str) -> bytes:
    """The document in its envelope, signed by these roots (`goc-1` when none is named)."""
    payload = msgspec.json.encode(whole)
    return wrap(keys.PAYLOAD_TYPE, payload, [signer(kid) for kid in kids or ("goc-1",)])
