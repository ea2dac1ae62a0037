"""`edge-agent demo`: the main job once, on virtual hardware, in under 90 s.

Exit codes: 0 all was heard and shown as it should; 1 something was not (see the summary);
2 wrong usage; 3 something the demo needs is missing on this machine.
"""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from edge_agent.cli import demo_stage, speech
from edge_agent.cli.demo_run import Play, perform, set_stage
from edge_agent.cli.demo_scene import Scene
from hal.errors import HalError
from hal.linux.clock import SystemClock

FAILED: Final = 1
MISSING: Final = 3


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("demo", help="Trình diễn trên phần cứng ảo / show the node at work on virtual hardware.")(
        demo
    )


def demo(
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Một đối tượng JSON ở cuối / one JSON object last.")
    ] = False,
    programme: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Phát tệp của bạn / play a file of your own.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Nơi lưu kết quả / where everything is kept.")
    ] = None,
) -> int:
    """Perform, judge, tell."""
    if programme is not None and not programme.is_file():
        raise speech.Usage("file_unreadable", path=programme, why="not a file")
    console = Console(stderr=as_json)
    try:
        play = set_stage((out or _new_directory()).resolve(), programme)
        scene = asyncio.run(_perform(play, console))
        result = asyncio.run(_judge(play, scene))
    except (demo_stage.PropMissing, HalError, TimeoutError) as error:
        console.print(f"[red]{error or 'the node did not get that far in time; see agent.log'}")
        if as_json:
            print(json.dumps({"ok": False, "error": str(error) or type(error).__name__}))
        return MISSING
    _summary(console, result)
    if as_json:
        print(json.dumps(result, ensure_ascii=False))
    return 0 if result["ok"] else FAILED


async def _perform(play: Play, console: Console) -> Scene:
    if not console.is_terminal:
        return await perform(play, _Prompter(console).tell)
    from edge_agent.cli.demo_view import draw

    with Live(console=console, refresh_per_second=8, transient=False) as live:
        return await perform(
            play,
            lambda scene, play: live.update(
                draw(scene, play.titles, headline=play.headline, elapsed_s=play.elapsed_s)
            ),
        )


async def _judge(play: Play, scene: Scene) -> dict[str, Any]:
    from edge_agent.cli.demo_judgement import judge

    return await judge(play, scene)


class _Prompter:
    """Where there is no terminal to draw on: a line for each new act and each new state."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: set[str] = set()

    def tell(self, scene: Scene, play: Play) -> None:
        news = [play.headline, f"amplifier {scene.amplifier}"] if scene.lines else [play.headline]
        news += [
            f"{play.titles[order]}: {' > '.join(states)}"
            for order, states in scene.states.items()
            if order in play.titles
        ]
        for text in news:
            if text and text not in self._told:
                self._told.add(text)
                self._console.print(f"{play.elapsed_s:5.1f} s  {text}", highlight=False, soft_wrap=True)


def _summary(console: Console, result: dict[str, Any]) -> None:
    table = Table(
        title="Đạt / all well" if result["ok"] else "CHƯA ĐẠT / NOT as it should", show_header=False
    )
    for name, value in result.items():
        table.add_row(name, json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value)
    console.print(table, style="green" if result["ok"] else "red")


def _new_directory() -> Path:
    now: datetime = SystemClock(always_synced=True).utc_now()
    return Path("sim-out", f"demo-{now:%Y%m%d-%H%M%S}")
