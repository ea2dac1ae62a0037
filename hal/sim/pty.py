"""An emulated sign on a real pseudo-terminal, and the recorder of what it shows.

Facts about PTYs that this leans on: the line discipline must be raw, or CR becomes LF and 04h ends
the file; a master whose slave nobody holds reads as EIO, so we hold the slave open all along; a
PTY knows neither baud nor parity: bytes come as fast as they are written, which is why the sign
itself counts byte times.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import tty
from dataclasses import replace
from pathlib import Path

from hal.ports import Clock
from hal.sim.emulator import Emulator, Shown
from hal.sim.picture import Picture, png

logger = logging.getLogger(__name__)

READ_MAX_BYTES = 4096
PICTURES_MAX = 2_000
LINES_MAX = 200_000
PAGE_TURN_S = 1.0


class PtyMount:
    """Open from the start: `path` is the serial port to give to a driver. `life()` must run."""

    def __init__(self, sign: Emulator, clock: Clock) -> None:
        self.sign = sign
        self._clock = clock
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        self.changed = asyncio.Event()
        """Set whenever the sign has heard something."""

    async def life(self) -> None:
        """Carry bytes to the sign with the time at which they came, and its answers back, for ever."""
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self._master, readable.set)
        try:
            while True:
                await readable.wait()
                readable.clear()
                self._carry()
        finally:
            loop.remove_reader(self._master)

    def inject(self, noise: bytes) -> None:
        """Foreign bytes come to whoever holds the port, as from a neighbour on the same wire."""
        os.write(self._master, noise)

    def close(self) -> None:
        """Idempotent; the path is gone afterwards."""
        master, self._master = self._master, -1
        if master >= 0:
            os.close(master)
            os.close(self._slave)

    def _carry(self) -> None:
        try:
            received = os.read(self._master, READ_MAX_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno == errno.EIO:
                return
            raise
        answer = self.sign.feed(received, self._clock.monotonic_ns())
        if answer and self.sign.late_ns:
            loop = asyncio.get_running_loop()
            loop.call_later(self.sign.late_ns / 1e9, self._answers, answer)
        elif answer:
            self._answers(answer)
        self.changed.set()

    def _answers(self, answer: bytes) -> None:
        with contextlib.suppress(BlockingIOError):  # nobody reads: a real wire would lose it too
            if self._master >= 0:
                os.write(self._master, answer)


class BoardRecorder:
    """Keeps what a sign shows below `directory`: a PNG for each page and a line of board.jsonl for each change.

    The same page again is the same PNG; after `PICTURES_MAX` pages no more are drawn, and after
    `LINES_MAX` lines no more are written.
    """

    def __init__(self, directory: Path, clock: Clock, mount: PtyMount) -> None:
        self._directory = directory
        self._clock = clock
        self._mount = mount
        self._files: dict[Picture, str] = {}
        self._lines = 0
        self._shown = 0
        self._violations = 0

    async def life(self) -> None:
        """Write down each change, off the loop, until cancelled; the last one included."""
        await asyncio.to_thread(self._clear)
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PAGE_TURN_S):
                        await self._mount.changed.wait()
                self._mount.changed.clear()
                await self._catch_up()
        finally:
            self._write(self._unwritten())

    def _clear(self) -> None:
        """An empty directory: what an earlier run kept there would be mixed up with this one's."""
        self._directory.mkdir(parents=True, exist_ok=True)
        for old in [*self._directory.glob("[0-9]*.png"), self._directory / "board.jsonl"]:
            old.unlink(missing_ok=True)

    async def _catch_up(self) -> None:
        self._mount.sign.advance(self._clock.monotonic_ns())
        news = self._unwritten()
        if news:
            await asyncio.shield(asyncio.to_thread(self._write, news))

    def _unwritten(self) -> list[tuple[Shown, dict[str, object]]]:
        """What has changed since the last call, as pairs of the sight and its line."""
        sign = self._mount.sign
        fresh = min(sign.shown_count - self._shown, len(sign.shown))
        self._shown = sign.shown_count
        sights = list(sign.shown)[len(sign.shown) - fresh :]
        minded = list(sign.violations)[self._violations :]
        self._violations = len(sign.violations)
        if not sights:
            if not minded:
                return []
            sights = [
                replace(sign.current, at_ns=minded[-1].at_ns)
            ]  # the same sight again, to say what was minded
        mono_ns = self._clock.monotonic_ns()
        wall_ns = round(self._clock.utc_now().timestamp() * 1_000_000_000)
        news: list[tuple[Shown, dict[str, object]]] = []
        for sight in sights:
            line: dict[str, object] = {
                "mono_ns": sight.at_ns,
                "wall_ns": wall_ns - (mono_ns - sight.at_ns),
                "file": "",
                "event": "blank" if sight.kind == "blank" else "shown",
                "lit": sight.lit,
                "priority": sight.kind == "priority",
                "violations": [],
            }
            news.append((sight, line))
        news[-1][1]["violations"] = [f"{one.kind}: {one.text}" for one in minded]
        return news

    def _write(self, news: list[tuple[Shown, dict[str, object]]]) -> None:
        """Draw and append; runs on a thread."""
        try:
            with (self._directory / "board.jsonl").open("a", encoding="utf-8") as journal:
                for sight, line in news:
                    if self._lines >= LINES_MAX:
                        return
                    self._lines += 1
                    line["file"] = "" if sight.kind == "blank" else self._drawn(sight.dots)
                    journal.write(json.dumps(line, ensure_ascii=False) + "\n")
        except OSError:
            logger.exception("The board's record cannot be written. directory=%s", self._directory)

    def _drawn(self, picture: Picture) -> str:
        name = self._files.get(picture)
        if name is None:
            if len(self._files) >= PICTURES_MAX:
                return ""
            name = f"{len(self._files) + 1:04d}.png"
            (self._directory / name).write_bytes(png(picture))
            self._files[picture] = name
        return name
