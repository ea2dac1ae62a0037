"""Quality under loss: PESQ-WB and STOI of a voice, ours against GStreamer on the very same packets."""

from __future__ import annotations

import random
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.stream.modes import BufferSettings, Mode
from edge_agent.stream.reception import Reception
from tests.bench import peer, speech
from tests.bench.measure import figure
from tests.networks import bad_mobile, lossy
from tests.stream import listening

if TYPE_CHECKING:
    from hal.ports import Frames

LINES = ((0.0, 1.5), *((loss, burst) for loss in (0.05, 0.1, 0.2) for burst in (1.5, 3.0)))
RATES = (24_000, 32_000, 64_000)
SEEDS = (1,)
_LEAD_S = 1.5
"""What a mode delays at the most, so that the end is heard."""


@dataclass(frozen=True, slots=True)
class Case:
    """One line and one way of sending."""

    rate: int
    red: int
    loss: float
    burst: float

    @property
    def seeds(self) -> tuple[int, ...]:
        """A line that loses nothing is one line."""
        return SEEDS if self.loss else SEEDS[:1]

    @property
    def aim(self) -> tuple[str, str]:
        """PESQ and STOI that ours should reach (with copies, 32 kb/s)."""
        if self.red and self.rate == 32_000 and self.burst == 3.0:
            return (">= 3.2" if self.loss == 0.1 else "", {0.1: ">= .97", 0.2: ">= .95"}.get(self.loss, ""))
        return "", ""


CASES = tuple(Case(rate, red, *line) for red in (0, 4) for rate in RATES for line in LINES)


def ours(wire: listening.Wire, seconds: float, mode: Mode) -> Frames:
    """As a card would hear it."""
    reception = Reception(listening.settings(buffer=BufferSettings.of(mode)))
    return listening.heard(wire, reception, seconds=seconds + _LEAD_S)


def wires(voice: Frames) -> dict[tuple[Case, int], listening.Wire]:
    """What arrives, for each case and seed."""
    sent = {
        (rate, red): listening.sent(voice, listening.sending(bitrate=rate, red_offset=red))
        for rate in RATES
        for red in (0, 4)
    }
    return {
        (case, seed): listening.through(sent[case.rate, case.red], lossy(case.loss, case.burst, seed=seed))
        for case in CASES
        for seed in case.seeds
    }


def _against_the_clean_decode(voice: Frames) -> None:
    """5 % independent loss without copies, in talk mode; and a bad mobile cell, with copies, in solo mode."""
    length = voice.size / speech.RATE_HZ
    wire = listening.sent(voice, listening.sending(bitrate=32_000, red_offset=0))
    clean_decode = ours(wire, length, Mode.TALK)
    found = []
    for seed in range(1, 4):
        rng = random.Random(seed)
        came = [pair for pair in wire if rng.random() >= 0.05]
        found.append(speech.scores((clean_decode, ours(came, length, Mode.TALK)))[0])
    figure(
        "loss_pesq_wb_against_clean_decode", found, "", aim=">= 4.4", loss_percent=5, kbit_s=32, delay_ms=220
    )
    for red in (0, 4):
        bad = []
        minutes = np.tile(voice, 4)[: 120 * speech.RATE_HZ]
        for seed in range(1, 4):
            reception = Reception(listening.settings())
            sent = listening.sent(minutes, listening.sending(bitrate=32_000, red_offset=red))
            listening.heard(listening.through(sent, bad_mobile(seed=seed)), reception, seconds=120)
            counts = reception.statistics
            bad.append((sum(counts.concealed_ms.values()) + counts.outage_ms) / 2)
        figure("loss_4gbad_concealed_or_silent", bad, "ms a minute", aim="<= 2400", red=red)


def main() -> None:
    """Print PESQ-WB and STOI of each case: ours in talk and solo mode, and GStreamer's."""
    why = speech.missing()
    if why is not None:
        print(f"skipped: {why}", file=sys.stderr)
        return
    voice = speech.voice()
    came = wires(voice)
    length = voice.size / speech.RATE_HZ
    with ProcessPoolExecutor(2) as pool:
        jobs = {}
        no_peer = peer.missing()
        if no_peer is not None:
            print(f"without GStreamer: {no_peer}", file=sys.stderr)
        else:
            for red in (0, 4):
                keys = [key for key in came if key[0].red == red]
                outs = peer.heard([came[key] for key in keys], red=bool(red))
                for key, out in zip(keys, outs, strict=True):
                    jobs["gstreamer", key] = pool.submit(speech.scores, (voice, out))
        for mode in (Mode.TALK, Mode.SOLO):
            for key, wire in came.items():
                jobs[mode.value, key] = pool.submit(_scored, voice, wire, length, mode)
        found = {key: job.result() for key, job in jobs.items()}
    _against_the_clean_decode(voice)
    for case in CASES:
        for who in ("talk", "solo", "gstreamer"):
            if (who, (case, 1)) in found:
                _tell(case, who, [found[who, (case, seed)] for seed in case.seeds])


def _scored(voice: Frames, wire: listening.Wire, length: float, mode: Mode) -> tuple[float, float]:
    return speech.scores((voice, ours(wire, length, mode)))


def _tell(case: Case, who: str, values: list[tuple[float, float]]) -> None:
    aims = ("", "") if who == "gstreamer" else case.aim
    for name, column, aim in zip(("pesq_wb", "stoi"), zip(*values, strict=True), aims, strict=True):
        more = {"who": who, "kbit_s": case.rate // 1_000, "red": case.red}
        figure(
            f"loss_{name}", column, "", aim=aim, **more, loss_percent=round(case.loss * 100), burst=case.burst
        )


if __name__ == "__main__":
    main()
