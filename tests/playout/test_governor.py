"""The house rules: who may sound when, for how long and how often; no list of requests gets round them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.hours import DAY_S, DayHours
from edge_agent.model import NS, Digest, Issuer, OrderId, Play, Precedence, Reason, ReasonCode
from edge_agent.playout.governor import Governor, Moment
from edge_agent.playout.settings import GovernorSettings

EMERGENCY, PRIORITY, ROUTINE = Precedence.EMERGENCY, Precedence.PRIORITY, Precedence.ROUTINE
NOON = datetime(2026, 11, 23, 5, 0, tzinfo=UTC)
"""12:00 in Vietnam."""
NIGHT = datetime(2026, 11, 23, 20, 15, tzinfo=UTC)
"""03:15 in Vietnam, of the next day: when a commune's relay once started."""


def at(utc: datetime | None, *, ns: int = 0, boot: str = "boot-1") -> Moment:
    return Moment(at_ns=ns, boot=boot, utc=utc)


def play(precedence: Precedence = ROUTINE, *, order: str = "a", media: str = "x") -> Play:
    return Play(
        id=OrderId(order),
        issuer=Issuer("commune"),
        precedence=precedence,
        deadline_ns=0,
        media=Digest(f"sha256:{media}"),
    )


def code(reason: Reason | None) -> ReasonCode | None:
    return None if reason is None else reason.code


@pytest.mark.parametrize(
    ("local", "quiet"),
    [
        ("21:29:59", False),
        ("21:30:00", True),
        ("23:59:59", True),
        ("00:00:00", True),
        ("04:59:59", True),
        ("05:00:00", False),
    ],
)
def test_quiet_hours_run_over_midnight_and_are_exact_to_the_second(local: str, *, quiet: bool) -> None:
    span = DayHours(["21:30-05:00"])
    moment = datetime.fromisoformat(f"2026-11-23T{local}+07:00")
    assert span.covers(moment) is quiet
    begins = span.begins_in_s(moment)
    assert begins is not None
    assert (moment + timedelta(seconds=begins)).strftime("%H:%M:%S") == "21:30:00"


def test_several_spans_and_none() -> None:
    noon = datetime.fromisoformat("2026-11-23T12:00:00+07:00")
    assert DayHours(["21:30-05:00", "11:30-13:00"]).covers(noon)
    assert not DayHours([]).covers(noon)
    assert DayHours([]).begins_in_s(noon) is None
    assert not DayHours([])


@pytest.mark.parametrize(
    ("utc", "expected"),
    [
        (NOON, {}),
        (NIGHT, {ROUTINE: ReasonCode.QUIET_HOURS, PRIORITY: ReasonCode.QUIET_HOURS}),
        (None, {ROUTINE: ReasonCode.CLOCK_UNTRUSTED}),
    ],
)
def test_who_may_begin_at_noon_at_night_and_when_nobody_knows_the_hour(
    utc: datetime | None, expected: dict[Precedence, ReasonCode]
) -> None:
    governor = Governor(GovernorSettings())
    for precedence in Precedence:
        assert code(governor.refuses(play(precedence), at(utc))) is expected.get(precedence)


def test_without_quiet_hours_nobody_has_to_know_the_hour() -> None:
    governor = Governor(GovernorSettings(quiet_hours=()))
    assert governor.refuses(play(), at(None)) is None
    assert governor.refuses(play(), at(NIGHT)) is None


def test_what_sounds_when_quiet_hours_begin_is_cut_and_that_moment_is_foretold() -> None:
    governor = Governor(GovernorSettings())
    evening = datetime.fromisoformat("2026-11-23T21:20:00+07:00")
    good_for_ns = governor.good_for_ns(play(), 0, at(evening))
    assert good_for_ns == 600 * NS
    just_before = at(evening + timedelta(seconds=599.9))
    assert governor.cuts(play(), 0, just_before) is None
    then = at(evening + timedelta(seconds=600))
    assert code(governor.cuts(play(PRIORITY), 0, then)) is ReasonCode.QUIET_HOURS
    assert governor.cuts(play(EMERGENCY), 0, then) is None


