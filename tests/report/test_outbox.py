"""The outbox: order, numbers, acknowledgements, refusals, lost lines, power cuts, a full shelf."""

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
from hal.ports import Connect, Message
from hal.sim.broker import VirtualBroker
from tests.report.post_room import TOPICS, CommandedSession, PostRoom

# ---------------------------------------------------------------- order and numbers


def test_alerts_leave_first_then_order_states_then_reports() -> None:
    room = PostRoom()

    async def main() -> CommandedSession:
        await room.put("report", "r1", "r2")
        await room.put("state", "s1", "s2")
        await room.put("alert", "a1", retain=True)
        await room.put("state", "s3")
        return await room.drain(CommandedSession())

    session = room.run(main())
    assert session.told() == ["a1", "s1", "s2", "s3", "r1", "r2"]
    assert [message.retain for message in session.messages] == [True, False, False, False, False]


def test_numbers_grow_without_gaps_in_the_order_of_sending() -> None:
    room = PostRoom()

    async def main() -> CommandedSession:
        await room.put("report", "r1")
        await room.put("alert", "a1", retain=True)
        await room.put("state", "s1", "s2")
        return await room.drain(CommandedSession(), during=room.put("state", "s3"))

    session = room.run(main())
    assert session.numbers() == [1, 2, 3, 4]
    assert {line["log"] for line in session.lines() if "log" in line} == {
        json.loads(session.messages[-1].payload)["log"]
    }


def test_reports_travel_together_within_a_batch() -> None:
    room = PostRoom(batch_max_bytes=4096)

    async def main() -> CommandedSession:
        await room.put("report", *(f"r{index}" for index in range(20)), size=500)
        return await room.drain(CommandedSession())

    session = room.run(main())
    assert session.told() == [f"r{index}" for index in range(20)]
    assert len(session.messages) == 3
    assert all(len(message.payload) < 4096 + 1024 for message in session.messages)


def test_something_put_later_leaves_at_once() -> None:
    room = PostRoom()

    async def later() -> None:
        await asyncio.sleep(100)
        await room.put("state", "s1")

    async def main() -> CommandedSession:
        return await room.drain(CommandedSession(), for_s=1, during=later())

    assert room.run(main()).told() == ["s1"]


def test_an_alert_does_not_wait_behind_a_long_shelf() -> None:
    room = PostRoom(bytes_per_s=4096, burst_bytes=4096, batch_max_bytes=8192)

    async def later() -> None:
        await asyncio.sleep(20)
        await room.put("alert", "a1", retain=True)
        await asyncio.sleep(5)

    async def main() -> CommandedSession:
        await room.put("report", *(f"r{index}" for index in range(500)), size=1000)
        return await room.drain(CommandedSession(), for_s=0, during=later())

    assert "a1" in room.run(main()).told()


def test_the_pace_is_kept_to() -> None:
    room = PostRoom(bytes_per_s=1000, burst_bytes=10_000)

    async def main() -> int:
        await room.put("state", *(f"s{index}" for index in range(200)), size=1000)
        session = await room.drain(CommandedSession(), for_s=60)
        return sum(len(message.payload) for message in session.messages)

    sent = room.run(main())
    assert 60_000 <= sent <= 60_000 + 10_000 + 2 * 16 * 1100


# ---------------------------------------------------------------- acknowledgement and re-sending


def test_what_the_server_has_is_forgotten_and_the_rest_is_sent_again_on_a_later_connection() -> None:
    room = PostRoom()

    async def main() -> list[str]:
        await room.put("state", "s1", "s2", "s3")
        await room.drain(CommandedSession())
        assert (await room.outbox.counts()).unacknowledged == 3
        await room.outbox.acknowledged(2)
        assert (await room.outbox.counts()).unacknowledged == 1
        assert (await room.drain(CommandedSession())).told() == [], "the line was away for too short a time"
        await asyncio.sleep(600)
        again = await room.drain(CommandedSession())
        assert again.numbers() == [3], "it keeps its number"
        await room.outbox.acknowledged(3)
        assert await room.outbox.counts() == shelf.Counts(waiting=0, unacknowledged=0, dropped=0)
        return again.told()

    assert room.run(main()) == ["s3"]


def test_a_server_that_never_acknowledges_is_not_flooded() -> None:
    room = PostRoom(sends_max=3)

    async def main() -> int:
        await room.put("state", "s1")
        tellings = 0
        for _ in range(50):
            tellings += len((await room.drain(CommandedSession())).told())
            room.power_cut()
        assert (await room.outbox.counts()).unacknowledged == 1, "kept, should it ask"
        return tellings

    assert room.run(main()) == 3


