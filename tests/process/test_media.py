"""Files as the world has them: every format, broken ones, endless ones, and servers that fail."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.playout.media import encoded, tone, wav
from tests.process.conftest import Outside, OutsideMaker
from tests.process.node import Node, memory_mib

pytestmark = pytest.mark.realtime

LENGTH_S = 0.3
QUICK = ("--set", "playout.gap_s=0", "--set", "amplifier.hang_time_s=2")


def a_file(container: str, codec: str, *, rate_hz: int = 44_100, channels: int = 2, **more: Any) -> bytes:
    frames = np.stack([tone(LENGTH_S, rate_hz=rate_hz)] * channels)
    return encoded(frames, container=container, codec=codec, rate_hz=rate_hz, **more)


def formats() -> dict[str, bytes]:
    pcm: dict[str, Any] = {"container": "wav", "bit_rate": None}
    return {
        "bulletin.mp3": a_file("mp3", "mp3"),
        "mono.mp3": a_file("mp3", "mp3", rate_hz=16_000, channels=1, bit_rate=24_000),
        "news.m4a": a_file("mp4", "aac"),
        "news.aac": a_file("adts", "aac"),
        "news.opus": a_file("ogg", "libopus", rate_hz=48_000),
        "news.ogg": a_file("ogg", "vorbis"),
        "news.flac": a_file("flac", "flac", bit_rate=None),
        "six.flac": a_file("flac", "flac", rate_hz=48_000, channels=6, bit_rate=None),
        "8.wav": a_file(**pcm, codec="pcm_u8", rate_hz=8_000, channels=1),
        "24.wav": a_file(**pcm, codec="pcm_s24le", rate_hz=96_000),
        "32.wav": a_file(**pcm, codec="pcm_f32le", channels=1),
    }


def damaged() -> bytes:
    """An MP3 that was spoilt in the middle."""
    whole = bytearray(encoded(tone(1.2)[None], container="mp3", codec="mp3", rate_hz=48_000))
    for at in range(len(whole) // 3, len(whole) // 3 + 1000):
        whole[at] = (whole[at] * 7 + 13) % 256
    return bytes(whole)


def test_every_format_sounds_whole_and_only_through_a_live_amplifier(make_outside: OutsideMaker) -> None:
    outside = make_outside(*QUICK)
    outside.begin()
    server = outside.server
    orders = {name: server.order("play", outside.put(name, body)) for name, body in formats().items()}
    for name, order in orders.items():
        state = server.state(order, within_s=30)
        assert state["state"] == "successful", (name, state)
        assert state["result"]["frames"] == pytest.approx(LENGTH_S * 48_000, rel=0.2), name
    spoilt = server.state(server.order("play", outside.put("damaged.mp3", damaged())))
    assert spoilt["state"] == "successful"
    assert 0.8 < spoilt["result"]["frames"] / 48_000 < 1.3, "it plays on behind the damage"
    outside.node.end()
    assert outside.node.code == 0
    assert outside.node.sounded_while_not_live() == []
    loud = np.abs(outside.node.heard()) > 0.02
    assert loud.sum() / 48_000 > 0.7 * LENGTH_S * len(orders), "all of it was heard"


def test_what_cannot_be_had_or_is_no_sound_fails_with_the_reason(outside: Outside) -> None:
    server, good = outside.server, wav(tone(0.3))
    cases: dict[str, tuple[bytes, dict[str, Any], str]] = {
        "404": (good, {"status": 404}, "no_media"),
        "500": (good, {"status": 500}, "no_media"),
        "truncated": (good + b"1", {"truncate": 1000, "ranges": False}, "no_media"),
        "empty": (b"", {}, "no_media"),
        "text": ("Xin chào bà con.\n".encode() * 500, {}, "no_media"),
        "noise": (bytes(range(256)) * 200, {}, "no_media"),
        "half-a-header": (good[:20], {}, "no_media"),
        "to-a-file": (good + b"2", {"redirect": "file:///etc/passwd"}, "no_media"),
    }
    for name, (body, page, code) in cases.items():
        state = server.state(server.order("play", outside.put(name, body, **page)))
        assert (state["state"], state["reason"]["code"]) == ("failed", code), (name, state)
    swapped = outside.put("swapped", good) | {"media": f"sha256:{'0' * 64}"}
    assert "is not what was ordered" in server.state(server.order("play", swapped))["reason"]["text"]
    nowhere = {"media": f"sha256:{'1' * 64}", "url": "http://127.0.0.1:1/x"}
    assert server.state(server.order("play", nowhere))["reason"]["code"] == "no_media"
    unknown = {"media": f"sha256:{'2' * 64}"}
    assert "no url was given" in server.state(server.order("play", unknown))["reason"]["text"]
    failed = [entry["outcome"] for entry in server.entries().values() if entry["verb"] == "play"]
    assert failed == ["FAILED"] * len(failed)
    assert not any((outside.node.state_dir / ".stage").iterdir()), "nothing half-fetched is left"


def test_a_server_that_stalls_holds_up_nobody_else_and_a_stop_ends_it(outside: Outside) -> None:
    server, good = outside.server, wav(tone(0.3))
    stuck = [
        server.order("play", outside.put(f"stuck-{number}", good + bytes([number]), stall_after=50))
        for number in range(3)
    ]
    urgent = server.order("play", outside.put("urgent", good), **{"class": "emergency"})
    server.state(urgent, "successful")
    for order in stuck:
        server.order("stop", {"order": order})
        assert server.state(order)["state"] == "cancelled"


def test_ten_hours_need_no_more_memory_than_three_seconds(outside: Outside) -> None:
    """An MP3 of constant bit rate is as long as it is repeated; 36 MB here."""
    minute = encoded(
        tone(60, rate_hz=8_000)[None], container="mp3", codec="mp3", rate_hz=8_000, bit_rate=8_000
    )
    server, node = outside.server, outside.node
    first = server.order("play", outside.put("short.mp3", minute[: len(minute) // 120]))
    server.state(first, within_s=30)
    before = memory_mib(node.pid, "VmHWM")
    endless = server.order("play", outside.put("long.mp3", minute * 600))
    server.state(endless, "executing", within_s=10)
    _sounds(node)
    server.order("stop", {"order": endless})
    assert server.state(endless)["state"] == "cancelled"
    assert memory_mib(node.pid, "VmHWM") - before < 20


def _sounds(node: Node) -> None:
    """Wait until something new is heard."""
    length = node.heard_facts()["frames"]
    node.wait(lambda: node.heard_facts()["frames"] > length + 24_000, within_s=10)
