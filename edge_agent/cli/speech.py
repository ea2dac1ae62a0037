"""How the command line speaks to people: language, problems, usage errors. Loads nothing heavy."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final, NoReturn

from edge_agent import catalogue
from edge_agent.catalogue import Language
from edge_agent.config import Problem

USAGE: Final = 2
"""Exit code of every command for a command line that cannot be carried out."""
INTERRUPTED: Final = 130
"""Exit code after Ctrl-C."""

LANGUAGE_VARIABLE: Final = "EDGE_AGENT_LANG"


class Usage(Exception):
    """A command line that cannot be carried out.

    Attributes:
        code: one of the catalogue's sentences.
        facts: what that sentence quotes.
    """

    def __init__(self, code: str, **facts: object) -> None:
        super().__init__(code)
        self.code = code
        self.facts = facts


def language(option: str | None = None) -> Language:
    """The language asked for: the option, else EDGE_AGENT_LANG, else Vietnamese."""
    wanted = option or os.environ.get(LANGUAGE_VARIABLE, "")
    return Language.EN if wanted == Language.EN else Language.VI


def complain(text: str) -> None:
    """Say something on stderr."""
    print(text, file=sys.stderr)


def told(problem: Problem, tongue: Language) -> str:
    """A problem as three lines: place, reason, remedy."""
    advice = catalogue.explain(problem.code, problem.details, tongue)
    place = catalogue.where(key=problem.key, line=problem.line, override=problem.override, language=tongue)
    return f"{place}\n    {advice.reason}\n    {catalogue.say('remedy', tongue, remedy=advice.remedy)}"


def on_one_line(problem: Problem, tongue: Language) -> str:
    """A problem as a log line's text."""
    advice = catalogue.explain(problem.code, problem.details, tongue)
    place = catalogue.where(key=problem.key, line=problem.line, override=problem.override, language=tongue)
    return f"{place}: {advice.reason} {advice.remedy}"


def tell(problems: Iterable[Problem], tongue: Language) -> None:
    """All problems, on stderr."""
    for problem in problems:
        complain(told(problem, tongue))


def as_json(problem: Problem, tongue: Language) -> Mapping[str, Any]:
    """A problem for machines; `code`, `key` and `line` stay as they are in every language."""
    advice = catalogue.explain(problem.code, problem.details, tongue)
    return {
        "code": problem.code,
        "key": problem.key,
        "line": problem.line,
        "override": problem.override,
        "reason": advice.reason,
        "remedy": advice.remedy,
        "details": dict(problem.details),
    }


class Parser(argparse.ArgumentParser):
    """argparse whose refusals go through the catalogue."""

    def error(self, message: str) -> NoReturn:
        """Complain and exit with the usage code."""
        tongue = language()
        complain(catalogue.say("usage", tongue, text=message))
        complain(catalogue.say("see_help", tongue, command=self.prog))
        sys.exit(USAGE)


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """The options that decide which config a command works with."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        default="/etc/edge-agent/node.toml",
        help="tệp cấu hình / the config file (%(default)s)",
    )
    parser.add_argument(
        "--hardware",
        choices=("linux", "sim"),
        help="phần cứng thật hay ảo cho mọi cửa / real or virtual, for every door of [hardware]",
    )
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="overrides",
        help="đặt một khóa cấu hình / set one config key, e.g. hardware.sound=linux; may be repeated",
    )
    parser.add_argument(
        "--state-dir",
        metavar="DIR",
        help="thư mục trạng thái / where state is kept (STATE_DIRECTORY, storage.state_dir, /var/lib/edge-agent)",
    )
    parser.add_argument(
        "--sim-dir",
        metavar="DIR",
        help="nơi giữ những gì phần cứng ảo đã phát và hiện / where virtual hardware keeps what it did",
    )
    parser.add_argument("--lang", choices=tuple(Language), help="ngôn ngữ / language (EDGE_AGENT_LANG, vi)")
