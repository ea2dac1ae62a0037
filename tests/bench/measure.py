"""How the benchmarks measure a process: the kernel's own accounting, medians, one JSON line a figure."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path


def cpu_seconds(pid: int) -> float:
    """User and system time that the process has used, all threads, ended ones too."""
    return time.clock_gettime_ns(~pid << 3 | 2) / 1e9  # the clock that clock_getcpuclockid(3) gives


def memory_mib(pid: int, what: str = "VmRSS") -> float:
    """`VmRSS` (resident now) or `VmHWM` (its peak), MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(what + ":"):
            return int(line.split()[1]) / 1024
    raise KeyError(what)


def pause(seconds: float) -> None:
    """Benchmarks run in real time."""
    time.sleep(seconds)  # noqa: TID251 - a benchmark measures real time


def seconds() -> float:
    """A monotonic reading for durations."""
    return time.perf_counter()


def figure(name: str, values: Sequence[float], unit: str, *, aim: str = "", **more: object) -> None:
    """Print one figure: median, extremes and number of runs."""
    line = {
        "figure": name,
        "median": round(statistics.median(values), 4),
        "min": round(min(values), 4),
        "max": round(max(values), 4),
        "runs": len(values),
        "unit": unit,
    }
    if aim:
        line["aim"] = aim
    print(json.dumps(line | more, ensure_ascii=False), flush=True)
