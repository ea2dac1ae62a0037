"""What tests of more than one room share: a real broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.mosquitto import MISSING, PROGRAM, Mosquitto

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
