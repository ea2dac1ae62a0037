"""Scenes for the contract of `hal.ports.LineInput`; run as a script it plays one with the real driver.

What is said into the line is a chirp: for the real driver it is played on the null sink whose monitor is the line.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from hal.ports import Capture, Frames, LineInput

RATE_HZ = 48_000

Facts = dict[str, Any]
NowNs = Callable[[], int]
Say = Callable[["Frames"], Awaitable[None]]
"""Let frames be said into the line; may return before they are over."""


def chirp(seconds: float = 1.0) -> Frames:
    """A sweep from 300 Hz to 3 kHz at half scale: correlates with itself at one place only."""
    at = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    phase = 2 * np.pi * (300 * at + 2700 * at**2 / (2 * seconds))
    return (0.5 * np.sin(phase)).astype(np.float32)


async def _pieces(capture: Capture, frames: int) -> list[Frames]:
    pieces: list[Frames] = []
    while sum(piece.size for piece in pieces) < frames:
        pieces.append(await capture.read())
    return pieces


async def hears(line_in: LineInput, say: Say, now_ns: NowNs) -> tuple[Facts, Frames]:
    """A chirp is said while somebody listens."""
    capture = await line_in.open()
    await _pieces(capture, RATE_HZ // 2)
    begun_ns = now_ns()
    saying = asyncio.ensure_future(say(chirp()))
    pieces = await _pieces(capture, 4 * RATE_HZ)
    seconds = (now_ns() - begun_ns) / 1e9
    await saying
    discarded = capture.discarded
    closing_ns = now_ns()
    await capture.close()
    close_s = (now_ns() - closing_ns) / 1e9
    await capture.close()
    facts = {
        "seconds": seconds,
        "frames": sum(piece.size for piece in pieces),
        "sizes": [min(piece.size for piece in pieces), max(piece.size for piece in pieces)],
        "forms": sorted({f"{piece.ndim} {piece.dtype}" for piece in pieces}),
        "discarded": discarded,
        "close_s": close_s,
    }
    return facts, np.concatenate(pieces)


async def is_not_read(line_in: LineInput, _say: Say, _now_ns: NowNs) -> tuple[Facts, Frames]:
    """Nobody reads for a second and a half."""
    capture = await line_in.open()
    await capture.read()
    await asyncio.sleep(1.5)
    waited = await capture.read()
    discarded = capture.discarded
    after = await capture.read()
    await capture.close()
    return {"waited": waited.size, "discarded": discarded, "after": after.size}, waited


async def is_one_capture(line_in: LineInput, _say: Say, _now_ns: NowNs) -> tuple[Facts, Frames]:
    """A second open is refused while the first lasts; after it the input opens again."""
    from hal.errors import SoundMissing

    first = await line_in.open()
    refused = ""
    try:
        await line_in.open()
    except SoundMissing as error:
        refused = str(error)
    await first.close()
    again = await line_in.open()
    found = await again.read()
    await again.close()
    return {"refused": refused}, found


async def is_cancelled(line_in: LineInput, _say: Say, _now_ns: NowNs) -> tuple[Facts, Frames]:
    """Reads and opens are cancelled, early and late; the capture goes on, and the device is free."""
    capture = await line_in.open()
    for turn in range(6):
        reading = asyncio.create_task(capture.read())
        await asyncio.sleep(0.004 * turn)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    found = (await _pieces(capture, RATE_HZ // 5))[0]
    await capture.close()
    opened = 0
    for turn in range(5):
        opening = asyncio.create_task(line_in.open())
        await asyncio.sleep(0.01 * turn)
        opening.cancel()
        (result,) = await asyncio.gather(opening, return_exceptions=True)
        if not isinstance(result, BaseException):
            await result.close()
        capture = await line_in.open()
        await capture.close()
        opened += 1
    return {"opened": opened}, found


async def is_missing(line_in: LineInput, _say: Say, _now_ns: NowNs) -> tuple[Facts, Frames]:
    """The device is not there."""
    from hal.errors import SoundMissing

    try:
        await line_in.open()
    except SoundMissing as error:
        return {"refused": str(error)}, np.zeros(0, np.float32)
    return {"refused": ""}, np.zeros(0, np.float32)


async def is_lost(line_in: LineInput, _say: Say, now_ns: NowNs) -> tuple[Facts, Frames]:
    """Something happens to the device ("listening" is printed for whoever does it) while somebody reads."""
    from hal.errors import SoundLost

    capture = await line_in.open()
    found = (await _pieces(capture, RATE_HZ // 2))[0]
    print("listening", flush=True)
    begun_ns = now_ns()
    refused: list[str] = []
    for _ in range(2):
        try:
            while now_ns() - begun_ns < 12e9:
                await capture.read()
        except SoundLost as error:
            refused.append(str(error))
    seconds = (now_ns() - begun_ns) / 1e9
    closing_ns = now_ns()
    await capture.close()
    facts = {"refused": refused, "seconds": seconds, "close_s": (now_ns() - closing_ns) / 1e9}
    return facts, found


SCENES: dict[str, Callable[[LineInput, Say, NowNs], Awaitable[tuple[Facts, Frames]]]] = {
    scene.__name__: scene for scene in (hears, is_not_read, is_one_capture, is_cancelled, is_missing, is_lost)
}


async def _play(frames: Frames) -> None:
    """On the null sink."""
    from hal.linux.sound import PortAudioCard

    stream = await PortAudioCard("village").open(rate_hz=RATE_HZ, period_frames=960, ring_frames=7_200)
    await stream.write(
        np.zeros(RATE_HZ // 2, np.float32)
    )  # a null sink's monitor may lack a stream's first period
    await stream.write(frames)
    await stream.drain()
    await stream.close()


def main() -> None:
    """Play one scene through PortAudio; what was heard is left in a file."""
    from hal.linux.clock import SystemClock
    from hal.linux.line_in import PortAudioInput

    scene, device, path = sys.argv[1:]

    async def story() -> tuple[Facts, Frames]:
        return await SCENES[scene](PortAudioInput(device), _play, SystemClock().monotonic_ns)

    facts, heard = asyncio.run(story())
    heard.tofile(path)
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
