"""One turn on its way, what it counts as, and how it may end. Pure."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from edge_agent.model import (
    AsRun,
    Digest,
    Finished,
    OrderId,
    OrderState,
    Outcome,
    Reason,
    ReasonCode,
    Recording,
)
from edge_agent.report.status import Turn
from edge_agent.schedule.fired import Begun
from edge_agent.schedule.occurrences import Occurrence
from edge_agent.schedule.plan import Rule


@dataclass(slots=True, kw_only=True)
class Run:
    """A turn that is under way: it waits, or has begun."""

    occurrence: Occurrence
    task: asyncio.Task[None] | None = None
    begun: bool = False
    recalled: bool = False
    """The schedule has changed while it waited: it goes by the newer one."""


def told(one: Occurrence) -> Turn:
    """A turn to come, for people."""
    rule = one.rule
    at, klass = one.at.isoformat(timespec="minutes"), rule.precedence.wire
    return Turn(at=at, rule=rule.id, title=rule.title, klass=klass, parts=len(rule.parts))


def only_recording(rule: Rule) -> Digest | None:
    """What counts as a repetition for the house rules: a recording that is played by itself."""
    recordings = [part.media for part in rule.parts if isinstance(part, Recording)]
    return recordings[0] if len(recordings) == len(rule.parts) == 1 else None


def row(occurrence: Occurrence) -> Begun:
    """Its row."""
    rule = occurrence.rule
    return Begun(
        key=OrderId(occurrence.key), at=occurrence.at, issuer=rule.issuer, precedence=rule.precedence
    )


def put_off(finished: Finished) -> bool:
    """The node is leaving and nothing has sounded: the next start may still begin it in time."""
    return finished.state is OrderState.INTERRUPTED and finished.asrun.outcome is Outcome.MISSED


def failed(reason: Reason, *, outcome: Outcome = Outcome.FAILED) -> Finished:
    """An end without a sound."""
    return Finished(state=OrderState.FAILED, asrun=AsRun(outcome=outcome, reason=reason))


INTERNAL: Final = Reason(ReasonCode.INTERNAL, "The node failed inside; look into its log.")
BROKEN: Final = AsRun(
    outcome=Outcome.PARTIAL,
    reason=Reason(ReasonCode.INTERRUPTED, "The node went down in the middle of it; it is not played again."),
)
OFF: Final = Reason(ReasonCode.INTERRUPTED, "The node was off, or had no schedule, at its time.")
DOUBTFUL: Final = Reason(
    ReasonCode.CLOCK_UNTRUSTED,
    "The node did not know the time then, so the turn waited; see its network or time service.",
)
WITHDRAWN: Final = Reason(ReasonCode.SUPERSEDED, "A newer schedule does not have this turn.")
