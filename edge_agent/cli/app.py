"""The command line for people: typer's application, its verbs, and how it ends.

A verb lives in a module of its own with a `register(app)`; it is named in `VERBS`. A command returns
its exit code; a `speech.Usage` raised anywhere becomes a sentence and code 2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from itertools import pairwise
from typing import Annotated, Any, Final

import typer

from edge_agent import __version__, catalogue
from edge_agent.cli import speech

VERBS: Final = (
    "board",
    "check",
    "order",
    "box",
    "ahead",
    "watch",
    "cellar",
    "desired",
    "report",
    "send",
    "simulate",
    "demo",
    "enrol",
    "keys",
)
"""Modules of this package that register a verb, in the order of the help."""

PARSED_ELSEWHERE: Final = {
    "run": "Chạy nút / run the node.",
    "silence": "Hạ mọi chân ra của ampli / drive every line of the amplifier inactive.",
}
"""Verbs that `edge_agent.cli.carry_out` never lets come here; they stand in the help."""

HELP = "Nút loa và bảng tin thôn bản / village loudspeaker and notice board node. English messages: EDGE_AGENT_LANG=en"


def main(arguments: Sequence[str]) -> int:
    """Carry out one command line and return the exit code."""
    tongue = speech.language(_asked_language(arguments))
    refused = _refusals()
    try:
        code = build()(list(arguments) or ["--help"], prog_name="edge-agent", standalone_mode=False)
    except speech.Usage as usage:
        return _misused(catalogue.say(usage.code, tongue, **usage.facts), tongue)
    except refused as error:
        return _misused(str(getattr(error, "format_message", error.__str__)()), tongue)
    except (KeyboardInterrupt, typer.Abort):
        speech.complain(catalogue.say("interrupted", tongue))
        return speech.INTERRUPTED
    return code if isinstance(code, int) else 0


def build() -> typer.Typer:
    """The application with all verbs."""
    app = typer.Typer(help=HELP, add_completion=False, pretty_exceptions_enable=False, no_args_is_help=False)
    app.callback(invoke_without_command=True)(_top)
    for name, text in PARSED_ELSEWHERE.items():
        app.command(name, help=text)(_never)
    for name in VERBS:
        register: Callable[[typer.Typer], None] = import_module(f"edge_agent.cli.{name}").register
        register(app)
    return app


def _top(
    *,
    version: Annotated[bool, typer.Option("--version", help="Phiên bản / version.", is_eager=True)] = False,
) -> None:
    if version:
        print(f"edge-agent {__version__}")
        raise typer.Exit(0)


def _never() -> None:
    raise AssertionError("edge_agent.cli.carry_out gives this verb to argparse")


def _misused(text: str, tongue: catalogue.Language) -> int:
    speech.complain(catalogue.say("usage", tongue, text=text))
    speech.complain(catalogue.say("see_help", tongue, command="edge-agent"))
    return speech.USAGE


def _refusals() -> type[Exception]:
    """The root of typer's own refusals. Typer has carried its own click since 0.26 and used the
    package before, so it is found from what typer offers in both."""
    root: Any = next(cls for cls in typer.BadParameter.__mro__ if cls.__name__ == "ClickException")
    assert isinstance(root, type)
    assert issubclass(root, Exception)
    return root


def _asked_language(arguments: Sequence[str]) -> str | None:
    """`--lang` before typer has parsed anything, for its refusals."""
    for here, following in pairwise([*arguments, ""]):
        if here == "--lang":
            return following
        if here.startswith("--lang="):
            return here.removeprefix("--lang=")
    return None
