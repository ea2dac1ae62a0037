"""The outbox when things break: lost lines, power cuts, a failing database, a full shelf, and all of it at random."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.report import shelf
from hal.errors import BrokerLost, DatabaseError
from hal.ports import Connect
from hal.sim.broker import VirtualBroker
from tests.report.post_room import TOPICS, CommandedSession, PostRoom

# ---------------------------------------------------------------- lost lines and power cuts


def test_a_lost_connection_ends_the_drain_and_what_was_taken_is_not_sent_again() -> None:
    room = PostRoom()

    async def main() -> tuple[list[str], list[str]]:
        await room.put("state", *(f"s{index}" for index in range(8)))
        first = CommandedSession()
        first.lose_after = 5
        with pytest.raises(BrokerLost):
            await room.outbox.drain(first)
        second = await room.drain(CommandedSession())
        return first.told(), second.told()

    first, second = room.run(main())
    assert first == [f"s{index}" for index in range(5)]
    assert second == [f"s{index}" for index in range(5, 8)]


def test_a_broker_that_never_acknowledges_is_taken_for_lost() -> None:
    room = PostRoom(puback_timeout_s=60)
    session = CommandedSession()
    session.hang = True

    async def main() -> float:
        await room.put("state", "s1")
        begun = asyncio.get_running_loop().time()
        with pytest.raises(BrokerLost):
            await room.outbox.drain(session)
        return asyncio.get_running_loop().time() - begun

    assert room.run(main()) == pytest.approx(60, abs=1)


def test_what_was_put_survives_a_power_cut_before_the_drain() -> None:
    room = PostRoom()

    async def main() -> list[str]:
        await room.put("state", "s1")
        await room.put("report", "r1")
        room.power_cut()
        return (await room.drain(CommandedSession())).told()

    assert room.run(main()) == ["s1", "r1"]


@pytest.mark.parametrize("moment", ["before", "inside", "after"])
@pytest.mark.parametrize("run", range(5))
def test_a_power_cut_at_any_transaction_of_a_drain_loses_nothing_and_keeps_every_number(
    run: int, moment: str
) -> None:
    room = PostRoom()
    texts = [f"s{index}" for index in range(40)]

    async def main() -> tuple[CommandedSession, CommandedSession]:
        await room.put("state", *texts)
        room.database.cut_at(room.database.runs + run, moment)  # type: ignore[arg-type] # one of its literals
        first = await room.drain(CommandedSession(), for_s=5)
        room.power_cut()
        return first, await room.drain(CommandedSession())

    first, second = room.run(main())
    told = first.told() + second.told()
    assert set(told) == set(texts)
    numbered = dict(zip(first.numbers() + second.numbers(), told, strict=True))
    assert sorted(numbered) == list(range(1, 41)), "one number, one message"
    assert len(set(numbered.values())) == 40


def test_a_database_that_fails_is_waited_out() -> None:
    room = PostRoom()

    async def main() -> list[str]:
        await room.put("state", "s1")
        room.database.fail("full", times=3)
        return (await room.drain(CommandedSession(), for_s=200)).told()

    assert room.run(main()) == ["s1"]


def test_a_lost_database_begins_a_new_row_of_numbers() -> None:
    room = PostRoom()

    async def main() -> tuple[str, str]:
        logs = []
        for _ in range(2):
            await room.put("state", "s1")
            session = await room.drain(CommandedSession())
            assert session.numbers() == [1]
            logs.append(json.loads(session.messages[0].payload)["log"])
            room.database.corrupt()
            room.power_cut()
        return logs[0], logs[1]

    first, second = room.run(main())
    assert first != second


# ---------------------------------------------------------------- a full shelf


def test_a_full_shelf_drops_the_oldest_reports_first_and_alerts_last() -> None:
    room = PostRoom(outbox_max_entries=200)

    async def main() -> None:
        await room.drain(CommandedSession(), for_s=1)
        await room.put("alert", "a1", retain=True)
        await room.put("state", *(f"s{index}" for index in range(100)))
        await room.put("report", *(f"r{index}" for index in range(150)))
        counts = await room.outbox.counts()
        assert counts.waiting <= 200
        assert counts.dropped + counts.waiting == 251
        session = await room.drain(CommandedSession())
        told = session.told()
        assert told[:101] == ["a1", *(f"s{index}" for index in range(100))]
        assert told[101:] == [f"r{index}" for index in range(150 - len(told) + 101, 150)], "the newest"
        assert session.numbers() == list(range(1, len(told))), "no gap tells of what was dropped"
        await room.put("state", *(f"t{index}" for index in range(300)))
        told = (await room.drain(CommandedSession())).told()
        assert told[-1] == "t299"
        assert not [text for text in told if text.startswith("r")]

    room.run(main())


def test_what_the_broker_has_already_goes_before_what_nobody_has() -> None:
    room = PostRoom(outbox_max_entries=100)

    async def main() -> list[str]:
        await room.drain(CommandedSession(), for_s=1)
        await room.put("report", *(f"sent{index}" for index in range(50)))
        await room.drain(CommandedSession())
        await room.put("report", *(f"new{index}" for index in range(80)))
        return (await room.drain(CommandedSession())).told()

    assert room.run(main()) == [f"new{index}" for index in range(80)]


def test_thousands_of_entries_cost_few_transactions() -> None:
    room = PostRoom(bytes_per_s=10_000_000, burst_bytes=10_000_000)

    def fill(connection: sqlite3.Connection) -> None:
        for index in range(5000):
            kind: shelf.Kind = "report" if index % 5 else "state"
            shelf.put(connection, topic=TOPICS[kind], payload=b'{"text":"%d"}' % index, kind=kind)

    async def main() -> tuple[int, int]:
        await room.database.run(fill)
        before = room.database.runs
        session = await room.drain(CommandedSession(), for_s=300)
        return len(session.told()), room.database.runs - before

    told, transactions = room.run(main())
    assert told == 5000
    assert transactions < 120


# ---------------------------------------------------------------- whatever happens


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.sampled_from(["state", "report"]), st.integers(1, 8), st.just("")),
            st.tuples(st.just("line"), st.integers(0, 12), st.sampled_from(["acknowledge", ""])),
            st.tuples(st.just("cut"), st.integers(0, 3), st.sampled_from(["before", "inside", "after"])),
        ),
        max_size=12,
    )
)
def test_whatever_happens_the_server_gets_everything_under_one_number_each(
    steps: list[tuple[Any, int, Any]],
) -> None:
    room = PostRoom()
    texts: list[str] = []
    got: dict[int, str] = {}

    async def line(lose_after: int | None, for_s: float) -> None:
        session = CommandedSession()
        session.lose_after = lose_after
        await room.drain(session, for_s=for_s)
        for told in session.lines():
            assert got.setdefault(told["n"], told["text"]) == told["text"], "a number means one message"

    async def main() -> None:
        for what, number, how in steps:
            if what == "line":
                await line(number, 5)
                if how == "acknowledge" and got:
                    await room.outbox.acknowledged(
                        next(n for n in range(1, len(got) + 2) if n not in got) - 1
                    )
            elif what == "cut":
                room.database.cut_at(room.database.runs + number, how)
                await line(None, 5)
                room.power_cut()
            else:
                new = [f"{what}{len(texts) + index}" for index in range(number)]
                texts.extend(new)
                await room.put(what, *new)
        await line(None, 30)

    room.run(main())
    assert sorted(got.values()) == sorted(texts)
    assert sorted(got) == list(range(1, len(texts) + 1))


def test_a_broker_in_virtual_time_receives_everything_in_order() -> None:
    room = PostRoom()
    broker = VirtualBroker(room.clock, random.Random(5), delay_s=0.3, jitter_s=0.2)
    texts = [f"s{index}" for index in range(100)]

    async def main() -> None:
        await room.put("state", *texts)
        for _ in range(3):
            async with broker.session(Connect(client_id="thon-3")) as session:
                draining = asyncio.create_task(room.outbox.drain(session))
                await asyncio.sleep(2.5)
                broker.partition("lost")
                with pytest.raises(BrokerLost):
                    await draining
            broker.heal()
        async with broker.session(Connect(client_id="thon-3")) as session:
            draining = asyncio.create_task(room.outbox.drain(session))
            await asyncio.sleep(60)
            draining.cancel()
            await asyncio.wait([draining])

    room.run(main())
    received = [json.loads(entry.message.payload) for entry in broker.server_received]
    firsts = list(dict.fromkeys(line["n"] for line in received))
    assert firsts == list(range(1, 101))
    assert [next(line["text"] for line in received if line["n"] == n) for n in firsts] == texts
    assert all(later["n"] - earlier["n"] <= 1 for earlier, later in pairwise(received))


def test_a_closed_database_does_not_kill_the_drain() -> None:
    room = PostRoom()

    async def main() -> None:
        await room.database.close()
        with pytest.raises(DatabaseError):
            await room.outbox.counts()
        assert (await room.drain(CommandedSession(), for_s=100)).told() == []

    room.run(main())
