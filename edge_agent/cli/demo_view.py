"""Draws the demo in a terminal with rich: amplifier, level, board, orders, as-run log."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from edge_agent.cli.demo_scene import Scene

_COLOUR = {"OFF": "dim", "SETTLING": "yellow", "MUTED": "yellow", "LIVE": "bold green"}
_METER_CELLS = 40
_FLOOR_DB = -60.0


def draw(scene: Scene, titles: dict[str, str], *, headline: str, elapsed_s: float) -> Group:
    """The whole picture. `titles`: order id -> what the audience calls it."""
    top = Text.assemble(
        (f"{elapsed_s:5.1f} s  ", "dim"), (headline, "bold"), "   ",
        ("● online" if scene.online else "○ offline", "green" if scene.online else "red"),
    )  # fmt: skip
    return Group(
        top,
        Panel(_sound(scene), title="Ampli & loa / amplifier & loudspeaker", border_style="cyan"),
        Panel(board_text(scene.board_file), title="Bảng tin / board", border_style="yellow"),
        Panel(_orders(scene, titles), title="Lệnh / orders", border_style="blue"),
    )


def _sound(scene: Scene) -> Text:
    state = scene.amplifier
    lit = round(max(0.0, (scene.level_dbfs - _FLOOR_DB) / -_FLOOR_DB) * _METER_CELLS)
    zones = " ".join(
        f"{name.removeprefix('zone_')}:{'●' if on else '○'}"
        for name, on in sorted(scene.lines.items())
        if name.startswith("zone_")
    )
    return Text.assemble(
        (f"{state:<9}", _COLOUR[state]),
        ("█" * lit, "green" if scene.level_dbfs < -6 else "red"),
        ("░" * (_METER_CELLS - lit), "dim"),
        f" {scene.level_dbfs:6.1f} dBFS  ",
        (zones, "cyan"),
    )


def _orders(scene: Scene, titles: dict[str, str]) -> Table:
    table = Table(box=None, expand=True, pad_edge=False)
    for heading in ("", "Trạng thái / states", "Nhật ký phát / as-run"):
        table.add_column(heading, overflow="fold")
    for order, title in titles.items():
        entry = scene.asrun.get(order, {})
        outcome = " ".join(filter(None, (entry.get("outcome"), entry.get("code"))))
        table.add_row(title, " › ".join(scene.states.get(order, ["…"])), Text(outcome, style="bold"))
    return table


def board_text(file: Path | None) -> Text:
    """The page in a PNG of the virtual board, as half-blocks."""
    picture = dots_of(file) if file is not None else None
    if picture is None:
        return Text("(tối / dark)", style="dim")
    from hal.sim.picture import half_blocks

    return Text(half_blocks(picture), style="color(214) on grey3", no_wrap=True)


def dots_of(file: Path) -> tuple[bytes, ...] | None:
    """The dots of a page's PNG, read back from the middles of its LEDs; None while it is being written."""
    from PIL import Image

    from hal.sim.picture import PIXELS_PER_DOT as DOT

    try:
        with Image.open(file) as image:
            pixels = image.convert("L")
    except OSError:
        return None
    width, height = pixels.width // DOT - 2, pixels.height // DOT - 2
    middles = [
        [(DOT + x * DOT + DOT // 2, DOT + y * DOT + DOT // 2) for x in range(width)] for y in range(height)
    ]
    return tuple(bytes(_lit(pixels.getpixel(place)) for place in row) for row in middles)


def _lit(brightness: object) -> int:
    """Dark LEDs are drawn below 40 of 255, lit ones far above."""
    return 1 if isinstance(brightness, int | float) and brightness > 80 else 0
