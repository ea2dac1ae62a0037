"""SRTP (RFC 3711) with the one suite that every sender has: AES-CM-128, HMAC-SHA1-80; by libsrtp.

The key comes in the signed order and dies with the session. Who cannot authenticate is counted and not heard.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from edge_agent.errors import PacketRefused

KEY_BYTES = 30
"""16 of key, 14 of salt."""


def key_of(text: str) -> bytes:
    """The key as an order or `a=crypto` carries it, base64. Raises ValueError with a sentence that does not show it."""
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError(f"an SRTP key is {KEY_BYTES} bytes (16 of key, 14 of salt) in base64, 40 characters")
    return key


class Srtp:
    """Both directions of one session: `unprotect` what came, `protect` what leaves."""

    def __init__(self, key: bytes) -> None:
        import pylibsrtp

        self._errors = pylibsrtp.Error
        self._inbound = self._session(pylibsrtp, key, pylibsrtp.Policy.SSRC_ANY_INBOUND)
        self._outbound = self._session(pylibsrtp, key, pylibsrtp.Policy.SSRC_ANY_OUTBOUND)

    @staticmethod
    def _session(library: Any, key: bytes, direction: int) -> Any:
        policy = library.Policy(
            key=key, ssrc_type=direction, srtp_profile=library.Policy.SRTP_PROFILE_AES128_CM_SHA1_80
        )
        policy.window_size = 1_024
        policy.allow_repeat_tx = True
        return library.Session(policy=policy)

    def unprotect(self, blob: bytes, *, rtcp: bool) -> bytes:
        """The packet in clear. Raises PacketRefused(`srtp`): forged, altered, replayed, or of another key."""
        try:
            clear: bytes = self._inbound.unprotect_rtcp(blob) if rtcp else self._inbound.unprotect(blob)
        except (self._errors, TypeError, ValueError) as error:
            raise PacketRefused("srtp", f"The packet is not of this session's key ({error}).") from None
        return clear

    def protect(self, blob: bytes, *, rtcp: bool) -> bytes:
        """The packet encrypted and signed."""
        out: bytes = self._outbound.protect_rtcp(blob) if rtcp else self._outbound.protect(blob)
        return out
