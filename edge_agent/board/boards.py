"""All boards of a node behind one door: an order for several becomes one for each, and their ends one end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from edge_agent.board.air import Air
from edge_agent.board.health import BoardState
from edge_agent.board.presenter import Presenter
from edge_agent.board.proof import Proof
from edge_agent.errors import Refused, TextRefused
from edge_agent.model import (
    AsRun,
    BoardClear,
    BoardShow,
    Finished,
    OrderId,
    OrderState,
    Outcome,
    Reason,
    ReasonCode,
)
from edge_agent.playlist import Playlist
from edge_agent.report.status import BoardNote
from edge_agent.ticket import Ticket

WHY_MAX, WHY_CHARS, PAGE_CHARS = 4, 200, 60
"""An idle node's health stays small."""


class Boards:
    """The boards by name. `life` must run before anything is asked."""

    def __init__(self, presenters: Mapping[str, Presenter], air: Air | None = None) -> None:
        assert presenters
        self._presenters = dict(presenters)
        self._air = air
        self._group: asyncio.TaskGroup | None = None

    async def life(self) -> None:
        """Serve every board until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            if self._air is not None:
                group.create_task(self._air.life(), name="air")
            for name, presenter in self._presenters.items():
                group.create_task(presenter.life(), name=f"presenter {name}")

    # ------------------------------------------------------------ asked from above

    async def vet(self, intent: BoardShow) -> None:
        """Draw a notice. Raises TextRefused when not one of the boards it is for can show it, Refused when there is no
        such board."""
        refusals: list[TextRefused] = []
        addressed = self._addressed(intent.boards)
        for presenter in addressed.values():
            try:
                await presenter.vet(intent)
            except TextRefused as refused:
                refusals.append(refused)
        if len(refusals) == len(addressed):
            raise refusals[0]

    def show(self, intent: BoardShow) -> Ticket:
        """Show a notice on the boards that it is for. Raises TextRefused, Refused."""
        addressed = self._addressed(intent.boards)
        return self._asked(intent, {name: one.show(intent) for name, one in addressed.items()})

    def clear(self, intent: BoardClear) -> Ticket:
        """Take notices down, on every board that is ours to touch. Raises Refused."""
        ours = {
            name: one for name, one in self._presenters.items() if one.ours or one.wanted
        } or self._presenters
        return self._asked(intent, {name: one.clear(intent) for name, one in ours.items()})

    @property
    def wanted(self) -> tuple[OrderId, ...]:
        """The orders whose notices are shown, or are to be shown again."""
        return tuple({order: None for one in self._presenters.values() for order in one.wanted})

    def wind_up(self) -> None:
        """Shutdown: what is under way ends INTERRUPTED, what is shown stays."""
        for presenter in self._presenters.values():
            presenter.wind_up()

    def post(self, playlist: Playlist) -> None:
        """This list is in force on every board from now on."""
        for presenter in self._presenters.values():
            presenter.post(playlist)

    def proofs(self, *, everything: bool = False) -> list[Proof]:
        """What came of its items, where an entry in the as-run log is due; `everything`: of all."""
        return [proof for one in self._presenters.values() for proof in one.proofs(everything=everything)]

    @property
    def faults(self) -> dict[str, str]:
        """What is wrong, by board; sentences with a remedy."""
        return {name: one.fault for name, one in self._presenters.items() if one.fault is not None}

    def notes(self) -> tuple[BoardNote, ...]:
        """Each board, for `up/health` and the box."""
        return tuple(_note(name, presenter) for name, presenter in self._presenters.items())

    def states(self) -> dict[str, BoardState]:
        """Each board at a glance."""
        return {name: presenter.state() for name, presenter in self._presenters.items()}

    # ------------------------------------------------------------ several as one

    def _addressed(self, names: Sequence[str]) -> dict[str, Presenter]:
        """The boards that an order is for. Raises Refused."""
        unknown = [name for name in names if name not in self._presenters]
        if unknown:
            raise Refused(
                ReasonCode.UNSUPPORTED,
                f"This node has no board {', '.join(unknown)}; it has {', '.join(self._presenters)}.",
            )
        addressed = {name: one for name, one in self._presenters.items() if not names or name in names}
        ours = {name: one for name, one in addressed.items() if one.ours}
        if not ours or (names and len(ours) < len(addressed)):
            foreign = ", ".join(name for name in addressed if name not in ours)
            raise Refused(
                ReasonCode.UNSUPPORTED,
                f"Board {foreign} is somebody else's and not lent now; the board document must name a requisition.",
            )
        return ours

    def _asked(self, intent: BoardShow | BoardClear, tickets: dict[str, Ticket]) -> Ticket:
        if len(tickets) == 1:
            return next(iter(tickets.values()))
        assert self._group is not None, "the boards are alive before they are asked"
        whole = Ticket(intent)
        self._group.create_task(self._joined(whole, tickets), name=f"boards for {intent.id}")
        return whole

    async def _joined(self, whole: Ticket, tickets: dict[str, Ticket]) -> None:
        """Begin each board's part when the whole has begun; end the whole with the last of them."""
        async with asyncio.TaskGroup() as group:
            parts = {
                name: group.create_task(_followed(whole, ticket), name=f"{name} for {whole.intent.id}")
                for name, ticket in tickets.items()
            }
        whole.end(_summed({name: part.result() for name, part in parts.items()}))


