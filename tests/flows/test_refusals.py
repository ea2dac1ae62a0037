"""What must not sound does not: orders that are refused at the door, and media that are not what was ordered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from edge_agent.command.envelope import seal
from hal.ports import Message
from tests.flows import hearing
from tests.flows.conftest import Programme
from tests.flows.scene import NODE, ROOT, Asset, Village, sealed


def nothing_happened(village: Village) -> None:
    """No sound, no relay, not even a byte fetched."""
    assert not any(life.loud for life in village.world.lives())
    assert not village.lines()


# ---------------------------------------------------------------- at the door


def test_an_order_past_its_time_is_refused(village: Village, short: Programme) -> None:
    asset = short.on(village)

    async def story() -> None:
        order = village.make_order("play", media=asset.digest, url=asset.url)
        age = timedelta(minutes=6)
        old = replace(order, issued_at=order.issued_at - age, expires_at=order.expires_at - age)
        assert await village.ends(village.publish(old)) == ["rejected"]
        assert village.code(old.id) == "expired"
        await village.quiet()
        assert village.report(old.id)["outcome"] == "REFUSED"

    village.tell(story)
    nothing_happened(village)


def test_an_order_that_waits_past_its_time_never_sounds(
    village: Village, bulletin: Programme, short: Programme
) -> None:
    speaking, asset = bulletin.on(village), short.on(village)

    async def story() -> None:
        first = village.play(speaking)
        await asyncio.sleep(4)
        late = village.play(asset, good_for_s=5)
        assert await village.ends(first, late) == ["successful", "expired"]
        assert village.outcomes()[late] == "MISSED"

    village.tell(story)
    hearing.whole(hearing.recording(village.world.lives()[0]), bulletin.frames)
    assert len(village.world.lives()[0].loud) == 1


def test_a_retained_order_is_refused_at_every_connect_and_never_runs(
    village: Village, short: Programme
) -> None:
    asset = short.on(village)

    async def story() -> None:
        await village.world.stop()
        order = village.make_order("play", good_for_s=86_400, media=asset.digest, url=asset.url)
        village.publish(order, retain=True)
        village.world.broker.forget_sessions()
        for _ in range(3):
            village.start()
            await asyncio.sleep(30)
            await village.world.stop()
        assert village.states(order.id)[0] == "rejected"
        assert set(village.states(order.id)) == {"rejected"}
        assert village.code(order.id) == "bad_envelope"

    village.tell(story)
    nothing_happened(village)


def test_an_order_for_another_node_is_answered_once(village: Village, short: Programme) -> None:
    asset = short.on(village)

    async def story() -> None:
        order = village.make_order("play", to="n:thon-4", media=asset.digest, url=asset.url)
        topic = f"{ROOT}/{NODE}/dn/cmd/play"
        village.world.broker.server_publish(Message(topic=topic, payload=sealed(order), expiry_s=300))
        assert await village.ends(order.id) == ["rejected"]
        assert village.code(order.id) == "wrong_audience"
        village.world.broker.server_publish(Message(topic=topic, payload=sealed(order), expiry_s=300))
        await village.quiet()
        assert village.ledger() == {order.id: "rejected"}
        assert village.report(order.id)["outcome"] == "REFUSED"

    village.tell(story)
    nothing_happened(village)


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"{}",
        b"\xff\xfe",
        b"[" * 5_000,
        b'{"payloadType":"x","payload":"e30=","signatures":[]}',
        b"A" * 70_000,
    ],
    ids=["empty", "no fields", "no text", "deep", "no order", "too large"],
)
def test_what_is_no_order_is_only_counted(village: Village, short: Programme, junk: bytes) -> None:
    asset = short.on(village)

    async def story() -> None:
        for _ in range(50):
            village.world.broker.server_publish(Message(topic=f"{ROOT}/{NODE}/dn/cmd/play", payload=junk))
        assert await village.ends(village.play(asset)) == ["successful"]
        assert len(village.ledger()) == 1

    village.tell(story)


def test_without_keys_a_node_with_real_relays_believes_nobody(village: Village, short: Programme) -> None:
    asset = short.on(village)
    village.keys = None

    async def story() -> None:
        for klass in ("routine", "emergency"):
            village.play(asset, klass)
        order = village.make_order("play", media=asset.digest, url=asset.url)
        village.world.broker.server_publish(
            Message(topic=f"{ROOT}/{NODE}/dn/cmd/play", payload=seal(order), expiry_s=300)
        )
        await asyncio.sleep(30)
        assert village.ledger() == {}
        (alert,) = village.up("alert/no_keys")
        assert "believes nobody" in alert["text"]
        assert "unknown_key" in village.up("alert/rejected_orders")[-1]["text"]

    village.tell(story)
    nothing_happened(village)


# ---------------------------------------------------------------- media


def wrong_hash(village: Village, programme: Programme) -> Asset:
    spoilt = bytearray(programme.blob)
    spoilt[40_000] ^= 1
    asset = programme.on(village)
    village.put(programme.name, bytes(spoilt))
    return asset


def not_there(village: Village, programme: Programme) -> Asset:
    asset = programme.on(village)
    village.put(programme.name, b"gone", status=404)
    return asset


def truncated(village: Village, programme: Programme) -> Asset:
    return village.put(programme.name, programme.blob, truncate=20_000, ranges=False)


def zero_length(village: Village, programme: Programme) -> Asset:
    return village.put(programme.name, b"")


def no_audio(village: Village, programme: Programme) -> Asset:
    return village.put(programme.name, b"<html>no sound here</html>" * 100)


def dripping(village: Village, programme: Programme) -> Asset:
    return village.put(programme.name, programme.blob, drip_bytes_per_s=100)


def stalled(village: Village, programme: Programme) -> Asset:
    return village.put(programme.name, programme.blob, stall_after=10_000)


def unreachable(village: Village, programme: Programme) -> Asset:
    return village.put(programme.name, programme.blob, unreachable=True)


@pytest.mark.parametrize(
    ("misfortune", "end"),
    [
        (wrong_hash, ("failed", "no_media", "FAILED")),
        (not_there, ("failed", "no_media", "FAILED")),
        (truncated, ("failed", "no_media", "FAILED")),
        (zero_length, ("failed", "no_media", "FAILED")),
        (no_audio, ("failed", "no_media", "FAILED")),
        (unreachable, ("failed", "no_media", "FAILED")),
        (dripping, ("expired", "timeout", "MISSED")),
        (stalled, ("expired", "timeout", "MISSED")),
    ],
)
def test_media_that_cannot_be_had_fail_with_a_reason_and_the_right_ones_play_afterwards(
    village: Village,
    notice: Programme,
    misfortune: Callable[[Village, Programme], Asset],
    end: tuple[str, str, str],
) -> None:
    asset = misfortune(village, notice)

    async def story() -> None:
        order = village.play(asset, good_for_s=600)
        (state,) = await village.ends(order, within_s=700)
        assert not village.world.lives()[0].loud
        await village.quiet()
        assert (state, village.code(order), village.report(order)["outcome"]) == end
        good = notice.on(village)
        assert await village.ends(village.play(good)) == ["successful"]

    village.tell(story)
    hearing.whole(hearing.recording(village.world.lives()[0]), notice.frames)


def test_a_slow_line_delivers_in_the_end(village: Village, notice: Programme) -> None:
    asset = village.put("cham.wav", notice.blob, drip_bytes_per_s=4_000)

    async def story() -> None:
        order = village.play(asset, good_for_s=600)
        assert await village.ends(order) == ["successful"]
        assert "fetching" in [state["progress"] for state in village.told(order)]

    village.tell(story)
    hearing.whole(hearing.recording(village.world.lives()[0]), notice.frames)


def test_a_line_that_breaks_is_taken_up_where_it_broke(village: Village, notice: Programme) -> None:
    asset = village.put("dut.wav", notice.blob, truncate=200_000)

    async def story() -> None:
        order = village.play(asset)
        await village.until(lambda: village.world.web_server.requests)
        village.put("dut.wav", notice.blob)
        assert await village.ends(order) == ["successful"]

    village.tell(story)
    offsets = [request.offset for request in village.world.web_server.requests]
    assert offsets == [0, 200_000]


def test_an_order_whose_media_come_too_late_expires_in_time(village: Village, notice: Programme) -> None:
    asset = village.put("cham.wav", notice.blob, drip_bytes_per_s=1_000)

    async def story() -> None:
        before_ns = village.world.counter.ns
        order = village.play(asset, good_for_s=60)
        assert await village.ends(order) == ["expired"]
        assert village.code(order) == "timeout"
        assert (village.world.counter.ns - before_ns) / 1e9 == pytest.approx(60, abs=1)

    village.tell(story)
    nothing_happened(village)


def test_a_disk_that_fills_while_it_is_written_refuses_and_recovers(
    village: Village, notice: Programme
) -> None:
    asset = notice.on(village)

    async def story() -> None:
        village.world.disk.fail("full", operation="write", times=1_000)
        order = village.play(asset)
        assert await village.ends(order) == ["failed"]
        assert village.code(order) == "no_space"
        assert not village.world.disk.image(), "nothing half-written is kept"
        village.world.disk.mend()
        assert await village.ends(village.play(asset)) == ["successful"]

    village.tell(story)


def test_a_disk_with_no_room_is_named_before_a_byte_is_fetched_and_raises_an_alert(
    notice: Programme,
) -> None:
    village = Village(disk_bytes=100 << 20)
    asset = notice.on(village)

    async def story() -> None:
        order = village.play(asset)
        assert await village.ends(order) == ["failed"]
        assert village.code(order) == "no_space"
        await village.until(lambda: village.up("alert/disk_low"), within_s=60)
        assert await village.ends(village.order("ping")) == ["successful"]

    village.tell(story)
    nothing_happened(village)
