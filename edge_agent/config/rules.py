"""What only the whole config can show: keys that contradict each other, one GPIO line with two purposes. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Final

import msgspec

from edge_agent.config.conversion import Report
from edge_agent.config.sections import MAIN, Settings
from edge_agent.config.toml_lines import KeyPath

ROOM_SAYS_IT_TOO = "line_used_twice"
"""A room sees its own lines only; `_one_purpose_a_line` sees all of them."""


def check_together(settings: Settings, bad: Collection[str], report: Report) -> None:
    """Report every contradiction.

    Args:
        settings: the config; what stands in sections named in `bad` is a stand-in.
        bad: sections with problems of their own; no rule that looks at one of them is asked.
        report: called once per problem.
    """
    _one_purpose_a_line(settings, bad, report)
    _rooms(settings, bad, report)
    for sections, rule in _RULES:
        if not bad or sections.isdisjoint(bad):
            rule(settings, report)


def _one_purpose_a_line(settings: Settings, bad: Collection[str], report: Report) -> None:
    owners: dict[tuple[int, int], str] = {}
    for path, place in _gpio_lines(settings, ()):
        if path[0] in bad:
            continue
        if place in owners:
            report(
                (*path, "offset"), "line_twice", chip=str(place[0]), offset=str(place[1]), other=owners[place]
            )
        owners.setdefault(place, ".".join(str(part) for part in path))


def _gpio_lines(value: object, path: KeyPath) -> Iterator[tuple[KeyPath, tuple[int, int]]]:
    """Everything that names a line: every table with a chip and an offset."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _gpio_lines(inner, (*path, name))
    elif isinstance(value, msgspec.Struct):
        fields = msgspec.structs.asdict(value)
        if {"chip", "offset"} <= set(fields):
            yield path, (fields["chip"], fields["offset"])
        else:
            yield from _gpio_lines(fields, path)


def _rooms(settings: Settings, bad: Collection[str], report: Report) -> None:
    """A room's settings may have a `problems()` of their own: (key, code, facts) each."""
    for section in settings.__struct_fields__:
        value = getattr(settings, section)
        tables = value.items() if isinstance(value, dict) else [(None, value)]
        for name, table in tables:
            path = (section,) if name is None else (section, name)
            own = getattr(table, "problems", None)
            for key, code, facts in own() if own is not None and section not in bad else ():
                if code != ROOM_SAYS_IT_TOO:
                    report(
                        (*path, *key.split(".")), code, **{fact: str(text) for fact, text in facts.items()}
                    )


def _broker(settings: Settings, report: Report) -> None:
    broker = settings.broker
    for key, other in (("cert_file", "key_file"), ("key_file", "cert_file")):
        if getattr(broker, key) and not getattr(broker, other):
            report(("broker", key), "needs_other_key", other=f"broker.{other}")
    if not broker.url.startswith("mqtts://"):
        for key in ("ca_file", "cert_file"):
            if getattr(broker, key):
                report(("broker", key), "needs_other_key", other="broker.url = mqtts://…")
    if broker.backoff_min_s > broker.backoff_max_s:
        _less(
            report,
            ("broker", "backoff_min_s"),
            broker.backoff_min_s,
            "broker.backoff_max_s",
            broker.backoff_max_s,
        )


def _volume(settings: Settings, report: Report) -> None:
    playout = settings.playout
    if playout.volume > playout.volume_max:
        _less(report, ("playout", "volume"), playout.volume, "playout.volume_max", playout.volume_max)


def _amplifier(settings: Settings, report: Report) -> None:
    amplifier, hardware = settings.amplifier, settings.hardware
    wired = amplifier.power or amplifier.mute or amplifier.zones
    if hardware.sound == "linux" and hardware.gpio == "linux" and not wired:
        report(("amplifier",), "no_amplifier_line")


def _unsigned(settings: Settings, report: Report) -> None:
    if settings.trust.accept_unsigned and settings.hardware.gpio == "linux":
        report(("trust", "accept_unsigned"), "unsigned_needs_sim")


def _governor(settings: Settings, report: Report) -> None:
    governor = settings.governor
    for key in ("turn_max_s", "minutes_a_day", "repeats_a_day", "volume_max"):
        found, limit = getattr(governor, key), getattr(governor, f"emergency_{key}")
        if found > limit:
            _less(report, ("governor", key), found, f"governor.emergency_{key}", limit)
    for place, hours in enumerate(governor.quiet_hours):
        start, _, end = hours.partition("-")
        if start == end:
            report(("governor", "quiet_hours", place), "no_span", found=hours)


def _boards(settings: Settings, report: Report) -> None:
    """Two boards on one device, or a second one of the first's name."""
    owners: dict[str, str] = {}
    for name, board in settings.every_board().items():
        path: KeyPath = ("board",) if name == MAIN else ("boards", name)
        if settings.hardware.board == "sim":
            continue
        device = board.device if board.protocol != "screen" else f"{board.surface} {board.connector}"
        if device in owners:
            key = "device" if board.protocol != "screen" else "connector"
            report((*path, key), "device_twice", found=device, other=owners[device])
        owners.setdefault(device, ".".join(str(part) for part in path))
    if MAIN in settings.boards:
        report(("boards", MAIN), "name_taken", found=MAIN, other="board")


def _less(report: Report, path: KeyPath, found: float, other: str, limit: float) -> None:
    report(path, "above_other", found=str(found), other=other, limit=str(limit))


_RULES: Final[tuple[tuple[frozenset[str], Callable[[Settings, Report], None]], ...]] = (
    (frozenset({"broker"}), _broker),
    (frozenset({"playout"}), _volume),
    (frozenset({"governor"}), _governor),
    (frozenset({"amplifier", "hardware"}), _amplifier),
    (frozenset({"trust", "hardware"}), _unsigned),
    (frozenset({"board", "boards", "hardware"}), _boards),
)
"""Each rule with the sections it looks at."""
