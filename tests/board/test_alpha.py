"""The Alpha codec: known-good frames byte for byte, pauses, replies out of a dirty stream."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.board.dots import Dots
from edge_agent.board.picture import Colours, Picture, coloured
from edge_agent.board.protocols import (
    AskErrors,
    AskPicture,
    AskPlan,
    ClockText,
    Command,
    Dim,
    Errors,
    ForgetErrors,
    Held,
    Plan,
    Release,
    Reply,
    SetClock,
    Settle,
    SetUp,
    Show,
    Store,
    TakeOver,
    alpha,
)
from edge_agent.board.protocols.alpha import AlphaCodec
from hal.sim.sign import AlphaSign

MS = 1_000_000


def payload(frame: bytes) -> bytes:
    """What stands between STX and ETX or EOT of a frame."""
    return frame.split(b"\x02", 1)[1].rsplit(b"\x04", 1)[0].split(b"\x03", 1)[0]


class Wire:
    """A codec and a sign, with the codec's pauses kept."""

    def __init__(self, **sizes: int) -> None:
        self.sign = AlphaSign(columns=sizes.get("columns", 96), rows=sizes.get("rows", 16))
        self.codec = AlphaCodec(
            columns=self.sign.columns, rows=self.sign.rows, slots=6, reads_back=bool(sizes.get("reads_back"))
        )
        self.now_ns = 0

    def say(self, command: Command) -> list[Reply]:
        replies: list[Reply] = []
        for tx in self.codec.encode(command):
            answer = self.sign.feed(tx.payload, self.now_ns)
            self.now_ns += len(tx.payload) * 1_041_667 + round(tx.gap_after_s * 1000) * MS
            replies += self.codec.feed(answer)
        return replies

    def kind(self) -> str:
        return self.sign.current.kind

    def seen(self) -> Picture:
        cells = b"".join(self.sign.current.dots)
        return Picture(self.sign.columns, self.sign.rows, Colours.MONO, cells)


def mono(columns: int, *rows: int) -> Picture:
    return coloured(Dots(columns, rows), Colours.MONO, "red")


# ---------------------------------------------------------------- known-good frames


def test_memory_for_one_text() -> None:
    frame = alpha.frame(alpha.memory(alpha.text_memory(b"A", 256)), with_sum=False)
    assert frame == bytes.fromhex("0000000000015a303002452441415530313030464630 3004")


def test_text_that_holds_in_the_middle() -> None:
    assert payload(alpha.frame(alpha.text_file(b"A", b"HI"))) == bytes.fromhex("4141 1b 20 62 4849")


def test_release_of_the_priority_file_is_bare() -> None:
    (tx,) = AlphaCodec(columns=96, rows=16, slots=1).encode(Release())
    assert payload(tx.payload) == bytes.fromhex("4130")


def test_time_of_day() -> None:
    assert alpha.set_time(9, 5) == bytes.fromhex("4520 30393035")


def test_run_sequence() -> None:
    assert alpha.run_sequence(b"ABC") == b"E.SUABC"


def test_text_with_checksum() -> None:
    assert alpha.frame(alpha.text_file(b"A", b"HELLO")) == bytes.fromhex(
        "0000000000 01 5a3030 02 4141 1b2062 48454c4c4f 03 30323938 04"
    )


def test_without_sums_etx_stands_only_between_commands() -> None:
    assert alpha.frame(b"A0", b"E4", with_sum=False) == b"\0\0\0\0\0\x01Z00\x02A0\x03\x02E4\x04"


# ---------------------------------------------------------------- pauses


def test_a_picture_pauses_after_its_width() -> None:
    head, rest = AlphaCodec(columns=8, rows=2, slots=1).encode(Store(0, mono(8, 0xF0, 0x01)))
    assert head.payload.endswith(b"\x02I!0208")
    assert head.gap_after_s >= 0.1
    assert rest.payload.startswith(b"11110000\r00000001\r\x03")


def test_memory_goes_alone_and_is_followed_by_the_deaf_time() -> None:
    alone, *after = AlphaCodec(columns=96, rows=16, slots=2).encode(SetUp())
    assert alone.payload.count(b"\x02") == 1
    assert alone.gap_after_s >= 5
    assert len(after) == 6, "a nested frame is cut after each STX"
    assert all(tx.gap_after_s >= 0.1 for tx in after)
    assert b"".join(tx.payload for tx in after).count(b"\x02") == 5


