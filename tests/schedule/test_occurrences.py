"""Which turns a plan has: between, next, colliding; the same whichever way one asks."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.desired import Signed
from edge_agent.model import LOCAL_TIME, Issuer, Precedence
from edge_agent.schedule import plan as plans
from edge_agent.schedule.forms import DAYS
from edge_agent.schedule.occurrences import between, collisions, upcoming
from edge_agent.schedule.plan import Plan, Rule

MONDAY = datetime(2026, 11, 30, tzinfo=LOCAL_TIME)
SIGNED = Signed(issuer=Issuer("xa"), highest=Precedence.EMERGENCY, version=1, issued_at=MONDAY)
SAY = [{"say": "x"}]


def a_plan(*rules: dict[str, Any], **more: Any) -> Plan:
    whole = [{"id": f"r{n}", "programme": SAY} | rule for n, rule in enumerate(rules)]
    return plans.read(json.dumps({"rules": whole} | more).encode(), SIGNED)


def times(plan: Plan, days: int = 7, start: datetime = MONDAY) -> list[str]:
    return [
        f"{one.at:%d %H:%M}"
        for one in between(plan, start - timedelta(minutes=1), start + timedelta(days=days))
    ]


def test_weekdays_and_times_of_a_day() -> None:
    assert times(a_plan({"at": ["17:00", "05:30"], "days": ["mon", "wed"]})) == [
        "30 05:30", "30 17:00", "02 05:30", "02 17:00",
    ]  # fmt: skip


def test_a_range_of_dates_exceptions_and_extra_days() -> None:
    plan = a_plan(
        {"at": ["05:30"], "from": "2026-12-01", "to": "2026-12-03", "except": ["2026-12-02"]},
        {"at": ["06:00"], "dates": ["2026-12-05"]},
        {"at": ["07:00"], "days": ["mon"], "dates": ["2026-12-02"]},
    )
    assert times(plan, 8) == ["30 07:00", "01 05:30", "02 07:00", "03 05:30", "05 06:00", "07 07:00"]


def test_holidays_may_be_skipped_or_be_the_only_days() -> None:
    plan = a_plan(
        {"at": ["05:30"], "holidays": "skip"}, {"at": ["06:00"], "holidays": "only"}, holidays=["2026-12-01"]
    )
    assert times(plan, 3) == ["30 05:30", "01 06:00", "02 05:30"]


def test_a_repetition_over_midnight_belongs_to_the_day_it_began_on() -> None:
    plan = a_plan({"at": ["23:30"], "days": ["mon"], "repeat": {"times": 3, "every_min": 20}})
    assert times(plan) == ["30 23:30", "30 23:50", "01 00:10"]
    assert [f"{one.at:%d %H:%M}" for one in upcoming(plan, MONDAY, 3)] == ["30 23:30", "30 23:50", "01 00:10"]


def test_the_name_of_a_turn_is_its_rule_and_its_local_time() -> None:
    (one,) = upcoming(a_plan({"id": "ban-tin", "at": ["05:30"]}), MONDAY, 1)
    assert one.key == "ban-tin@2026-11-30T05:30"


RULES = st.fixed_dictionaries(
    {"at": st.lists(st.times().map(lambda t: f"{t:%H:%M}"), min_size=1, max_size=3)},
    optional={
        "days": st.lists(st.sampled_from(DAYS), min_size=1, max_size=7),
        "dates": st.lists(st.dates(date(2026, 11, 25), date(2026, 12, 20)).map(str), max_size=3),
        "except": st.lists(st.dates(date(2026, 11, 25), date(2026, 12, 20)).map(str), max_size=3),
        "from": st.dates(date(2026, 11, 25), date(2026, 12, 5)).map(str),
        "to": st.dates(date(2026, 12, 6), date(2026, 12, 20)).map(str),
        "holidays": st.sampled_from(["play", "skip", "only"]),
        "repeat": st.fixed_dictionaries({"times": st.integers(1, 4), "every_min": st.integers(1, 400)}),
    },
)


@given(
    rules=st.lists(RULES, min_size=1, max_size=4),
    holidays=st.lists(st.dates(date(2026, 11, 25), date(2026, 12, 20)).map(str), max_size=3),
    minutes=st.integers(0, 7 * 1440),
    count=st.integers(1, 20),
)
def test_what_comes_next_is_what_lies_between(
    rules: list[dict[str, Any]], holidays: list[str], minutes: int, count: int
) -> None:
    plan = a_plan(*rules, holidays=holidays)
    now = MONDAY + timedelta(minutes=minutes)
    found = upcoming(plan, now, count)
    whole = between(plan, now, now + timedelta(days=780))
    assert {one.key for one in found} <= {one.key for one in whole}
    assert [one.at for one in found] == [one.at for one in whole][: len(found)]
    assert len(found) == min(count, len(whole))
    halves = [
        *between(plan, now, now + timedelta(days=30)),
        *between(plan, now + timedelta(days=30), now + timedelta(days=780)),
    ]
    assert [one.key for one in halves] == [one.key for one in whole]
    assert len({one.key for one in whole}) == len(whole)


def test_two_of_one_class_at_one_time_are_a_collision_and_nothing_else_is() -> None:
    def collide(*rules: dict[str, Any]) -> int:
        return len(collisions(a_plan(*rules)))

    at = {"at": ["05:30"]}
    assert collide(at, at) == 1
    assert collide(at, at | {"class": "priority"}) == 0, "a higher class goes first, that is meant"
    assert collide(at | {"days": ["mon"]}, at | {"days": ["tue"]}) == 0
    assert collide(at | {"zones": ["cho"]}, at | {"zones": ["truong"]}) == 0
    assert collide(at | {"zones": ["cho"]}, at) == 1
    assert collide(at | {"to": "2026-12-01"}, at | {"from": "2026-12-02"}) == 0
    stream = [{"stream": {"url": "http://dai/x"}, "for_s": 1800}]
    assert collide({"at": ["05:00"], "programme": stream}, {"at": ["05:29"]}) == 1
    assert collide({"at": ["05:00"], "programme": stream}, {"at": ["05:30"]}) == 0
    assert collide(at | {"except": ["2026-12-01"]}, {"at": ["05:30"], "dates": ["2026-12-01"]}) == 0


def test_five_thousand_rules_are_looked_through() -> None:
    plan = a_plan(*({"at": [f"{n % 24:02}:{n % 60:02}"], "days": [DAYS[n % 7]]} for n in range(5_000)))
    whole = between(plan, MONDAY, MONDAY + timedelta(days=7))
    assert len(whole) in {4_999, 5_000, 5_001}
    assert upcoming(plan, MONDAY, 1)[0].at == whole[0].at


def test_a_repetition_that_meets_a_turn_of_the_next_day_is_one_turn() -> None:
    plan = a_plan({"at": ["23:50", "00:10"], "repeat": {"times": 2, "every_min": 20}})
    found = [one.key for one in between(plan, MONDAY, MONDAY + timedelta(days=3))]
    assert len(found) == len(set(found))
    assert [one.key for one in upcoming(plan, MONDAY, len(found))] == found


def test_a_rule_of_dates_alone_is_asked_about_those_only(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = a_plan(
        {"at": ["05:30"], "dates": ["2026-01-01", "2026-12-24", "2027-03-01"]},
        {"at": ["23:50"], "dates": ["2026-11-29"], "repeat": {"times": 2, "every_min": 20}},
    )
    asked: list[int] = []
    on = Rule.on

    def counting(rule: Rule, day: int, holidays: frozenset[int]) -> bool:
        asked.append(day)
        return on(rule, day, holidays)

    monkeypatch.setattr(Rule, "on", counting)
    assert [f"{one.at:%y-%m-%d %H:%M}" for one in upcoming(plan, MONDAY, 9)] == [
        "26-11-30 00:10", "26-12-24 05:30", "27-03-01 05:30",
    ]  # fmt: skip
    assert len(asked) < 20
