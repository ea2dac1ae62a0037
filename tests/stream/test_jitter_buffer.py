"""The tank: what comes is played once, in order, in time; what does not come is said to be missing, once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.stream.jitter_buffer import JitterBuffer
from edge_agent.stream.modes import BufferSettings, Mode
from edge_agent.stream.pieces import Conceal, MediaPacket, Pause, Piece, Play, Recover, Restart, Wait
from tests import networks
from tests.networks import MS, NS
from tests.stream.replay import HZ, TICKS, arrivals, replay, sent

TALK = BufferSettings.of(Mode.TALK)
SOLO = BufferSettings.of(Mode.SOLO)
Came = list[tuple[int, MediaPacket]]


def named(packets: Came) -> Came:
    """Each payload says which packet it is."""
    return [(at, replace(packet, payload=str(index).encode())) for index, (at, packet) in enumerate(packets)]


def pull(
    came: Came, options: BufferSettings = SOLO, *, seconds: float | None = None
) -> tuple[list[Piece], JitterBuffer]:
    """What a card that asks 100 ms ahead is given."""
    buffer = JitterBuffer(options)
    if options.mode is Mode.GROUP:
        buffer.pin(300 * MS)
    pieces: list[Piece] = []
    playout_ns, index = came[0][0] + 100 * MS, 0
    end_ns = came[-1][0] + buffer.target_ns + 15 * MS if seconds is None else round(seconds * NS)
    while playout_ns < end_ns:
        while index < len(came) and came[index][0] <= playout_ns - 100 * MS:
            buffer.put(came[index][1], came[index][0])
            index += 1
        piece = buffer.next(playout_ns)
        pieces.append(piece)
        if not isinstance(piece, Restart):
            playout_ns += piece.ticks * NS // HZ
    return pieces, buffer


def played(pieces: list[Piece]) -> list[bytes]:
    return [piece.payload for piece in pieces if isinstance(piece, Play)]


def numbers(pieces: list[Piece]) -> list[int]:
    return [int(payload) for payload in played(pieces)]


@pytest.mark.parametrize("options", [TALK, SOLO], ids=["talk", "solo"])
def test_a_clean_stream_is_played_whole_after_its_delay(options: BufferSettings) -> None:
    pieces, buffer = pull(named(sent(3.0)), options)
    assert numbers(pieces) == list(range(150))
    first = next(index for index, piece in enumerate(pieces) if isinstance(piece, Play))
    silence = sum(piece.ticks for piece in pieces[:first] if isinstance(piece, Wait))
    assert silence / HZ * 1_000 + 100 == pytest.approx(options.target.first_ms, abs=20)
    assert buffer.statistics.lost == 0


def test_a_copy_behind_a_hole_may_hold_a_coarse_copy_of_what_is_missing() -> None:
    """Lost: a packet, the one after it, and the copy of the first; what is left is the copy of the second."""
    whole = sent(2.0, red=4)
    pieces, buffer = pull([pair for index, pair in enumerate(whole) if index not in {40, 41, 44}], SOLO)
    (recover,) = [piece for piece in pieces if isinstance(piece, Recover)]
    assert recover.position == 40 * TICKS
    assert recover.following == b"c", "the copy of 41"
    assert not [piece for piece in pieces if isinstance(piece, Conceal)]
    assert buffer.statistics.red_recovered == 2


@given(st.randoms(use_true_random=False), st.integers(0, 10))
@settings(max_examples=25, deadline=None)
def test_jitter_under_the_delay_changes_nothing(rng: object, copies: int) -> None:
    """Shuffled within the target and doubled now and then: the same pieces as from a clean line."""
    clean = named(sent(2.0))
    jittered: Came = []
    for at, packet in clean:
        late = round(rng.random() * 30 * MS) if at else 0  # type: ignore[attr-defined]
        jittered.append((at + late, packet))
        jittered += [(at + late + n * MS, packet) for n in range(copies % 3)]
    jittered.sort(key=lambda pair: pair[0])
    assert numbers(pull(jittered)[0]) == numbers(pull(clean)[0])


def test_one_lost_packet_is_asked_of_the_next_and_counted_as_the_networks() -> None:
    came = named(sent(2.0))
    lost = came.pop(50)
    pieces, buffer = pull(came)
    (recover,) = [piece for piece in pieces if isinstance(piece, Recover)]
    assert recover.following == b"51"
    assert recover.position == lost[1].timestamp
    assert buffer.statistics.lost == 1
    assert buffer.statistics.concealed_ms == {"network": 20, "jitter": 0, "device": 0}
    buffer.holes.recovered(recover.position, recover.ticks)
    assert buffer.statistics.fec_recovered == 1
    assert buffer.statistics.concealed_ms["network"] == 0


def test_a_copy_fills_the_hole_and_its_own_packet_is_better() -> None:
    came = sent(2.0, red=4)
    del came[50]
    pieces, buffer = pull(came, SOLO)
    assert not [piece for piece in pieces if isinstance(piece, Conceal | Recover)]
    assert [piece.how for piece in pieces if isinstance(piece, Play)].count("red") == 1
    assert buffer.statistics.red_recovered == 1


def test_a_burst_is_concealed_and_its_length_counted_as_a_gap() -> None:
    came = named(sent(2.0))
    del came[50:55]
    pieces, buffer = pull(came)
    missing = [piece for piece in pieces if isinstance(piece, Conceal | Recover)]
    assert len(missing) == 5
    assert isinstance(missing[-1], Recover)
    assert (buffer.statistics.gaps, buffer.statistics.longest_gap_ms) == (1, 100)


def test_a_packet_that_comes_after_its_place_was_concealed_was_jitter() -> None:
    came = named(sent(3.0))
    at, packet = came.pop(50)
    came.append((at + 400 * MS, packet))
    came.sort(key=lambda pair: pair[0])
    pieces, buffer = pull(came, TALK)
    assert 50 not in numbers(pieces)
    assert buffer.statistics.concealed_ms == {"network": 0, "jitter": 20, "device": 0}
    assert (buffer.statistics.late, buffer.statistics.lost) == (1, 0)


def test_after_a_stall_nothing_is_missing_and_the_delay_comes_back() -> None:
    """A second's stall: the line waits, plays what came late, and a breath later the delay is what it was."""

    def stalled(sent_ns: int) -> list[int]:
        return [max(sent_ns, 11 * NS) + MS if 9.3 * NS < sent_ns < 11 * NS else sent_ns + MS]

    came = named(arrivals(sent(60.0), stalled))
    pieces, buffer = pull(came, SOLO, seconds=63.0)
    assert numbers(pieces) == list(range(3_000))
    assert buffer.statistics.late_used == 1
    result = replay(came, SOLO)
    assert result.end_delay_ms == pytest.approx(SOLO.target.least_ms, abs=60)


