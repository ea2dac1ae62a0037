"""`edge-agent watch`: how the live sessions of the node at the box fare, each second.

Exit codes: 0 watched once; 1 the node refused; 3 the node cannot be reached; 130 after Ctrl-C.
"""

from __future__ import annotations

import json
import threading
from typing import Annotated, Any, Final

import typer

from edge_agent import catalogue
from edge_agent.catalogue import Language
from edge_agent.cli import box, speech

_EVERY_S: Final = 1.0


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("watch", help="Xem các buổi phát trực tiếp / watch the live sessions.")(watch)


def watch(
    *,
    once: Annotated[bool, typer.Option("--once", help="Chỉ một lần / only once.")] = False,
    config_file: box.ConfigFile = box.DEFAULT,
    state_dir: box.StateDir = None,
    sim_dir: box.SimDir = None,
    hardware: box.HardwareOption = None,
    socket_file: box.SocketOption = None,
    as_json: box.Json = False,
    lang: box.Lang = None,
) -> int:
    """Ask each second, and tell."""
    tongue = speech.language(lang)
    path = socket_file or box.socket_path(config_file, state_dir, sim_dir, hardware)
    pause = threading.Event()
    while True:
        answer = box.answer_to({"do": "live"}, path, tongue)
        if as_json:
            print(json.dumps(answer["live"], ensure_ascii=False), flush=True)
        else:
            _tell(answer["live"], tongue)
        if once:
            return 0
        pause.wait(_EVERY_S)


def _tell(sessions: list[dict[str, Any]], tongue: Language) -> None:
    if not sessions:
        print(catalogue.say("watch_nothing", tongue), flush=True)
    for session in sessions:
        print(catalogue.say("watch_session", tongue, **session))
        for name, figures in session["figures"].items():
            text = json.dumps(figures, ensure_ascii=False).replace('"', "").strip("{}[]")
            print(catalogue.say("watch_stage", tongue, name=name, figures=text), flush=True)
