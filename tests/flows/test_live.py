"""Live orders from end to end: what is said in the studio is heard in the village, and what happens when it is not."""

from __future__ import annotations

import asyncio
import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_agent.model import OrderState, Precedence
from edge_agent.playout import loudness
from hal.sim.webcast import VirtualStation
from tests.flows.conftest import Programme
from tests.flows.hearing import recording
from tests.flows.scene import Village
from tests.flows.studio import STUDIO, Studio, tone_station, voice
from tests.playout.media import wav
from tests.stream.listening import clicks

if TYPE_CHECKING:
    from hal.ports import Frames

PORT = 5004
NODE = ("10.0.0.2", PORT)
RATE_HZ = 48_000
STREAM = "http://dai.example/live"
STANDBY = "http://dai.example/standby"


def likeness(heard: Frames, said: Frames) -> float:
    """The best correlation of what was heard with what was said, 0 to 1."""
    size = 1 << (len(heard) + len(said)).bit_length()
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(said, size))
    at = int(np.argmax(np.fft.irfft(spectrum, size)[: len(heard)]))
    piece = heard[at : at + len(said)]
    whole = said[: len(piece)]
    return float(piece @ whole / np.sqrt((piece @ piece) * (whole @ whole) + 1e-9))


def tones(heard: Frames, *hz: float) -> list[str]:
    """Which of these tones is heard in each half second, in order, without repetitions."""
    found: list[str] = []
    for at in range(0, len(heard) - 24_000, 24_000):
        piece = heard[at : at + 24_000] * np.hanning(24_000)
        spectrum = np.abs(np.fft.rfft(piece))
        peak = float(np.argmax(spectrum)) * 2
        name = next((f"{f:g}" for f in hz if abs(peak - f) < 8 and spectrum.max() > 50), "-")
        if not found or found[-1] != name:
            found.append(name)
    return found


def longest_silence_s(frames: Frames) -> float:
    """Between the first sound and the last."""
    loud = np.flatnonzero(np.abs(frames) > 1e-4)
    return float(np.diff(loud).max()) / RATE_HZ


def studio(village: Village, seconds: float, **more: Any) -> Studio:
    return Studio(village.world.neighbour(STUDIO), village.world.outside, voice(seconds), **more)


def rtp(**more: Any) -> dict[str, Any]:
    return {"port": PORT} | more


def heard(village: Village) -> Frames:
    return recording(village.world.lives()[-1])


def test_a_voice_is_heard_whole_and_its_goodbye_ends_the_order(village: Village) -> None:
    sender = studio(village, 12)

    async def story() -> None:
        order = village.order("live_start", "priority", rtp=rtp(), title="Trực tiếp")
        await village.reaches(order, OrderState.EXECUTING)
        await asyncio.sleep(3)
        await sender.send(NODE)
        assert await village.ends(order) == ["successful"]
        await village.quiet()
        entry = village.report(order)
        assert entry["outcome"] == "AIRED"
        assert entry["live"]["ended"] == "goodbye"
        assert 11_500 <= entry["live"]["sounded_ms"]["live"] <= 12_500
        figures = entry["live"]["live"]
        assert figures["concealed_ms"] == {"network": 0, "jitter": 0, "device": 0}
        assert abs(entry["sounded_ms"] - 12_000) < 1_500
        assert len(sender.heard) >= 2, "the sender hears how its stream fares"

    village.tell(story)
    assert likeness(heard(village), sender._frames[RATE_HZ:-RATE_HZ]) > 0.9


def test_an_encrypted_voice_is_heard_and_its_key_is_kept_nowhere(village: Village) -> None:
    key = bytes(range(100, 130))
    text = base64.b64encode(key).decode()
    sender, forger = studio(village, 8, key=key), studio(village, 8)

    async def story() -> None:
        order = village.order("live_start", rtp=rtp(srtp=text))
        await village.reaches(order, OrderState.EXECUTING)
        await asyncio.sleep(3)
        forging = asyncio.create_task(forger.send(NODE, port=6000, goodbye=False))
        await sender.send(NODE)
        await forging
        assert await village.ends(order) == ["successful"]
        await village.quiet()
        live = village.report(order)["live"]["live"]
        assert live.get("refused", {}).get("srtp", 0) + live.get("foreign", 0) > 100
        assert not village.world.database.rows("SELECT 1 FROM ledger WHERE envelope IS NOT NULL")

    village.tell(story)
    assert likeness(heard(village), sender._frames[RATE_HZ:-RATE_HZ]) > 0.9
    said = str(village.stored()) + str(village.up("cmd"))
    assert text not in said


