"""Scenes that every sound card plays in its contract test; also a script that plays one through PortAudio.

`python sound_scenes.py SCENE DEVICE` prints the scene's facts as one JSON object. A scene is given
the card and a clock, writes what the test can compute too, and returns what it saw.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from hal.ports import Frames, SoundCard

RATE_HZ = 48_000
PERIOD = 960
RING = 7_200

Facts = dict[str, Any]
NowNs = Callable[[], int]


def chirp(seconds: float = 1.0) -> Frames:
    """A sweep from 300 Hz to 3 kHz at half scale: correlates with itself at one place only."""
    at = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    phase = 2 * np.pi * (300 * at + 2700 * at**2 / (2 * seconds))
    return (0.5 * np.sin(phase)).astype(np.float32)


def tone(seconds: float) -> Frames:
    """1 kHz at half scale."""
    return (0.5 * np.sin(2 * np.pi * 1000 * np.arange(int(seconds * RATE_HZ)) / RATE_HZ)).astype(np.float32)


async def plays_all(card: SoundCard, now_ns: NowNs) -> Facts:
    """A chirp in blocks of many sizes, then drain."""
    stream = await card.open(rate_hz=RATE_HZ, period_frames=PERIOD, ring_frames=RING)
    frames = chirp()
    begun_ns = now_ns()
    at = 0
    for size in [1, 959, 7, 20_000, *[480] * 1000]:
        await stream.write(frames[at : at + size])
        at += size
    await stream.drain()
    drained_ns = now_ns()
    status = stream.status()
    await stream.close()
    await stream.close()
    return {
        "begun_ns": begun_ns,
        "drained_ns": drained_ns,
        "first_sound_ns": status.first_sound_ns,
        "written": status.written,
        "sounded": status.sounded,
        "underruns": status.underruns,
    }


async def waits_for_the_card(card: SoundCard, now_ns: NowNs) -> Facts:
    """Writes return at the card's pace, a ring ahead of it."""
    stream = await card.open(rate_hz=RATE_HZ, period_frames=PERIOD, ring_frames=RING)
    block = np.zeros(PERIOD, dtype=np.float32)
    most_ahead = 0
    for _ in range(25):  # the first blocks only fill the ring and what the device buffers
        await stream.write(block)
    begun_ns = now_ns()
    for _ in range(50):
        await stream.write(block)
        status = stream.status()
        most_ahead = max(most_ahead, status.written - status.sounded)
    seconds = (now_ns() - begun_ns) / 1e9
    await stream.drop()
    await stream.close()
    return {"seconds": seconds, "most_ahead": most_ahead, "underruns": status.underruns}


