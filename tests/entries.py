"""Entries of the journal, for tests."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from edge_agent.command.ledger import Entry
from edge_agent.model import Issuer, OrderId, OrderState, Precedence

START = datetime(2026, 11, 23, tzinfo=UTC)


def ident(number: int) -> OrderId:
    """The ULID of the order of this number."""
    return OrderId(f"01J{number:023d}")


def an_entry(number: int = 1, **changes: Any) -> Entry:
    """An order as it comes."""
    entry = Entry(
        id=ident(number),
        issuer=Issuer("xa"),
        verb="play",
        precedence=Precedence.PRIORITY,
        seq=number,
        expires_at=START,
        supersedes=None,
        in_group=False,
        envelope=b"{}",
        state=OrderState.ACCEPTED,
        reason=None,
        result=None,
        boot="boot-1",
        received_ns=10,
        received_at=START,
        deadline_ns=20,
        changed_ns=10,
    )
    return replace(entry, **changes)