def test_a_turn_has_a_longest_and_an_emergency_its_own() -> None:
    governor = Governor(GovernorSettings(turn_max_s=60, emergency_turn_max_s=90))
    assert governor.good_for_ns(play(), 20 * NS, at(NOON)) == 40 * NS
    assert governor.cuts(play(), 59 * NS, at(NOON)) is None
    assert code(governor.cuts(play(), 60 * NS, at(NOON))) is ReasonCode.GOVERNOR
    assert governor.cuts(play(EMERGENCY), 89 * NS, at(NOON)) is None
    assert code(governor.cuts(play(EMERGENCY), 90 * NS, at(NOON))) is ReasonCode.GOVERNOR


def test_the_days_minutes_are_shared_by_routine_and_priority_and_emergencies_have_theirs() -> None:
    governor = Governor(GovernorSettings(minutes_a_day=2, emergency_minutes_a_day=3))
    governor.charge(ROUTINE, 60 * NS)
    governor.charge(PRIORITY, 60 * NS)
    assert code(governor.refuses(play(PRIORITY), at(NOON))) is ReasonCode.GOVERNOR
    assert code(governor.cuts(play(), 0, at(NOON))) is ReasonCode.GOVERNOR
    assert governor.refuses(play(EMERGENCY), at(NOON)) is None
    governor.charge(EMERGENCY, 180 * NS)
    assert code(governor.refuses(play(EMERGENCY), at(NOON))) is ReasonCode.GOVERNOR
    tomorrow = at(NOON + timedelta(days=1))
    assert governor.refuses(play(PRIORITY), tomorrow) is None
    assert governor.refuses(play(EMERGENCY), tomorrow) is None


def test_a_recording_begins_so_often_a_day_and_a_resumed_turn_is_no_repetition() -> None:
    governor = Governor(GovernorSettings(repeats_a_day=2))
    first, second, third = (play(order=name) for name in "abc")
    governor.look(at(NOON))
    assert governor.begin(first)
    assert not governor.begin(first), "it was interrupted and goes on"
    governor.ended(first.id)
    assert governor.begin(second)
    assert governor.refuses(second, at(NOON)) is None, "it has begun and may go on"
    assert code(governor.refuses(third, at(NOON))) is ReasonCode.GOVERNOR
    assert governor.refuses(play(order="c", media="y"), at(NOON)) is None
    assert governor.refuses(play(EMERGENCY, order="e"), at(NOON)) is None
    assert governor.refuses(third, at(NOON + timedelta(days=1))) is None


def test_each_class_has_its_loudest() -> None:
    governor = Governor(GovernorSettings(volume_max=60, emergency_volume_max=90))
    assert [governor.volume_max(each) for each in Precedence] == [60, 60, 90]


def test_the_day_is_vietnams() -> None:
    governor = Governor(GovernorSettings(quiet_hours=(), minutes_a_day=1))
    governor.look(at(datetime(2026, 11, 23, 16, 59, tzinfo=UTC)))
    governor.charge(ROUTINE, 60 * NS)
    assert governor.refuses(play(), at(datetime(2026, 11, 23, 16, 59, 59, tzinfo=UTC))) is not None
    assert governor.refuses(play(), at(datetime(2026, 11, 23, 17, 0, tzinfo=UTC))) is None


def test_nobody_gets_a_new_day_by_taking_the_date_away() -> None:
    governor = Governor(GovernorSettings(quiet_hours=(), minutes_a_day=1))
    governor.look(at(NOON))
    governor.charge(ROUTINE, 60 * NS)
    assert governor.refuses(play(), at(None, ns=10 * NS)) is not None, "the clock is lost"
    assert governor.refuses(play(), at(None, boot="boot-2")) is not None, "the power went"
    assert governor.refuses(play(), at(None, ns=(DAY_S - 1) * NS, boot="boot-2")) is not None
    assert governor.refuses(play(), at(NOON, ns=(DAY_S - 1) * NS, boot="boot-2")) is not None
    assert governor.refuses(play(), at(None, ns=DAY_S * NS, boot="boot-2")) is None, "24 h of running"


