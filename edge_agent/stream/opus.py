"""libopus by ctypes: decoding with concealment and in-band FEC, which PyAV does not give, and encoding.

The library is looked for where the config says, in PyAV's wheel (newer than Debian's), and in the system.
Calls go without Python's lock. A decoder belongs to one thread at a time.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_agent.errors import AgentError, PacketRefused
from edge_agent.model import RATE_HZ

if TYPE_CHECKING:
    from hal.ports import Frames

FRAMES_MAX = 5_760
"""120 ms, the longest packet (RFC 6716, section 3.2.5)."""
PACKET_BYTES_MAX = 1_275 * 3
_APPLICATION_AUDIO = 2_049
_SIGNAL_VOICE = 3_001
_SET_BITRATE, _SET_SIGNAL, _SET_FEC, _SET_LOSS, _SET_DTX, _SET_COMPLEXITY = 4002, 4024, 4012, 4014, 4016, 4010
_RESET_STATE = 4028
_SILK_FRAMES = (480, 960, 1_920, 2_880)
_HYBRID_FRAMES = (480, 960)
_CELT_FRAMES = (120, 240, 480, 960)


class OpusMissing(AgentError):
    """There is no libopus on this machine."""


@cache
def library(configured: str | None = None) -> Any:
    """The first libopus that loads. Raises OpusMissing."""
    for candidate in _candidates(configured):
        try:
            found = ctypes.CDLL(candidate)
        except OSError:
            continue
        found.opus_strerror.restype = ctypes.c_char_p
        found.opus_get_version_string.restype = ctypes.c_char_p
        found.opus_decoder_create.restype = ctypes.c_void_p
        found.opus_encoder_create.restype = ctypes.c_void_p
        return found
    raise OpusMissing("There is no libopus here; install it: sudo apt-get install libopus0.")


def _candidates(configured: str | None) -> list[str]:
    found = [configured] if configured else []
    try:
        wheel = metadata.distribution("av").locate_file("av.libs")
        found += sorted(str(path) for path in Path(str(wheel)).glob("libopus-*.so*"))
    except metadata.PackageNotFoundError:
        pass
    return [*found, "libopus.so.0", ctypes.util.find_library("opus") or "libopus.so"]


def frames_of(packet: bytes) -> int:
    """How many frames at 48 kHz a packet lasts, from its first bytes (RFC 6716, section 3.1).

    Raises PacketRefused: `opus_empty`, `opus_long`.
    """
    if not packet:
        raise PacketRefused("opus_empty", "An Opus packet has at least one byte.")
    toc = packet[0]
    config, code = toc >> 3, toc & 0x03
    if config < 12:
        frame = _SILK_FRAMES[config & 3]
    elif config < 16:
        frame = _HYBRID_FRAMES[config & 1]
    else:
        frame = _CELT_FRAMES[config & 3]
    count = 1 if code == 0 else 2
    if code == 3:
        count = packet[1] & 0x3F if len(packet) > 1 else 0
    if not 0 < count * frame <= FRAMES_MAX:
        raise PacketRefused("opus_long", "An Opus packet lasts 2.5 to 120 ms; this one says something else.")
    return count * frame


class OpusDecoder:
    """One stream's decoder: mono, 48 kHz. `decode` and its kin return a view that the next call overwrites."""

    def __init__(self, configured: str | None = None) -> None:
        self._library = library(configured)
        error = ctypes.c_int(0)
        self._state = ctypes.c_void_p(self._library.opus_decoder_create(RATE_HZ, 1, ctypes.byref(error)))
        if error.value:
            raise OpusMissing(f"libopus does not make a decoder: {self._sentence(error.value)}.")
        self._out = np.empty(FRAMES_MAX, np.float32)
        self._pointer = self._out.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        self._has_lbrr = getattr(self._library, "opus_packet_has_lbrr", None)

    def __del__(self) -> None:
        if getattr(self, "_state", None):
            self._library.opus_decoder_destroy(self._state)

    def decode(self, packet: bytes) -> Frames:
        """The packet's sound. Raises PacketRefused(`opus_bad`)."""
        return self._run(packet, len(packet), FRAMES_MAX, fec=0)

    def conceal(self, frames: int) -> Frames:
        """What libopus makes up for `frames` missing ones (a multiple of 120), or its comfort noise after DTX."""
        return self._run(None, 0, min(frames, FRAMES_MAX), fec=0)

    def recover(self, following: bytes, frames: int) -> tuple[Frames, bool]:
        """The `frames` before the packet `following`, from its in-band copy where it has one; and whether it had.

        To be asked before `following` itself is decoded. Raises PacketRefused(`opus_bad`).
        """
        held = self._has_lbrr is not None and self._has_lbrr(following, len(following)) > 0
        return self._run(following, len(following), min(frames, FRAMES_MAX), fec=1), held

    def _run(self, packet: bytes | None, size: int, frames: int, *, fec: int) -> Frames:
        got = self._library.opus_decode_float(self._state, packet, size, self._pointer, frames, fec)
        if got < 0:
            raise PacketRefused("opus_bad", f"The packet does not decode: {self._sentence(got)}.")
        return self._out[:got]

    def _sentence(self, code: int) -> str:
        return str(self._library.opus_strerror(code).decode())


class OpusEncoder:
    """One stream's encoder: mono, 48 kHz, 20 ms, a voice unless told otherwise."""

    def __init__(
        self,
        *,
        bitrate: int = 32_000,
        fec: bool = True,
        loss_percent: int = 10,
        voice: bool = True,
        dtx: bool = False,
        configured: str | None = None,
    ) -> None:
        self._library = library(configured)
        error = ctypes.c_int(0)
        create = self._library.opus_encoder_create
        self._state = ctypes.c_void_p(create(RATE_HZ, 1, _APPLICATION_AUDIO, ctypes.byref(error)))
        if error.value:
            raise OpusMissing(f"libopus does not make an encoder ({error.value}).")
        for request, value in (
            (_SET_BITRATE, bitrate),
            (_SET_FEC, int(fec)),
            (_SET_LOSS, loss_percent),
            (_SET_DTX, int(dtx)),
            (_SET_COMPLEXITY, 9),
            *(((_SET_SIGNAL, _SIGNAL_VOICE),) if voice else ()),
        ):
            self._library.opus_encoder_ctl(self._state, request, ctypes.c_int(value))
        self._out = ctypes.create_string_buffer(PACKET_BYTES_MAX)

    def __del__(self) -> None:
        if getattr(self, "_state", None):
            self._library.opus_encoder_destroy(self._state)

    def encode(self, frames: Frames) -> bytes:
        """One packet of exactly 2.5, 5, 10, 20, 40 or 60 ms of sound."""
        frames = np.ascontiguousarray(frames, np.float32)
        pointer = frames.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        size = self._library.opus_encode_float(
            self._state, pointer, frames.size, self._out, ctypes.c_int32(PACKET_BYTES_MAX)
        )
        assert size > 0, f"libopus refused {frames.size} frames ({size})"
        return self._out.raw[:size]
