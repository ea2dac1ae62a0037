"""The doors of sound: the card, its input, and the voice that reads text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Frames = npt.NDArray[np.float32]
    """Mono frames, float32, shape (n,), full scale = 1.0, at the card's rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundStatus:
    """What a sound stream knows of itself; counts since it was opened, in frames."""

    written: int
    """Frames accepted by `write`."""
    sounded: int
    """Frames of `written` that the card has consumed, an estimate within one period."""
    underruns: int
    """Times the card wanted frames and had none; it played silence."""
    first_sound_ns: int | None
    """When the first written frame reached the converter, CLOCK_BOOTTIME, or None before."""
    silence_ahead: int = 0
    """Frames of silence that the device surely plays first, if a silent stream is written to now."""
    next_sound_ns: int | None = None
    """When a frame that is written now would reach the converter, CLOCK_BOOTTIME: the playout clock. Right within
    half a millisecond over many readings where the device says its delay truly; None where it cannot be told."""


class SoundStream(Protocol):
    """An open sound card, playing. The card is the clock: `write` returns at its pace."""

    async def write(self, frames: Frames) -> None:
        """Queue frames; returns when the ring has taken all of them.

        The ring is bounded (`ring_frames`), so this waits for the card. Cancelled, it may
        have queued a part; `status().written` tells. Raises SoundLost when the device failed.
        """

    async def drain(self) -> None:
        """Wait until everything written has sounded. Raises SoundLost."""

    async def drop(self) -> int:
        """Fade out what is queued over 5-10 ms (raised cosine) and throw the rest away.

        Returns the number of written frames that were thrown away unheard (faded frames
        count as heard), the most recent ones. The stream stays open and silent. Never raises:
        on a lost device it returns what was not heard.
        """

    def status(self) -> SoundStatus:
        """Counts and first-sound time. Never blocks, never raises."""

    async def close(self) -> None:
        """Close the device at once, after `drop` or `drain`. Idempotent, never raises."""


class SoundCard(Protocol):
    """One output device, known by name, 48 kHz mono."""

    async def open(self, *, rate_hz: int, period_frames: int, ring_frames: int) -> SoundStream:
        """Open the configured device. Raises SoundMissing when it is not there, is another
        card, or is held by someone else. One stream at a time."""

    def present(self) -> bool:
        """Whether the configured device can be seen now. May take some ms; never raises."""


class Capture(Protocol):
    """An open input, listening. Nothing is kept of it but what waits to be read."""

    discarded: int
    """Frames that came while half a second waited already: the newest go, and are counted here."""

    async def read(self) -> Frames:
        """The next 1 to 24,000 frames, mono, at 48 kHz; waits for them. One reader at a time.

        What came before the device failed is given first. Raises SoundLost when nothing has come for 3 s, or
        the device is gone; and then ever after. Cancelled, nothing is lost.
        """

    async def close(self) -> None:
        """Stop listening at once. Idempotent, never raises."""


class LineInput(Protocol):
    """One input device, known by name, 48 kHz; several channels are heard as their mean."""

    async def open(self) -> Capture:
        """Listen from now on. Raises SoundMissing when the device is not there, or is held by someone else.
        One capture at a time. Cancelled, the device is free."""


class Speech(Protocol):
    """A voice that reads text."""

    async def speak(self, text: str, language: str) -> bytes:
        """The text, read aloud in a language (a tag such as vi or en-US), as a whole WAV file.

        At most 8,000 characters; everything in it is read as words, nothing as a command. Raises
        SpeechMissing when there is no engine, or no voice for the language; SpeechFailed when the engine
        failed or took too long. Cancelled, it ends the engine.
        """
