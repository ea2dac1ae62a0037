"""Poles that speak together: whole nodes with wrong clocks and crystals, heard by somebody who stands between them."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests import networks
from tests.flows.conftest import Programme, noise
from tests.flows.poles import MULTICAST, Poles, p95
from tests.flows.scene import Village
from tests.flows.studio import voice

if TYPE_CHECKING:
    from edge_agent.model import OrderId

URL = "http://media.example/bulletin.wav"
RTP = {"port": MULTICAST[1], "group": MULTICAST[0]}


def on_links(poles: Poles, model: str | None) -> Poles:
    if model is not None:
        for number, world in enumerate(poles.village.nodes):
            poles.village.udp.link(getattr(networks, model)(seed=70 + number), to=world.address)
    return poles


def put(poles: Poles, programme: Programme) -> str:
    poles.village.web_server.put(URL, programme.blob)
    return f"sha256:{hashlib.sha256(programme.blob).hexdigest()}"


def live(poles: Poles, seconds: float) -> list[OrderId]:
    """A live group order, and the voice that belongs to it."""
    sender = poles.studio(voice(seconds))
    orders: list[OrderId] = []

    async def story() -> None:
        orders.append(poles.order("live_start", rtp=RTP, mode="group", delay_ms=1000, lost_s=5))
        await asyncio.sleep(4)
        await sender.send(MULTICAST)
        await asyncio.sleep(8)

    poles.tell(story)
    return orders


@pytest.mark.parametrize(
    ("model", "clock_error_ms", "settled_ms", "begins_ms"),
    [("lan", 0.3, 1.0, 5.0), ("wifi", 0.3, 5.0, 5.0), ("mobile", 3.0, 5.0, 6.0)],
)
def test_two_poles_say_one_stream_together(
    model: str, clock_error_ms: float, settled_ms: float, begins_ms: float
) -> None:
    """Cards off by up to 100 ppm each; the clocks' own error is part of what is heard."""
    poles = on_links(Poles(nodes=2, seed=3, clock_error_ms=clock_error_ms), model)
    (order,) = live(poles, 25)
    found = poles.offsets(1)
    assert len(found) > 20
    assert p95(found, after_s=found[0].at_s + 3) <= settled_ms
    assert abs(found[0].ms) < begins_ms, "and from the first second"
    entry = poles.report(1, order)["live"]["live"]
    assert entry["clock_error_ms"] == clock_error_ms, "a node says how far its clock may be off"
    assert entry["sync_error_ms"]["p95"] < 0.5


def test_ten_poles_say_one_stream_together() -> None:
    poles = on_links(Poles(nodes=10, seed=5, clock_error_ms=0.3), "wifi")
    live(poles, 12)
    for node in range(1, 10):
        found = poles.offsets(node)
        assert len(found) >= 8
        assert p95(found) <= 1.0


def test_a_pole_that_joins_late_begins_in_the_right_place() -> None:
    poles = Poles(nodes=2, seed=8)
    sender = poles.studio(voice(20))

    async def story() -> None:
        poles.order("live_start", node=0, rtp=RTP, mode="group", delay_ms=1000, lost_s=5)
        await asyncio.sleep(4)
        sending = asyncio.create_task(sender.send(MULTICAST))
        await asyncio.sleep(6)
        poles.order("live_start", node=1, rtp=RTP, mode="group", delay_ms=1000, lost_s=5)
        await sending
        await asyncio.sleep(8)

    poles.tell(story)
    found = poles.offsets(1)
    assert len(found) >= 8
    assert abs(found[0].ms) < 5
    assert p95(found, after_s=found[0].at_s + 3) <= 1.0


def test_a_trim_moves_one_pole_by_what_it_says() -> None:
    poles = Poles(nodes=2, seed=9, trims_ms=(0.0, 25.0))
    live(poles, 10)
    found = poles.offsets(1)
    assert all(abs(offset.ms - 25) < 1 for offset in found)


def test_a_recording_begins_at_its_instant_everywhere_and_keeps_together() -> None:
    """One node hears of it late and joins in; cards and clocks are wrong."""
    programme = noise("bulletin.wav", 30, seed=11)
    poles = Poles(nodes=3, seed=12, clock_error_ms=0.3)
    orders: list[OrderId] = []

    async def story() -> None:
        digest = put(poles, programme)
        starts = poles.village.outside.utc_now() + timedelta(seconds=20)
        args: dict[str, Any] = {"media": digest, "url": URL, "start_at": starts.isoformat()}
        orders.extend(poles.order("play", node=node, **args) for node in (0, 1))
        await asyncio.sleep(25)
        orders.append(poles.order("play", node=2, **args))
        await asyncio.sleep(40)

    poles.tell(story)
    for node in (1, 2):
        found = poles.offsets(node)
        assert len(found) >= (25 if node == 1 else 15)
        assert p95(found) <= 1.0
    entries = [poles.report(node, order) for node, order in enumerate(orders)]
    assert [entry["outcome"] for entry in entries] == ["AIRED"] * 3
    assert entries[2]["live"]["joined_late_ms"] > 5_000
    assert entries[0]["sounded_ms"] == pytest.approx(30_000, abs=60)


def test_words_begin_at_their_instant_everywhere() -> None:
    poles = Poles(nodes=2, seed=13)

    async def story() -> None:
        starts = poles.village.outside.utc_now() + timedelta(seconds=12)
        poles.order("say", text="Mời bà con ra sân kho. " * 8, start_at=starts.isoformat())
        await asyncio.sleep(60)

    poles.tell(story)
    (begin, end), (begins, ends) = poles.edges_s(0), poles.edges_s(1)
    assert end - begin > 5
    assert abs(begins - begin) < 0.001
    assert abs(ends - end) < 0.002


def test_who_does_not_know_the_time_says_so_and_is_silent(village: Village, notice: Programme) -> None:
    village.world.clock.lose()

    async def story() -> None:
        nonce = village.up("state")[-1]["nonce"]
        starts = (village.world.outside.utc_now() + timedelta(seconds=60)).isoformat()
        asset = notice.on(village)
        order = village.order(
            "play", "priority", nonce=nonce, media=asset.digest, url=asset.url, start_at=starts
        )
        assert await village.ends(order) == ["failed"]
        assert village.code(order) == "clock_untrusted"

    village.tell(story)
    assert village.world.lives()[-1].heard.frames_heard == 0
