"""The outbox at work: order, numbers, pace, acknowledgements, re-sending, refusals."""

from __future__ import annotations

import asyncio
import json

import pytest

from edge_agent.report import shelf
from hal.ports import Message
from tests.report.post_room import CommandedSession, PostRoom

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


def test_on_a_connection_that_lasts_a_server_that_missed_something_is_told_again() -> None:
    room = PostRoom(resend_after_s=600)

    async def main() -> list[int]:
        session = CommandedSession()

        async def a_server_that_was_away() -> None:
            await room.put("state", "s1")
            await asyncio.sleep(10)
            await room.outbox.acknowledged(1)
            await room.put("state", "s2", "s3")  # the broker takes them, and the server never gets them
            await asyncio.sleep(1_900)
            await room.outbox.acknowledged(3)

        await room.drain(session, for_s=90_000, during=a_server_that_was_away())
        return session.numbers()

    assert room.run(main()) == [1, 2, 3, 2, 3, 2, 3]


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
