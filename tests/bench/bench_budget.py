"""What an idle day costs: bytes on the wire and on the card. Virtual time, real MQTT sizes, real SQLite on a real disk."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from tests.bench.measure import figure
from tests.flows.test_budget import a_day

RUNS = 3


def main() -> None:
    """Print the figures, in KiB a day."""
    logging.disable(logging.CRITICAL)
    days = []
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as directory:  # /tmp may be no disk
            days.append(a_day(Path(directory)))
    logging.disable(logging.NOTSET)
    figure("idle_day_mqtt", [day.mqtt / 1024 for day in days], "KiB", aim="<= 976")
    figure(
        "idle_day_wire", [day.wire / 1024 for day in days], "KiB", aim="<= 976", with_="TCP/IP, TLS and ACKs"
    )
    figure("idle_day_written", [day.written / 1024 for day in days], "KiB", aim="<= 1953")
    figure("idle_day_written_by_kernel", [day.written_by_kernel / 1024 for day in days], "KiB", aim="<= 1953")


if __name__ == "__main__":
    main()
