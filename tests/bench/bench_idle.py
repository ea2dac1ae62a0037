"""Idle: memory and CPU of a connected, silent node with the real sound driver (not yet opened)."""

from __future__ import annotations

import os

from tests.bench.measure import cpu_seconds, figure, memory_mib, pause, seconds
from tests.bench.node import running

RUNS = 5
SETTLE_S = 3.0
WATCH_S = 10.0


def main() -> None:
    """Print memory and CPU."""
    rss, cpu = [], []
    for _ in range(RUNS):
        with running("--set", "hardware.sound=linux", "--set", "hardware.board=none", env=os.environ) as (
            node,
            _url,
        ):
            pause(SETTLE_S)
            before, begun = cpu_seconds(node.pid), seconds()
            pause(WATCH_S)
            cpu.append((cpu_seconds(node.pid) - before) / (seconds() - begun) * 100)
            rss.append(memory_mib(node.pid))
    figure("idle_rss", rss, "MiB", aim="<= 70", doors="real sound, broker; virtual lines; no board")
    figure("idle_cpu", cpu, "% of a core", aim="<= 0.5")


if __name__ == "__main__":
    main()
