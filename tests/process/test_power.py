"""How a run ends: asked, in every phase of a turn, and killed at any moment. Nothing is lost, nothing is done twice."""

from __future__ import annotations

import random
import signal
import threading
from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.playout.media import tone, wav
from tests.process.conftest import Outside, OutsideMaker
from tests.process.node import RATE_HZ, pause, silent

pytestmark = pytest.mark.realtime

KILLS = 3
SLOW = ("--set", "amplifier.settle_time_s=0.6", "--set", "amplifier.hang_time_s=2")


@pytest.mark.parametrize(
    ("phase", "wait_s", "heard", "outcome"),
    [
        ("settling", 0.3, False, "MISSED"),
        ("live", 1.4, True, "PARTIAL"),
    ],
)
def test_a_stop_in_any_phase_is_quick_and_leaves_the_amplifier_off(
    make_outside: OutsideMaker, phase: str, wait_s: float, *, heard: bool, outcome: str
) -> None:
    outside = make_outside(*SLOW)
    outside.begin()
    server, node = outside.server, outside.node
    order = server.order("play", outside.put("bulletin.wav", wav(tone(0.9))))
    server.state(order, "executing")
    pause(wait_s)
    assert node.end() < 5, phase
    assert node.code == 0
    assert silent(node.lines())
    assert node.sounded_while_not_live() == []
    assert bool(len(_loud(node.heard()))) == heard
    server.until(lambda: _outcomes(outside, order) == [outcome], what=f"{phase}: {outcome}")
    last = [entry.said for entry in server.received if entry.topic.endswith("/up/state")][-1]
    assert (last["state"], last["why"]) == ("offline", "stopped"), "a farewell, not the will"


class Issuer(threading.Thread):
    """Sends orders of every kind, one after another. Each programme has a pitch of its own, by which it is heard."""

    def __init__(self, outside: Outside, rng: random.Random) -> None:
        super().__init__(daemon=True)
        self._outside = outside
        self._rng = rng
        self._over = threading.Event()
        self.orders: list[str] = []
        self.pitches: dict[str, int] = {}

    def run(self) -> None:
        while not self._over.wait(self._rng.uniform(0.1, 0.6)):
            verb = self._rng.choice(("play", "play", "play", "board_show", "volume", "ping", "stop", "dance"))
            pitch = 400 + 20 * len(self.pitches)
            every: dict[str, dict[str, Any]] = {
                "board_show": {"text": f"Tin số {len(self.orders)}"},
                "volume": {"volume": 70},
                "stop": {"class": "routine"},
            }
            args = every.get(verb, {})
            if verb == "play":
                args = self._outside.put(f"{pitch}.wav", wav(tone(0.5, hz=pitch)))
            order = self._outside.server.order(verb, args)
            self.orders.append(order)
            if verb == "play":
                self.pitches[order] = pitch

    def stop(self) -> None:
        self._over.set()
        self.join()


def test_killed_at_any_moment_no_order_is_lost_and_none_is_done_twice(make_outside: OutsideMaker) -> None:
    """Three kills here; forty were tried by hand."""
    rng = random.Random(4)
    outside = make_outside("--set", "report.bytes_per_s=10000000", "--set", "hardware.board=none")
    server, node = outside.server, outside.node
    outside.begin()
    issuer = Issuer(outside, rng)
    issuer.start()
    for _ in range(KILLS):
        pause(rng.uniform(0.2, 1.6))
        node.end(signal.SIGKILL)
        node.start(wait=rng.random() < 0.7)
    issuer.stop()
    for order in issuer.orders:
        server.state(order, within_s=60)
    server.until(
        lambda: set(issuer.orders) <= {entry["id"] for entry in server.entries().values()}, what="all entries"
    )
    node.end()
    with node.database() as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT count(*) FROM asrun").fetchone() == (len(issuer.orders),)
    reported: dict[str, set[str]] = defaultdict(set)
    for entry in server.entries().values():
        reported[entry["id"]].add(entry["outcome"])
    assert reported.keys() == set(issuer.orders)
    assert all(len(outcomes) == 1 for outcomes in reported.values())
    runs = [run for run in range(1, node.runs + 1) if node.has_heard(run)]
    assert [node.sounded_while_not_live(run) for run in runs] == [[]] * len(runs)
    heard = [node.heard(run) for run in runs]
    for order, pitch in issuer.pitches.items():
        sounded = [windows for each in heard if (windows := _windows(each, pitch)) > 1]
        assert len(sounded) <= 1, f"{order} sounded in {len(sounded)} runs"
        assert all(windows <= 7 for windows in sounded), f"{order} sounded twice in one run"


def test_an_emergency_begins_again_after_a_kill_and_a_bulletin_does_not(make_outside: OutsideMaker) -> None:
    outside = make_outside()
    outside.begin()
    server, node = outside.server, outside.node
    bulletin = server.order("play", outside.put("low.wav", wav(tone(30, hz=400))))
    server.state(bulletin, "executing")
    pause(0.7)
    alarm = server.order("play", outside.put("high.wav", wav(tone(1.5, hz=1600))), **{"class": "emergency"})
    server.state(alarm, "executing")
    pause(0.7)
    node.end(signal.SIGKILL)
    outside.begin()
    assert server.state(alarm)["state"] == "successful"
    assert server.state(bulletin)["state"] == "interrupted"
    node.end()
    assert _windows(node.heard(), 1600) >= 13, "from its beginning"
    assert _windows(node.heard(), 400) == 0


def _outcomes(outside: Outside, order: str) -> list[str]:
    return [entry["outcome"] for entry in outside.server.entries().values() if entry["id"] == order]


def _loud(heard: npt.NDArray[np.float32]) -> npt.NDArray[np.intp]:
    return np.flatnonzero(np.abs(heard) > 0.01)


def _windows(heard: npt.NDArray[np.float32], hertz: int) -> int:
    """In how many tenths of a second this pitch is what sounds."""
    size = RATE_HZ // 10
    blocks = heard[: len(heard) // size * size].reshape(-1, size)
    wave = np.exp(-2j * np.pi * hertz * np.arange(size) / RATE_HZ)
    level = np.abs(blocks @ wave) / size * 2
    whole = np.sqrt(np.mean(np.square(blocks), axis=1)) * np.sqrt(2)
    return int(np.sum((level > 0.02) & (level > 0.7 * whole)))
