"""Jitter: recorded mobile links and seeded models, our buffer against a fixed delay as GStreamer's rtpjitterbuffer keeps it.

The peer is its rule, computed on the same arrivals: a packet that comes later than the fastest one plus `latency` is
lost. (The real element adds about 180 ms of its own: docs/benchmarks.md.) What is lost on the way is lost to both; with
RED a copy saves it in both. And the real GStreamer hears half a minute of voice over the same networks, in real time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from edge_agent.model import MS
from edge_agent.stream.modes import BufferSettings, Mode
from edge_agent.stream.pieces import MediaPacket
from edge_agent.stream.reception import Reception
from tests import networks
from tests.bench import peer, speech
from tests.bench.measure import figure
from tests.stream import listening
from tests.stream.replay import arrivals, replay, sent

if TYPE_CHECKING:
    from hal.ports import Frames

SECONDS = 600.0
TRACES = ("Verizon-LTE-short.down", "TMobile-UMTS-driving.down")
AIMS = {TRACES[0]: "<= 0.3", TRACES[1]: "<= 3"}
FIXED_MS = (200, 1_000)
_GAP_PACKETS = 3


def main() -> None:
    """Print concealment, gaps and delay for each network, with and without copies."""
    models: dict[str, tuple[float, Callable[[], networks.Network]]] = {
        "wifi": (SECONDS, lambda: networks.wifi(seed=11)),
        "4g": (SECONDS, lambda: networks.mobile(seed=12)),
        "4gbad": (SECONDS, lambda: networks.bad_mobile(seed=13)),
    }
    for name in TRACES:
        if not (networks.TRACES / name).exists():
            print(f"skipped: no recorded trace {name} beside the project", file=sys.stderr)
            continue
        models[name] = (networks.recorded_seconds(name), lambda name=name: networks.trace(name, seed=1))  # type: ignore[misc]
    for network, (length_s, make) in models.items():
        for red in (0, 4):
            _tell(network, arrivals(sent(length_s, red=red), make()), length_s, red)
    _for_real({network: make for network, (_, make) in models.items()})


def _for_real(models: dict[str, Callable[[], networks.Network]]) -> None:
    """PESQ-WB and STOI of a voice with copies: ours in solo mode, GStreamer at its fixed delays, the same packets."""
    why = speech.missing() or peer.missing()
    if why is not None:
        print(f"skipped: the real GStreamer: {why}", file=sys.stderr)
        return
    voice = speech.voice()
    wire = listening.sent(voice, listening.sending(bitrate=32_000))
    came = {network: listening.through(wire, make()) for network, make in models.items()}
    found = {"node": [_solo(wire, voice.size / speech.RATE_HZ) for wire in came.values()]}
    for fixed_ms in FIXED_MS:
        found[f"gstreamer {fixed_ms} ms"] = peer.heard(list(came.values()), latency_ms=fixed_ms, red=True)
    for who, outs in found.items():
        for network, out in zip(came, outs, strict=True):
            pesq, stoi = speech.scores((voice, out))
            figure("jitter_heard_pesq_wb", [pesq], "", who=who, network=network)
            figure("jitter_heard_stoi", [stoi], "", who=who, network=network)


def _solo(wire: listening.Wire, length_s: float) -> Frames:
    return listening.heard(wire, Reception(listening.settings()), seconds=length_s + 3.2)


def _tell(network: str, came: Sequence[tuple[int, MediaPacket]], length_s: float, red: int) -> None:
    facts: dict[str, Any] = {"network": network, "red_offset": red}
    ours = replay(came, BufferSettings.of(Mode.SOLO))
    share = 100 / ours.seconds / 1_000
    aim = AIMS.get(network, "")
    figure(
        "jitter_concealed_by_jitter", [ours.concealed_ms["jitter"] * share], "% of the time", aim=aim, **facts
    )
    figure("jitter_concealed_by_network", [ours.concealed_ms["network"] * share], "% of the time", **facts)
    lte = "<= 0.6" if network == TRACES[0] else ""
    figure("jitter_gaps_over_60_ms", [ours.gaps_a_minute], "1/min", aim=lte, **facts)
    figure(
        "jitter_delay_mean",
        [ours.mean_delay_ms],
        "ms",
        aim="<= 1200" if network == TRACES[0] else "",
        **facts,
    )
    figure("jitter_delay_p99", [ours.p99_delay_ms], "ms", **facts)
    for fixed_ms in FIXED_MS:
        missing, gaps = _fixed(came, round(length_s * 50), fixed_ms)
        more = facts | {"latency_ms": fixed_ms}
        figure("jitter_fixed_concealed", [100 * missing], "% of the time", **more)
        figure("jitter_fixed_gaps_over_60_ms", [gaps / length_s * 60], "1/min", **more)


def _fixed(came: Sequence[tuple[int, MediaPacket]], packets: int, latency_ms: int) -> tuple[float, int]:
    """(share that is missing, gaps) with a fixed delay above the fastest packet."""
    base_ns = min(at - packet.sequence_ns for at, packet in _placed(came))
    there = bytearray(packets)
    for at, packet in _placed(came):
        for behind in (0, *(offset // packet.packet.ticks for offset, _, _ in packet.packet.copies)):
            index = packet.index - behind
            if index >= 0 and at - index * 20 * MS <= base_ns + latency_ms * MS:
                there[index] = 1
    missing = gaps = run = 0
    for one in there:
        run = 0 if one else run + 1
        missing += not one
        gaps += run == _GAP_PACKETS + 1
    return missing / packets, gaps


class _Placed:
    """A packet with its number, unwrapped by the order of sending."""

    def __init__(self, index: int, packet: MediaPacket) -> None:
        self.index, self.packet = index, packet
        self.sequence_ns = index * 20 * MS


def _placed(came: Sequence[tuple[int, MediaPacket]]) -> list[tuple[int, _Placed]]:
    return [(at, _Placed(packet.timestamp // packet.ticks, packet)) for at, packet in came]


if __name__ == "__main__":
    main()