def test_an_emergency_goes_first_and_the_voice_goes_on_where_it_is(
    village: Village, alarm: Programme
) -> None:
    sender = studio(village, 20)

    async def story() -> None:
        order = village.order("live_start", "routine", rtp=rtp())
        await village.reaches(order, OrderState.EXECUTING)
        sending = asyncio.create_task(sender.send(NODE))
        await asyncio.sleep(6)
        urgent = village.play(alarm.on(village), "emergency")
        assert await village.ends(urgent) == ["successful"]
        await sending
        assert await village.ends(order) == ["successful"]
        await village.quiet()
        entry = village.report(order)
        assert entry["preempted"] == 1
        assert entry["live"]["sounded_ms"]["live"] < 17_000, "what came meanwhile is not said later"

    village.tell(story)


def test_a_relay_is_spoken_to_first_and_again(village: Village) -> None:
    relay = village.world.neighbour("10.0.0.77")
    village.world.udp.names["relay.example"] = "10.0.0.77"
    came: list[tuple[str, int]] = []

    async def story() -> None:
        socket = await relay.open(host="10.0.0.77", port=7000)
        order = village.order("live_start", rtp={"relay": {"host": "relay.example", "port": 7000}}, lost_s=40)
        await village.reaches(order, OrderState.EXECUTING)
        await asyncio.sleep(35)
        came.extend(datagram.source for datagram in socket.take())
        assert await village.ends(order) == ["failed"]
        assert village.code(order) == "timeout"

    village.tell(story)
    assert 3 <= len(came) <= 5
    assert len(set(came)) == 1


def test_a_stop_silences_it_and_a_maximum_ends_it(village: Village) -> None:
    first, second = studio(village, 10), studio(village, 10)

    async def story() -> None:
        order = village.order("live_start", rtp=rtp(), max_s=5)
        await village.reaches(order, OrderState.EXECUTING)
        await first.send(NODE)
        assert await village.ends(order) == ["successful"]
        again = village.order("live_start", rtp=rtp())
        await village.reaches(again, OrderState.EXECUTING)
        sending = asyncio.create_task(second.send(NODE))
        await asyncio.sleep(6)
        village.order("stop", order=again)
        assert await village.ends(again) == ["cancelled"]
        await sending
        await village.quiet()
        assert village.report(order)["live"]["ended"] == "max_s"
        assert village.report(again)["outcome"] == "PARTIAL"

    village.tell(story)


def test_a_lost_stream_falls_back_link_by_link_and_comes_back(village: Village, bulletin: Programme) -> None:
    """Live -> standby stream -> recording -> message; and to live again."""
    village.world.stations[STREAM] = live = VirtualStation(tone_station(500))
    village.world.stations[STANDBY] = standby = VirtualStation(tone_station(800))
    asset = bulletin.on(village)

    async def story() -> None:
        order = village.order(
            "live_start",
            stream={"url": STREAM},
            standby={"stream": {"url": STANDBY}, "media": asset.digest, "url": asset.url, "say": "Xin chờ."},
            max_s=90,
        )
        await village.reaches(order, OrderState.EXECUTING)
        await asyncio.sleep(15)
        live.hung = True
        await asyncio.sleep(15)
        standby.reachable = False
        standby.cut()
        await asyncio.sleep(10)
        assert "live_lost" in village.up("health")[-1]["alerts"] or village.up("alert/live_lost")
        live.hung = False
        assert await village.ends(order) == ["successful"]
        await village.quiet()
        assert village.up("alert/live_lost")[-1] is None, "it is solved"
        changes = village.report(order)["live"]["changed"]
        assert [change["to"] for change in changes][:4] == ["standby", "programme", "live"] or [
            change["to"] for change in changes
        ][:3] == ["standby", "programme", "live"]

    village.tell(story)
    assert longest_silence_s(heard(village)) <= 3.0, "each transition takes at most three seconds"
    order = tones(heard(village), 500, 800)
    assert [name for name in order if name != "-"][:2] == ["500", "800"]
    assert order[-1] == "500" or order[-2] == "500"


def test_silence_at_a_station_is_a_failure_and_reconnecting_adds_no_delay(village: Village) -> None:
    village.world.stations[STREAM] = station = VirtualStation(tone_station(500), burst_s=4)
    village.world.stations[STANDBY] = VirtualStation(tone_station(800))

    async def story() -> None:
        order = village.order(
            "live_start", stream={"url": STREAM}, standby={"stream": {"url": STANDBY}}, max_s=120
        )
        await village.reaches(order, OrderState.EXECUTING)
        await asyncio.sleep(10)
        for _ in range(5):
            station.cut()
            await asyncio.sleep(8)
        station.silent = True
        await asyncio.sleep(20)
        station.silent = False
        assert await village.ends(order) == ["successful"]
        await village.quiet()
        report = village.report(order)["live"]
        assert report["live"]["losses"] >= 5
        assert report["live"]["held_ms"] < 3_000
        assert "standby" in [change["to"] for change in report["changed"]]

    village.tell(story)


