"""`edge-agent sim board`: an emulated board on a serial line of this machine, for people who have none.

Faults are typed in while it runs. Exit codes: 0 ended as asked; 2 wrong usage.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from edge_agent import catalogue
from edge_agent.catalogue import Language
from edge_agent.cli import box, speech

if TYPE_CHECKING:
    from hal.sim.emulator import Emulator

LOOK_S: Final = 0.2
BAUD: Final = {"alpha": 9600, "jetfile": 9600, "hanover": 4800, "adalight": 115_200}


def register(app: typer.Typer) -> None:
    """Add the verbs below `sim`."""
    sim = typer.Typer(help="Thiết bị ảo / emulated hardware.", no_args_is_help=True)
    app.add_typer(sim, name="sim")
    sim.callback()(_sim)
    sim.command("board", help="Một bảng LED ảo / an emulated LED board.")(board)


def _sim() -> None:
    """So that `sim` stays a group with one verb in it."""


def board(
    *,
    protocol: Annotated[str, typer.Option(help="alpha, jetfile, hanover, adalight")] = "alpha",
    size: Annotated[str, typer.Option(help="Rộng x cao, điểm / width x height, dots.")] = "96x16",
    _pty: Annotated[
        bool, typer.Option("--pty", help="Trên một cổng ảo (luôn vậy) / on a pseudo-terminal (always).")
    ] = True,
    baud: Annotated[int | None, typer.Option(min=1200, max=921_600, help="Tốc độ / speed.")] = None,
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Nơi giữ PNG và nhật ký / for PNGs and the journal.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option("--for", min=0, help="Chạy bấy lâu / run for so long.")
    ] = None,
    as_json: box.Json = False,
    lang: box.Lang = None,
) -> int:
    """Serve a board until Ctrl-C, `quit`, or the end of the time."""
    from hal.sim.boards import PROTOCOLS, board_of

    tongue = speech.language(lang)
    found = re.fullmatch(r"(\d{1,4})x(\d{1,4})", size)
    if found is None or not (1 <= int(found[1]) <= 4096 and 1 <= int(found[2]) <= 4096):
        raise speech.Usage("sim_size", text=size)
    if protocol not in PROTOCOLS:
        raise speech.Usage("sim_unknown", text=protocol)
    sign = board_of(
        protocol, columns=int(found[1]), rows=int(found[2]), baud=baud or BAUD[protocol], address=b"\x01"
    )
    try:
        asyncio.run(_serve(sign, protocol, directory, seconds, as_json=as_json, tongue=tongue))
    except KeyboardInterrupt:
        print()
    return 0


async def _serve(
    sign: Emulator,
    protocol: str,
    directory: Path | None,
    seconds: float | None,
    *,
    as_json: bool,
    tongue: Language,
) -> None:
    from hal.linux.clock import SystemClock
    from hal.sim.pty import BoardRecorder, PtyMount

    clock = SystemClock()
    mount = PtyMount(sign, clock)
    facts = {"protocol": protocol, "columns": sign.columns, "rows": sign.rows, "path": mount.path}
    print(json.dumps(facts) if as_json else catalogue.say("sim_board", tongue, **facts), flush=True)
    over = asyncio.Event()
    lines: asyncio.Queue[str] = asyncio.Queue(maxsize=100)
    reading = _listen(lines)
    tasks = [asyncio.create_task(mount.life(), name="pty")]
    if directory is not None:
        recorder = BoardRecorder(directory, clock, mount)
        tasks.append(asyncio.create_task(recorder.life(), name="recorder"))
    tasks.append(
        asyncio.create_task(_tell(sign, clock.monotonic_ns, as_json=as_json, tongue=tongue), name="telling")
    )
    tasks.append(asyncio.create_task(_obey(sign, lines, over, clock.monotonic_ns, tongue), name="faults"))
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await over.wait()
    finally:
        reading()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        mount.close()


def _listen(lines: asyncio.Queue[str]) -> Callable[[], None]:
    """Take lines from stdin, where there is one that can be waited for; returns how to stop."""
    loop = asyncio.get_running_loop()

    def readable() -> None:
        line = sys.stdin.readline()
        if not line:
            loop.remove_reader(sys.stdin.fileno())
        elif not lines.full():
            lines.put_nowait(line.strip())

    try:
        loop.add_reader(sys.stdin.fileno(), readable)
    except (OSError, ValueError):  # a file, or nothing at all
        return lambda: None

    def stop() -> None:
        loop.remove_reader(sys.stdin.fileno())

    return stop


async def _tell(sign: Emulator, now_ns: Callable[[], int], *, as_json: bool, tongue: Language) -> None:
    """Draw each new sight, and name each thing that a real board would mind."""
    from hal.sim.picture import half_blocks

    seen, minded = 0, 0
    while True:
        sign.advance(now_ns())
        for violation in list(sign.violations)[minded:]:
            text = f"{violation.kind}: {violation.text}"
            print(
                json.dumps({"minded": text}) if as_json else catalogue.say("sim_minded", tongue, text=text),
                flush=True,
            )
        minded = len(sign.violations)
        if sign.shown_count != seen:
            seen = sign.shown_count
            shown = sign.current
            if as_json:
                print(json.dumps({"shown": shown.kind, "lit": shown.lit, "at_ns": shown.at_ns}), flush=True)
            else:
                print(f"── {shown.kind} · {sign.brightness} %\n{half_blocks(shown.dots)}", flush=True)
        await asyncio.sleep(LOOK_S)


async def _obey(
    sign: Emulator,
    lines: asyncio.Queue[str],
    over: asyncio.Event,
    now_ns: Callable[[], int],
    tongue: Language,
) -> None:
    """Faults as they are typed in."""
    while True:
        line = await lines.get()
        word, _, rest = line.partition(" ")
        try:
            if word == "quit":
                over.set()
            elif word == "help":
                print(catalogue.say("sim_help", tongue), flush=True)
            elif word:
                fault(sign, word, rest.strip(), now_ns())
        except ValueError:
            print(catalogue.say("sim_unknown", tongue, text=line), flush=True)


def fault(sign: Emulator, word: str, rest: str, now_ns: int) -> None:  # noqa: C901 - one case a fault
    """One fault by its name. Raises ValueError."""
    match word:
        case "late":
            sign.late_ns = round(float(rest) * 1e9)
        case "nak":
            sign.refuse_next = int(rest or 1)
        case "deaf":
            sign.deaf_until_ns = now_ns + round(float(rest) * 1e9)
        case "drop":
            sign.drop_every = int(rest)
        case "noise":
            sign.noise = b"\x00\xff\x55\x01"
        case "silent":
            sign.silent = True
        case "power-cycle":
            sign.power_cycle(now_ns)
        case "dead":
            x, _, y = rest.partition(",")
            sign.dead_dots |= {(int(x), int(y))}
        case "foreign":
            sign.foreign(now_ns, rest.encode("latin-1", "replace") or b"SALE")
        case "well":
            sign.late_ns = sign.drop_every = sign.refuse_next = sign.deaf_until_ns = 0
            sign.noise, sign.silent, sign.dead_dots = b"", False, frozenset()
        case _:
            raise ValueError(word)
