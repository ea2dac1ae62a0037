"""`edge-agent check FILE`: everything that is wrong with a config, at once.

Exit codes: 0 good; 1 problems found; 2 wrong usage; 3 the file cannot be read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final

import typer

from edge_agent import catalogue, config
from edge_agent.catalogue import Language
from edge_agent.cli import speech

PROBLEMS: Final = 1
UNREADABLE: Final = 3


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        "check",
        help="Kiểm tra tệp cấu hình / check a config file. 0 tốt/good, 1 lỗi/problems, 3 không đọc được/unreadable.",
    )(check)


def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Tệp cấu hình / the config file.")],
    *,
    lang: Annotated[Language | None, typer.Option(help="Ngôn ngữ / language.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Một đối tượng JSON / one JSON object.")] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Đặt một khóa như với run / set a key as run would."),
    ] = None,
    hardware: Annotated[
        str | None, typer.Option(metavar="linux|sim", help="Như với run / as for run.")
    ] = None,
) -> int:
    """Report every problem and return the exit code."""
    tongue = speech.language(lang)
    problems: tuple[config.Problem, ...] = ()
    code = 0
    try:
        config.load(file, overrides or (), hardware)
    except config.ConfigInvalid as invalid:
        problems = invalid.problems
        code = UNREADABLE if invalid.unreadable else PROBLEMS
    if as_json:
        told = [speech.as_json(problem, tongue) for problem in problems]
        print(json.dumps({"ok": not problems, "file": str(file), "problems": told}, ensure_ascii=False))
        return code
    for problem in problems:
        print(speech.told(problem, tongue))
    summary = "config_bad" if problems else "config_good"
    print(catalogue.say(summary, tongue, path=file, count=len(problems)))
    return code