@pytest.mark.parametrize("kind", ["noise", "square"])
def test_dangerous_noise_is_stopped_within_a_second(village: Village, kind: str) -> None:
    rng = np.random.default_rng(3)

    def bad(_at: int) -> Frames:
        block = rng.uniform(-1, 1, RATE_HZ // 10).astype(np.float32)
        return block if kind == "noise" else np.sign(block).astype(np.float32)

    village.world.stations[STREAM] = VirtualStation(bad)

    async def story() -> None:
        order = village.order("live_start", stream={"url": STREAM}, max_s=60)
        assert await village.ends(order) == ["failed"]
        await village.quiet()
        assert village.report(order)["live"]["ended"] == "noise"
        assert village.report(order)["sounded_ms"] < 1_500

    village.tell(story)


def test_every_live_source_comes_to_the_target_loudness(village: Village) -> None:
    from edge_agent.playout.loud import CELL_FRAMES, lufs, power

    village.world.stations[STREAM] = VirtualStation(tone_station(997, level=0.03))

    async def story() -> None:
        order = village.order("live_start", stream={"url": STREAM}, max_s=40, volume=100)
        assert await village.ends(order) == ["successful"]

    village.tell(story)
    sound = heard(village)[-10 * RATE_HZ : -RATE_HZ]
    cells = sound[: sound.size // CELL_FRAMES * CELL_FRAMES].reshape(-1, CELL_FRAMES)
    loudness = lufs(float(np.mean([power(cell) for cell in cells])))
    assert abs(loudness - -17.0) < 1.0
    assert clicks(sound, hz=997, level=float(np.abs(sound).max())) < 3


def test_a_voice_by_rtp_comes_to_the_target_loudness(village: Village) -> None:
    sender = Studio(village.world.neighbour(STUDIO), village.world.outside, voice(30) * np.float32(0.3))

    async def story() -> None:
        order = village.order("live_start", rtp=rtp(), volume=100)
        await village.reaches(order, OrderState.EXECUTING)
        await sender.send(NODE)
        assert await village.ends(order) == ["successful"]

    village.tell(story)
    settled = heard(village)[-18 * RATE_HZ : -RATE_HZ]
    measured = asyncio.run(loudness.measure(io.BytesIO(wav(settled)), seconds=60))
    assert measured.lufs == pytest.approx(-17.0, abs=1.0)


def test_a_flood_from_elsewhere_changes_nothing(village: Village) -> None:
    sender, stranger = studio(village, 10), village.world.neighbour("10.0.0.66")

    async def flood() -> None:
        socket = await stranger.open(host="10.0.0.66", port=1)
        for count in range(40_000):
            socket.send(bytes([0x80, 96]) + count.to_bytes(2, "big") * 30, NODE)
            if count % 20 == 0:
                await asyncio.sleep(0.005)
        socket.close()

    async def story() -> None:
        order = village.order("live_start", rtp=rtp())
        await village.reaches(order, OrderState.EXECUTING)
        await asyncio.sleep(3)
        sending = asyncio.create_task(sender.send(NODE))
        await asyncio.sleep(0.5)
        await flood()
        await sending
        assert await village.ends(order) == ["successful"]
        await village.quiet()
        live = village.report(order)["live"]["live"]
        assert live["foreign"] > 30_000
        assert live["concealed_ms"] == {"network": 0, "jitter": 0, "device": 0}

    village.tell(story)
    assert likeness(heard(village), sender._frames[RATE_HZ:-RATE_HZ]) > 0.9


def test_a_spoken_text_has_its_chime_and_its_turn(village: Village, notice: Programme) -> None:
    async def story() -> None:
        first = village.play(notice.on(village))
        await village.reaches(first, OrderState.EXECUTING)
        said = village.order("say", "priority", text="Mời bà con họp lúc 19 giờ 30.", times=2)
        assert await village.ends(first, said) == ["successful", "successful"]
        await village.quiet()
        assert village.report(said)["sounded_ms"] > 4_000

    village.tell(story)
    assert village.world.lives()[-1].heard.frames_heard > 0


def test_a_text_without_a_voice_is_refused(village: Village) -> None:
    async def story() -> None:
        order = village.order("say", text="Good morning", language="xx")
        assert await village.ends(order) == ["failed"]
        assert village.code(order) == "no_media"

    village.tell(story)


def test_a_restart_interrupts_a_live_order_but_not_an_emergency(village: Village) -> None:
    async def story() -> None:
        routine = village.order("live_start", rtp=rtp(), good_for_s=600)
        await village.reaches(routine, OrderState.EXECUTING)
        await village.restart()
        assert await village.ends(routine) == ["interrupted"]
        urgent = village.order("live_start", Precedence.EMERGENCY.wire, rtp=rtp(), good_for_s=600, max_s=20)
        await village.reaches(urgent, OrderState.EXECUTING)
        await village.restart()
        await studio(village, 8).send(NODE)
        assert await village.ends(urgent) == ["successful"]

    village.tell(story)
