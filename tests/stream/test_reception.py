"""From the wire to the card: whole when the network is, hidden when it is not, and never a click."""

from __future__ import annotations

import random

import numpy as np
import pytest

from edge_agent.stream import rtp
from edge_agent.stream.modes import BufferSettings, Mode
from edge_agent.stream.packetiser import FRAMES
from edge_agent.stream.reception import Reception
from edge_agent.stream.rtp import RtpPacket
from edge_agent.stream.srtp import Srtp
from tests.networks import MS, NS, clean, lossy
from tests.stream.listening import (
    RATE_HZ,
    Wire,
    clicks,
    heard,
    sending,
    sent,
    settings,
    silent_ms,
    steady,
    through,
    voice,
)

TALK = BufferSettings.of(Mode.TALK)


def talk() -> Reception:
    return Reception(settings(buffer=TALK))


def pitch_hz(frames: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(frames.size)))
    return float(np.argmax(spectrum) * RATE_HZ / frames.size)


def test_a_tone_comes_through_whole_and_in_its_pitch() -> None:
    reception = talk()
    out = heard(through(sent(steady(4.0)), clean()), reception, seconds=3.8)
    assert pitch_hz(out[RATE_HZ : 3 * RATE_HZ]) == pytest.approx(400, abs=1)
    assert silent_ms(out[RATE_HZ // 2 :]) == 0
    assert clicks(out[RATE_HZ // 2 :]) < 3
    report = reception.report()
    assert report["concealed_ms"] == {"network": 0, "jitter": 0, "device": 0}
    assert "refused" not in report


def test_copies_make_a_lossy_line_whole() -> None:
    """10 % in bursts of 3 and copies 80 ms later: hardly anything is left to be made up."""
    wire = sent(voice(20.0))
    with_copies, without = Reception(settings()), Reception(settings())
    heard(through(wire, lossy(0.1, 3.0, seed=3)), with_copies, seconds=20)
    heard(through(sent(voice(20.0), sending(red_offset=0)), lossy(0.1, 3.0, seed=3)), without, seconds=20)
    ours, theirs = with_copies.statistics, without.statistics
    assert ours.red_recovered > 50
    assert ours.concealed_ms["network"] < theirs.concealed_ms["network"] / 2
    assert theirs.fec_recovered > 5


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("new sender", {"ssrc": 0xBEEF, "first_timestamp": 12_345}),
        ("an hour ahead", {"first_timestamp": 3_600 * RATE_HZ, "first_sequence": 100}),
        ("an hour back", {"first_timestamp": 2**32 - 3_600 * RATE_HZ, "first_sequence": 100}),
        ("sequence jump", {"first_timestamp": 96_000, "first_sequence": 30_000}),
    ],
)
def test_a_sender_that_begins_anew_is_interrupted_for_less_than_200_ms_without_a_click(
    name: str, change: dict[str, int]
) -> None:
    first = sent(steady(2.0))
    second = sent(steady(2.0), sending(**change), begin_ns=2 * NS)
    out = heard(through(first + second, clean()), talk(), seconds=3.9)
    assert silent_ms(out[RATE_HZ // 2 :]) <= 200
    assert clicks(out[RATE_HZ // 2 :]) < 40, name


def test_wrapping_numbers_are_not_heard() -> None:
    options = sending(first_sequence=65_490, first_timestamp=2**32 - 50 * FRAMES)
    out = heard(through(sent(steady(3.0), options), clean()), talk(), seconds=2.9)
    assert silent_ms(out[RATE_HZ // 2 :]) == 0
    assert clicks(out[RATE_HZ // 2 :]) < 3


def test_an_outage_fades_away_and_back() -> None:
    wire = [pair for pair in sent(steady(8.0)) if not 3 * NS <= pair[0] < 5 * NS]
    reception = talk()
    out = heard(through(wire, clean()), reception, seconds=7.8)
    assert 1_700 <= silent_ms(out[RATE_HZ // 2 :]) <= 2_000
    assert clicks(out[RATE_HZ // 2 :]) < 20
    assert reception.statistics.gaps == 1


def test_duplicates_and_reordering_change_nothing() -> None:
    rng = random.Random(5)
    wire = sent(voice(6.0))
    mixed: Wire = []
    for at, blob in wire:
        late = 45 * MS if rng.random() < 0.02 else 0
        mixed.append((at + late, blob))
        if rng.random() < 0.01:
            mixed.append((at + late + 5 * MS, blob))
    mixed.sort(key=lambda pair: pair[0])
    plain = heard(wire, Reception(settings()), seconds=6.5)
    shuffled = heard(mixed, Reception(settings()), seconds=6.5)
    # Only the rate's last digits may differ: the base was measured on other packets.
    assert float(np.abs(plain - shuffled).max()) < 0.01


def test_keyed_packets_are_heard_and_forged_ones_counted() -> None:
    key = bytes(range(30))
    wire = sent(steady(3.0))
    sender = Srtp(key)
    keyed = [(at, sender.protect(blob, rtcp=False)) for at, blob in wire]
    forged = [(at, blob) for at, blob in sent(steady(3.0), sending(ssrc=0xBAD))]
    reception = Reception(settings(buffer=TALK), srtp=Srtp(key))
    out = heard(sorted(keyed + forged), reception, seconds=2.9)
    assert silent_ms(out[RATE_HZ // 2 :]) == 0
    assert reception.statistics.refused["srtp"] == len([at for at, _ in forged if at <= 2.78 * NS])
    assert reception.statistics.stray == 0


def test_a_packet_altered_in_any_byte_is_refused() -> None:
    key = bytes(range(30))
    (_, blob), *_ = sent(steady(0.1))
    whole = Srtp(key).protect(blob, rtcp=False)
    for place in range(len(whole)):
        altered = bytearray(whole)
        altered[place] ^= 0x40
        reception = Reception(settings(), srtp=Srtp(key))
        assert not reception.put(bytes(altered), 0)
        assert sum(reception.statistics.refused.values()) == 1


def test_a_replayed_packet_is_refused() -> None:
    (_, blob), *_ = sent(steady(0.1))
    whole = Srtp(bytes(30)).protect(blob, rtcp=False)
    reception = Reception(settings(), srtp=Srtp(bytes(30)))
    assert reception.put(whole, 0)
    assert not reception.put(whole, 1)


def test_a_flood_of_another_source_is_counted_and_not_heard() -> None:
    flood = [
        (
            at + index,
            rtp.build(RtpPacket(96, False, (7 * at + 977 * index) & 0xFFFF, 0, 0xF100D, b"\x78junk")),
        )
        for at in range(0, 3 * NS, 20 * MS)
        for index in range(5)
    ]
    reception = talk()
    out = heard(sorted(through(sent(steady(3.0)), clean()) + flood), reception, seconds=2.9)
    assert silent_ms(out[RATE_HZ // 2 :]) == 0
    assert (
        reception.statistics.stray == len([at for at, _ in flood if at < 2.7 * NS])
        or reception.statistics.stray > 600
    )


def test_what_does_not_decode_is_concealed_and_counted() -> None:
    wire = sent(steady(3.0), sending(red_offset=0))
    bad = [
        (at, blob[:12] + b"\x7b\x41\xff\x00\x01" if index in {60, 61, 90} else blob)
        for index, (at, blob) in enumerate(wire)
    ]
    reception = talk()
    out = heard(bad, reception, seconds=2.9)
    assert sum(reception.statistics.refused.values()) >= 3
    assert clicks(out[RATE_HZ // 2 :]) < 40


def test_whatever_comes_nothing_is_raised_and_memory_is_bounded() -> None:
    rng = random.Random(11)
    genuine = [blob for _, blob in sent(voice(2.0), wall_ns=1_790_000_000 * NS)]
    reception = talk()
    for index in range(20_000):
        blob = bytearray(rng.choice(genuine))
        for _ in range(rng.randrange(6)):
            blob[rng.randrange(len(blob))] = rng.randrange(256)
        reception.put(bytes(blob[: rng.randrange(len(blob) + 1)]), index * MS)
        if index % 40 == 0:
            assert reception.get(1_920, index * MS + 100 * MS).size == 1_920
        assert reception.buffer.level_packets() <= 4_096
    assert len(reception.statistics.refused) < 30


@pytest.mark.parametrize("ppm", [-200, -50, 50, 200])
def test_the_cards_drift_is_followed_without_a_click(ppm: int) -> None:
    """Two minutes: the delay stays where it was, and nothing is left out or said twice."""
    reception = talk()
    out = heard(through(sent(steady(90.0)), clean()), reception, seconds=89.0, card_ppm=ppm)
    assert clicks(out[RATE_HZ:]) < 3
    assert silent_ms(out[RATE_HZ:]) == 0


@pytest.mark.parametrize("codec", ["pcmu", "pcma", "l16"])
def test_the_old_codecs_are_heard_in_their_pitch(codec: str) -> None:
    clock_hz = 8_000 if codec != "l16" else 48_000
    ticks = clock_hz // 50
    tone = 0.3 * np.sin(2 * np.pi * 400 * np.arange(3 * clock_hz) / clock_hz)
    wire: Wire = []
    for index in range(150):
        part = tone[index * ticks : (index + 1) * ticks]
        if codec == "l16":
            payload = np.round(part * 32_767).astype(">i2").tobytes()
        else:
            payload = bytes(_g711(float(sample), codec) for sample in part)
        wire.append((index * 20 * MS, rtp.build(RtpPacket(0, False, index, index * ticks, 1, payload))))
    del wire[100:102]
    reception = Reception(
        settings(
            codec=codec,
            clock_hz=clock_hz,
            payload_types=frozenset({0}),
            buffer=BufferSettings.of(Mode.TALK, clock_hz=clock_hz),
        )
    )
    out = heard(wire, reception, seconds=2.9)
    assert pitch_hz(out[RATE_HZ // 2 : 5 * RATE_HZ // 2]) == pytest.approx(400, abs=2)
    assert silent_ms(out[RATE_HZ // 2 :]) == 0
    level = float(np.sqrt((out[RATE_HZ : 3 * RATE_HZ // 2] ** 2).mean()))
    assert level == pytest.approx(0.3 / 2**0.5, rel=0.03)


def _g711(sample: float, codec: str) -> int:
    """Encode by search in the decoder's table: the test's own way round."""
    from edge_agent.stream.decoder import _table

    return int(np.argmin(np.abs(_table(codec) - sample)))


def test_a_group_sounds_when_the_sender_said() -> None:
    """T = NTP + group delay: a click at a known wall time is heard at that time plus the delay, whatever the card's drift."""
    wall_ns = 1_790_000_000 * NS
    frames = steady(8.0) * 0
    for second in range(1, 8):
        frames[second * RATE_HZ : second * RATE_HZ + 4_800] = 2 * steady(0.1)
    options = settings(buffer=BufferSettings.of(Mode.GROUP, delay_ms=500), group_delay_ms=500.0)
    for ppm in (-100, 0, 100):
        wire = through(sent(frames, sending(bitrate=64_000), wall_ns=wall_ns), clean(20.0))
        out = heard(wire, Reception(options), seconds=7.5, wall_offset_ns=wall_ns, card_ppm=ppm)
        rate = RATE_HZ * (1 + ppm / 1e6)
        for second in (3, 5, 6):
            around = out[round((second + 0.4) * rate) : round((second + 0.6) * rate)]
            onset = np.flatnonzero(np.abs(around) > 0.2)[0] / rate + round((second + 0.4) * rate) / rate
            assert onset - second - 0.5 == pytest.approx(0.0065, abs=0.002), (ppm, second)