def test_an_outage_is_passed_over_and_costs_no_delay() -> None:
    came = [pair for pair in named(sent(20.0)) if not 8 * NS <= pair[0] < 10 * NS]
    pieces, buffer = pull(came)
    assert numbers(pieces) == [index for index in range(1_000) if not 400 <= index < 500]
    delay = buffer.statistics.delay
    assert delay.percentile_ms(0.99) == delay.percentile_ms(0.5)
    assert sum(piece.ticks for piece in pieces if isinstance(piece, Conceal)) <= 210 * HZ // 1_000


def test_a_group_waits_for_nobody() -> None:
    """The line belongs to the clock: after an outage it stands where it would have stood without one."""
    options = BufferSettings.of(Mode.GROUP, delay_ms=300)
    came = [pair for pair in named(sent(20.0)) if not 8 * NS <= pair[0] < 9 * NS]
    pieces, _ = pull(came, options)
    at = 0
    places = {}
    for piece in pieces:
        if isinstance(piece, Play):
            places[int(piece.payload)] = at - piece.position
        at += 0 if isinstance(piece, Restart) else piece.ticks
    assert len(set(places.values())) == 1


def test_a_pause_of_the_sender_is_no_loss() -> None:
    """DTX: one sequence step, half a second of time."""
    came: Came = []
    for index in range(100):
        pause = TICKS * 25 if index >= 50 else 0
        packet = MediaPacket(
            sequence=index,
            timestamp=index * TICKS + pause,
            ssrc=1,
            payload=str(index).encode(),
            ticks=TICKS,
            silent=index == 49,
        )
        came.append((packet.timestamp * NS // HZ, packet))
    pieces, buffer = pull(came)
    assert numbers(pieces) == list(range(100))
    assert not [piece for piece in pieces if isinstance(piece, Conceal | Recover)]
    assert sum(piece.ticks for piece in pieces if isinstance(piece, Pause)) == pytest.approx(
        TICKS * 25, abs=TICKS * 2
    )
    assert buffer.statistics.lost == 0


# ---------------------------------------------------------------- the sender begins anew


def two(first: Came, second: Came, pause_ns: int = 20 * MS) -> Came:
    begin = first[-1][0] + pause_ns
    renamed = [
        (begin + at, replace(packet, payload=str(1_000 + index).encode()))
        for index, (at, packet) in enumerate(second)
    ]
    return named(first) + renamed


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (sent(2.0, ssrc=2, first_ts=77), "ssrc"),
        ([(at, replace(p, sequence=(p.sequence + 30_000) & 0xFFFF)) for at, p in sent(2.0, first_ts=96_000)], "sequence"),
        ([(at, replace(p, sequence=100 + p.sequence)) for at, p in sent(2.0, first_ts=96_000 + 3_600 * HZ)], "timestamp"),
        ([(at, replace(p, sequence=100 + p.sequence)) for at, p in sent(2.0, first_ts=(96_000 - 3_600 * HZ) % 2**32)], "timestamp"),
    ],
    ids=["new sender", "sequence", "an hour ahead", "an hour back"],
)  # fmt: skip
def test_a_restart_costs_no_more_than_a_packet(second: Came, reason: str) -> None:
    pieces, buffer = pull(two(sent(2.0), second))
    heard = numbers(pieces)
    assert heard[:100] == list(range(100))
    assert heard[100:] in (list(range(1_000, 1_100)), list(range(1_001, 1_100)))
    assert buffer.statistics.resets == {reason: 1}
    silent = [piece.ticks for piece in pieces if not isinstance(piece, Play | Restart | Wait)]
    assert sum(silent) <= 3 * TICKS
    assert [piece.reason for piece in pieces if isinstance(piece, Restart)] == [reason]


