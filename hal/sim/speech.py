"""The speech door's virtual sibling: a hum as long as the text would take, its pitch by the language."""

from __future__ import annotations

import asyncio
import io
import wave
import zlib

import numpy as np

from hal.errors import SpeechFailed, SpeechMissing

RATE_HZ = 22_050
CHARACTERS_MAX = 8_000
SECONDS_A_CHARACTER = 0.06
LONGEST_S = 600.0


class VirtualSpeech:
    """Says nothing a person would understand, but keeps in `said` what it was to say."""

    def __init__(self, *, languages: tuple[str, ...] = ("vi", "en"), delay_s: float = 0.2) -> None:
        """`languages` are the first parts of the tags that it has a voice for."""
        self.languages = languages
        self.delay_s = delay_s
        self.missing = False
        """There is no engine at all."""
        self.failing = False
        """The engine dies on every text."""
        self.said: list[tuple[str, str]] = []
        """(text, language) of everything that was spoken."""

    async def speak(self, text: str, language: str) -> bytes:
        if self.missing:
            raise SpeechMissing("There is no speech engine; this world took it away.")
        if language.partition("-")[0].casefold() not in self.languages:
            raise SpeechMissing(f"There is no voice for {language!r} in this world.")
        await asyncio.sleep(self.delay_s)
        text = text[:CHARACTERS_MAX]
        if self.failing or not text.strip():
            raise SpeechFailed("The speech engine failed, as this world wants it.")
        self.said.append((text, language))
        return hum(text, language)


def hum(text: str, language: str) -> bytes:
    """The WAV of a text: the same for the same text and language, and of no other."""
    seconds = min(LONGEST_S, 0.3 + SECONDS_A_CHARACTER * len(text))
    seed = zlib.crc32(f"{language}/{text}".encode())
    at = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    pitch = 180 + seed % 120
    sound = 0.15 * np.sin(2 * np.pi * pitch * at) * (0.75 + 0.25 * np.sin(2 * np.pi * 4 * at + seed % 7))
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(RATE_HZ)
        writer.writeframes((sound * 32767).astype("<i2").tobytes())
    return file.getvalue()
