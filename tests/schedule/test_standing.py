"""A board document: what is written in it that no calendar has."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from edge_agent.desired import Signed
from edge_agent.errors import DocumentRefused
from edge_agent.model import Issuer, Precedence
from edge_agent.schedule.standing import read

SIGNED = Signed(
    issuer=Issuer("xa"), highest=Precedence.ROUTINE, version=1, issued_at=datetime(2026, 11, 30, tzinfo=UTC)
)


@pytest.mark.parametrize(
    ("key", "date"), [("from", "0001-01-01T00:00:00+14:00"), ("to", "9999-12-31T23:59:59-12:00")]
)
def test_a_date_out_of_the_calendar_is_refused(key: str, date: str) -> None:
    body = json.dumps({"notices": [{"id": "hop", "text": "x", key: date}]}).encode()
    with pytest.raises(DocumentRefused) as refused:
        read(body, SIGNED)
    assert [fault.path for fault in refused.value.faults] == [f"$.notices[0].{key}"]
