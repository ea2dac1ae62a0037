"""Who has the loudspeaker: examples in the words of the rules, and properties over random histories."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.model import NS, Intent, Issuer, OrderId, Precedence, Reason, ReasonCode
from edge_agent.playout.arbiter import Arbiter, Expire, GiveUp, Grant, Preempt, Refuse, Resume

EMERGENCY, PRIORITY, ROUTINE = Precedence.EMERGENCY, Precedence.PRIORITY, Precedence.ROUTINE


def order(name: str, precedence: Precedence, *, issuer: str = "x", deadline_s: float = 1e6) -> Intent:
    return Intent(
        id=OrderId(name), issuer=Issuer(issuer), precedence=precedence, deadline_ns=round(deadline_s * NS)
    )


def an_arbiter(**keywords: Any) -> Arbiter:
    return Arbiter(**{"queue_requests": 4, **keywords})


def test_routine_goes_in_the_order_of_arrival() -> None:
    arbiter = an_arbiter()
    arbiter.request(order("a", ROUTINE))
    arbiter.request(order("b", ROUTINE))
    assert arbiter.decide(0) == (Grant(OrderId("a")),)
    assert arbiter.decide(1) == ()
    arbiter.ended(OrderId("a"), 2)
    assert arbiter.decide(2) == (Grant(OrderId("b")),)


def test_an_emergency_cuts_in_and_afterwards_the_highest_goes_on_first() -> None:
    arbiter = an_arbiter()
    arbiter.request(order("r", ROUTINE))
    arbiter.decide(0)
    arbiter.request(order("p", PRIORITY))
    assert arbiter.decide(1) == (Preempt(OrderId("r")), Grant(OrderId("p")))
    arbiter.request(order("e", EMERGENCY))
    assert arbiter.decide(2) == (Preempt(OrderId("p")), Grant(OrderId("e")))
    arbiter.request(order("p2", PRIORITY))
    arbiter.ended(OrderId("e"), 3)
    assert arbiter.decide(3) == (Resume(OrderId("p")),)
    arbiter.ended(OrderId("p"), 4)
    assert arbiter.decide(4) == (Grant(OrderId("p2")),)
    arbiter.ended(OrderId("p2"), 5)
    assert arbiter.decide(5) == (Resume(OrderId("r")),)


def test_a_second_emergency_waits_for_the_first() -> None:
    arbiter = an_arbiter()
    arbiter.request(order("e1", EMERGENCY))
    arbiter.decide(0)
    arbiter.request(order("e2", EMERGENCY))
    assert arbiter.decide(1) == ()


def test_of_waiting_priority_orders_the_commune_decides_which_is_first() -> None:
    arbiter = an_arbiter(authorities=("commune", "district"))
    arbiter.request(order("now", PRIORITY, issuer="province"))
    arbiter.decide(0)
    for name, issuer in (("s", "stranger"), ("d", "district"), ("c2", "commune"), ("c3", "commune")):
        arbiter.request(order(name, PRIORITY, issuer=issuer))
    assert arbiter.decide(1) == (), "it does not cut one that is speaking"
    assert arbiter.waiting == ("c2", "c3", "d", "s")


def test_the_gap_between_turns_holds_for_all_but_an_emergency() -> None:
    arbiter = an_arbiter(gap_s=0.5)
    arbiter.request(order("a", ROUTINE))
    arbiter.decide(0)
    arbiter.request(order("b", ROUTINE))
    arbiter.ended(OrderId("a"), NS)
    assert arbiter.decide(NS) == ()
    assert arbiter.due_ns(NS) == NS + NS // 2
    arbiter.request(order("e", EMERGENCY))
    assert arbiter.decide(NS) == (Grant(OrderId("e")),)


def test_late_is_too_late_by_one_nanosecond() -> None:
    arbiter = an_arbiter()
    arbiter.request(order("a", ROUTINE))
    arbiter.decide(0)
    arbiter.request(order("b", ROUTINE, deadline_s=1))
    assert arbiter.due_ns(0) == NS + 1
    assert arbiter.decide(NS) == ()
    assert arbiter.decide(NS + 1) == (Expire(OrderId("b")),)
    assert arbiter.due_ns(NS + 1) is None


def test_what_was_cut_is_given_up_after_its_time() -> None:
    arbiter = an_arbiter(resume_within_s=1)
    arbiter.request(order("r", ROUTINE))
    arbiter.decide(0)
    arbiter.request(order("e", EMERGENCY))
    arbiter.decide(0)
    (given_up,) = arbiter.decide(NS + 1)
    assert isinstance(given_up, GiveUp)
    assert (given_up.id, given_up.reason.code) == ("r", ReasonCode.PREEMPTED)


def test_a_full_queue_gives_up_the_newest_of_the_lowest_for_a_higher_class() -> None:
    arbiter = an_arbiter(queue_requests=2)
    for name in ("now", "a", "b"):
        arbiter.request(order(name, ROUTINE))
        arbiter.decide(0)
    (refused,) = arbiter.request(order("c", ROUTINE))
    assert (refused.id, refused.reason.code) == ("c", ReasonCode.BUSY)
    (refused,) = arbiter.request(order("p", EMERGENCY))
    assert refused.id == "b"
    assert arbiter.waiting == ("p", "a")


def test_the_governor_says_no_and_the_next_one_is_asked() -> None:
    no = Reason(ReasonCode.GOVERNOR, "No.")
    arbiter = an_arbiter(allow=lambda intent, _now: no if intent.id == "a" else None)
    arbiter.request(order("a", ROUTINE))
    arbiter.request(order("b", ROUTINE))
    assert arbiter.decide(0) == (Refuse(OrderId("a"), no), Grant(OrderId("b")))


def test_a_stop_covers_what_waits_what_was_cut_and_what_speaks() -> None:
    arbiter = an_arbiter()
    for name, precedence in (("r", ROUTINE), ("r2", ROUTINE), ("p", PRIORITY)):
        arbiter.request(order(name, precedence))
        arbiter.decide(0)
    assert arbiter.stop(target=None, highest=ROUTINE) == ("r2", "r")
    assert arbiter.current == "p"
    assert arbiter.stop(target=OrderId("p"), highest=EMERGENCY) == ("p",)
    assert arbiter.current == "p", "it is over when `ended` says so"


# ---------------------------------------------------------------- properties


LIMIT = 3
RANK = {"commune": 0, "district": 1, "stranger": 2}


@dataclass
class World:
    """Does what the channel does, and watches the promises."""

    arbiter: Arbiter = field(
        default_factory=lambda: Arbiter(
            queue_requests=LIMIT, authorities=("commune", "district"), resume_within_s=20, gap_s=1
        )
    )
    now_ns: int = 0
    orders: dict[OrderId, Intent] = field(default_factory=dict)
    arrivals: list[OrderId] = field(default_factory=list)
    ended: list[OrderId] = field(default_factory=list)
    current: OrderId | None = None

    def over(self, name: OrderId) -> None:
        assert name not in self.ended, "a request ends once"
        self.ended.append(name)

    def decide(self) -> None:
        for decision in self.arbiter.decide(self.now_ns):
            match decision:
                case Grant(id=name) | Resume(id=name):
                    assert self.current is None, "never two at once"
                    assert name not in self.ended
                    self.current = name
                    self.check_taken(name, resumed=isinstance(decision, Resume))
                case Preempt(id=name):
                    assert self.current == name
                    self.current = None
                    cut_by = self.arbiter.current
                    assert cut_by is not None
                    assert self.orders[cut_by].precedence > self.orders[name].precedence
                case Expire(id=name) | GiveUp(id=name) | Refuse(id=name):
                    assert self.current != name
                    self.over(name)
        assert self.arbiter.current == self.current
        assert len(self.arbiter.waiting) <= LIMIT
        assert len(self.arbiter.suspended) <= 2
        if self.current is None and (self.arbiter.waiting or self.arbiter.suspended):
            due_ns = self.arbiter.due_ns(self.now_ns)
            assert due_ns is not None
            assert due_ns - self.now_ns <= NS, "only the gap keeps it silent"

    def check_taken(self, name: OrderId, *, resumed: bool) -> None:
        taken = self.orders[name]
        for other in (*self.arbiter.waiting, *self.arbiter.suspended):
            assert self.orders[other].precedence <= taken.precedence, "never a lower over a higher"
        if resumed:
            return
        assert taken.deadline_ns >= self.now_ns
        for other in self.arbiter.waiting:
            rival = self.orders[other]
            if rival.precedence == taken.precedence:
                earlier = self.arrivals.index(other) < self.arrivals.index(name)
                if taken.precedence is PRIORITY:
                    assert RANK[rival.issuer] >= RANK[taken.issuer]
                    earlier = earlier and RANK[rival.issuer] == RANK[taken.issuer]
                assert not earlier, "first come, first served within class and authority"

    def request(self, precedence: Precedence, issuer: str, within_s: int) -> None:
        name = OrderId(f"{len(self.arrivals)}")
        intent = Intent(
            id=name,
            issuer=Issuer(issuer),
            precedence=precedence,
            deadline_ns=self.now_ns + within_s * NS,
        )
        self.orders[name] = intent
        self.arrivals.append(name)
        for refused in self.arbiter.request(intent):
            self.over(refused.id)

    def end_current(self) -> None:
        if self.current is not None:
            name, self.current = self.current, None
            self.arbiter.ended(name, self.now_ns)
            self.over(name)

    def stop(self, target: int | None, highest: Precedence) -> None:
        name = None if target is None or not self.arrivals else self.arrivals[target % len(self.arrivals)]
        for stopped in self.arbiter.stop(target=name, highest=highest):
            if stopped == self.current:
                self.end_current()
            else:
                self.over(stopped)


classes = st.sampled_from(list(Precedence))
events = st.one_of(
    st.tuples(st.just("request"), classes, st.sampled_from(sorted(RANK)), st.integers(0, 40)),
    st.tuples(st.just("request"), classes, st.sampled_from(sorted(RANK)), st.integers(0, 40)),
    st.tuples(st.just("end_current")),
    st.tuples(st.just("stop"), st.none() | st.integers(0, 30), classes),
    st.tuples(st.just("wait"), st.integers(0, 30)),
)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.lists(events, max_size=40))
def test_any_history_keeps_the_promises_and_everything_ends_once(history: list[tuple[Any, ...]]) -> None:
    world = World()
    for name, *arguments in history:
        if name == "wait":
            world.now_ns += arguments[0] * NS
        else:
            getattr(world, name)(*arguments)
        world.decide()
    for _ in range(200):  # things end, so nobody starves
        world.end_current()
        world.now_ns += 2 * NS
        world.decide()
    assert sorted(world.ended) == sorted(world.arrivals)
    assert world.arbiter.known() == set()
