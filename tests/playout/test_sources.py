"""Files become mono frames at 48 kHz: every format, damaged ones, false ones, and one of ten hours."""

from __future__ import annotations

import asyncio
import io
import tracemalloc
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np
import pytest

from edge_agent.errors import MediaRefused
from edge_agent.model import ReasonCode
from edge_agent.playout.sources import BLOCK_FRAMES, open_media
from tests.playout import media

if TYPE_CHECKING:
    from hal.ports import Frames

RATE_HZ = 48_000


async def everything(reader: BinaryIO) -> tuple[Frames, int]:
    """All frames, read as the pump does, and the count of bad packets."""
    source = await open_media(reader, gain_db=0.0)
    parts = []
    while (frames := await source.read(4800)).size:
        assert frames.size <= 4800
        assert frames.dtype == np.float32
        parts.append(frames)
    assert not (await source.read(4800)).size, "the end stays the end"
    await source.close()
    assert reader.closed
    return np.concatenate(parts), source.bad_packets()


def decoded(content: bytes) -> Frames:
    return asyncio.run(everything(io.BytesIO(content)))[0]


def level_db(frames: Frames) -> float:
    inner = frames[frames.size // 4 : -frames.size // 4]
    return 20 * float(np.log10(np.sqrt(2 * np.mean(np.square(inner, dtype=np.float64)))))


FORMATS = [
    pytest.param("mp3", "libmp3lame", 44_100, id="MP3 44.1"),
    pytest.param("mp3", "libmp3lame", 24_000, id="MP3 24"),
    pytest.param("ipod", "aac", 44_100, id="M4A"),
    pytest.param("adts", "aac", 32_000, id="AAC"),
    pytest.param("ogg", "libopus", 48_000, id="Ogg Opus"),
    pytest.param("flac", "flac", 44_100, id="FLAC"),
    pytest.param("wav", "pcm_s16le", 8_000, id="WAV 8"),
    pytest.param("wav", "pcm_s24le", 96_000, id="WAV 96, 24 bit"),
    pytest.param("wav", "pcm_mulaw", 8_000, id="WAV mu-law"),
]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("container", "codec", "rate_hz"), FORMATS)
def test_every_format_gives_the_same_tone_at_the_same_level(
    container: str, codec: str, rate_hz: int, channels: int
) -> None:
    seconds = 2.0
    frames = np.tile(media.tone(seconds, rate_hz=rate_hz), (channels, 1))
    out = decoded(media.encoded(frames, container=container, codec=codec, rate_hz=rate_hz))
    lossless = container in {"wav", "flac"}
    assert out.size == pytest.approx(seconds * RATE_HZ, abs=16 if lossless else 3200)
    lame_db = 0.45 if container == "mp3" else 0.0  # LAME encodes at 95 % on purpose
    assert level_db(out) == pytest.approx(20 * np.log10(0.25) - lame_db, abs=0.1)
    spectrum = np.abs(np.fft.rfft(out[RATE_HZ // 2 : RATE_HZ // 2 + RATE_HZ] * np.hanning(RATE_HZ)))
    assert abs(int(spectrum.argmax()) - 997) <= 1


def test_ogg_vorbis_too() -> None:
    frames = np.tile(media.tone(2.0, rate_hz=44_100), (2, 1))  # FFmpeg's own encoder knows only stereo
    out = decoded(media.encoded(frames, container="ogg", codec="vorbis", rate_hz=44_100))
    assert out.size == pytest.approx(2 * RATE_HZ, abs=3200)
    assert level_db(out) == pytest.approx(20 * np.log10(0.25), abs=0.2)


def test_48_khz_mono_wav_comes_through_bit_for_bit() -> None:
    frames = media.speech_like(3.21)
    expected = np.round(frames * 32767).astype(np.int16) / np.float32(32768)
    np.testing.assert_array_equal(decoded(media.wav(frames)), expected.astype(np.float32))


def test_stereo_becomes_the_mean_and_surround_does_not_overflow() -> None:
    left = media.tone(1.0)
    one_sided = media.encoded(
        np.stack((left, np.zeros_like(left))), container="wav", codec="pcm_s16le", rate_hz=RATE_HZ
    )
    assert level_db(decoded(one_sided)) == pytest.approx(20 * np.log10(0.125), abs=0.05)
    surround = media.encoded(
        np.tile(media.tone(1.0, level=0.9), (6, 1)), container="wav", codec="pcm_s16le", rate_hz=RATE_HZ
    )
    assert np.max(np.abs(decoded(surround))) <= 1.0


def test_cover_art_is_left_out() -> None:
    song = media.encoded(
        np.tile(media.tone(1.0, rate_hz=44_100), (2, 1)),
        container="mp3",
        codec="libmp3lame",
        rate_hz=44_100,
        cover=True,
    )
    assert decoded(song).size == pytest.approx(RATE_HZ, abs=3200)


def test_a_title_that_is_not_utf_8_is_no_reason_to_refuse() -> None:
    song = media.encoded(
        media.tone(1.0, rate_hz=44_100)[None], container="mp3", codec="libmp3lame", rate_hz=44_100
    )
    comment = b"title=" + "Thông báo".encode("utf-16-le") + b"\xff\xfe\x80"
    flac = media.encoded(
        media.tone(1.0)[None], container="flac", codec="flac", rate_hz=RATE_HZ, bit_rate=None
    )
    tags = (
        (0).to_bytes(4, "little") + (1).to_bytes(4, "little") + len(comment).to_bytes(4, "little") + comment
    )
    block = b"\x04" + len(tags).to_bytes(3, "big") + tags
    tagged = flac[:42].replace(b"\x80\x00\x00\x22", b"\x00\x00\x00\x22") + block + flac[42:]
    assert decoded(tagged).size == RATE_HZ
    assert decoded(song + b"TAG" + b"\xe1\xba\xff" * 41 + b"\x00\x00").size >= RATE_HZ - 3200


def test_a_change_of_rate_and_channels_in_mid_stream_is_followed() -> None:
    first = media.encoded(
        media.tone(1.0, rate_hz=44_100)[None], container="mp3", codec="libmp3lame", rate_hz=44_100
    )
    second = media.encoded(
        np.tile(media.tone(1.0), (2, 1)), container="mp3", codec="libmp3lame", rate_hz=48_000
    )
    out = decoded(first + second)
    assert out.size == pytest.approx(2 * RATE_HZ, abs=6400)
    assert level_db(out[RATE_HZ + 8000 :]) == pytest.approx(20 * np.log10(0.25), abs=0.5)


def test_damage_in_the_middle_is_left_out_and_counted() -> None:
    good = media.encoded(media.speech_like(10.0)[None], container="adts", codec="aac", rate_hz=RATE_HZ)
    damaged = bytearray(good)
    for at in range(len(good) // 2, len(good) // 2 + 10_000, 50):
        damaged[at] ^= 0x55
    out, bad_packets = asyncio.run(everything(io.BytesIO(bytes(damaged))))
    assert bad_packets > 0
    assert out.size > 6 * RATE_HZ


@pytest.mark.parametrize("at", [0.3, 0.6, 0.9])
def test_a_truncated_file_plays_as_far_as_it_goes(at: float) -> None:
    whole = media.encoded(
        media.speech_like(5.0, rate_hz=44_100)[None], container="mp3", codec="libmp3lame", rate_hz=44_100
    )
    out = decoded(whole[: round(len(whole) * at)])
    assert out.size == pytest.approx(5 * at * RATE_HZ, abs=0.2 * RATE_HZ)


NOT_AUDIO = {
    "nothing": b"",
    "one byte": b"x",
    "a page": b"<html><body>404 Not Found</body></html>" * 50,
    "zeros": bytes(100_000),
    "noise": np.random.default_rng(1).bytes(300_000),
    "a playlist": b"#EXTM3U\n#EXTINF:1\nhttp://192.0.2.1/a.mp3\n",
    "a list of files": b"ffconcat version 1.0\nfile '/etc/passwd'\n",
    "a WAV without sound": media.wav(np.zeros(0, np.float32)),
    "a head": media.wav(media.tone(1.0))[:30],
}


@pytest.mark.parametrize("name", NOT_AUDIO)
def test_what_is_not_audio_is_refused_and_its_file_closed(name: str) -> None:
    async def main() -> None:
        reader = io.BytesIO(NOT_AUDIO[name])
        with pytest.raises(MediaRefused) as refused:
            await open_media(reader, gain_db=0.0)
        assert refused.value.code is ReasonCode.NO_MEDIA
        assert reader.closed

    asyncio.run(main())


def test_a_disk_that_fails_while_it_plays_breaks_the_programme_off() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 400_000:
                raise OSError(5, "Input/output error")
            return super().read(size)

    async def main() -> None:
        source = await open_media(Failing(media.wav(media.tone(10.0))), gain_db=0.0)
        heard = 0

        async def play() -> None:
            nonlocal heard
            while (frames := await source.read(4800)).size:
                heard += frames.size

        with pytest.raises(MediaRefused, match="cannot be read further"):
            await play()
        assert heard == pytest.approx(200_000, abs=40_000)
        await source.close()

    asyncio.run(main())


def test_a_cancelled_read_loses_nothing() -> None:
    frames = media.speech_like(5.0)

    async def main() -> None:
        source = await open_media(io.BytesIO(media.wav(frames)), gain_db=0.0)
        parts = []
        while True:
            reading = asyncio.ensure_future(source.read(7000))
            await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait([reading])
            part = await source.read(7000) if reading.cancelled() else reading.result()
            if not part.size:
                break
            parts.append(part)
        await source.close()
        assert sum(part.size for part in parts) == frames.size

    asyncio.run(main())


def test_closing_while_a_block_is_decoded_waits_for_it() -> None:
    async def main() -> None:
        reader = io.BytesIO(media.wav(media.tone(5.0)))
        source = await open_media(reader, gain_db=0.0)
        await source.read(4800)
        await source.close()
        await source.close()
        assert reader.closed

    asyncio.run(main())


def test_a_file_of_ten_hours_takes_no_more_memory_than_a_short_one() -> None:
    async def main() -> None:
        tape = media.stretched_wav(36_000)
        source = await open_media(cast("BinaryIO", tape), gain_db=0.0)
        tracemalloc.start()
        for _ in range(100):
            await source.read(4800)
        await asyncio.sleep(0.05)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 3_000_000
        read_frames = (tape.tell() - 44) // 2
        assert read_frames - 100 * 4800 < 4 * BLOCK_FRAMES, "it reads a bounded piece ahead"
        await source.close()

    asyncio.run(main())
