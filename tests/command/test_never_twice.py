"""Journal and replay window against a model that forgets nothing, with restarts and power cuts at any write."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge_agent import kept
from edge_agent.clocktrust import Quality
from edge_agent.command import ledger, replay
from edge_agent.command.ledger import Entry
from edge_agent.command.replay import WIDTH, Seat
from edge_agent.command.scribe import Room, Scribe, Written
from edge_agent.command.topics import Topics
from edge_agent.model import AsRun, Issuer, NodeId, OrderId, OrderState, Outcome, Reason, ReasonCode
from edge_agent.report import asrun, outbox
from edge_agent.report.asrun import Timebase
from hal.errors import DatabaseError
from hal.sim.clock import VirtualClock
from hal.sim.database import Moment, VirtualDatabase
from hal.sim.loop import Counter, run
from tests.entries import START, an_entry, ident

T = TypeVar("T")

SCHEMAS = (kept.SCHEMA, outbox.SCHEMA, asrun.SCHEMA, ledger.SCHEMA, replay.SCHEMA)
KEYS = (("xa", "k1"), ("xa", "k2"), ("huyen", "k3"))
_MOMENTS: tuple[Moment, ...] = ("before", "inside", "after")
OPEN_MAX = 5
CUTS = st.none() | st.sampled_from(_MOMENTS)


class NeverTwice(RuleBasedStateMachine):
    """Whatever comes in whatever order, an id is written once, and a number counts once, also when its id is forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.counter = Counter()
        self.clock = VirtualClock(self.counter, wall=START)
        self.database = VirtualDatabase(SCHEMAS)
        self.states: dict[OrderId, OrderState] = {}
        """What was written for certain, by order."""
        self.numbers: dict[tuple[str, str], set[int]] = {}

    def _scribe(self) -> Scribe:
        base = Timebase(
            monotonic_ns=self.clock.monotonic_ns(),
            utc=START,
            boot=self.clock.boot_id(),
            quality=Quality.SYNCED,
        )
        return Scribe(topics=Topics(root="pa/v1", node=NodeId("n")), timebase=base)

    def _transact(self, work: Callable[[sqlite3.Connection], T], cut: Moment | None) -> T | None:
        """What the transaction returned; None when the power went. The database is then the next boot's."""
        if cut is not None:
            self.database.cut_at(self.database.runs, cut)
        try:
            return run(self.database.run(work), self.counter)
        except DatabaseError:
            self.database = self.database.reborn()
            self.clock.reboot()
            return None

    @rule(
        number=st.integers(1, 12),
        whose=st.sampled_from(KEYS),
        seq=st.integers(0, 20) | st.integers(0, 3 * WIDTH),
        late=st.booleans(),
        cut=CUTS,
    )
    def an_order_comes(
        self, number: int, whose: tuple[str, str], seq: int, *, late: bool, cut: Moment | None
    ) -> None:
        order = ident(number)
        entry = an_entry(number, issuer=Issuer(whose[0]), seq=seq, received_at=START)
        if late:
            entry = _refused(entry)
        seat, scribe = Seat(Issuer(whose[0]), whose[1], seq), self._scribe()
        room = Room(open_max=OPEN_MAX, rows_max=1000)
        busy = self._open() >= OPEN_MAX
        seen = self.numbers.setdefault(whose, set())
        replayed = seq in seen or (bool(seen) and seq <= max(seen) - WIDTH)

        def work(connection: sqlite3.Connection) -> tuple[Written, Entry]:
            return scribe.receive(connection, entry, room, tell=True, seat=seat)

        result = self._transact(work, cut)
        stored = _state(self.database, order)
        if order in self.states:
            assert stored == self.states[order], "a known order stays as it is"
            return
        if result is None and cut != "after":
            assert stored is None, "nothing is half written"
            return
        assert stored is not None
        self.states[order] = stored
        if replayed:
            assert stored is OrderState.REJECTED
        else:
            seen.add(seq)
            assert (stored is OrderState.REJECTED) == (late or busy)

    @precondition(lambda self: self._open())
    @rule(cut=CUTS, data=st.data())
    def one_ends(self, cut: Moment | None, data: st.DataObject) -> None:
        order = data.draw(
            st.sampled_from([order for order, state in self.states.items() if state not in _ENDS])
        )
        scribe = self._scribe()

        def work(connection: sqlite3.Connection) -> bool:
            entry = ledger.find(connection, order)
            assert entry is not None
            done = AsRun(outcome=Outcome.AIRED)
            return scribe.close(connection, entry, OrderState.SUCCESSFUL, done)

        self._transact(work, cut)
        stored = _state(self.database, order)
        assert stored is not None
        self.states[order] = stored

    @rule()
    def the_power_goes(self) -> None:
        self.database.power_off()
        self.database = self.database.reborn()
        self.clock.reboot()

    @rule(days=st.integers(0, 20))
    def the_journal_is_tidied(self, days: int) -> None:
        """Ids are forgotten, numbers are not."""
        gone = START + timedelta(days=days - 10)
        run(self.database.run(lambda connection: ledger.purge(connection, expired_before=gone)), self.counter)
        for order, state in list(self.states.items()):
            if _state(self.database, order) is None:
                assert state in _ENDS, "an open order is never forgotten"
                del self.states[order]

    @invariant()
    def numbers_agree(self) -> None:
        rows = self.database.rows("SELECT issuer, kid, highest, seen FROM replay_window")
        stored = {(str(issuer), str(kid)): (highest, seen) for issuer, kid, highest, seen in rows}
        for whose, numbers in self.numbers.items():
            if not numbers:
                assert whose not in stored
                continue
            highest, seen = stored[whose]
            assert highest == max(numbers)
            assert isinstance(seen, bytes)
            bits = int.from_bytes(seen)
            inside = {highest - age for age in range(WIDTH) if bits >> age & 1}
            assert inside == {number for number in numbers if number > highest - WIDTH}

    def _open(self) -> int:
        return sum(state not in _ENDS for state in self.states.values())


_ENDS = frozenset({OrderState.REJECTED, OrderState.SUCCESSFUL})


def _refused(entry: Entry) -> Entry:
    return replace(
        entry, state=OrderState.REJECTED, envelope=None, reason=Reason(ReasonCode.EXPIRED, "Too late.")
    )


def _state(database: VirtualDatabase, order: OrderId) -> OrderState | None:
    rows = database.rows(f"SELECT state FROM ledger WHERE id = '{order}'")
    return OrderState(str(rows[0][0])) if rows else None


TestNeverTwice = NeverTwice.TestCase
TestNeverTwice.settings = settings(derandomize=True, deadline=None, max_examples=40, stateful_step_count=40)
