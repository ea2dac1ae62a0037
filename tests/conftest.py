"""What tests of more than one room share: a real broker, and how hypothesis looks for examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.mosquitto import MISSING, PROGRAM, Mosquitto

settings.register_profile("house", deadline=None, derandomize=True)
settings.load_profile("house")
"""The same examples each time, however slow the machine is."""

MosquittoMaker = Callable[..., Mosquitto]
"""Takes the keywords of `Mosquitto` and returns a started one."""


@pytest.fixture
def make_mosquitto(tmp_path: Path) -> Iterator[MosquittoMaker]:
    """Starts brokers; all of them end with the test."""
    if PROGRAM is None:
        pytest.skip(MISSING)
    made: list[Mosquitto] = []

    def make(**keywords: Any) -> Mosquitto:
        directory = tmp_path / f"mosquitto-{len(made)}"
        directory.mkdir()
        made.append(Mosquitto(directory, **keywords))
        made[-1].start()
        return made[-1]

    yield make
    for broker in made:
        broker.kill()


@pytest.fixture
def mosquitto(make_mosquitto: MosquittoMaker) -> Mosquitto:
    """A broker for anybody, on loopback: `.url`, `.stop()`, `.start()`, `.kill()`."""
    return make_mosquitto()
