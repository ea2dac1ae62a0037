"""Desired documents for tests: made, signed, and a reconciler that has nobody to give them to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from edge_agent.clocktrust import ClockTrust
from edge_agent.command import documents
from edge_agent.command.keyring import Keyring
from edge_agent.command.reconcile import Reconciler
from edge_agent.command.topics import Topics
from edge_agent.desired import Doc, Taker
from edge_agent.model import Digest, Precedence
from edge_agent.report.outbox import Outbox
from hal.ports import Database
from tests import signers


class EmptyLarder:
    """Nothing can be fetched from here."""

    async def fetched(self, digest: Digest, url: str, *, most: int) -> bytes:
        raise AssertionError("nobody fetches here")


def reconciler(
    *,
    database: Database,
    trust: ClockTrust,
    keyring: Keyring,
    topics: Topics,
    outbox: Outbox,
    takers: Mapping[Doc, Taker] | None = None,
) -> Reconciler:
    """One that works; without takers every document is unsupported."""
    return Reconciler(
        database=database,
        trust=trust,
        keyring=keyring,
        topics=topics,
        takers=takers or {},
        larder=EmptyLarder(),
        telling=outbox.wake,
    )


def document(
    doc: str,
    body: dict[str, Any] | bytes | None,
    *,
    version: int,
    issuer: str,
    audience: tuple[str, ...],
    issued_at: datetime,
    klass: str = "routine",
    pointer: documents.Pointer | None = None,
    kids: tuple[str, ...] | None = None,
) -> bytes:
    """A document in its envelope, signed by the issuer's own key unless others are named."""
    payload = documents.compose(
        Doc(doc),
        version=version,
        issuer=issuer,
        audience=audience,
        issued_at=issued_at,
        highest=Precedence.from_wire(klass),
        body=json.dumps(body).encode() if isinstance(body, dict) else body,
        pointer=pointer,
    )
    return documents.seal(payload, [signers.signer(kid) for kid in kids or (f"{issuer}-2026",)])
