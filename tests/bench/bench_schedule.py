"""A schedule of 5,000 rules: understood with its collisions, the next turn, one look, and the signature that brings it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from edge_agent.desired import Signed
from edge_agent.model import Issuer, Precedence
from edge_agent.schedule.forms import DAYS
from edge_agent.schedule.occurrences import between, collisions, upcoming
from edge_agent.schedule.plan import read
from tests.bench.measure import figure, seconds

RUNS = 7
RULES = 5_000
MEDIA = "sha256:" + "a" * 64
NOW = datetime(2026, 11, 30, 3, tzinfo=UTC)
SIGNED = Signed(issuer=Issuer("xa"), highest=Precedence.PRIORITY, version=1, issued_at=NOW)


def body() -> bytes:
    """Rules as a district might have them: weekdays, dates, exceptions, some at the same time."""
    rules = [
        {
            "id": f"luat-{n}", "title": f"Chương trình {n}", "class": ("routine", "priority")[n % 9 == 0],
            "at": [f"{n % 24:02}:{n % 60:02}", f"{(n + 7) % 24:02}:{n * 7 % 60:02}"], "days": [DAYS[n % 7], DAYS[(n + 3) % 7]],
            "from": "2026-01-01", "to": f"{2026 + n % 3}-12-31", "except": ["2026-12-25", "2027-01-01"],
            "programme": [{"media": MEDIA, "url": "https://server.example/x.mp3", "seconds": 120 + n % 600}, {"say": "Hết."}],
        }
        for n in range(RULES)
    ]  # fmt: skip
    return json.dumps({"rules": rules, "holidays": ["2027-01-01", "2027-02-06"]}).encode()


def timed(work: object) -> float:
    """Seconds of one call."""
    assert callable(work)
    began = seconds()
    work()
    return seconds() - began


def main() -> None:
    """Print the figures."""
    blob = body()
    plan = read(blob, SIGNED)
    rules = len(plan.rules)

    def understood() -> None:
        collisions(read(blob, SIGNED))

    figure(
        "schedule_understand",
        [timed(understood) for _ in range(RUNS)],
        "s",
        aim="<= 1",
        rules=rules,
        kib=len(blob) // 1024,
    )
    figure(
        "schedule_next",
        [timed(lambda: upcoming(plan, NOW, 3)) * 1e3 for _ in range(RUNS)],
        "ms",
        aim="<= 50",
        rules=rules,
    )
    figure(
        "schedule_look",
        [timed(lambda: between(plan, NOW - timedelta(minutes=6), NOW)) * 1e3 for _ in range(RUNS)],
        "ms",
        rules=rules,
    )
    figure(
        "schedule_week",
        [timed(lambda: between(plan, NOW, NOW + timedelta(days=7))) * 1e3 for _ in range(RUNS)],
        "ms",
        rules=rules,
    )


if __name__ == "__main__":
    main()
