"""Runs every checker over what a world kept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hal.sim import checkers
from hal.sim.sign import ERASE_NS, START_NS
from hal.sim.sign_line import CUT_NS

if TYPE_CHECKING:
    from hal.sim.world import World

NS = 1_000_000_000

_UNAWARE_NS = 1000 * NS
"""A board is audited, or written again, every 15 min: so long a node may not know that it has forgotten."""


def judge(world: World) -> list[str]:
    """Every violation, as a sentence."""
    found = list(world.noted)
    for life in world.lives():
        live, steps = checkers.amplifier_walk(life.lines, world.rule, life.end_ns)
        wrong = steps + checkers.silent_unless_live(life.loud, live)
        if life.supervisor.would_have_killed():
            wrong.append(f"The watchdog heard nothing for {life.supervisor.longest_silence_s:.1f} s.")
        found += [f"{life.name}: {sentence}" for sentence in wrong]
    found += checkers.one_voice(world.turns)
    found += checkers.lived_once(world.database.watched("ledger"))
    found += _unrecorded(world)
    found += checkers.told_truly(_told(world))
    return found + _minded(world)


def _told(world: World) -> list[tuple[str, str, bytes]]:
    """(order, state, payload) of every order state that the server got, as its numbers put them: after a
    refusal the broker may take a later one first."""
    told = []
    logs: dict[str, int] = {}
    for arrival, received in enumerate(world.broker.server_received):
        if received.message.topic.endswith(f"/{world.name}/up/cmd" if world.name else "/up/cmd"):
            state = json.loads(received.message.payload)
            log = logs.setdefault(str(state.get("log")), len(logs))
            place = (log, int(state.get("n", arrival)))
            told.append((place, (str(state["id"]), str(state["state"]), received.message.payload)))
    return [entry for _, entry in sorted(told, key=lambda one: one[0])]


def _unrecorded(world: World) -> list[str]:
    """Closed orders without their one as-run entry, in a world whose database has both tables."""
    tables = {name for (name,) in world.database.rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not {"ledger", "asrun"} <= tables:
        return []
    orders = world.database.rows("SELECT id, state FROM ledger")
    closed = [str(order) for order, state in orders if state in checkers.TERMINAL]
    return checkers.one_entry_each(
        closed, [str(order) for (order,) in world.database.rows("SELECT order_id FROM asrun")]
    )


def _minded(world: World) -> list[str]:
    """What the sign has found wrong, less what the node could not help: that the sign has forgotten its
    memory is news to the node, which asks only so often; a sign that wakes may wake in mid-frame; a frame that a kill, a power cut or a pulled
    plug has cut short is minded once, when the next one comes; and a new process cannot know that the
    last one was in the middle of a frame, or had the sign erase its memory, a moment before its end."""
    cuts = sorted(world.line_cuts)
    found = []
    for wrong in world.sign.violations:
        if wrong.kind == "unallocated" and any(
            at <= wrong.at_ns < at + _UNAWARE_NS for at in world.sign_restarts
        ):
            continue
        if wrong.kind == "wake" and any(
            at <= wrong.at_ns < at + START_NS + CUT_NS for at in world.sign_restarts
        ):
            continue
        unknown_ns = {"deaf": ERASE_NS, "gap": CUT_NS, "wake": CUT_NS}.get(wrong.kind, 0)
        if any(at <= wrong.at_ns < at + unknown_ns for at in world.line_cuts):
            continue
        if wrong.kind == "cut" and cuts and cuts[0] <= wrong.at_ns:
            cuts = [at for at in cuts if at > wrong.at_ns]
            continue
        found.append(f"The sign minded at {wrong.at_ns / NS:.3f} s: {wrong.kind}, {wrong.text}.")
    return found
