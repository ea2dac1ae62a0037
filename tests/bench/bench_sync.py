"""How far apart two poles are heard: whole simulated nodes on models of networks, and two real processes on this machine."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from statistics import median

import numpy as np

from tests import networks
from tests.bench.measure import figure
from tests.flows.poles import MULTICAST, Poles, p95
from tests.flows.studio import voice
from tests.process.pair import real_pair_offsets_ms

SECONDS = 120.0
SEEDS = (1, 2, 3)
CLOCK_ERROR_MS = {"lan": 0.3, "wifi": 0.3, "mobile": 3.0}
"""How far a node's wall clock may be off: PTP-like NTP on a LAN, and over a mobile network."""
AIMS = {"lan": "<= 1", "wifi": "<= 5", "mobile": ""}


def main() -> None:
    """Print the offsets after settling, in the first seconds, and of real processes."""
    for model, clock_error_ms in CLOCK_ERROR_MS.items():
        settled, beginning, joining = [], [], []
        for seed in SEEDS:
            first, late = _simulated(model, seed, clock_error_ms)
            settled += [p95(first, after_s=first[0].at_s + 3)]
            beginning += [max(abs(offset.ms) for offset in first if offset.at_s < first[0].at_s + 3)]
            joining += [max(abs(offset.ms) for offset in late if offset.at_s < late[0].at_s + 3)]
        facts = {"network": model, "clocks_off_ms": clock_error_ms, "cards_off_ppm": 100}
        figure("sync_two_poles_p95", settled, "ms", aim=AIMS[model], **facts)
        figure("sync_first_3_s_worst", beginning, "ms", aim="< 5 within 3 s", **facts)
        figure("sync_late_joiner_first_3_s_worst", joining, "ms", aim="< 5 within 3 s", **facts)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        runs = [real_pair_offsets_ms(Path(name) / str(run), seconds=20.0) for run in range(3)]
    real = [float(np.percentile(np.abs(run), 95)) for run in runs]
    figure("sync_two_processes_p95", real, "ms", aim="<= 1", cards="virtual, +-100 ppm, real time")
    figure("sync_two_processes_median", [median(map(abs, run)) for run in runs], "ms")


def _simulated(model: str, seed: int, clock_error_ms: float) -> tuple[list, list]:  # type: ignore[type-arg]
    """Offsets of a second pole that began together with the first, and of a third that joined after ten seconds."""
    poles = Poles(nodes=3, seed=seed, clock_error_ms=clock_error_ms)
    for number, world in enumerate(poles.village.nodes):
        poles.village.udp.link(getattr(networks, model)(seed=100 * seed + number), to=world.address)
    sender = poles.studio(voice(SECONDS, seed=seed))
    rtp = {"port": MULTICAST[1], "group": MULTICAST[0]}

    async def story() -> None:
        for node in (0, 1):
            poles.order("live_start", node=node, rtp=rtp, mode="group", delay_ms=1000, lost_s=5)
        await asyncio.sleep(4)
        sending = asyncio.create_task(sender.send(MULTICAST))
        await asyncio.sleep(10)
        poles.order("live_start", node=2, rtp=rtp, mode="group", delay_ms=1000, lost_s=5)
        await sending
        await asyncio.sleep(10)

    poles.tell(story)
    return poles.offsets(1), poles.offsets(2)


if __name__ == "__main__":
    main()
