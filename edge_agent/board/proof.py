"""What the playlist's items came to on one board: how often and how long each stood, and how well that is known (pure).

An item that stands for ten seconds in every minute would fill the as-run log with a thousand entries a day. Each
has one entry for every `PROOF_EVERY_S`, and one when it leaves the list.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from edge_agent.board.grade import Grade
from edge_agent.model import NS, AsRun, Digest, Issuer, OrderId, Outcome, Precedence, Reason

PROOF_EVERY_S = 6 * 3600
ITEMS_MAX = 400
"""Items of some versions of a list that nobody has fetched; a longer list forgets none of what stands now."""
PAGES_MAX = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """One item's entry."""

    key: OrderId
    issuer: Issuer
    precedence: Precedence
    asrun: AsRun


@dataclass(slots=True, kw_only=True)
class _Tally:
    """What an item came to since its last entry."""

    issuer: Issuer
    precedence: Precedence
    started_ns: int
    ended_ns: int
    times: int = 0
    shown_ns: int = 0
    grade: Grade = Grade.SEEN
    pages: dict[Digest, int] = field(default_factory=dict)
    """How long each page stood, ns."""
    refused: Reason | None = None


class Proofs:
    """The tallies of one board."""

    def __init__(self, board: str) -> None:
        self._board = board
        self._tallies: dict[OrderId, _Tally] = {}

    def stood(
        self,
        key: OrderId,
        issuer: Issuer,
        precedence: Precedence,
        *,
        page: Digest,
        from_ns: int,
        to_ns: int,
        grade: Grade,
        first: bool,
    ) -> None:
        """A page of an item stood from `from_ns` to `to_ns` (CLOCK_BOOTTIME); `first`: a turn began with it."""
        tally = self._tally(key, issuer, precedence, from_ns)
        tally.ended_ns = to_ns
        tally.times += first
        tally.shown_ns += to_ns - from_ns
        tally.grade = min(tally.grade, grade)
        if page in tally.pages or len(tally.pages) < PAGES_MAX:
            tally.pages[page] = tally.pages.get(page, 0) + to_ns - from_ns

    def refused(
        self, key: OrderId, issuer: Issuer, precedence: Precedence, reason: Reason, at_ns: int
    ) -> None:
        """An item was due and cannot be shown."""
        self._tally(key, issuer, precedence, at_ns).refused = reason

    def ripe(self, now_ns: int, listed: Collection[OrderId], *, everything: bool = False) -> list[Proof]:
        """The entries whose time has come: of items that are listed no more, and of those whose last entry is long ago."""
        due = [
            key
            for key, tally in self._tallies.items()
            if everything or key not in listed or now_ns - tally.started_ns >= PROOF_EVERY_S * NS
        ]
        return [self._entry(key, self._tallies.pop(key)) for key in due]

    def _tally(self, key: OrderId, issuer: Issuer, precedence: Precedence, at_ns: int) -> _Tally:
        tally = self._tallies.get(key)
        if tally is None:
            if len(self._tallies) >= ITEMS_MAX:
                del self._tallies[next(iter(self._tallies))]
            tally = _Tally(issuer=issuer, precedence=precedence, started_ns=at_ns, ended_ns=at_ns)
            self._tallies[key] = tally
        return tally

    def _entry(self, key: OrderId, tally: _Tally) -> Proof:
        shown = tally.times > 0 or tally.shown_ns > 0
        outcome = Outcome.AIRED if tally.refused is None else Outcome.PARTIAL if shown else Outcome.REFUSED
        grade = tally.grade if shown else Grade.NONE
        asrun = AsRun(
            outcome=outcome,
            reason=tally.refused,
            started_ns=tally.started_ns if shown else None,
            ended_ns=tally.ended_ns if shown else None,
            pages=len(tally.pages),
            proof=grade.proof,
            live={
                "board": self._board,
                "grade": grade.word,
                "times": tally.times,
                "seconds": round(tally.shown_ns / NS),
                "pages": [
                    {"digest": digest, "seconds": round(stood_ns / NS)}
                    for digest, stood_ns in tally.pages.items()
                ],
            },
        )
        return Proof(key=key, issuer=tally.issuer, precedence=tally.precedence, asrun=asrun)
