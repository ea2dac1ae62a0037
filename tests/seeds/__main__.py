"""`python -m tests.seeds N`: N random weeks on all processors; a failing one prints the command that replays it.

python -m tests.seeds 200               seeds 0 to 199
python -m tests.seeds 25 --from 1000    seeds 1000 to 1024
python -m tests.seeds 1 --from 17       seed 17 alone, twice, so that its trace is compared with itself
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.seeds.week import Verdict, lived, quiet_log


def main() -> int:
    """Run them; 0 when all are well."""
    parser = argparse.ArgumentParser(prog="python -m tests.seeds")
    parser.add_argument("count", type=int, nargs="?", default=25)
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--days", type=float, default=7)
    options = parser.parse_args()
    seeds = list(range(options.first, options.first + options.count))
    if len(seeds) == 1:
        seeds *= 2
    failed: list[Verdict] = []
    traces: dict[int, set[str]] = {}
    with ProcessPoolExecutor(os.cpu_count(), initializer=quiet_log) as pool:
        for verdict in pool.map(partial(lived, days=options.days), seeds):
            traces.setdefault(verdict.seed, set()).add(verdict.trace)
            print(
                f"seed {verdict.seed:6} {verdict.trace[:16]} {verdict.orders:4} orders {verdict.turns:4} turns  "
                f"{'well' if not verdict.wrong else 'WRONG'}",
                flush=True,
            )
            if verdict.wrong:
                failed.append(verdict)
                for sentence in verdict.wrong[:10]:
                    print(f"    {sentence}", flush=True)
                print(f"    replay: make seeds N=1 SEED={verdict.seed} DAYS={options.days:g}", flush=True)
    unlike = [seed for seed, found in traces.items() if len(found) > 1]
    for seed in unlike:
        print(f"seed {seed}: two runs differ", flush=True)
    print(f"{options.count - len({one.seed for one in failed})} of {options.count} seeds are well.")
    return 1 if failed or unlike else 0


if __name__ == "__main__":
    sys.exit(main())
