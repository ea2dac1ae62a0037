"""Sticky stops: what they cover, and when they end over boots and clocks that do not know the date."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from edge_agent.model import NS, Digest, Issuer, OrderId, Play, Precedence, Stop
from edge_agent.playout import stops
from edge_agent.playout.stops import Standing, settled

NOON = datetime(2026, 11, 23, 5, 0, tzinfo=UTC)
HOUR_NS = 3600 * NS


def a_stop(**more: object) -> Stop:
    told: dict[str, object] = {
        "id": OrderId("stop-1"),
        "issuer": Issuer("commune"),
        "precedence": Precedence.ROUTINE,
        "deadline_ns": 0,
        "until_ns": 100 * NS + HOUR_NS,
        "highest": Precedence.PRIORITY,
    }
    return Stop(**(told | more))  # type: ignore[arg-type] # a test's keywords


def a_play(precedence: Precedence, order: str = "a") -> Play:
    return Play(
        id=OrderId(order), issuer=Issuer("x"), precedence=precedence, deadline_ns=0, media=Digest("sha256:x")
    )


def standing(utc: datetime | None = NOON, **more: object) -> Standing:
    return stops.standing(a_stop(**more), boot="boot-1", now_ns=100 * NS, utc=utc)


def test_a_stop_by_class_covers_that_class_and_lower() -> None:
    stop = standing()
    assert [stop.covers(a_play(each)) for each in Precedence] == [True, True, False]


def test_a_stop_of_an_order_covers_it_whatever_its_class() -> None:
    stop = standing(target=OrderId("b"))
    assert stop.covers(a_play(Precedence.EMERGENCY, "b"))
    assert not stop.covers(a_play(Precedence.ROUTINE, "a"))


def test_in_its_own_boot_it_ends_by_the_monotonic_clock_whatever_the_date_does() -> None:
    stop = standing()
    for utc in (NOON, NOON + timedelta(days=3000), None):
        assert settled(stop, boot="boot-1", now_ns=200 * NS, utc=utc) == stop
    assert not stop.over(100 * NS + HOUR_NS - 1)
    assert stop.over(100 * NS + HOUR_NS)


def test_after_another_boot_its_end_is_derived_from_the_date() -> None:
    stop = settled(standing(), boot="boot-2", now_ns=5 * NS, utc=NOON + timedelta(minutes=50))
    assert stop.until_ns == 5 * NS + 600 * NS
    assert settled(standing(), boot="boot-2", now_ns=5 * NS, utc=NOON + timedelta(hours=2)).over(5 * NS)


def test_while_the_date_is_not_trusted_it_stands_and_ends_once_it_is() -> None:
    stop = settled(standing(), boot="boot-2", now_ns=5 * NS, utc=None)
    assert not stop.over(5 * NS + 400 * 24 * HOUR_NS)
    assert settled(stop, boot="boot-2", now_ns=9 * NS, utc=NOON + timedelta(hours=2)).over(9 * NS)


def test_a_clock_set_back_by_years_does_not_make_it_last_for_years() -> None:
    stop = settled(standing(), boot="boot-2", now_ns=0, utc=NOON - timedelta(days=3000))
    assert stop.until_ns == HOUR_NS


def test_one_made_without_a_date_lasts_its_whole_span_again_until_the_date_is_known() -> None:
    stop = standing(utc=None)
    again = settled(stop, boot="boot-2", now_ns=7 * NS, utc=None)
    assert again.until_ns == 7 * NS + HOUR_NS
    dated = settled(again, boot="boot-2", now_ns=8 * NS, utc=NOON)
    assert dated.until == NOON + timedelta(seconds=3599)
    assert settled(dated, boot="boot-3", now_ns=0, utc=NOON + timedelta(seconds=3599)).over(0)


@pytest.mark.parametrize(
    "stop", [standing(), standing(utc=None), standing(target=OrderId("b"), highest=Precedence.EMERGENCY)]
)
def test_what_is_written_is_read_and_the_same_order_writes_over_itself(stop: Standing) -> None:
    connection = sqlite3.connect(":memory:")
    connection.executescript(stops.SCHEMA)
    stops.write(connection, stop)
    later = replace(stop, id=OrderId("stop-0"))
    stops.write(connection, later)
    stops.write(connection, stop)
    assert stops.read(connection) == [stop, later]
    stops.forget(connection, stop.id)
    assert stops.read(connection) == [later]
    connection.close()


def test_a_hand_at_the_box_silences_all_but_spares_new_emergencies() -> None:
    pressed = a_stop(until_ns=None, highest=Precedence.EMERGENCY)
    once, lasts = stops.by_hand(pressed, now_ns=NS, for_s=600, spares_emergencies=True)
    assert once == pressed
    assert (lasts.highest, lasts.until_ns) == (Precedence.PRIORITY, 601 * NS)
    assert lasts.id != once.id
    assert stops.by_hand(pressed, now_ns=NS, for_s=0, spares_emergencies=True) == (pressed,)
    (all_of_it,) = stops.by_hand(pressed, now_ns=NS, for_s=600, spares_emergencies=False)
    assert (all_of_it.highest, all_of_it.until_ns) == (Precedence.EMERGENCY, 601 * NS)
