"""Makes audio files for tests, with PyAV, in memory or on disk."""

from __future__ import annotations

import io
import wave
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from hal.ports import Frames

Channels = npt.NDArray[np.float32]
"""Shape (channels, frames)."""


def tone(seconds: float, *, rate_hz: int = 48_000, hz: float = 997.0, level: float = 0.25) -> Frames:
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def speech_like(seconds: float, *, rate_hz: int = 48_000, seed: int = 1, rms: float = 0.1) -> Frames:
    """Noise with the slope and the pauses of a voice."""
    rng = np.random.default_rng(seed)
    size = round(seconds * rate_hz)
    spectrum = np.fft.rfft(rng.normal(0, 1, size))
    hz = np.fft.rfftfreq(size, 1 / rate_hz)
    frames = np.fft.irfft(spectrum * (hz > 100) / np.maximum(1, hz / 500), size)
    frames *= np.clip(np.sin(2 * np.pi * 1.7 * np.arange(size) / rate_hz) + 0.5, 0, 1)
    scaled: Frames = (frames * rms / np.sqrt(np.mean(frames**2))).astype(np.float32)
    return scaled


def wav(frames: Frames, *, rate_hz: int = 48_000) -> bytes:
    """Mono, 16 bit, by the standard library."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate_hz)
        writer.writeframes(np.round(frames * 32767).astype("<i2").tobytes())
    return file.getvalue()


def encoded(
    channels: Channels,
    *,
    container: str,
    codec: str,
    rate_hz: int,
    bit_rate: int | None = 96_000,
    cover: bool = False,
) -> bytes:
    """The frames in any format that FFmpeg writes; `cover` adds a picture as music shops do."""
    file = io.BytesIO()
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[channels.shape[0]]
    with av.open(file, "w", format=container) as output:
        options = {"strict": "experimental"} if codec == "vorbis" else {}
        stream: Any = output.add_stream(codec, rate=rate_hz, layout=layout, options=options)
        if bit_rate is not None:
            stream.bit_rate = bit_rate
        picture: Any = None
        if cover:
            picture = output.add_stream("mjpeg", rate=1)
            picture.width, picture.height, picture.pix_fmt = 64, 64, "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
            image = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            for packet in picture.encode(image.reformat(format="yuvj420p")) + picture.encode(None):
                packet.stream = picture
                output.mux(packet)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(channels), format="fltp", layout=layout)
        frame.sample_rate = rate_hz
        frame.pts = 0
        resampler = av.AudioResampler(
            format=stream.codec_context.format,
            layout=layout,
            rate=rate_hz,
            frame_size=stream.codec_context.frame_size,
        )
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    return file.getvalue()


def stretched_wav(seconds: float, *, rate_hz: int = 48_000) -> io.RawIOBase:
    """A WAV file of any length that exists only as arithmetic: it is made while it is read."""
    return _ArithmeticWav(round(seconds * rate_hz), rate_hz)


class _ArithmeticWav(io.RawIOBase):
    def __init__(self, frames: int, rate_hz: int) -> None:
        empty = bytearray(wav(np.zeros(0, np.float32), rate_hz=rate_hz))
        empty[4:8] = (36 + 2 * frames).to_bytes(4, "little")
        empty[40:44] = (2 * frames).to_bytes(4, "little")
        self._head = bytes(empty)
        self._size = len(empty) + 2 * frames
        self._at = 0
        self.furthest = 0
        """The furthest byte that was read in sequence."""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        size = min(self._size - self._at, size if size >= 0 else self._size)
        if size <= 0:
            return b""
        head = self._head[self._at : self._at + size]
        at = self._at + len(head)
        self._at += size
        self.furthest = max(self.furthest, self._at)
        start = at - len(self._head)
        values = (
            (np.arange(start // 2, (start + size - len(head)) // 2 + 2) % 2000 - 1000).astype("<i2").tobytes()
        )
        return head + values[start % 2 :][: size - len(head)]
