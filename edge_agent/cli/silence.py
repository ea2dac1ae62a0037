"""`edge-agent silence`: drive every output line of the amplifier inactive, and let go of it.

Run by systemd at boot and each time the daemon has ended, however it ended; then nobody else holds
the lines. It waits for nothing, needs neither the broker nor the sound card, and of a config with
problems it still uses [amplifier] when that section has none.

Exit codes: 0 all lines are inactive (or virtual); 1 no config that can be used; 2 wrong usage;
3 some line could not be driven.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from edge_agent import catalogue, config
from edge_agent.cli import speech
from edge_agent.cli.run import NO_CONFIG, read_config
from hal.errors import LineError

if TYPE_CHECKING:
    from hal.ports import Lines, LineSpec

SOME_LEFT: Final = 3


def main(arguments: Sequence[str]) -> int:
    """Carry out `silence` and return the exit code."""
    parser = speech.Parser(
        prog="edge-agent silence",
        description="Hạ mọi chân ra của ampli / drive every line of the amplifier inactive.",
    )
    speech.add_config_options(parser)
    options = parser.parse_args(arguments)
    tongue = speech.language(options.lang)
    try:
        settings = read_config(options).settings
        amplifier, hardware = settings.amplifier, settings.hardware
    except config.ConfigInvalid as invalid:
        if "amplifier" not in invalid.sections:
            speech.tell(invalid.problems, tongue)
            return NO_CONFIG
        amplifier = invalid.sections["amplifier"]
        hardware = invalid.sections.get("hardware", config.HardwareSettings())
    specs = amplifier.lines() if hardware.gpio == "linux" else []
    if not specs:
        return 0
    from hal.linux.gpio import GpiozeroLines

    left = silence(GpiozeroLines(), specs)
    for spec, error in left:
        speech.complain(catalogue.say("silence_skipped", tongue, name=spec.name, why=error))
    speech.complain(catalogue.say("silence_done", tongue, count=len(specs) - len(left)))
    return SOME_LEFT if left else 0


def silence(lines: Lines, specs: Sequence[LineSpec]) -> list[tuple[LineSpec, LineError]]:
    """Drive each line inactive and release it; returns those that refused, with the reason."""
    left: list[tuple[LineSpec, LineError]] = []
    for spec in specs:
        try:
            lines.output(spec)
        except LineError as error:
            left.append((spec, error))
    lines.close()
    return left