def test_a_server_that_does_acknowledge_is_told_again_but_ever_more_seldom() -> None:
    room = PostRoom(resend_after_s=600)

    async def main() -> int:
        await room.put("state", "s1", "s2")
        await room.drain(CommandedSession())
        await room.outbox.acknowledged(1)
        tellings = 0
        for _ in range(7 * 24 * 60):
            tellings += len((await room.drain(CommandedSession(), for_s=59)).told())
            await asyncio.sleep(1)
        return tellings

    assert 8 <= room.run(main()) <= 16


def test_an_acknowledgement_of_what_was_never_sent_is_ignored() -> None:
    room = PostRoom()

    async def main() -> None:
        await room.put("state", "s1")
        await room.outbox.acknowledged(10_000)
        await room.outbox.acknowledged(0)
        await room.outbox.acknowledged(-1)
        session = await room.drain(CommandedSession())
        log = json.loads(session.messages[0].payload)["log"]
        await room.outbox.acknowledged(1, "another")
        assert (await room.outbox.counts()).unacknowledged == 1
        await room.outbox.acknowledged(1, log)
        assert (await room.outbox.counts()).unacknowledged == 0

    room.run(main())


def test_an_alert_is_done_with_when_the_broker_retains_it() -> None:
    room = PostRoom()

    async def main() -> None:
        await room.put("alert", "a1", retain=True)
        await room.drain(CommandedSession())
        assert await room.outbox.counts() == shelf.Counts(waiting=0, unacknowledged=0, dropped=0)

    room.run(main())


def test_only_the_last_word_of_an_alert_leaves() -> None:
    room = PostRoom()

    async def main() -> list[str]:
        await room.put("alert", "a1", "a2", "a3", retain=True)
        return (await room.drain(CommandedSession())).told()

    assert room.run(main()) == ["a3"]


# ---------------------------------------------------------------- refusals


def test_a_refused_topic_is_tried_ever_more_seldom_and_does_not_hold_up_the_others() -> None:
    room = PostRoom()
    session = CommandedSession(answer=lambda message: 0x87 if message.topic.endswith("/cmd") else 0)

    async def main() -> None:
        await room.put("state", *(f"s{index}" for index in range(100)))
        await room.put("report", "r1")
        await room.drain(session, for_s=86_400)

    room.run(main())
    assert session.told() == ["r1"]
    assert 280 <= len(session.tried) <= 330, "one probe in five minutes, after the first wave"
    assert room.outbox.refused == len(session.tried) - 1
    numbers = [
        json.loads(message.payload)["n"] for message in session.tried if message.topic.endswith("/cmd")
    ]
    assert len(set(numbers)) > 90, "another one each time, in case it is the message and not the topic"


def test_when_the_broker_takes_it_again_everything_leaves() -> None:
    room = PostRoom()
    start = room.counter.ns

    def answer(_: Message) -> int:
        return 0x87 if room.counter.ns < start + 3600e9 else 0

    async def main() -> CommandedSession:
        await room.put("state", *(f"s{index}" for index in range(100)))
        return await room.drain(CommandedSession(answer=answer), for_s=3600 + 700)

    assert sorted(room.run(main()).told()) == sorted(f"s{index}" for index in range(100))


@pytest.mark.parametrize("code", [0x80, 0x99])
def test_one_poisonous_message_does_not_stop_what_follows(code: int) -> None:
    room = PostRoom()
    session = CommandedSession(answer=lambda message: code if b"poison" in message.payload else 0)

    async def more() -> None:
        for index in range(100):
            await asyncio.sleep(60)
            await room.put("state", f"s{index}")

    async def main() -> None:
        await room.put("state", "poison")
        await room.drain(session, for_s=600, during=more())
        assert (await room.outbox.counts()).waiting == 1, "kept"

    room.run(main())
    assert session.told() == [f"s{index}" for index in range(100)]
    assert len(session.tried) - 100 < 40, "and it is not tried all the time"


def test_a_poisonous_report_spoils_its_batch_only_once() -> None:
    room = PostRoom()
    session = CommandedSession(answer=lambda message: 0x99 if b"poison" in message.payload else 0)

    async def main() -> None:
        await room.put("report", "r1", "poison", "r2")
        await room.drain(session, for_s=600)

    room.run(main())
    assert sorted(session.told()) == ["r1", "r2"]


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
