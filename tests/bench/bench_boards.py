"""Boards: bytes and line time of a page against the least that its dots need, order to page shown, drawing, screens."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from typing import Any

import msgspec

from edge_agent.board.drawing import DrawingTable, TextJob
from edge_agent.board.picture import Colours
from edge_agent.board.protocols import Draw, SetUp, Show, Store
from edge_agent.board.settings import BoardSettings
from edge_agent.model import NS, Precedence
from tests.bench.measure import cpu_seconds, figure, memory_mib, pause, seconds
from tests.board.conftest import Village
from tests.board.wires import BAUD, COLOURS, codec

TEXT = "Mời bà con họp thôn"
RUNS = 15
WATCHED_S = 20.0
BITS = {Colours.MONO: 1, Colours.RED_GREEN: 2, Colours.RGB: 3}
PAGES: dict[str, dict[str, Any]] = {
    "96x16": {"columns": 96, "rows": 16},
    "192x32": {"columns": 192, "rows": 32, "colours": "rgb", "colour": "amber"},
    "384x192 screen": {"columns": 384, "rows": 192, "colours": "full", "lit_percent_max": 100},
    "1920x1080 screen": {"columns": 1920, "rows": 1080, "colours": "full", "lit_percent_max": 100},
}


def main() -> None:
    """All of it."""
    for protocol in BAUD:
        for columns, rows in ((96, 16), (192, 32)):
            _line(protocol, columns, rows)
    kinds: tuple[tuple[str, dict[str, Any]], ...] = (
        ("alpha", {}),
        ("jetfile", {"protocol": "jetfile"}),
        ("hanover", {"protocol": "hanover", "sign_address": "01", "answers": False}),
    )
    for protocol, more in kinds:
        for precedence in (Precedence.ROUTINE, Precedence.EMERGENCY):
            _shown(protocol, precedence, more)
    for name, said in PAGES.items():
        _drawn(name, said)
    for columns, rows in ((384, 192), (1920, 1080)):
        for how in ("still", "scroll"):
            _screen(columns, rows, how)


def _line(protocol: str, columns: int, rows: int) -> None:
    """Bytes of a picture and of showing it, against one bit (two, three) a dot."""
    if protocol == "alpha" and rows > 31:
        print(f"skipped: an Alpha picture has at most 31 rows, so no {columns}x{rows}", file=sys.stderr)
        return
    from edge_agent.board.picture import Picture

    for colours in COLOURS[protocol]:
        one = codec(protocol, columns=columns, rows=rows, colours=colours)
        one.encode(SetUp())
        picture = Picture(columns, rows, colours, bytes(n % 2 for n in range(columns * rows)))
        said = (Store(0, picture), Show(0)) if one.caps.slots else (Draw(picture),)
        frames = [tx for command in said for tx in one.encode(command)]
        sent = sum(len(tx.payload) for tx in frames)
        least = columns * rows * BITS[colours] / 8
        line_s = sent * 10 / BAUD[protocol]
        gaps_s = sum(tx.gap_after_s for tx in frames)
        more: dict[str, Any] = {"protocol": protocol, "size": f"{columns}x{rows}", "colours": str(colours)}
        figure("page_bytes", [sent], "bytes", least=round(least), times=round(sent / least, 2), **more)
        figure("page_line_time", [line_s], "s", baud=BAUD[protocol], pauses_s=round(gaps_s, 2), **more)


def _shown(protocol: str, precedence: Precedence, more: dict[str, Any]) -> None:
    """From the order to the page's last dot on the emulator, 9600 baud, virtual time; and how much of it was not line."""
    taken: list[float] = []
    beyond: list[float] = []
    village = Village(**({"baud": 9600} | more))

    async def story() -> None:
        await asyncio.sleep(60)
        for number in range(RUNS):
            await asyncio.sleep(30 + 0.61 * number)
            text = f"Tin {number}"
            (picture,) = await village.dots(text, precedence)
            began_ns, before = village.outside.monotonic_ns(), village.carried_bytes()
            village.ask(text, precedence, for_s=20)
            while village.seen != picture:  # noqa: ASYNC110 - a board tells nobody
                await asyncio.sleep(0.005)
            taken.append((village.outside.monotonic_ns() - began_ns) / NS)
            beyond.append(taken[-1] - (village.carried_bytes() - before) * 10 / 9600)

    village.run(story)
    figure("order_to_page", taken, "s", protocol=protocol, **{"class": precedence.wire})
    aim = "<= 1" if precedence is Precedence.EMERGENCY else ""
    figure("order_to_page_beyond_line", beyond, "s", aim=aim, protocol=protocol, **{"class": precedence.wire})


def _drawn(name: str, said: dict[str, Any]) -> None:
    """Text to finished page, fonts open and glyphs known."""
    table = DrawingTable(msgspec.convert(said, BoardSettings))
    table.draw_now(TextJob(text=TEXT))
    taken = []
    for _ in range(RUNS):
        began = seconds()
        table.draw_now(TextJob(text=TEXT))
        taken.append(1000 * (seconds() - began))
    figure("render_page", taken, "ms", size=name)


def _screen(columns: int, rows: int, how: str) -> None:
    """Memory and processor of a process with a screen, pages or a running line."""
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "tests.bench.screen_node", place, str(columns), str(rows), how]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            process.stdout.readline()
            pause(8)
            began = cpu_seconds(process.pid)
            pause(WATCHED_S)
            used = 100 * (cpu_seconds(process.pid) - began) / WATCHED_S
            figure("screen_cpu", [used], "% of a core", size=f"{columns}x{rows}", how=how)
            figure("screen_rss", [memory_mib(process.pid)], "MiB", size=f"{columns}x{rows}", how=how)
            figure(
                "screen_peak_rss",
                [memory_mib(process.pid, "VmHWM")],
                "MiB",
                size=f"{columns}x{rows}",
                how=how,
            )
        finally:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
