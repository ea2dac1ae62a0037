"""Birth, will, farewell, caps, health; and alerts, which outlive the run that raised them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest

from edge_agent.clocktrust import ClockSettings, ClockTrust
from edge_agent.report.status import Caps, Muted, Status, Vitals, read_vitals
from hal.errors import BrokerLost
from hal.ports import Message
from hal.sim.disk import VirtualDisk
from tests.report.post_room import NODE, CommandedSession, PostRoom

CAPS = Caps(agent="0.1.0", verbs=("play", "stop"), schemas={"order": 1}, hardware={"sound": "virtual"})


class Office(PostRoom):
    """A post room with a node that speaks of itself."""

    def build(self) -> None:
        super().build()
        self.disk = VirtualDisk(clock=self.clock, capacity_bytes=1000 << 20)
        self.trust = ClockTrust(settings=ClockSettings(), clock=self.clock, database=self.database)
        self.status = Status(
            clock=self.clock,
            trust=self.trust,
            disk=self.disk,
            outbox=self.outbox,
            alerts=self.alerts,
            settings=self.settings,
            root="pa/v1",
            node=NODE,
            caps=CAPS,
            vitals=lambda: Vitals(load_1m=0.25, memory_free_mib=700, peak_rss_mib=60),
        )


def content(message: Message) -> dict[str, Any]:
    decoded = json.loads(message.payload)
    assert isinstance(decoded, dict)
    return decoded


# ---------------------------------------------------------------- state and caps


def test_the_three_states_are_retained_on_one_topic() -> None:
    office = Office()
    birth = office.status.birth(session="s1", nonce="n1", have={"schedule": 3}, last={"xa-vi-huong": 4711})
    will = office.status.will(session="s1")
    farewell = office.status.farewell(session="s1", why="restart")
    assert {(message.topic, message.qos, message.retain) for message in (birth, will, farewell)} == {
        ("pa/v1/thon-3/up/state", 1, True)
    }
    assert content(birth) == {
        "state": "online",
        "session": "s1",
        "boot": "boot-1",
        "nonce": "n1",
        "agent": "0.1.0",
        "have": {"schedule": 3},
        "last": {"xa-vi-huong": 4711},
        "clock": {"quality": "synced", "wall": "2026-11-23T00:00:00.000Z", "mono_ms": 10_000},
        "muted": [],
    }
    assert content(will) == {"state": "lost", "session": "s1"}
    assert content(farewell) == {"state": "offline", "session": "s1", "why": "restart"}


def test_a_node_without_a_clock_says_so_and_gives_no_date() -> None:
    office = Office()
    office.clock.lose()
    birth = office.status.birth(session="s1", nonce="n1", have={}, last={})
    assert content(birth)["clock"] == {"quality": "unknown", "wall": None, "mono_ms": 10_000}


def test_caps_say_what_the_node_can_do() -> None:
    caps = Office().status.caps()
    assert (caps.topic, caps.retain) == ("pa/v1/thon-3/up/caps", True)
    assert content(caps)["verbs"] == ["play", "stop"]


# ---------------------------------------------------------------- health


def test_health_says_how_the_box_is() -> None:
    office = Office()

    async def main() -> Message:
        await office.put("state", "s1", "s2")
        await office.alerts.raised("disk_low", "The disk is almost full.")
        return await office.status.health(CommandedSession())

    health = office.run(main())
    assert (health.topic, health.qos, health.retain) == ("pa/v1/thon-3/up/health", 0, False)
    told = content(health)
    assert told["alerts"] == ["disk_low"]
    assert (told["load_1m"], told["memory_free_mib"], told["disk_free_mib"]) == (0.25, 700, 1000)
    assert (told["outbox_waiting"], told["outbox_unacknowledged"], told["outbox_dropped"]) == (3, 0, 0)
    assert (told["sent_bytes"], told["received_bytes"]) == (1234, 567)
    assert len(health.payload) < 600, "288 of them a day must fit into an idle node's megabyte"


def test_health_is_told_even_when_half_of_it_is_unknown() -> None:
    office = Office()
    office.disk.power_off()
    told = content(office.run(office.status.health(CommandedSession())))
    assert (told["disk_free_mib"], told["outbox_waiting"], told["load_1m"]) == (None, None, 0.25)


def test_health_comes_every_period_and_a_flapping_line_does_not_multiply_it() -> None:
    office = Office(health_period_s=300)
    sessions = [CommandedSession() for _ in range(10)]

    async def main() -> None:
        for session in sessions:
            await lasting(office, session, 60)
        await lasting(office, sessions[0], 3000)

    office.run(main())
    assert [len(session.messages) for session in sessions[1:]] == [0, 0, 0, 0, 1, 0, 0, 0, 0]
    assert len(sessions[0].messages) == 1 + 10


async def lasting(office: Office, session: CommandedSession, seconds: float) -> None:
    """A session that is lost after so many seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await office.status.health_life(session)


def test_a_broker_that_refuses_health_is_not_a_reason_to_stop_but_a_lost_one_is() -> None:
    office = Office(health_period_s=300)
    session = CommandedSession(answer=lambda _: 0x87)
    session.lose_after = 3

    async def main() -> None:
        with pytest.raises(BrokerLost):
            await office.status.health_life(session)

    office.run(main())
    assert len(session.tried) == 4


