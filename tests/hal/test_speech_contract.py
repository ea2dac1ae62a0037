"""The speech door: what its virtual sibling and eSpeak NG both do."""

from __future__ import annotations

import asyncio
import io
import shutil
import wave
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hal.errors import SpeechFailed, SpeechMissing
from hal.linux.speech import EspeakSpeech
from hal.ports import Speech
from hal.sim.loop import Counter, run
from hal.sim.speech import VirtualSpeech

TEXT = "Cảnh báo lũ quét. Bà con khẩn trương lên nhà văn hóa."
Scene = Callable[[Callable[[Speech], Coroutine[Any, Any, None]]], None]


def virtual(story: Callable[[Speech], Coroutine[Any, Any, None]]) -> None:
    run(story(VirtualSpeech()), Counter())


def real(story: Callable[[Speech], Coroutine[Any, Any, None]]) -> None:
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed here")
    asyncio.run(story(EspeakSpeech()))


@pytest.fixture(
    params=[virtual, pytest.param(real, marks=pytest.mark.realtime)], ids=["virtual", "espeak-ng"]
)
def scene(request: pytest.FixtureRequest) -> Scene:
    found: Scene = request.param
    return found


def heard(wav: bytes) -> tuple[float, float]:
    """Seconds and loudness (RMS of full scale) of a WAV whose header tells the truth."""
    with wave.open(io.BytesIO(wav)) as reader:
        assert (reader.getnchannels(), reader.getsampwidth()) == (1, 2)
        frames = reader.readframes(reader.getnframes())
        assert len(frames) == 2 * reader.getnframes(), "the header says how much there is"
        samples = np.frombuffer(frames, "<i2") / 32768
        return len(samples) / reader.getframerate(), float(np.sqrt(np.mean(samples**2)))


def test_a_text_becomes_a_whole_wav_that_can_be_heard(scene: Scene) -> None:
    async def story(speech: Speech) -> None:
        seconds, level = heard(await speech.speak(TEXT, "vi"))
        assert 2 < seconds < 10
        assert level > 0.01

    scene(story)


def test_a_longer_text_takes_longer_and_the_same_one_the_same(scene: Scene) -> None:
    async def story(speech: Speech) -> None:
        short, again, long = [await speech.speak(text, "vi-VN") for text in (TEXT, TEXT, TEXT + " " + TEXT)]
        assert short == again
        assert heard(long)[0] > 1.5 * heard(short)[0]

    scene(story)


def test_a_language_without_a_voice_is_told_so(scene: Scene) -> None:
    async def story(speech: Speech) -> None:
        with pytest.raises(SpeechMissing):
            await speech.speak(TEXT, "tlh")

    scene(story)


def test_several_may_ask_at_once(scene: Scene) -> None:
    async def story(speech: Speech) -> None:
        wavs = await asyncio.gather(*(speech.speak(TEXT, language) for language in ("vi", "en-US")))
        assert all(heard(wav)[0] > 1 for wav in wavs)
        assert wavs[0] != wavs[1]

    scene(story)


@pytest.mark.realtime
@pytest.mark.parametrize(
    "text", ["--version", "-f /etc/passwd", "<break time='9000ms'/>", "[[a:a:a:]]", "\x00 \x1b[31m"]
)
def test_nothing_in_a_text_is_a_command_to_espeak(text: str) -> None:
    async def story(speech: Speech) -> None:
        seconds, _ = heard(await speech.speak(f"{text} xin chào", "vi"))
        assert 0.5 < seconds < 8

    real(story)


@pytest.mark.realtime
def test_an_engine_that_is_missing_dies_or_hangs_is_told_apart_and_leaves_no_process(tmp_path: Path) -> None:
    def engine(name: str, script: str) -> EspeakSpeech:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return EspeakSpeech(program=str(path), timeout_s=0.3)

    async def story() -> None:
        with pytest.raises(SpeechMissing, match="install"):
            await EspeakSpeech(program="no-such-engine").speak(TEXT, "vi")
        with pytest.raises(SpeechFailed, match="out of paper"):
            await engine("dies", "echo out of paper >&2; exit 3").speak(TEXT, "vi")
        with pytest.raises(SpeechFailed, match="bytes"):
            await engine("says-nothing", "cat > /dev/null").speak(TEXT, "vi")
        hanging = engine("hangs", f"echo $$ > {tmp_path}/pid; exec sleep 60")
        with pytest.raises(SpeechFailed, match="more than"):
            async with asyncio.timeout(20):
                await hanging.speak(TEXT, "vi")

    asyncio.run(story())
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()
