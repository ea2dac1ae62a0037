"""Chains of alerts: whatever the order of arrival, the same ones are in force at the end."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.command import bulletins
from edge_agent.command.bulletins import Coming, Standing
from edge_agent.command.cap import Identity
from edge_agent.model import Issuer, OrderId, Precedence, ReasonCode

SENT = datetime(2026, 11, 24, 1, 30, tzinfo=UTC)


def name(identifier: str) -> Identity:
    return Identity("pctt@example.vn", identifier, SENT)


def coming(identifier: str, *ends: str, code: ReasonCode = ReasonCode.SUPERSEDED, **more: object) -> Coming:
    fixed = Coming(
        order=OrderId(f"order-{identifier}"),
        issuer=Issuer("xa"),
        precedence=Precedence.EMERGENCY,
        identity=name(identifier),
        status="Actual",
        content=identifier,
        boot="boot-1",
        ends=tuple(name(one) for one in ends),
        code=code,
    )
    return replace(fixed, **more)  # type: ignore[arg-type] # a test's shorthand


class Village:
    """A node's table, and the orders that are being aired."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:")
        self.connection.executescript(bulletins.SCHEMA)
        self.aired: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def comes(self, message: Coming, *, alert: bool = True) -> Standing:
        standing = bulletins.arrive(self.connection, message, is_alert=alert)
        self.aired = [order for order in self.aired if order not in standing.withdraws]
        if alert and standing.ended is None and standing.known is None:
            self.aired.append(message.order)
        return standing


@pytest.fixture
def village() -> Iterator[Village]:
    with Village() as village:
        yield village


def test_a_cancel_names_the_orders_that_it_ends(village: Village) -> None:
    village.comes(coming("a"))
    village.comes(coming("b"))
    standing = village.comes(coming("c", "a", "b", "x", code=ReasonCode.CANCELLED), alert=False)
    assert standing.withdraws == ("order-a", "order-b")
    assert village.comes(coming("x")).ended == ("order-c", ReasonCode.CANCELLED)


def test_an_order_that_is_taken_up_again_changes_nothing(village: Village) -> None:
    first = village.comes(coming("b", "a"))
    again = bulletins.arrive(village.connection, coming("b", "a", boot="boot-2"), is_alert=True)
    assert (first.first_boot, again.first_boot) == (None, "boot-1")
    assert (again.ended, again.known) == (None, None)


def test_a_cancelled_update_has_still_replaced_what_it_names(village: Village) -> None:
    village.comes(coming("a"))
    village.comes(coming("c", "b", code=ReasonCode.CANCELLED), alert=False)
    standing = village.comes(coming("b", "a"))
    assert standing.withdraws == ("order-a",)
    assert standing.ended is not None
    assert village.aired == []


def test_an_ending_needs_the_same_authority_or_at_least_the_same_class() -> None:
    for issuer, precedence, ends in (
        ("xa", Precedence.ROUTINE, True),
        ("huyen", Precedence.PRIORITY, False),
        ("huyen", Precedence.EMERGENCY, True),
    ):
        for alert_first in (True, False):
            cancel = coming("c", "a", issuer=Issuer(issuer), precedence=precedence)
            with Village() as village:
                if alert_first:
                    village.comes(coming("a"))
                village.comes(cancel, alert=False)
                if not alert_first:
                    village.comes(coming("a"))
                assert (village.aired == []) is ends, (issuer, precedence, alert_first)


def test_an_exercise_ends_exercises_only(village: Village) -> None:
    village.comes(coming("a"))
    village.comes(coming("c", "a", status="Exercise"), alert=False)
    assert village.aired == ["order-a"]


def test_the_same_alert_counts_once_however_it_comes(village: Village) -> None:
    village.comes(coming("a"))
    assert village.comes(coming("a", order=OrderId("order-2"))).known == "order-a"
    assert village.comes(coming("a", order=OrderId("order-3"), issuer=Issuer("huyen"))).known == "order-a"


def test_nobody_can_use_up_the_name_of_anothers_alert(village: Village) -> None:
    fake = coming("a", order=OrderId("fake"), issuer=Issuer("ke-xau"), content="other")
    weak = coming("a", order=OrderId("weak"), issuer=Issuer("thon"), precedence=Precedence.ROUTINE)
    village.comes(fake)
    village.comes(weak)
    standing = village.comes(coming("a"))
    assert standing.known is None
    assert standing.withdraws == ("weak",), "the same text, more urgent: it takes the weak one's place"
    assert village.aired == ["fake", "order-a"]


def test_what_failed_may_be_ordered_again(village: Village) -> None:
    village.comes(coming("a"))
    bulletins.fail(village.connection, OrderId("order-a"))
    assert village.comes(coming("a", order=OrderId("order-2"))).known is None


def test_only_so_many_are_remembered(village: Village) -> None:
    for number in range(bulletins.KEPT_MAX + 50):
        village.comes(coming(f"a{number}", f"b{number}"))
    for table in ("bulletin", "bulletin_end"):
        (count,) = village.connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()
        assert count == bulletins.KEPT_MAX


@dataclass(frozen=True)
class Sent:
    """One message of a chain: Alert, Update or Cancel."""

    identifier: str
    ends: tuple[str, ...]
    cancel: bool


@st.composite
def chains(draw: st.DrawFn) -> list[Sent]:
    count = draw(st.integers(2, 6))
    messages: list[Sent] = []
    for number in range(count):
        earlier = [f"m{n}" for n in range(number)]
        ends = draw(st.lists(st.sampled_from(earlier), unique=True, max_size=3)) if earlier else []
        messages.append(Sent(f"m{number}", tuple(ends), bool(ends) and draw(st.booleans())))
    return messages


@settings(derandomize=True, deadline=None, max_examples=200)
@given(chain=chains(), data=st.data())
def test_the_order_of_arrival_does_not_matter(chain: list[Sent], data: st.DataObject) -> None:
    ended = {one for message in chain for one in message.ends}
    in_force = {f"order-{one.identifier}" for one in chain if not one.cancel and one.identifier not in ended}
    with Village() as village:
        for message in data.draw(st.permutations(chain)):
            code = ReasonCode.CANCELLED if message.cancel else ReasonCode.SUPERSEDED
            village.comes(coming(message.identifier, *message.ends, code=code), alert=not message.cancel)
        assert set(village.aired) == in_force