class Stops:
    """Stands for the guard: says what is muted."""

    def __init__(self) -> None:
        self.muted: tuple[Muted, ...] = ()
        self._changed = asyncio.Event()

    def notes(self) -> tuple[Muted, ...]:
        return self.muted

    async def changed(self, since: tuple[Muted, ...]) -> tuple[Muted, ...]:
        while self.muted == since:
            await self._changed.wait()
        return self.muted

    def say(self, *muted: Muted) -> None:
        self.muted = muted
        self._changed.set()
        self._changed = asyncio.Event()


def test_the_state_is_told_again_whenever_other_stops_stand() -> None:
    office = Office(health_period_s=300)
    stop = Muted(stop="s-1", issuer="xa", order=None, klass="priority", until="2026-11-23T01:00:00.000Z")
    stops, session = Stops(), CommandedSession()
    office.status._muting = stops

    async def main() -> None:
        office.status.birth(session="s1", nonce="n1", have={}, last={})
        living = asyncio.create_task(lasting(office, session, 250))
        for muted in ((stop,), (stop,), ()):
            await asyncio.sleep(50)
            stops.say(*muted)
        await living

    office.run(main())
    told = [(message.topic, message.retain, content(message)) for message in session.messages]
    assert [topic for topic, _, _ in told] == ["pa/v1/thon-3/up/health", *["pa/v1/thon-3/up/state"] * 2]
    assert [(state["muted"], state["nonce"]) for _, retain, state in told if retain] == [
        ([{"stop": "s-1", "issuer": "xa", "order": None, "class": "priority", "until": stop.until}], "n1"),
        ([], "n1"),
    ]


def test_the_real_vitals_can_be_read() -> None:
    vitals = read_vitals()
    assert vitals.peak_rss_mib is not None
    assert vitals.peak_rss_mib > 1


# ---------------------------------------------------------------- alerts


def test_an_alert_is_retained_until_it_is_solved() -> None:
    office = Office()

    async def main() -> list[Message]:
        assert await office.alerts.raised("disk_low", "The disk is almost full.")
        first = await office.drain(CommandedSession())
        assert await office.alerts.solved("disk_low")
        second = await office.drain(CommandedSession())
        return [*first.messages, *second.messages]

    raised, solved = office.run(main())
    assert raised.topic == solved.topic == "pa/v1/thon-3/up/alert/disk_low"
    assert raised.retain
    assert solved.retain
    assert content(raised) == {
        "id": "disk_low",
        "text": "The disk is almost full.",
        "raised": "2026-11-23T00:00:00.000Z",
        "mono_ms": 10_000,
        "boot": "boot-1",
    }
    assert solved.payload == b""


def test_the_same_alert_again_says_nothing_and_costs_nothing() -> None:
    office = Office()

    async def main() -> None:
        assert await office.alerts.raised("disk_low", "The disk is almost full.")
        transactions = office.database.runs
        for _ in range(100):
            assert not await office.alerts.raised("disk_low", "The disk is almost full.")
            assert not await office.alerts.solved("amp_fault")
        assert office.database.runs == transactions
        assert await office.alerts.raised("disk_low", "The disk is full."), "another text is news"
        assert await office.outbox.depth() == 1, "and takes the place of the one that has not left"

    office.run(main())


def test_what_an_earlier_run_raised_is_solved_by_this_one() -> None:
    office = Office()

    async def main() -> list[bytes]:
        await office.alerts.raised("amp_fault", "The amplifier reports a fault.")
        await office.drain(CommandedSession())
        office.power_cut()
        await office.alerts.open()
        assert office.alerts.standing == ("amp_fault",)
        assert not await office.alerts.raised("amp_fault", "The amplifier reports a fault.")
        assert await office.alerts.solved("amp_fault")
        assert not await office.alerts.solved("amp_fault")
        return [message.payload for message in (await office.drain(CommandedSession())).messages]

    assert office.run(main()) == [b""]


def test_a_broker_that_forgot_everything_is_told_again() -> None:
    office = Office()

    async def main() -> list[str]:
        await office.alerts.raised("amp_fault", "The amplifier reports a fault.")
        await office.alerts.raised("disk_low", "The disk is almost full.")
        await office.drain(CommandedSession())
        assert await office.alerts.renew() == 2
        return [message.topic[-8:] for message in (await office.drain(CommandedSession())).messages]

    assert sorted(office.run(main())) == ["disk_low", "mp_fault"]


def test_an_alert_that_cannot_be_stored_is_news_again_later() -> None:
    office = Office()

    async def main() -> None:
        await office.alerts.open()
        office.database.fail("full")
        assert not await office.alerts.raised("disk_low", "The disk is full.")
        assert await office.alerts.raised("disk_low", "The disk is full.")

    office.run(main())


def test_without_a_clock_an_alert_has_no_date() -> None:
    office = Office()
    office.clock.lose()

    async def main() -> Message:
        await office.alerts.raised("clock_unsynced", "The clock is not set.")
        return (await office.drain(CommandedSession())).messages[0]

    assert content(office.run(main()))["raised"] is None
