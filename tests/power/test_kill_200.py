"""kill -9, two hundred times at random moments of a node that only stores; after each, all that was told is there."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.power.busy_node import Told, all_of_it_is_there

pytestmark = pytest.mark.realtime

ROOT = Path(__file__).resolve().parents[2]

KILLS = 200


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The warm parent of every life."""
    command = [sys.executable, "-m", "tests.power.busy_node", str(tmp_path / "state"), "nursery"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        bufsize=1,
    ) as parent:
        yield parent
        assert parent.stdin is not None
        parent.stdin.close()


def a_life(nursery: subprocess.Popen[str], rng: random.Random) -> str:
    """One life, killed in its opening or after some lines; what it told."""
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    nursery.stdin.write("live\n")
    kind, _, number = nursery.stdout.readline().partition(" ")
    if kind != "alive":  # it was faster than its parent
        rest = [f"{kind} {number}"]
        while not rest[-1].startswith("alive"):
            rest.append(nursery.stdout.readline())
        number = rest.pop().partition(" ")[2]
    else:
        rest = []
    rest += [nursery.stdout.readline() for _ in range(rng.choice((0, 1, 3, 8, 12)))]
    threading.Event().wait(rng.uniform(0, 0.015))
    os.kill(int(number), signal.SIGKILL)
    while not rest or not rest[-1].startswith("dead"):
        rest.append(nursery.stdout.readline())
    return "".join(rest[:-1])


def test_killed_two_hundred_times_nothing_that_was_told_is_lost(
    nursery: subprocess.Popen[str], tmp_path: Path
) -> None:
    rng = random.Random(200)
    told = Told()
    root = tmp_path / "state"
    for kill in range(1, KILLS + 1):
        told.hear(a_life(nursery, rng))
        if kill % 10 == 0 or kill < 10:
            asyncio.run(all_of_it_is_there(root, told))
    assert len(told.of("ended")) > KILLS / 2
    assert len(told.of("asset")) > KILLS / 2