def test_everything_said_fits_a_line_of_seven_bits() -> None:
    codec = AlphaCodec(columns=255, rows=31, slots=66)
    commands: list[Command] = [
        SetUp(),
        Settle(),
        Store(65, mono(255, *(1,) * 31)),
        Show(65),
        TakeOver(65, 60),
        AskPlan(),
    ]
    for command in commands:
        assert all(max(tx.payload) < 0x80 for tx in codec.encode(command))


# ---------------------------------------------------------------- with the sign


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    st.integers(1, 31).flatmap(
        lambda rows: st.integers(1, 60).flatmap(
            lambda columns: st.lists(st.integers(0, (1 << columns) - 1), min_size=rows, max_size=rows).map(
                lambda lines: mono(columns, *lines)
            )
        )
    )
)
def test_the_sign_shows_the_intended_dots(dots: Picture) -> None:
    wire = Wire(columns=dots.width, rows=dots.height)
    for command in (SetUp(), Store(3, dots), Show(3)):
        wire.say(command)
    assert wire.seen() == dots
    assert wire.say(AskErrors()) == [Errors(())]
    assert not wire.sign.violations


def test_a_takeover_hides_and_hands_back() -> None:
    wire = Wire()
    below, above = mono(96, *(1,) * 16), mono(96, *(2,) * 16)
    for command in (SetUp(), Store(0, below), Store(1, above), Show(0), TakeOver(1, 60)):
        wire.say(command)
    assert wire.seen() == above
    assert wire.kind() == "priority"
    wire.say(Release())
    assert wire.seen() == below
    wire.say(Show(None))
    assert wire.kind() == "blank"
    assert not wire.sign.violations


def test_the_plan_is_ours_only_after_set_up() -> None:
    wire = Wire()
    assert wire.say(AskPlan()) == [Plan(ours=False)]
    wire.say(SetUp())
    assert wire.say(AskPlan()) == [Plan(ours=True)]
    wire.sign.foreign(wire.now_ns, b"SALE")
    wire.now_ns += 10**10
    assert wire.say(AskPlan()) == [Plan(ours=False)]


def test_errors_are_named_and_can_be_forgotten() -> None:
    wire = Wire()
    wire.say(Show(2))
    assert wire.say(AskErrors()) == [Errors(("illegal command or file label",), unknown_file=True)]
    wire.say(ForgetErrors())
    assert wire.say(AskErrors()) == [Errors(())]


# ---------------------------------------------------------------- a dirty line


def answers() -> tuple[bytes, ...]:
    wire = Wire()
    (tx,) = wire.codec.encode(AskErrors())
    errors = wire.sign.feed(tx.payload, 0)
    (tx,) = wire.codec.encode(AskPlan())
    return errors, wire.sign.feed(tx.payload, 10**9)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    st.lists(
        st.binary(max_size=40).filter(lambda garbage: b"\x01" not in garbage[-30:]), min_size=3, max_size=3
    ),
    st.integers(0, 2**32),
)
def test_any_split_and_garbage_between_replies_resynchronises(garbage: list[bytes], seed: int) -> None:
    errors, plan = answers()
    stream = garbage[0] + errors + garbage[1] + plan + garbage[2]
    cuts = random.Random(seed)
    codec = AlphaCodec(columns=96, rows=16, slots=6)
    replies: list[Reply] = []
    while stream:
        size = cuts.randint(1, 7)
        replies += codec.feed(stream[:size])
        stream = stream[size:]
    assert replies == [Errors(()), Plan(ours=False)]


def test_a_reply_cut_short_at_any_length_is_no_reply() -> None:
    errors, _ = answers()
    for length in range(len(errors)):
        codec = AlphaCodec(columns=96, rows=16, slots=6)
        assert codec.feed(errors[:length]) == []
        assert codec.feed(errors) == [Errors(())], "and the next whole one is understood"


def test_a_reply_with_a_wrong_sum_is_dropped() -> None:
    errors, _ = answers()
    assert AlphaCodec(columns=96, rows=16, slots=6).feed(errors.replace(b"E*@", b"E*A")) == []


def test_a_flood_without_an_end_is_not_kept() -> None:
    codec = AlphaCodec(columns=96, rows=16, slots=6)
    for _ in range(100):
        codec.feed(b"\x01" + b"x" * 1000)
    assert len(codec._received) <= alpha.RECEIVED_MAX_BYTES


