"""A whole node's random week, judged: the checkers that are always on, and that it is well ten minutes after the last fault."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from edge_agent.desired import Signed
from edge_agent.model import Issuer, Precedence
from edge_agent.schedule import occurrences, plan
from tests.flows.conftest import noise
from tests.flows.scene import NODE, ROOT, Village
from tests.seeds import chance
from tests.seeds.chance import DAY_S, Week

RECOVERY_S = 600
STANDING_MAY = frozenset({"rejected_orders", "message_missing", "emergency_muted", "cache_short"})
"""Alerts that say what has happened, not what is wrong."""


@dataclass(frozen=True)
class Verdict:
    """What came of a seed."""

    seed: int
    trace: str
    """sha256 of everything that happened: the same for the same seed."""
    orders: int
    turns: int
    wrong: tuple[str, ...]


def lived(seed: int, *, days: float = 7) -> Verdict:
    """Run one seed and judge it."""
    village = chance.a_village(seed)
    rng = village.world.rng("week")
    assets = [
        noise(f"{name}.wav", seconds, seed=n).on(village)
        for n, (name, seconds) in enumerate((("a", 0.4), ("b", 1.2), ("c", 3.0)))
    ]
    week = Week(village=village, rng=rng, days=days, assets=assets)
    wrong: list[str] = []

    async def story() -> None:
        service = asyncio.create_task(chance.time_service(week), name="time service")
        async with asyncio.TaskGroup() as group:
            for life in (chance.documents, chance.orders, chance.misfortunes):
                group.create_task(life(week), name=life.__name__)
        service.cancel()
        await asyncio.sleep(max(0.0, days * DAY_S - week.now_s))
        chance.mend(week)
        await asyncio.sleep(RECOVERY_S)
        wrong.extend(unwell(week))

    try:
        village.tell(story, limit_s=(days + 3) * DAY_S, judge=False)
        wrong += judged(week)
    except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to this seed
        wrong.append(f"The world broke: {error!r}")
    verdict = Verdict(seed, trace(village), len(week.orders), len(_turns(village)), tuple(wrong))
    village.world.close()
    return verdict


def unwell(week: Week) -> list[str]:
    """What is not as it should be, ten minutes after the last fault has ended."""
    village = week.village
    found = []
    state = village.up("state")[-1] if village.up("state") else {}
    if state.get("state") != "online":
        found.append(f"It is not online: {state.get('state')}.")
    elif state["clock"]["quality"] not in {"synced", "holdover"} and not _trusted(village):
        found.append(f"Its clock is {state['clock']['quality']}.")
    found += [f"Order {order} is open." for order in village._open()]
    standing = {alert for (alert,) in village.world.database.rows("SELECT id FROM alert")} - STANDING_MAY
    found += [f"Alert {alert} stands." for alert in sorted(map(str, standing))]
    for doc, version in week.published.items():
        said = village.up(f"reported/{doc}")
        if not said or said[-1]["in_force"] != version:
            found.append(f"Document {doc} {version} is not in force: {said[-1:]}.")
    waiting = village.world.database.rows("SELECT COUNT(*) FROM outbox WHERE due = 1")[0][0]
    if waiting:
        found.append(f"{waiting} messages wait in the outbox.")
    return found


def _trusted(village: Village) -> bool:
    health = village.up("health")
    return bool(health) and health[-1]["clock"] in {"synced", "holdover"}


def _last_words(village: Village) -> set[int]:
    """What was written down when the agent stopped for good: what the boards had shown. It would go out at the next start."""
    rows = village.world.database.rows("SELECT payload FROM outbox WHERE due = 1")
    payloads = [payload for (payload,) in rows if isinstance(payload, bytes) and b'"verb":"board"' in payload]
    return {json.loads(payload)["asrun"]["number"] for payload in payloads}


def judged(week: Week) -> list[str]:
    """What must never have happened, in any world."""
    village, world = week.village, week.village.world
    found: list[str] = []
    try:
        village.judge()
    except AssertionError as error:
        found.append(str(error))
    rows = world.database.rows("SELECT key, ended FROM fired")
    entries = {entry["id"] for entry in _turns(village)}
    found += [f"Turn {key} has no entry." for key, ended in rows if ended and key not in entries]
    found += [f"Turn {key} never ended." for key, ended in rows if not ended]
    found += [
        f"Turn {key} has an entry and no row."
        for key in sorted(str(key) for key in entries - {str(key) for key, _ in rows})
    ]
    known = {str(key) for key, _ in rows}
    stored = {entry["number"] for entry in village.stored()}
    told = {entry["number"] for entry in village.reports()}
    told |= _last_words(village)
    found += [f"Entry {number} never reached the server." for number in sorted(stored - told)]
    found += [f"Turn {key} was neither played nor missed." for key in _expected(week) if key not in known]
    return found


def _expected(week: Week) -> list[str]:
    """The turns that each schedule had while it surely was in force: from when the server was told so (and half an hour
    more, for a clock in doubt) until the next one was published; those whose time and grace are over."""
    village = week.village
    signed = Signed(
        issuer=Issuer("x"), highest=Precedence.ROUTINE, version=1, issued_at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    told: dict[int, float] = {}
    for received in village.world.broker.received_on(f"{ROOT}/{NODE}/up/reported/schedule"):
        told.setdefault(json.loads(received.message.payload)["in_force"], received.at_ns / 1e9)
    now, now_s = village.world.outside.utc_now(), week.now_s
    found: list[str] = []
    for place, (version, body, _) in enumerate(week.schedules):
        if version not in told:
            continue
        ends_s = week.schedules[place + 1][2] if place + 1 < len(week.schedules) else now_s
        whole = plan.read(json.dumps(body).encode(), signed)
        begin, end = (now - timedelta(seconds=now_s - at_s) for at_s in (told[version] + 1_800, ends_s))
        found += [
            one.key
            for one in occurrences.between(whole, begin, end)
            if (end - one.at).total_seconds() > one.rule.grace_s + RECOVERY_S
        ]
    return found


def _turns(village: Village) -> list[dict[str, object]]:
    return [entry for entry in village.stored() if entry["verb"] == "schedule"]


def trace(village: Village) -> str:
    """Everything that happened, as one hash."""
    world = village.world
    hasher = hashlib.sha256()
    for part in (
        world.story,
        village.stored(),
        sorted(village.ledger().items()),
        [(life.name, life.loud, [(c.at_ns, c.line, c.active) for c in life.lines]) for life in world.lives()],
        world.broker.received_ever,
    ):
        hasher.update(json.dumps(part, sort_keys=True, default=str).encode())
    return hasher.hexdigest()


def quiet_log() -> None:
    """A week's warnings are expected; only the verdict is of interest."""
    logging.disable(logging.CRITICAL)
