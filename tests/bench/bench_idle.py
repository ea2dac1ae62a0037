"""Idle: memory and CPU of a connected, silent node with the real sound driver (not yet opened)."""

from __future__ import annotations

import os

from tests.bench.measure import cpu_seconds, figure, memory_mib, pause, seconds
from tests.bench.node import running

RUNS = 5
SETTLE_S = 3.0
WATCH_S = 5.0


def main() -> None:
    """Print memory and CPU, without and with a board (whose emulator then lives in the process)."""
    for board in ("none", "sim"):
        rss, cpu = [], []
        doors = ("--set", "hardware.sound=linux", "--set", f"hardware.board={board}")
        for _ in range(RUNS):
            with running(*doors, env=os.environ) as (node, _url):
                pause(SETTLE_S)
                before, begun = cpu_seconds(node.pid), seconds()
                pause(WATCH_S)
                cpu.append((cpu_seconds(node.pid) - before) / (seconds() - begun) * 100)
                rss.append(memory_mib(node.pid))
        figure("idle_rss", rss, "MiB", aim="<= 66", board=board)  # 70 MB
        figure("idle_cpu", cpu, "% of a core", aim="<= 0.5", board=board)


if __name__ == "__main__":
    main()
