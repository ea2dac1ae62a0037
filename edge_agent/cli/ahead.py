"""`edge-agent next` and `edge-agent events`: what will sound at the box, and what has happened in it.

Exit codes: 0 told; 1 the node refused; 2 wrong usage; 3 the node cannot be reached.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

import typer

from edge_agent import catalogue
from edge_agent.cli import box, speech

_CODES: Final = "0 xong/done; 1 bị từ chối/refused; 3 không tới được nút/node cannot be reached."
_DAYS_MAX: Final = 31
_PAGE: Final = 150


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command("next", help=f"Sắp tới phát gì / what will sound next. {_CODES}")(following)
    app.command("events", help=f"Nhật ký của nút, còn sau khi mất điện / the black box. {_CODES}")(events)


def following(
    *,
    days: Annotated[
        int, typer.Option(min=1, max=_DAYS_MAX, help="Bao nhiêu ngày tới / how many days ahead.")
    ] = 7,
    config_file: box.ConfigFile = box.DEFAULT,
    state_dir: box.StateDir = None,
    sim_dir: box.SimDir = None,
    hardware: box.HardwareOption = None,
    socket_file: box.SocketOption = None,
    as_json: box.Json = False,
    lang: box.Lang = None,
) -> int:
    """Tell the turns of the schedule."""
    tongue = speech.language(lang)
    path = socket_file or box.socket_path(config_file, state_dir, sim_dir, hardware)
    answer = box.answer_to({"do": "next", "days": days}, path, tongue, as_json=as_json)
    if as_json:
        print(json.dumps(answer, ensure_ascii=False))
        return 0
    if answer["wall"] is None:
        print(catalogue.say("next_no_date", tongue))
    elif not answer["turns"]:
        print(catalogue.say("next_nothing", tongue, days=days))
    for turn in answer["turns"]:
        day = catalogue.say(f"class_{turn['class']}", tongue)
        print(
            catalogue.say(
                "next_turn", tongue, **(turn | {"class_word": day, "at": turn["at"][:16].replace("T", " ")})
            )
        )
    if answer["waits"]:
        print(catalogue.say("next_waits", tongue, clock=answer["clock"]))
    return 0


def events(
    *,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, max=5000, help="Bao nhiêu dòng cuối / how many lines.")
    ] = 50,
    config_file: box.ConfigFile = box.DEFAULT,
    state_dir: box.StateDir = None,
    sim_dir: box.SimDir = None,
    hardware: box.HardwareOption = None,
    socket_file: box.SocketOption = None,
    as_json: box.Json = False,
    lang: box.Lang = None,
) -> int:
    """Tell the last lines of the black box, oldest first; as JSON one object a line."""
    tongue = speech.language(lang)
    path = socket_file or box.socket_path(config_file, state_dir, sim_dir, hardware)
    found: list[dict[str, Any]] = []
    after = 0
    while True:
        answer = box.answer_to({"do": "events", "after": after, "limit": _PAGE}, path, tongue)
        if not answer["events"]:
            break
        found = (found + answer["events"])[-count:]
        after = answer["events"][-1]["number"]
    for event in found:
        if as_json:
            print(json.dumps(event, ensure_ascii=False))
        else:
            when = event["wall"] or f"{event['boot'][:8]} +{event['mono_ms'] // 1000} s"
            print(f"{when} {event['level'].upper():8}{event['place']}: {event['text']}")
    return 0