def test_numbers_wrap_unnoticed() -> None:
    came = [
        (at, replace(packet, sequence=(packet.sequence + 65_500) & 0xFFFF))
        for at, packet in named(sent(3.0, first_ts=2**32 - 50 * TICKS))
    ]
    pieces, buffer = pull(came)
    assert numbers(pieces) == list(range(150))
    assert not buffer.statistics.resets


def test_a_lone_stray_is_ignored() -> None:
    came = named(sent(2.0))
    stray = MediaPacket(sequence=9, timestamp=9, ssrc=0xBAD, payload=b"666", ticks=TICKS)
    for index in range(10, 90, 10):
        came.insert(index, (came[index][0], replace(stray, sequence=index * 3_000 & 0xFFFF)))
    pieces, buffer = pull(came)
    assert numbers(pieces) == list(range(100))
    assert buffer.statistics.stray == 8


def test_a_sender_that_stood_still_for_six_seconds_is_heard_again() -> None:
    """A laptop was shut: its line goes on where it was, six seconds late for ever."""
    came = [(at + (6 * NS if at >= 2 * NS else 0), packet) for at, packet in named(sent(12.0))]
    pieces, buffer = pull(came, seconds=20.0)
    assert numbers(pieces)[:100] == list(range(100))
    assert numbers(pieces)[-100:] == list(range(500, 600))
    assert buffer.statistics.resets == {"arrival": 1}


# ---------------------------------------------------------------- bounds


def test_an_interrupted_session_keeps_no_more_than_the_cap() -> None:
    buffer = JitterBuffer(SOLO)
    for at, packet in named(sent(60.0)):
        buffer.put(packet, at)
        assert buffer.level_ticks() <= 3 * HZ + TICKS
    assert buffer.statistics.discarded > 2_000
    buffer.flush()
    assert buffer.next(61 * NS) == Wait(TICKS)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    "options", [TALK, SOLO, BufferSettings.of(Mode.GROUP, delay_ms=500)], ids=["talk", "solo", "group"]
)
def test_whatever_a_bad_network_does_each_packet_is_played_at_most_once_and_in_order(
    seed: int, options: BufferSettings
) -> None:
    came = arrivals(named(sent(65.0)), networks.bad_mobile(seed=seed))
    pieces, buffer = pull(came, options)
    heard = numbers(pieces)
    assert heard == sorted(set(heard))
    counts = buffer.statistics
    assert counts.received == len(came)
    assert len(
        heard
    ) + counts.late + counts.discarded + counts.duplicate + counts.stray + buffer.level_packets() == len(came)
    assert all(value >= 0 for value in counts.concealed_ms.values())


@pytest.mark.skipif(
    not networks.TRACES.exists(), reason="the recorded traces are not beside this checkout (../shared/traces)"
)
def test_on_a_recorded_lte_link_jitter_hides_almost_nothing() -> None:
    name = "Verizon-LTE-short.down"
    result = replay(
        arrivals(sent(networks.recorded_seconds(name), red=4), networks.trace(name, seed=1)), SOLO
    )
    assert result.jitter_share <= 0.003
    assert result.gaps_a_minute <= 0.6
    assert result.mean_delay_ms <= 1_250