async def _followed(whole: Ticket, part: Ticket) -> Finished:
    if await part.granted():
        whole.grant()
        await whole.begun()
        part.begin()
    return await part.ended()


def _summed(parts: Mapping[str, Finished]) -> Finished:
    """One result for all boards: the first that failed gives the state, what each did stands in the result."""
    worst = next((one for one in parts.values() if one.state is not OrderState.SUCCESSFUL), None)
    first = worst or next(iter(parts.values()))
    runs = [one.asrun for one in parts.values()]
    shown = [run for run in runs if run.outcome is Outcome.AIRED]
    outcome = Outcome.PARTIAL if worst is not None and shown else first.asrun.outcome
    starts = [run.started_ns for run in runs if run.started_ns is not None]
    ends = [run.ended_ns for run in runs if run.ended_ns is not None]
    asrun = replace(
        first.asrun,
        outcome=outcome,
        started_ns=min(starts, default=None),
        ended_ns=max(ends, default=None),
        pages=max(run.pages for run in runs),
        proof=min((run.proof for run in shown), default=first.asrun.proof),
    )
    result = dict(first.result)
    if "cleared" in result:
        result["cleared"] = list({order: None for one in parts.values() for order in _cleared(one)})
    result["boards"] = {name: _told(one.state, one.asrun) for name, one in parts.items()}
    refused = first.state is OrderState.REJECTED and bool(shown)  # it is on show where it fits
    return Finished(state=OrderState.FAILED if refused else first.state, asrun=asrun, result=result)


def _cleared(part: Finished) -> list[str]:
    found = part.result.get("cleared", ())
    return list(found) if isinstance(found, list) else []


def _note(name: str, presenter: Presenter) -> BoardNote:
    state = presenter.state()
    health, why = presenter.health()
    return BoardNote(
        name=name,
        state=health,
        why=[text[:WHY_CHARS] for text in why[:WHY_MAX]],
        showing=state.order,
        page=state.text[:PAGE_CHARS],
        grade=state.grade.word,
        brightness=state.brightness,
    )


def _told(state: OrderState, asrun: AsRun) -> dict[str, object]:
    told: dict[str, object] = {"state": str(state), "pages": asrun.pages, "proof": asrun.proof}
    reason: Reason | None = asrun.reason
    return told if reason is None else told | {"code": str(reason.code), "text": reason.text}
