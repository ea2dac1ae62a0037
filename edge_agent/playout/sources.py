"""The `Source` that decodes a stored file.

Facts about PyAV/FFmpeg that this leans on: a file-like reader is enough for `av.open`; the demuxers
allowed are named, because a playlist that calls itself a bulletin would make FFmpeg open other
files and addresses.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, BinaryIO

import av
import av.error
import numpy as np

from edge_agent.errors import MediaRefused
from edge_agent.model import RATE_HZ, ReasonCode
from edge_agent.playout.source import Stored
from hal.mono import LENIENT, Mono

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hal.ports import Frames

log = logging.getLogger(__name__)

BLOCK_FRAMES = 2 * RATE_HZ
"""What is decoded at once, on a thread: 2 s, for a thread that wakes costs more than what it decodes."""
FIRST_FRAMES = RATE_HZ // 8
"""Of a programme's beginning, so that it can begin soon."""
_PIECE_FRAMES = RATE_HZ // 2
"""Decoded frames are gathered to about half a second before they are resampled together."""
BAD_IN_A_ROW = 400
"""So many undecodable packets one after another (about 10 s) end a programme."""
_DEMUXERS = "aac,aiff,flac,matroska,webm,mov,mp4,m4a,mp3,ogg,wav,w64"
_WAV_PROBE = {"probesize": "65536"}
"""Others keep FFmpeg's 5 MB: an MP3's cover may be larger than this."""
_NOT_AUDIO = "The file is not audio that can be played ({why}); send MP3, AAC, Ogg, FLAC or WAV."


class Decoder:
    """A media file as blocks of mono frames. Blocking; used on one thread at a time."""

    def __init__(self, reader: BinaryIO) -> None:
        """Open and find the audio. Raises MediaRefused. Owns `reader` from now on, closed on refusal too."""
        self._reader = reader
        self._container: Any = None
        self.bad_packets = 0
        self._bad_in_a_row = 0
        self._broken: MediaRefused | None = None
        self._mono = Mono(_PIECE_FRAMES)
        try:
            options = {"format_whitelist": _DEMUXERS} | _probe(reader)
            self._container = av.open(reader, mode="r", options=options, **LENIENT)
            if not self._container.streams.audio:
                raise MediaRefused(ReasonCode.NO_MEDIA, _NOT_AUDIO.format(why="it has no sound track"))
            self._stream = self._container.streams.audio[0]
            self._packets: Iterator[Any] = self._container.demux(self._stream)
            self.codec: str = self._stream.codec_context.name
        except MediaRefused:
            self.close()
            raise
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self.close()
            raise MediaRefused(ReasonCode.NO_MEDIA, _NOT_AUDIO.format(why=_sentence(error))) from error
        self._frames = self._decoded()

    @property
    def duration_s(self) -> float | None:
        """What the container says or FFmpeg estimates, seconds."""
        if self._stream.duration is not None and self._stream.time_base is not None:
            return float(self._stream.duration * self._stream.time_base)
        if self._container.duration is not None:
            return float(self._container.duration) / 1_000_000
        return None

    def block(self, frames: int = BLOCK_FRAMES) -> Frames:
        """About `frames` frames (a piece of half a second more at most), fewer only at the end; empty after it."""
        if self._broken is not None:
            raise self._broken
        self._mono.piece_frames = min(frames, _PIECE_FRAMES)
        parts: list[Frames] = []
        count = 0
        try:
            while count < frames and (part := next(self._frames, None)) is not None:
                parts.append(part)
                count += part.size
        except (MediaRefused, av.error.FFmpegError) as error:
            self._broken = _refusal(error)  # what was decoded before it is still played
            if not parts:
                raise self._broken from error
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def close(self) -> None:
        """Close container and file."""
        if self._container is not None:
            self._container.close()
        self._reader.close()

    def _decoded(self) -> Iterator[Frames]:
        for frame in self._audio():
            yield from self._mono.convert(frame)
        yield from self._mono.flush()

    def _audio(self) -> Iterator[Any]:
        """The file's frames; what cannot be decoded is counted and left out."""
        while (packet := self._next_packet()) is not None:
            try:
                decoded = packet.decode()
            except av.error.EOFError:
                return
            except (av.error.FFmpegError, ValueError) as error:  # the decoder's complaint, of whatever kind
                self._count_bad(error)
                continue
            if decoded:
                self._bad_in_a_row = 0
            yield from decoded

    def _next_packet(self) -> Any:
        """The next piece of the sound track, or None at the end."""
        while True:
            try:
                return next(self._packets, None)
            except av.error.EOFError:
                return None
            except (av.error.InvalidDataError, ValueError) as error:
                self._count_bad(error)
                self._packets = self._container.demux(self._stream)  # a generator that has raised is over
            except (av.error.FFmpegError, OSError) as error:
                why = _sentence(error)
                raise MediaRefused(
                    ReasonCode.NO_MEDIA, f"The file cannot be read further ({why})."
                ) from error

    def _count_bad(self, error: Exception) -> None:
        if self.bad_packets == 0:
            log.warning("A part of the programme cannot be decoded and is left out. error=%s", error)
        self.bad_packets += 1
        self._bad_in_a_row += 1
        if self._bad_in_a_row >= BAD_IN_A_ROW:
            raise MediaRefused(
                ReasonCode.NO_MEDIA,
                f"The file is damaged: {BAD_IN_A_ROW} packets in a row cannot be decoded; send it again.",
            ) from error


