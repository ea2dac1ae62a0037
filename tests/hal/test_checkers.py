"""The checkers themselves: each finds what it is for, and is silent about what is right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hal.sim.checkers import (
    AmplifierRule,
    LoudEar,
    amplifier_walk,
    lived_once,
    nothing_left,
    one_entry_each,
    one_voice,
    silent_unless_live,
    told_truly,
    within_bounds,
)

NS = 1_000_000_000
RULE = AmplifierRule()


@dataclass(frozen=True)
class Change:
    at_ns: int
    line: str
    active: bool


def history(*changes: tuple[float, str, bool]) -> list[Change]:
    """Changes at seconds, of an amplifier with power, unmute and one zone, requested at 0."""
    names = {
        "power": "amplifier_power",
        "unmute": "amplifier_unmute",
        "hall": "zone_hall",
        "yard": "zone_yard",
    }
    requests = [Change(0, name, active=False) for name in list(names.values())[:3]]
    return requests + [Change(round(at * NS), names[line], active) for at, line, active in changes]


GOOD = (
    (10.0, "power", True),
    (12.0, "hall", True),
    (12.1, "unmute", True),
    (20.0, "unmute", False),
    (20.05, "power", False),
    (20.05, "hall", False),
)


def walk(*changes: tuple[float, str, bool], end_s: float = 100) -> tuple[list[tuple[int, int]], list[str]]:
    return amplifier_walk(history(*changes), RULE, round(end_s * NS))


# ---------------------------------------------------------------- the amplifier


def test_a_proper_sequence_is_live_between_unmute_and_mute() -> None:
    assert walk(*GOOD) == ([(round(12.1 * NS), 20 * NS)], [])


def test_what_is_still_live_at_the_end_is_live_until_then() -> None:
    assert walk(*GOOD[:3], end_s=15) == ([(round(12.1 * NS), 15 * NS)], [])


def test_an_unmute_before_it_has_settled_is_found() -> None:
    _, found = walk((10, "power", True), (10.5, "hall", True), (11, "unmute", True))
    assert found == ["At 11.000 s: The mute went 1.000 s after power on, before it had settled."]


def test_an_unmute_right_after_a_relay_is_found() -> None:
    _, found = walk((10, "power", True), (13, "hall", True), (13.02, "unmute", True))
    assert found == ["At 13.020 s: The mute went 0.020 s after a relay switched."]


def test_power_without_mute_is_found_both_ways() -> None:
    _, found = walk((5, "unmute", True), (10, "power", True), (20, "power", False))
    assert found == [
        "At 10.000 s: The amplifier went on unmuted.",
        "At 20.000 s: The amplifier went off while unmuted.",
    ]


def test_a_relay_that_switches_while_live_is_found() -> None:
    _, found = walk(*GOOD[:3], (15, "yard", True))
    assert found == ["At 15.000 s: Relay zone_yard switched while unmuted."]


def test_a_relay_that_does_not_wait_for_the_mute_is_found() -> None:
    _, found = walk(*GOOD[:3], (15, "unmute", False), (15.01, "yard", True))
    assert found == ["At 15.010 s: Relay zone_yard switched 0.010 s after the mute."]


def test_power_on_too_soon_after_off_is_found() -> None:
    _, found = walk(*GOOD, (21, "power", True))
    assert found == ["At 21.000 s: The amplifier went on 0.950 s after it went off."]


def test_an_amplifier_without_lines_is_always_live() -> None:
    assert amplifier_walk([], RULE, 5) == ([(0, 5)], [])


def test_with_all_relays_off_nobody_hears_it() -> None:
    live, _ = walk((10, "power", True), (12.1, "unmute", True))
    assert live == []


def test_what_was_never_unmuted_is_not_live() -> None:
    live, found = walk((10, "power", True), (12, "hall", True), (20, "power", False))
    assert (live, found) == ([], [])


# ---------------------------------------------------------------- sound


def test_sound_inside_live_is_right_and_outside_is_found() -> None:
    live = [(10 * NS, 20 * NS)]
    assert silent_unless_live([(10 * NS, 20 * NS), (12 * NS, 13 * NS)], live) == []
    found = silent_unless_live([(9 * NS, 11 * NS), (19 * NS, 21 * NS), (30 * NS, 31 * NS)], live)
    assert [sentence.split(":")[0] for sentence in found] == ["At 9.000 s", "At 19.000 s", "At 30.000 s"]


def test_the_ear_keeps_what_is_audible_and_joins_what_belongs_together() -> None:
    ear = LoudEar()
    ear.opened(0, 48_000)
    block = np.zeros(48_000, dtype=np.float32)
    block[4_800:9_600] = 0.5
    block[9_700:9_800] = -0.5
    block[24_000:24_010] = 0.001
    block[40_000:] = 0.00005
    ear.heard(0, NS, block)
    ear.heard(48_000, 2 * NS, np.zeros(960, dtype=np.float32))

    assert [(round(a / 1e6), round(b / 1e6)) for a, b in ear.spans] == [(1100, 1204), (1500, 1500)]


def test_the_ear_joins_block_to_block() -> None:
    ear = LoudEar()
    tone = np.full(960, 0.1, dtype=np.float32)
    for number in range(100):
        ear.heard(960 * number, number * 20_000_000, tone)
    assert ear.spans == [(0, 2 * NS)]


def test_one_voice_at_a_time() -> None:
    assert one_voice([(0, 10, 0), (10, 20, 2), (20, 30, 0)]) == []
    assert one_voice([(0, 10 * NS, 0), (9 * NS, 20 * NS, 2)]) == [
        "At 9.000 s: Classes 0 and 2 were audible at once."
    ]
    assert one_voice([(0, 30, 1), (1, 2, 1)]) == ["At 0.000 s: Two of class 1 were audible at once."]


# ---------------------------------------------------------------- orders


def test_each_request_has_one_entry() -> None:
    assert one_entry_each(["a", "b"], ["b", "a", "open"]) == []
    assert one_entry_each(["a", "b"], ["b", "b"]) == [
        "Request a has ended and has no as-run entry.",
        "Request b has 2 as-run entries.",
    ]


def test_an_order_lives_once() -> None:
    good = [("a", None, "received"), ("a", "received", "executing"), ("a", "executing", "successful")]
    assert lived_once(good) == []
    assert lived_once([*good, ("a", "successful", "executing")]) == [
        "Order a went from successful, which is an end, to executing.",
        "Order a was executed twice.",
    ]


def test_the_server_is_told_the_truth_and_may_be_told_again() -> None:
    told = [
        ("a", "executing", b"1"),
        ("a", "successful", b"2"),
        ("a", "executing", b"1"),
        ("a", "successful", b"3"),
    ]
    assert told_truly(told) == []
    assert told_truly([*told, ("a", "failed", b"4")]) == [
        "The server was told that order a is successful, and then that it is failed."
    ]


# ---------------------------------------------------------------- the rest


def test_bounds_and_left_overs_are_named() -> None:
    assert within_bounds({"outbox": (5, 5), "channel": (33, 32)}) == ["Queue channel held 33 of at most 32."]
    assert nothing_left("task", ["b", "a"]) == ["The task a was left behind.", "The task b was left behind."]
