"""A process with one screen on a file that looks like a framebuffer: what `bench_boards` measures from outside.

python -m tests.bench.screen_node DIR COLUMNS ROWS still|scroll
"""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

import msgspec

from edge_agent import kept
from edge_agent.board import notices
from edge_agent.board.presenter import Presenter
from edge_agent.board.screen import ScreenPanel
from edge_agent.board.settings import BoardSettings
from edge_agent.clocktrust import ClockSettings, ClockTrust
from edge_agent.model import Issuer, OrderId, Precedence
from edge_agent.playlist import Item, Playlist, TextContent
from hal.linux.clock import SystemClock
from hal.linux.database import open_database
from hal.linux.framebuffer import FramebufferScreen
from tests.board.conftest import NOTHING_ELSE

WORDS = [
    "Mời",
    "bà",
    "con",
    "đến",
    "nhà",
    "văn",
    "hóa",
    "thôn",
    "lúc",
    "19h30",
    "họp",
    "bàn",
    "phòng",
    "chống",
    "bão",
    "số",
    "9,",
    "chuẩn",
    "bị",
    "sơ",
    "tán",
]


def furnish(root: Path, width: int, height: int) -> Path:
    """A framebuffer of so many pixels, and what the kernel would say of it."""
    place = root / "sys/class/graphics/fb0"
    place.mkdir(parents=True)
    for name, text in (
        ("virtual_size", f"{width},{height}"),
        ("bits_per_pixel", "32"),
        ("stride", str(4 * width)),
    ):
        (place / name).write_text(text)
    (root / "fb0").write_bytes(bytes(4 * width * height))
    return root / "sys"


async def main(root: Path, columns: int, rows: int, *, scroll: bool) -> None:
    """Show two texts in turn, standing or running, until killed."""
    settings = msgspec.convert(
        {"protocol": "screen", "columns": columns, "rows": rows, "colours": "full", "lit_percent_max": 100},
        BoardSettings,
    )
    clock = SystemClock(always_synced=True)
    database = await open_database(root / "node.sqlite3", (kept.SCHEMA, notices.SCHEMA))
    screen = FramebufferScreen(str(root / "fb0"), sys=furnish(root, columns, rows))
    presenter = Presenter(
        name="main",
        settings=settings,
        clock=clock,
        trust=ClockTrust(settings=ClockSettings(trust="always"), clock=clock, database=database),
        outlet=ScreenPanel(screen=screen, settings=settings, clock=clock),
        database=database,
        sources=NOTHING_ELSE,
    )
    rng = random.Random(1)
    items = []
    for number in range(2):
        text = " ".join(rng.sample(WORDS, len(WORDS)))
        content = TextContent(texts=(("vi", text),), scroll=scroll)
        items.append(
            Item(
                key=OrderId(f"{number}@v1"),
                issuer=Issuer("xa"),
                precedence=Precedence.ROUTINE,
                content=content,
            )
        )
    presenter.post(Playlist(version=1, items=tuple(items)))
    print("ready", flush=True)
    await presenter.life()


if __name__ == "__main__":
    _, place, width, height, how = sys.argv
    asyncio.run(main(Path(place), int(width), int(height), scroll=how == "scroll"))