class MediaSource(Stored):
    """A `Source` that decodes one file, a block ahead of what is read."""

    def __init__(self, decoder: Decoder, first: Frames, gain_db: float) -> None:
        self.gain_db = gain_db
        self._decoder = decoder
        self._left = first
        self._ahead: asyncio.Future[Frames] | None = None
        self._ended = False
        self._closed = False

    async def read(self, frames: int, playout_ns: int | None = None) -> Frames:
        """From the block at hand; the next one is decoded meanwhile on a thread."""
        if not self._left.size:
            self._decode_ahead()
            if self._ahead is not None:
                # Cancelled, the thread still finishes: its block belongs to the next read.
                block = await asyncio.shield(self._ahead)
                self._ahead = None
                self._left = block
                self._ended = not block.size
        out, self._left = self._left[:frames], self._left[frames:]
        if self._left.size < BLOCK_FRAMES // 2:
            self._decode_ahead()
        return out

    async def close(self) -> None:
        """Wait for the thread, then close container and file."""
        if self._closed:
            return
        self._closed = True
        if self._ahead is not None:
            await asyncio.wait([self._ahead])
            self._ahead.exception()  # looked at, so that asyncio does not warn of it
        await asyncio.to_thread(self._decoder.close)

    def bad_packets(self) -> int:
        """As counted by the decoder so far."""
        return self._decoder.bad_packets

    def _decode_ahead(self) -> None:
        if self._ahead is None and not self._ended and not self._closed:
            self._ahead = asyncio.get_running_loop().run_in_executor(None, self._decoder.block)


async def open_media(reader: BinaryIO, gain_db: float) -> MediaSource:
    """Open a media file; it is known to decode when this returns. Raises MediaRefused(NO_MEDIA).

    Owns `reader` from now on and closes it, on refusal and cancellation too.
    """

    def begin() -> tuple[Decoder, Frames]:
        decoder = Decoder(reader)
        try:
            first = decoder.block(FIRST_FRAMES)
            if not first.size:
                raise MediaRefused(ReasonCode.NO_MEDIA, _NOT_AUDIO.format(why="nothing in it decodes"))
        except BaseException:
            decoder.close()
            raise
        return decoder, first

    opening = asyncio.get_running_loop().run_in_executor(None, begin)
    try:
        decoder, first = await asyncio.shield(opening)
    except asyncio.CancelledError:
        await asyncio.wait([opening])
        if opening.exception() is None:
            opening.result()[0].close()
        raise
    return MediaSource(decoder, first, gain_db)


def _probe(reader: BinaryIO) -> dict[str, str]:
    """How much FFmpeg may look at: of a WAV little, for its header says all, and FFmpeg would read 5 s of it."""
    start = reader.read(12)
    reader.seek(0)
    return _WAV_PROBE if start[:4] in (b"RIFF", b"RF64") and start[8:] == b"WAVE" else {}


def _refusal(error: Exception) -> MediaRefused:
    if isinstance(error, MediaRefused):
        return error
    return MediaRefused(ReasonCode.NO_MEDIA, f"The programme cannot be decoded further ({_sentence(error)}).")


def _sentence(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error) or type(error).__name__
