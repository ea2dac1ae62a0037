"""Speech-like sound through the packetiser, a network and the reception, as a card would hear it; and clicks found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.stream.packetiser import FRAMES, Packetiser, Sending
from edge_agent.stream.reception import Reception, ReceptionSettings
from tests.networks import MS, NS, Network
from tests.playout.media import speech_like, tone

if TYPE_CHECKING:
    from hal.ports import Frames

RATE_HZ = 48_000
Wire = list[tuple[int, bytes]]


def sending(**changes: object) -> Sending:
    return Sending(**{"ssrc": 0x5EED, **changes})  # type: ignore[arg-type]


def settings(**changes: object) -> ReceptionSettings:
    options = {"payload_types": frozenset({96}), "red_types": frozenset({97}), **changes}
    return ReceptionSettings(**options)  # type: ignore[arg-type]


def sent(
    frames: Frames, options: Sending | None = None, *, begin_ns: int = 0, wall_ns: int | None = None
) -> Wire:
    """(time of sending, datagram), 20 ms apart; with `wall_ns` also a sender's report each second."""
    packetiser = Packetiser(options or sending())
    wire: Wire = []
    for index in range(frames.size // FRAMES):
        at_ns = begin_ns + index * 20 * MS
        if wall_ns is not None and index % 50 == 0:
            wire.append((at_ns, packetiser.report(wall_ns + at_ns)))
        wire.append((at_ns, packetiser.packet(frames[index * FRAMES : (index + 1) * FRAMES])))
    return wire


def through(wire: Wire, network: Network) -> Wire:
    """What arrives, in its order."""
    return sorted(((at, blob) for sent_ns, blob in wire for at in network(sent_ns)), key=lambda pair: pair[0])


def heard(
    came: Sequence[tuple[int, bytes]],
    reception: Reception,
    *,
    seconds: float,
    ahead_ms: int = 100,
    block: int = 1_920,
    wall_offset_ns: int | None = None,
    card_ppm: float = 0.0,
    each: Callable[[int], None] | None = None,
) -> Frames:
    """What a card plays that asks `ahead_ms` before; its rate is off by `card_ppm`."""
    out: list[Frames] = []
    index = played = 0
    ns_per_frame = NS / (RATE_HZ * (1 + card_ppm / 1e6))
    while played < seconds * RATE_HZ:
        playout_ns = round(played * ns_per_frame)
        while index < len(came) and came[index][0] <= playout_ns - ahead_ms * MS:
            reception.put(came[index][1], came[index][0])
            index += 1
        out.append(reception.get(block, playout_ns, wall_offset_ns))
        played += block
        if each is not None:
            each(playout_ns)
    return np.concatenate(out)


def steady(seconds: float) -> Frames:
    """A tone in which each click shows."""
    return tone(seconds, hz=400.0, level=0.3)


def voice(seconds: float, seed: int = 1) -> Frames:
    return speech_like(seconds, seed=seed)


def clicks(frames: Frames, hz: float = 400.0, level: float = 0.3) -> float:
    """The steepest bend, over that of the tone itself: 1 = as smooth; a step of half the level is over 100."""
    bend = np.abs(np.diff(frames.astype(np.float64), 2))
    return float(bend.max() / (level * (2 * np.pi * hz / RATE_HZ) ** 2))


def silent_ms(frames: Frames, level: float = 0.01) -> float:
    """Of 5 ms cells, those that are silent."""
    cells = frames[: frames.size // 240 * 240].reshape(-1, 240)
    return float((np.sqrt((cells**2).mean(axis=1)) < level).sum() * 5)
