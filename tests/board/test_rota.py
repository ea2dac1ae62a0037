"""Whose turn it is: fair, in order, equal for every language, and never what is not due."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.board import requisition
from edge_agent.board.rota import Rota, is_due
from edge_agent.model import LOCAL_TIME, Issuer, OrderId, Precedence
from edge_agent.playlist import Item, Playlist, Requisition, TextContent

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=LOCAL_TIME)
"""A Tuesday."""


def item(name: str, *, version: int = 1, languages: tuple[str, ...] = ("vi",), **more: Any) -> Item:
    asked: dict[str, Any] = {
        "key": OrderId(f"{name}@v{version}"),
        "issuer": Issuer("xa"),
        "precedence": Precedence.ROUTINE,
        "content": TextContent(texts=tuple((language, f"{name} {language}") for language in languages)),
    }
    return Item(**(asked | more))


def rota_of(*items: Item) -> Rota:
    rota = Rota("main")
    rota.take(Playlist(items=items))
    return rota


def turns(rota: Rota, count: int, local: datetime | None = NOON) -> list[str]:
    seen: list[str] = []
    for _ in range(count):
        whose = rota.turn(local)
        if whose is None:
            break
        seen.append(f"{whose.item.key.partition('@')[0]} {whose.language}")
        rota.advance()
    return seen


def test_items_take_turns_in_the_lists_order() -> None:
    assert turns(rota_of(item("a"), item("b"), item("c")), 5) == ["a vi", "b vi", "c vi", "a vi", "b vi"]


def test_an_item_in_several_languages_speaks_another_one_each_time() -> None:
    rota = rota_of(item("a", languages=("vi", "tyz", "hmn")), item("b"))
    assert turns(rota, 7) == ["a vi", "b vi", "a tyz", "b vi", "a hmn", "b vi", "a vi"]


def test_the_highest_class_alone_is_shown() -> None:
    urgent = item("u", precedence=Precedence.PRIORITY, ends=NOON + timedelta(minutes=5))
    rota = rota_of(item("a"), urgent, item("b"))
    assert turns(rota, 3) == ["u vi"] * 3
    assert turns(rota, 2, NOON + timedelta(minutes=5)) == ["b vi", "a vi"]


def test_who_is_interrupted_keeps_its_turn() -> None:
    rota = rota_of(item("a"), item("b"), item("u", precedence=Precedence.EMERGENCY, begins=NOON))
    before = NOON - timedelta(minutes=1)
    assert turns(rota, 1, before) == ["a vi"]
    whose = rota.turn(before)
    assert whose is not None
    assert whose.item.key == "b@v1"
    later = rota.turn(NOON)
    assert later is not None
    assert later.item.key == "u@v1"


def test_the_next_one_is_known_beforehand() -> None:
    rota = rota_of(item("a", languages=("vi", "tyz")), item("b"))
    for _ in range(6):
        assert rota.turn(NOON) is not None
        ahead = rota.following(NOON)
        rota.advance()
        assert rota.turn(NOON) == ahead
    alone = rota_of(item("a", languages=("vi", "tyz")))
    assert alone.turn(NOON) is not None
    ahead = alone.following(NOON)
    assert ahead is not None
    assert ahead.language == "tyz"


def test_a_new_version_of_the_list_goes_on_where_the_old_one_was() -> None:
    rota = rota_of(item("a"), item("b", languages=("vi", "tyz")), item("c"))
    assert turns(rota, 2) == ["a vi", "b vi"]
    rota.take(
        Playlist(
            items=(item("b", version=2, languages=("vi", "tyz")), item("d", version=2), item("a", version=2))
        )
    )
    assert turns(rota, 3) == ["d vi", "a vi", "b tyz"]


def test_what_cannot_be_shown_is_passed_over() -> None:
    rota = rota_of(item("a"), item("b"))
    whose = rota.turn(NOON, passed_over={OrderId("a@v1")})
    assert whose is not None
    assert whose.item.key == "b@v1"
    assert rota.turn(NOON, passed_over={OrderId("a@v1"), OrderId("b@v1")}) is None


def test_an_item_is_for_the_boards_that_it_names() -> None:
    assert turns(rota_of(item("a", boards=frozenset({"cho"})), item("b", boards=frozenset({"main"}))), 2) == [
        "b vi",
        "b vi",
    ]


def test_weekdays_and_hours_are_local() -> None:
    tuesday = item("a", days=frozenset({1}), hours=("11:00-13:00",))
    assert is_due(tuesday, NOON)
    assert not is_due(tuesday, NOON + timedelta(days=1))
    assert not is_due(tuesday, NOON + timedelta(hours=1))
    late = item("b", hours=("22:00-02:00",))
    assert is_due(late, NOON.replace(hour=1))


def test_without_a_time_that_is_believed_nothing_with_a_date_is_shown() -> None:
    assert is_due(item("a"), None)
    for dated in ({"ends": NOON}, {"begins": NOON}, {"hours": ("00:00-23:59",)}, {"days": frozenset({0})}):
        assert not is_due(item("a", **dated), None)


def test_a_board_is_lent_between_two_dates_and_no_longer() -> None:
    lent = Playlist(
        requisitions=(
            Requisition(
                boards=frozenset({"main"}),
                begins=NOON.astimezone(UTC),
                ends=NOON.astimezone(UTC) + timedelta(hours=1),
            ),
        )
    )
    assert requisition.left_s(lent, "main", NOON - timedelta(seconds=1)) == 0
    assert requisition.left_s(lent, "main", NOON) == 3600
    assert requisition.left_s(lent, "main", NOON + timedelta(minutes=59)) == 60
    assert requisition.left_s(lent, "main", NOON + timedelta(hours=1)) == 0
    assert requisition.left_s(lent, "cho", NOON) == 0
    assert requisition.left_s(lent, "main", None) == 0


@st.composite
def items(draw: st.DrawFn) -> tuple[Item, ...]:
    made = []
    for number in range(draw(st.integers(1, 6))):
        begins = draw(st.none() | st.integers(-300, 300))
        ends = draw(st.none() | st.integers(-300, 300))
        made.append(
            item(
                f"i{number}",
                languages=("vi", "tyz", "hmn")[: draw(st.integers(1, 3))],
                precedence=Precedence(draw(st.integers(0, 2))),
                begins=None if begins is None else NOON + timedelta(minutes=begins),
                ends=None if ends is None else NOON + timedelta(minutes=ends),
                days=frozenset(draw(st.sets(st.integers(0, 6), min_size=1))),
            )
        )
    return tuple(made)


@settings(derandomize=True, max_examples=200)
@given(items(), st.integers(-300, 300))
def test_only_what_is_due_has_turns_and_all_of_it_the_same(listed: tuple[Item, ...], minutes: int) -> None:
    local = NOON + timedelta(minutes=minutes)
    rota = rota_of(*listed)
    due = rota.due(local)
    counts: Counter[str] = Counter()
    spoken: Counter[tuple[str, str]] = Counter()
    for _ in range(6 * len(due)):
        whose = rota.turn(local)
        assert whose is not None
        assert is_due(whose.item, local)
        counts[whose.item.key] += 1
        spoken[whose.item.key, whose.language] += 1
        rota.advance()
    assert counts == {one.key: 6 for one in due}
    for one in due:
        assert isinstance(one.content, TextContent)
        each = {spoken[one.key, language] for language, _ in one.content.texts}
        assert len(each) == 1, "every language has as many turns"
    if not due:
        assert rota.turn(local) is None
