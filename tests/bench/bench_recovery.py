"""What a sender's misfortunes cost: silence and clicks over a change of source, wraps, jumps, a restart, an outage, duplicates, reordering."""

from __future__ import annotations

import random
from collections.abc import Callable

from edge_agent.model import MS, NS, RATE_HZ
from edge_agent.stream.modes import BufferSettings, Mode
from edge_agent.stream.packetiser import FRAMES
from edge_agent.stream.reception import Reception
from tests.bench.measure import figure
from tests.networks import clean
from tests.stream.listening import Wire, clicks, heard, sending, sent, settings, silent_ms, steady, through

RUNS = 5
HOUR = 3_600 * RATE_HZ


def main() -> None:
    """Print ms of silence and the steepest bend (1 = the tone's own; a step of half its level is over 100)."""
    for name, make in CASES.items():
        silent, bends = [], []
        for run in range(RUNS):
            wire = make(run)
            out = heard(
                through(wire, clean()), Reception(settings(buffer=BufferSettings.of(Mode.TALK))), seconds=5.8
            )
            silent.append(silent_ms(out[RATE_HZ // 2 :]))
            bends.append(clicks(out[RATE_HZ // 2 :]))
        aim = "<= 200" if name in _QUICK else ""
        figure("recovery_silence", silent, "ms", aim=aim, case=name)
        figure("recovery_steepest_bend", bends, "x", aim="< 40: no click", case=name)


def _then(**change: int) -> Callable[[int], Wire]:
    def make(run: int) -> Wire:
        at_ns = 3 * NS + run * 7 * MS
        return sent(steady(3.0 + run * 0.007)) + sent(steady(3.5), sending(**change), begin_ns=at_ns)

    return make


def _wraps(run: int) -> Wire:
    options = sending(first_sequence=65_490 - run, first_timestamp=(2**32 - (50 + run) * FRAMES) & 0xFFFFFFFF)
    return sent(steady(6.5), options)


def _outage(run: int) -> Wire:
    begin_ns = 2 * NS + run * 13 * MS
    return [pair for pair in sent(steady(8.0)) if not begin_ns <= pair[0] < begin_ns + 2 * NS]


def _duplicates(run: int) -> Wire:
    rng = random.Random(run)
    wire = sent(steady(6.5))
    return sorted(
        wire + [(at + 5 * MS, blob) for at, blob in wire if rng.random() < 0.01], key=lambda pair: pair[0]
    )


def _reordered(run: int) -> Wire:
    rng = random.Random(run)
    wire = [(at + (45 * MS if rng.random() < 0.02 else 0), blob) for at, blob in sent(steady(6.5))]
    return sorted(wire, key=lambda pair: pair[0])


CASES: dict[str, Callable[[int], Wire]] = {
    "another SSRC": _then(ssrc=0xBEEF, first_timestamp=12_345),
    "an hour ahead": _then(first_timestamp=HOUR, first_sequence=150),
    "an hour back": _then(first_timestamp=2**32 - HOUR, first_sequence=150),
    "sequence jump": _then(first_timestamp=3 * RATE_HZ, first_sequence=30_000),
    "sender restarts": _then(ssrc=0xABCD, first_sequence=9, first_timestamp=77),
    "sequence and timestamp wrap": _wraps,
    "outage of 2 s": _outage,
    "1 % duplicates": _duplicates,
    "2 % reordered by 45 ms": _reordered,
}
_QUICK = set(CASES) - {"outage of 2 s"}


if __name__ == "__main__":
    main()