async def foretells(card: SoundCard, now_ns: NowNs) -> Facts:
    """While a programme plays, what is said of the next frame's time; a chirp's own, too. The ring is kept shallow."""
    stream = await card.open(rate_hz=RATE_HZ, period_frames=PERIOD, ring_frames=RING)
    block = np.zeros(PERIOD, dtype=np.float32)
    origins: list[int] = []
    ahead: list[int] = []
    for _ in range(90):
        await stream.write(block)
        status = stream.status()
        if status.next_sound_ns is not None:
            origins.append(status.next_sound_ns - status.written * 1_000_000_000 // RATE_HZ)
            ahead.append(status.next_sound_ns - now_ns())
    foretold_ns = stream.status().next_sound_ns
    await stream.write(chirp(0.5))
    await stream.drain()
    status = stream.status()
    await stream.close()
    return {
        "origins_ns": origins[30:],
        "ahead_ns": ahead[30:],
        "foretold_ns": foretold_ns,
        "reckoned_ns": (status.first_sound_ns or 0) + 90 * PERIOD * 1_000_000_000 // RATE_HZ,
        "underruns": status.underruns,
    }


async def drops(card: SoundCard, _now_ns: NowNs) -> Facts:
    """A tone that is dropped in its middle; the stream stays open and silent."""
    stream = await card.open(rate_hz=RATE_HZ, period_frames=PERIOD, ring_frames=RING)
    await stream.write(tone(0.5))
    dropped = await stream.drop()
    dropped_again = await stream.drop()
    await asyncio.sleep(0.4)
    status = stream.status()
    await stream.close()
    return {
        "dropped": dropped,
        "dropped_again": dropped_again,
        "written": status.written,
        "sounded": status.sounded,
        "underruns": status.underruns,
    }


async def goes_on_after_drop(card: SoundCard, _now_ns: NowNs) -> Facts:
    """Silence is dropped, a chirp follows on the same stream."""
    stream = await card.open(rate_hz=RATE_HZ, period_frames=PERIOD, ring_frames=RING)
    await stream.write(np.zeros(20_000, dtype=np.float32))
    dropped = await stream.drop()
    await stream.write(chirp())
    await stream.drain()
    status = stream.status()
    await stream.close()
    return {"dropped": dropped, "written": status.written, "sounded": status.sounded}


async def runs_dry(card: SoundCard, _now_ns: NowNs) -> Facts:
    """The writer comes too late once, and is idle, which is no fault, before, in between and after."""
    stream = await card.open(rate_hz=RATE_HZ, period_frames=PERIOD, ring_frames=RING)
    await asyncio.sleep(0.3)
    before = stream.status().underruns
    silence_ahead = stream.status().silence_ahead
    await stream.write(tone(0.1))
    await asyncio.sleep(0.5)
    late = stream.status().underruns
    await stream.write(tone(0.1))
    await stream.drain()
    await asyncio.sleep(0.3)
    after = stream.status().underruns
    await stream.close()
    return {"before": before, "late": late, "after": after, "silence_ahead": silence_ahead}


async def is_one_stream(card: SoundCard, _now_ns: NowNs) -> Facts:
    """A second open is refused while the first lasts; after it the card opens again."""
    from hal.errors import SoundMissing

    first = await card.open(rate_hz=RATE_HZ, period_frames=PERIOD, ring_frames=RING)
    refused = ""
    try:
        await card.open(rate_hz=RATE_HZ, period_frames=PERIOD, ring_frames=RING)
    except SoundMissing as error:
        refused = str(error)
    present = card.present()
    await first.close()
    again = await card.open(rate_hz=RATE_HZ, period_frames=PERIOD, ring_frames=RING)
    await again.close()
    return {"refused": refused, "present": present}


async def is_cancelled(card: SoundCard, _now_ns: NowNs) -> Facts:
    """A write is cancelled while it waits; what it queued is known, and the stream can be used."""
    stream = await card.open(rate_hz=RATE_HZ, period_frames=PERIOD, ring_frames=RING)
    writing = asyncio.create_task(stream.write(tone(5.0)))
    await asyncio.sleep(0.3)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    written = stream.status().written
    dropped = await stream.drop()
    await stream.write(tone(0.1))
    await stream.drain()
    status = stream.status()
    await stream.close()
    return {
        "cancelled_at": written,
        "written": status.written,
        "dropped": dropped,
        "sounded": status.sounded,
    }


async def is_cancelled_while_it_opens(card: SoundCard, _now_ns: NowNs) -> Facts:
    """An open is cancelled, early and late; the device is free afterwards every time."""
    opened = 0
    for turn in range(6):
        opening = asyncio.create_task(
            card.open(rate_hz=RATE_HZ, period_frames=PERIOD, ring_frames=RING), name="opening"
        )
        await asyncio.sleep(0.01 * turn)
        opening.cancel()
        (result,) = await asyncio.gather(opening, return_exceptions=True)
        if not isinstance(result, BaseException):
            await result.close()
        stream = await card.open(rate_hz=RATE_HZ, period_frames=PERIOD, ring_frames=RING)
        await stream.close()
        opened += 1
    return {"opened": opened}


async def is_missing(card: SoundCard, _now_ns: NowNs) -> Facts:
    """The card is not there."""
    from hal.errors import SoundMissing

    present = card.present()
    try:
        await card.open(rate_hz=RATE_HZ, period_frames=PERIOD, ring_frames=RING)
    except SoundMissing as error:
        return {"present": present, "refused": str(error)}
    return {"present": present, "refused": ""}


async def is_lost(card: SoundCard, now_ns: NowNs) -> Facts:
    """Somebody pulls the card out ("playing" is printed for them) while a programme plays."""
    from hal.errors import SoundLost

    stream = await card.open(rate_hz=RATE_HZ, period_frames=PERIOD, ring_frames=RING)
    block = tone(0.02)
    for _ in range(25):
        await stream.write(block)
    print("playing", flush=True)
    begun_ns = now_ns()
    refused = ""
    try:
        while now_ns() - begun_ns < 10e9:
            await stream.write(block)
    except SoundLost as error:
        refused = str(error)
    seconds = (now_ns() - begun_ns) / 1e9
    drains = False
    try:
        await stream.drain()
    except SoundLost:
        drains = True
    dropped = await stream.drop()
    status = stream.status()
    closing_ns = now_ns()
    await stream.close()
    return {
        "refused": refused,
        "seconds": seconds,
        "drain_raises": drains,
        "unheard": status.written - status.sounded,
        "dropped": dropped,
        "close_s": (now_ns() - closing_ns) / 1e9,
        "present": card.present(),
    }


SCENES: dict[str, Callable[[SoundCard, NowNs], Awaitable[Facts]]] = {
    scene.__name__: scene
    for scene in (
        *(plays_all, waits_for_the_card, foretells, drops, goes_on_after_drop, runs_dry),
        *(is_one_stream, is_cancelled, is_cancelled_while_it_opens, is_missing, is_lost),
    )
}


def main() -> None:
    """Play one scene through PortAudio."""
    from hal.linux.clock import SystemClock
    from hal.linux.sound import PortAudioCard

    scene, device = sys.argv[1:]

    async def play() -> Facts:
        return dict(await SCENES[scene](PortAudioCard(device or None), SystemClock().monotonic_ns))

    print(json.dumps(asyncio.run(play())))


if __name__ == "__main__":
    main()