def test_a_page_begun_without_a_date_is_todays_once_the_date_is_known() -> None:
    governor = Governor(GovernorSettings(quiet_hours=(), minutes_a_day=1))
    assert governor.refuses(play(PRIORITY), at(None)) is None
    governor.charge(PRIORITY, 60 * NS)
    assert governor.refuses(play(PRIORITY), at(NOON, ns=NS)) is not None


# ---------------------------------------------------------------- any day


@dataclass(frozen=True)
class Wish:
    """Somebody wants the loudspeaker: after a pause, for so long, of so many recordings."""

    after_s: int
    lasts_s: int
    precedence: Precedence
    media: int


WISHES = st.lists(
    st.builds(
        Wish,
        after_s=st.integers(0, 20_000),
        lasts_s=st.integers(0, 4_000),
        precedence=st.sampled_from(Precedence),
        media=st.integers(1, 3),
    ),
    max_size=40,
)
RULES = st.builds(
    GovernorSettings,
    quiet_hours=st.sampled_from([(), ("21:30-05:00",), ("22:00-04:00", "11:30-13:00")]),
    turn_max_s=st.integers(5, 2_000),
    minutes_a_day=st.integers(1, 60),
    repeats_a_day=st.integers(1, 4),
    emergency_turn_max_s=st.integers(5, 2_000),
    emergency_minutes_a_day=st.integers(1, 60),
    emergency_repeats_a_day=st.integers(1, 4),
)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(rules=RULES, wishes=WISHES, start_s=st.integers(0, DAY_S))
def test_no_list_of_requests_gets_round_the_rules(
    rules: GovernorSettings, wishes: list[Wish], start_s: int
) -> None:
    """Play each wish second by second as the channel does: ask, begin, charge, ask whether to cut."""
    governor, quiet = Governor(rules), DayHours(rules.quiet_hours)
    now = datetime(2026, 11, 23, tzinfo=UTC) + timedelta(seconds=start_s)
    sounded: dict[tuple[int, bool], int] = {}
    begun: dict[tuple[int, bool, int], int] = {}

    def moment() -> Moment:
        return at(now, ns=round((now - NOON).total_seconds()) * NS)

    for number, wish in enumerate(wishes):
        now += timedelta(seconds=wish.after_s)
        intent = play(wish.precedence, order=str(number), media=str(wish.media))
        emergency = wish.precedence is EMERGENCY
        if governor.refuses(intent, moment()) is not None:
            continue
        governor.begin(intent)
        day = (now + timedelta(hours=7)).toordinal()
        begun[day, emergency, wish.media] = begun.get((day, emergency, wish.media), 0) + 1
        airtime = 0
        while airtime < wish.lasts_s and governor.cuts(intent, airtime * NS, moment()) is None:
            step = min(
                wish.lasts_s - airtime, max(1, governor.good_for_ns(intent, airtime * NS, moment()) // NS), 60
            )
            local = now + timedelta(hours=7)
            assert emergency or not quiet.covers(local), "nothing but emergencies in quiet hours"
            sounded[local.toordinal(), emergency] = sounded.get((local.toordinal(), emergency), 0) + step
            now += timedelta(seconds=step)
            airtime += step
            governor.charge(wish.precedence, step * NS)
        governor.ended(intent.id)
        assert airtime <= rules.ceilings(wish.precedence).turn_s
    for (_, emergency), seconds in sounded.items():
        most_s = rules.ceilings(EMERGENCY if emergency else ROUTINE).day_s
        assert seconds <= most_s + 60, "a step over midnight may be put on the day before"
    for (_, emergency, _), times in begun.items():
        assert times <= rules.ceilings(EMERGENCY if emergency else ROUTINE).repeats
