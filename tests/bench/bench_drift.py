"""Crystals that differ, for 24 simulated hours: underruns, how far the delay strays, how well the drift is known, and what resampling costs.

G.711 in packets of 200 ms, so that a day takes minutes. `BENCH_HOURS` makes it shorter.
"""

from __future__ import annotations

import heapq
import os
from dataclasses import dataclass

import numpy as np

from edge_agent.model import MS, NS, RATE_HZ
from edge_agent.stream import rtp
from edge_agent.stream.modes import BufferSettings, Mode
from edge_agent.stream.reception import Reception, ReceptionSettings
from tests import networks
from tests.bench.measure import figure

HOURS = float(os.environ.get("BENCH_HOURS", "24"))
DRIFTS_PPM = (50.0, -50.0, 200.0, -200.0)
PACKET_MS = 200
BLOCK = RATE_HZ // 10
_HZ = 8_000
_SETTLED_MIN = 15
_TONE_HZ = 1_000.0


@dataclass(frozen=True, slots=True)
class Day:
    """What a day came to."""

    waits: int
    """Blocks after the first minute in which nothing was due: underruns of the buffer."""
    strayed_ms: float
    """The furthest that the delay was from its target, after a quarter of an hour."""
    after_10_min: float
    at_the_end: float
    """How far the estimate is off, ppm."""


def main() -> None:
    """Print what each drift came to; and the SNR of a tone."""
    for ppm in DRIFTS_PPM:
        day = _day(ppm)
        facts = {"drift_ppm": ppm, "hours": HOURS, "network": "wifi"}
        figure("drift_underruns", [day.waits], "", aim="0", **facts)
        figure("drift_delay_strays", [day.strayed_ms], "ms", aim="<= 10", **facts)
        figure("drift_estimate_error_10_min", [day.after_10_min], "ppm", aim="<= 3", **facts)
        figure("drift_estimate_error_end", [day.at_the_end], "ppm", aim="<= 3", **facts)
    for ppm in (50.0, 200.0):
        figure("drift_snr_of_a_tone", [_snr(ppm)], "dB", aim=">= 90", drift_ppm=ppm, tone_hz=_TONE_HZ)


def _day(ppm: float) -> Day:
    """The sender's crystal is fast by half of it, the card's slow by the other half; over Wi-Fi, without loss."""
    reception = Reception(_settings("pcmu", _HZ))
    network = networks.wifi(seed=21)
    payload = bytes(np.random.default_rng(1).integers(0, 256, _HZ * PACKET_MS // 1_000, dtype=np.uint8))
    rate = RATE_HZ * (1 - ppm / 2e6)
    coming: list[tuple[int, int]] = []
    index = waits = 0
    given, strayed_ms, early = 0, 0.0, 0.0
    while (playout_ns := round(given / rate * NS)) < HOURS * 3_600 * NS:
        now_ns = playout_ns - 100 * MS
        while (sent_ns := round(index * PACKET_MS * MS / (1 + ppm / 2e6))) <= now_ns:
            for at_ns in network(sent_ns) or [sent_ns + 50 * MS]:
                heapq.heappush(coming, (at_ns, index))
            index += 1
        while coming and coming[0][0] <= now_ns:
            at_ns, number = heapq.heappop(coming)
            ticks = number * len(payload)
            packet = rtp.RtpPacket(0, False, number & 0xFFFF, ticks & 0xFFFFFFFF, 7, payload)
            reception.put(rtp.build(packet), at_ns)
        reception.get(BLOCK, playout_ns)
        given += BLOCK
        minutes = playout_ns / 60 / NS
        waits += minutes > 1 and reception.heard.waiting
        if minutes > _SETTLED_MIN:
            strayed_ms = max(strayed_ms, abs(_late_ms(reception, playout_ns)))
        if minutes <= 10 and reception.drift_ppm is not None:
            early = reception.drift_ppm
    true = ((1 + ppm / 2e6) / (1 - ppm / 2e6) - 1) * 1e6
    assert reception.drift_ppm is not None
    return Day(waits, strayed_ms, abs(early - true), abs(reception.drift_ppm - true))


def _late_ms(reception: Reception, playout_ns: int) -> float:
    """How late what comes next sounds, against its target."""
    ahead = BLOCK + reception._out.held + reception._rate.delay_frames
    late_ns = reception._late_ns(playout_ns + round(ahead * NS / RATE_HZ))
    return 0.0 if late_ns is None else late_ns / MS


def _snr(ppm: float) -> float:
    """Of a tone in linear PCM after ten minutes of steering: against the nearest sine, in pieces of 0.1 s."""
    reception = Reception(_settings("l16", RATE_HZ))
    frames = RATE_HZ // 50
    out: list[np.ndarray] = []
    index = given = 0
    while given < 660 * RATE_HZ:
        playout_ns = given * NS // RATE_HZ
        while index * 20 * MS / (1 + ppm / 1e6) <= playout_ns - 100 * MS:
            at = (index * frames + np.arange(frames)) / RATE_HZ
            samples = np.rint(16_000 * np.sin(2 * np.pi * _TONE_HZ * at)).astype(">i2").tobytes()
            packet = rtp.RtpPacket(0, False, index & 0xFFFF, index * frames & 0xFFFFFFFF, 7, samples)
            reception.put(rtp.build(packet), round(index * 20 * MS / (1 + ppm / 1e6)) + 5 * MS)
            index += 1
        block = reception.get(BLOCK, playout_ns)
        given += BLOCK
        if given > 600 * RATE_HZ:
            out.append(block)
    pieces = np.concatenate(out).astype(np.float64).reshape(-1, BLOCK)
    return float(np.median([_against_a_sine(piece, _TONE_HZ * (1 + ppm / 1e6)) for piece in pieces]))


def _against_a_sine(piece: np.ndarray, near_hz: float) -> float:
    """The nearest sine, whose frequency may be a little off: to first order that is a sine that grows from the middle."""
    at = (np.arange(piece.size) - piece.size / 2) / RATE_HZ
    waves = [np.sin(2 * np.pi * near_hz * at), np.cos(2 * np.pi * near_hz * at)]
    shape = np.stack([*waves, *(at * wave for wave in waves)], axis=1)
    rest = piece - shape @ np.linalg.lstsq(shape, piece, rcond=None)[0]
    return float(10 * np.log10((piece @ piece) / (rest @ rest + 1e-30)))


def _settings(codec: str, clock_hz: int) -> ReceptionSettings:
    buffer = BufferSettings.of(Mode.SOLO, clock_hz=clock_hz)
    return ReceptionSettings(codec=codec, clock_hz=clock_hz, payload_types=frozenset({0}), buffer=buffer)


if __name__ == "__main__":
    main()
