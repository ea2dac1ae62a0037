"""The speech door on Linux: eSpeak NG, one process for each text.

Facts about espeak-ng that this leans on: `--stdin` takes the text where no option can hide in it;
without `-m` markup is read as text; `[[` begins phonemes even so, hence brackets become spaces;
`--stdout` writes a WAV whose lengths are a placeholder, because a pipe cannot be rewound; an
unknown voice ends it with code 1, and so does a missing data directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Mapping

from hal.errors import SpeechFailed, SpeechMissing

CHARACTERS_MAX = 8_000
BYTES_MAX = 64 << 20
_HEADER_BYTES = 44
_BRACKETS = str.maketrans("[]", "  ")


class EspeakSpeech:
    """Reads with `espeak-ng`. One text at a time: a Pi has better things to do with its cores."""

    def __init__(
        self,
        *,
        voices: Mapping[str, str] | None = None,
        words_per_minute: int = 140,
        program: str = "espeak-ng",
        timeout_s: float = 30.0,
    ) -> None:
        """`voices` names the engine's voice for a language where that is not the language's own name."""
        self._voices = {language.casefold(): voice for language, voice in (voices or {}).items()}
        self._words_per_minute = words_per_minute
        self._program = program
        self._timeout_s = timeout_s
        self._one = asyncio.Lock()

    async def speak(self, text: str, language: str) -> bytes:
        program = shutil.which(self._program)
        if program is None:
            raise SpeechMissing(f"There is no {self._program}; install the package espeak-ng.")
        async with self._one:
            code, wav, complaint = await self._run(program, text[:CHARACTERS_MAX], self._voice(language))
        if "voice does not exist" in complaint:
            raise SpeechMissing(f"{self._program} has no voice for {language!r}; name one in alerts.voices.")
        if code != 0 or len(wav) <= _HEADER_BYTES or not wav.startswith(b"RIFF"):
            why = complaint.strip()[-200:] or f"exit code {code}, {len(wav)} bytes"
            raise SpeechFailed(f"{self._program} could not read the text: {why}.")
        return _mended(wav)

    def _voice(self, language: str) -> str:
        """The voice for the tag, or for its first part: vi-VN is read by vi."""
        tag = language.casefold()
        primary = tag.partition("-")[0]
        return self._voices.get(tag) or self._voices.get(primary) or primary

    async def _run(self, program: str, text: str, voice: str) -> tuple[int, bytes, str]:
        process = await asyncio.create_subprocess_exec(
            program, "-v", voice, "-s", str(self._words_per_minute), "-b", "1", "--stdin", "--stdout",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        words = "".join(c if c.isprintable() else " " for c in text.translate(_BRACKETS))
        try:
            async with asyncio.timeout(self._timeout_s):
                wav, complaint = await process.communicate(words.encode("utf-8", "replace") + b"\n")
        except TimeoutError:
            raise SpeechFailed(f"{self._program} took more than {self._timeout_s:.0f} s.") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if len(wav) > BYTES_MAX:
            raise SpeechFailed(f"{self._program} made {len(wav)} bytes of the text, which is too much.")
        return process.returncode or 0, wav, complaint.decode("utf-8", "replace")


def _mended(wav: bytes) -> bytes:
    """The WAV with its true lengths in the two places that the pipe left open."""
    body = len(wav) - 8
    head = bytearray(wav[:_HEADER_BYTES])
    head[4:8] = body.to_bytes(4, "little")
    if head[36:40] == b"data":
        head[40:44] = (len(wav) - _HEADER_BYTES).to_bytes(4, "little")
    return bytes(head) + wav[_HEADER_BYTES:]
