"""Random villages from a seed: whatever happens, every order ends once and the board ends as it should."""

from __future__ import annotations

import asyncio
import random

import pytest

from edge_agent.errors import Refused
from edge_agent.model import Precedence, ReasonCode
from edge_agent.ticket import Ticket
from tests.board.conftest import NOTICE, Village

TEXTS = ("Họp lúc 19h", "Nghỉ họp", "Lũ quét! Lên cao!", "😀", NOTICE)
EVENTS = 50


async def befall(village: Village, rng: random.Random, tickets: list[Ticket]) -> None:
    """One thing that happens."""
    now_ns = village.outside.monotonic_ns()
    match rng.choice(["ask"] * 9 + ["clear"] * 3 + ["plug", "power", "foreign", "drop", "restart", "noise"]):
        case "ask":
            tickets.append(
                village.ask(
                    rng.choice(TEXTS),
                    Precedence(rng.randrange(3)),
                    for_s=rng.choice([5, 60, 900, 5000]),
                    begin_within_s=rng.choice([1, 30, 600]),
                )
            )
        case "clear":
            tickets.append(village.clear(Precedence(rng.randrange(3))))
        case "plug":
            village.serial.missing = not village.serial.missing
        case "power":
            village.sign.power_cycle(now_ns)
        case "foreign":
            village.sign.foreign(now_ns, b"SALE")
        case "drop":
            village.sign.drop_every = rng.choice([0, 997, 50])
        case "restart":
            await village.restart(reboot=rng.random() < 0.5)
        case "noise":
            village.serial.inject(rng.randbytes(rng.randrange(200)))


@pytest.mark.parametrize("seed", range(12))
def test_every_order_ends_and_the_board_ends_as_wanted(seed: int, village_with: type[Village]) -> None:
    rng = random.Random(seed)
    village = village_with(answers=rng.random() < 0.8, pages_max=8)
    tickets: list[Ticket] = []
    refusals: set[ReasonCode] = set()

    async def story() -> None:
        for _ in range(EVENTS):
            await asyncio.sleep(rng.choice([0, 0.1, 1, 3, 10, 60, 600]))
            try:
                await befall(village, rng, tickets)
            except Refused as refused:
                refusals.add(refused.code)
        village.serial.missing = False
        village.sign.drop_every = 0
        await asyncio.sleep(1000)
        state = village.presenter.state()
        assert state.fault is None, f"seed={seed}"
        assert (village.kind() == "priority") == (state.precedence is Precedence.EMERGENCY), f"seed={seed}"
        assert state.picture is None or village.seen == state.picture, f"seed={seed}"
        await asyncio.sleep(6000)
        assert village.kind() == "blank", f"seed={seed}"
        assert refusals <= {ReasonCode.BUSY}
        for ticket in tickets:
            assert ticket.finished is not None, f"seed={seed} order={ticket.intent.id}"

    village.run(story)