@pytest.mark.parametrize("noise", [b"]", b"_", b"\x00\x00", b"\x01Z00\x02AA", b"\xff" * 20, b"]_\x03\x04"])
def test_the_sign_hears_a_frame_after_noise(noise: bytes) -> None:
    wire = Wire()
    wire.say(SetUp())
    wire.sign.feed(noise, wire.now_ns)
    wire.now_ns += 10**9
    wire.say(ForgetErrors())
    assert wire.say(AskErrors()) == [Errors(())]


# ---------------------------------------------------------------- the rest of the form


@pytest.mark.parametrize(
    ("command", "payload"),
    [
        (alpha.set_time(9, 5), b"E 0905"),
        (alpha.set_day(7), b"E&1"),
        (alpha.set_day(1), b"E&2"),
        (alpha.set_date(11, 24, 2026), b"E;112426"),
        (alpha.dimming(4), b"E/0004"),
        (alpha.run_times(b"A"), b"E)AFF00"),
        (alpha.run_days(b"A"), b"E2A000"),
        (alpha.soft_reset(), b"E,"),
        (alpha.run_sequence(b"ABC"), b"E.SUABC"),
        (alpha.string_file(b"1", b"19:30"), b"G119:30"),
        (alpha.string_memory(b"1", 8), b"1BL00080000"),
    ],
)
def test_special_functions_as_the_form_has_them(command: bytes, payload: bytes) -> None:
    assert command == payload


def test_the_clock_is_a_string_that_a_text_calls() -> None:
    wire = Wire()
    wire.say(SetUp())
    wire.say(ClockText(datetime(2026, 11, 24, 19, 30, tzinfo=UTC)))
    first = wire.seen()
    assert wire.sign.current.lit
    assert len(wire.codec.encode(ClockText(datetime(2026, 11, 24, 19, 31, tzinfo=UTC)))) == 1, (
        "a few bytes a minute"
    )
    wire.say(ClockText(datetime(2026, 11, 24, 19, 31, tzinfo=UTC)))
    assert wire.seen() != first
    assert all(shown.lit for shown in list(wire.sign.shown)[-2:]), "it does not go dark between"
    picture = mono(96, *(1,) * 16)
    wire.say(Store(0, picture))
    wire.say(Show(0))
    assert wire.seen() == picture, "the pictures' place runs again"
    assert wire.say(AskErrors()) == [Errors(())]
    assert not wire.sign.violations


def test_clock_date_and_light_are_set() -> None:
    wire = Wire()
    wire.say(SetUp())
    wire.say(SetClock(datetime(2026, 11, 29, 19, 30, tzinfo=UTC)))
    assert (wire.sign.clock, wire.sign.day, wire.sign.date) == ("1930", "1", "112926")
    for percent, level in ((100, 100), (80, 86), (50, 44), (1, 44)):
        wire.say(Dim(percent))
        assert wire.sign.brightness == level
    assert not wire.sign.violations


def test_a_picture_is_read_back_dot_for_dot() -> None:
    wire = Wire(reads_back=True)
    picture = mono(96, *(0x5A5A << n for n in range(16)))
    wire.say(SetUp())
    wire.say(Store(2, picture))
    assert wire.say(AskPicture(2)) == [Held(picture)]
    (held,) = wire.say(AskPicture(3))
    assert isinstance(held, Held)
    assert held.picture != picture


def test_two_colours_are_shown_and_read_back() -> None:
    codec = AlphaCodec(columns=4, rows=1, slots=1, colours=Colours.RED_GREEN, reads_back=True)
    picture = Picture(4, 1, Colours.RED_GREEN, bytes((0, 1, 2, 3)))
    (_, rest) = codec.encode(Store(0, picture))
    assert rest.payload.startswith(b"0123\r")
    answer = b"I!0104" + b"0123\r"
    assert codec.feed(b"\0\x01000\x02" + answer + b"\x03" + alpha.checksum(answer) + b"\x04") == [
        Held(picture)
    ]


def test_a_line_of_seven_bits_and_even_parity() -> None:
    sign = AlphaSign(columns=96, rows=16, seven_bit=True)
    codec = AlphaCodec(columns=96, rows=16, slots=2)
    now_ns = 0
    for command in (
        SetUp(),
        Store(0, mono(96, *(3,) * 16)),
        Show(0),
        ClockText(datetime(2026, 1, 1, tzinfo=UTC)),
        Dim(50),
    ):
        for tx in codec.encode(command):
            sign.feed(tx.payload, now_ns)
            now_ns += len(tx.payload) * 1_041_667 + round(tx.gap_after_s * 1000) * MS
    assert not sign.violations
    sign.feed(b"\xb0", now_ns)
    assert [one.kind for one in sign.violations] == ["eighth_bit"]
