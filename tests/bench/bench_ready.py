"""Exec to ready: from the process's start to READY=1, with a broker that answers."""

from __future__ import annotations

import os

from tests.bench.measure import figure
from tests.bench.node import running

RUNS = 5


def main() -> None:
    """Print the figure."""
    found = []
    for _ in range(RUNS):
        with running(env=os.environ) as (node, _url):
            found.append(node.ready_s)
    figure("exec_to_ready", found, "s", aim="<= 1.5")


if __name__ == "__main__":
    main()
