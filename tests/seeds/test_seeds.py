"""Twenty-five random villages, two days each; `make seeds N=200` runs weeks. A failing seed says how to replay it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.seeds.week import lived

DAYS = 2


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What goes wrong in these worlds is meant to."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("seed", range(25))
def test_a_random_village_keeps_its_word(seed: int) -> None:
    verdict = lived(seed, days=DAYS)
    assert not verdict.wrong, f"replay: make seeds N=1 SEED={seed} DAYS={DAYS}\n" + "\n".join(
        verdict.wrong[:10]
    )


def test_the_same_seed_gives_the_same_trace_and_another_one_another() -> None:
    one, again, other = lived(3, days=1), lived(3, days=1), lived(4, days=1)
    assert one == again
    assert one.trace != other.trace
