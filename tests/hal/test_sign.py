"""The emulated sign itself: what it shows, what it forgives, what it minds, and what is recorded of it."""

from __future__ import annotations

import asyncio
import io
import json
import os
from pathlib import Path

import pytest

from hal.linux.clock import SystemClock
from hal.sim import picture, pty
from hal.sim.pty import BoardRecorder, PtyMount
from hal.sim.sign import AlphaSign

WAKE = b"\x00" * 5 + b"\x01Z00"
BYTE_NS = 10 * 10**9 // 9600
MS = 10**6
ONE_TEXT = b"E$AAU0100FF00"
PICTURE_2X8 = b"E$AAU0040FF00PDL02081000"


class Sender:
    """Sends to a sign at the line's pace, with pauses where asked."""

    def __init__(self, sign: AlphaSign) -> None:
        self.sign = sign
        self.now_ns = 10**9

    def send(self, *parts: bytes, pause_ms: int = 150) -> bytes:
        """Parts with a pause between them."""
        answer = b""
        for part in parts:
            answer += self.sign.feed(part, self.now_ns)
            self.now_ns += len(part) * BYTE_NS + pause_ms * MS
        return answer

    def say(self, command: bytes) -> bytes:
        """One command in one frame without a sum."""
        return self.send(WAKE + b"\x02" + command + b"\x04")

    def set_up(self, entries: bytes) -> None:
        self.say(entries)
        self.now_ns += 6 * 10**9

    def kind(self) -> str:
        """Whether the run sequence, the priority file, or nothing is seen."""
        return self.sign.current.kind

    @property
    def minded(self) -> list[str]:
        return [violation.kind for violation in self.sign.violations]


@pytest.fixture
def sender() -> Sender:
    return Sender(AlphaSign(columns=24, rows=7))


def summed(command: bytes) -> bytes:
    body = b"\x02" + command + b"\x03"
    return body + b"%04X" % sum(body)


# ---------------------------------------------------------------- what it understands


@pytest.mark.parametrize("form", ["1-byte", "2-byte", "3-byte"])
@pytest.mark.parametrize("with_sum", [True, False])
def test_all_three_forms_of_a_frame_are_understood(sender: Sender, form: str, *, with_sum: bool) -> None:
    sender.set_up(ONE_TEXT)
    command = b"AA\x1b bHI"
    plain = WAKE + (summed(command) if with_sum else b"\x02" + command) + b"\x04"
    two = b"".join(b"]" + bytes([byte + 0x20]) if byte < 0x20 else bytes([byte]) for byte in plain)
    three = b"".join(b"_%02X" % byte if byte < 0x20 else bytes([byte]) for byte in plain)
    sender.send({"1-byte": plain, "2-byte": two, "3-byte": three}[form])
    assert sender.kind() == "run"
    assert not sender.minded


def test_a_picture_called_by_a_text_is_shown_dot_for_dot(sender: Sender) -> None:
    sender.set_up(PICTURE_2X8)
    sender.send(WAKE + b"\x02IP0208", b"10000003\r01200000\r\x04")
    sender.say(b"AA\x1b b\x14P")
    rows = sender.sign.current.dots
    assert rows[2][8:16] == bytes([1, 0, 0, 0, 0, 0, 0, 3])
    assert rows[3][8:16] == bytes([0, 1, 2, 0, 0, 0, 0, 0])
    assert sender.sign.current.lit == 4


def test_the_priority_file_needs_no_memory_and_is_released_only_bare(sender: Sender) -> None:
    sender.say(b"A0\x1b bLU")
    assert sender.kind() == "priority"
    sender.say(b"A0\x1b b")
    assert sender.kind() == "priority", "an empty text with a mode only darkens it"
    assert sender.sign.current.lit == 0
    sender.say(b"A0")
    assert sender.kind() == "blank"


def test_several_texts_are_turned_by_the_sign_itself(sender: Sender) -> None:
    sender.set_up(b"E$AAU0040FF00BAU0040FF00")
    sender.say(b"AA\x1b bA")
    sender.say(b"AB\x1b bB")
    sender.say(b"E.SUAB")
    before = sender.sign.shown_count
    sender.sign.advance(sender.now_ns + 20 * 10**9)
    assert sender.sign.shown_count - before == 5


def test_a_question_is_answered_with_type_0_and_a_sum(sender: Sender) -> None:
    assert sender.say(b"F*") == b"\x00" * 20 + b"\x01000" + summed(b"E*@") + b"\x04"
    sender.set_up(ONE_TEXT)
    assert b"E$AAU0100FF00\x03" in sender.say(b"F$")
    assert b"E#" in sender.say(b"F#")


def test_a_frame_for_another_sign_is_not_carried_out(sender: Sender) -> None:
    sender.send(b"\x00" * 5 + b"\x01Z07\x02A0\x1b bX\x04")
    assert sender.kind() == "blank"
    sender.send(b"\x00" * 5 + b"\x01Z01\x02A0\x1b bX\x04")
    assert sender.kind() == "priority"


# ---------------------------------------------------------------- what it minds


def test_a_wrong_sum_is_minded_and_the_command_dropped(sender: Sender) -> None:
    sender.send(WAKE + b"\x02A0\x1b bX\x030000\x04")
    assert sender.minded == ["bad_sum"]
    assert sender.kind() == "blank"
    assert b"E*P" in sender.say(b"F*")
    sender.say(b"E4")
    assert b"E*@" in sender.say(b"F*")


def test_several_commands_want_pauses_after_each_stx(sender: Sender) -> None:
    sender.send(WAKE + b"\x02", b"A0\x03\x02", b"E4\x04")
    assert not sender.minded
    sender.send(WAKE + b"\x02A0\x03\x02E4\x04")
    assert sender.minded == ["gap", "gap"]


def test_a_picture_wants_a_pause_after_its_width(sender: Sender) -> None:
    sender.set_up(PICTURE_2X8)
    sender.send(WAKE + b"\x02IP0208", b"11111111\r11111111\r\x04", pause_ms=50)
    assert sender.minded == ["gap"]


def test_bytes_poured_in_faster_than_the_line_have_no_pauses(sender: Sender) -> None:
    """A driver that writes into a PTY without waiting for the line is found out."""
    sender.set_up(PICTURE_2X8)
    sender.sign.feed(b"\x00" * 400 + WAKE + b"\x02IP0208", sender.now_ns)
    sender.sign.feed(b"11111111\r11111111\r\x04", sender.now_ns + 150 * MS)
    assert sender.minded == ["gap"]


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        (b"AB\x1b bX", "unallocated"),
        (b"AP\x1b bX", "unallocated"),
        (b"E.SUAQ", "unallocated"),
        (b"A0\x1b b" + b"x" * 123, "too_long"),
        (b"AA\x1b b" + b"x" * 62, "too_long"),
        (b"E$ZAUFFFFFF00", "too_long"),
        (b"E$0AU0040FF00", "illegal"),
        (b"E$ZQU0040FF00", "illegal"),
        (b"E$P", "illegal"),
        (b"Z", "illegal"),
        (b"Ez", "illegal"),
    ],
)
def test_what_it_cannot_carry_out_is_minded_and_set_in_its_register(
    sender: Sender, command: bytes, kind: str
) -> None:
    sender.set_up(PICTURE_2X8)
    sender.say(command)
    assert sender.minded == [kind]
    assert sender.sign.errors & 0x20


def test_a_picture_of_another_size_or_colour_is_minded(sender: Sender) -> None:
    sender.set_up(PICTURE_2X8)
    sender.send(WAKE + b"\x02IP0308", b"1\r1\r1\r\x04")
    sender.send(WAKE + b"\x02IP0208", b"9\r1\r\x04")
    assert sender.minded == ["too_long", "illegal"]


def test_it_is_deaf_while_it_erases(sender: Sender) -> None:
    sender.say(ONE_TEXT)
    sender.now_ns += 4 * 10**9
    sender.say(b"AA\x1b bX")
    assert sender.minded == ["deaf"]
    assert sender.kind() == "blank"


def test_erasing_under_an_alert_is_minded(sender: Sender) -> None:
    sender.say(b"A0\x1b bX")
    sender.say(ONE_TEXT)
    assert sender.minded == ["erase_in_alert"]


def test_too_short_a_wake_up_is_not_heard(sender: Sender) -> None:
    sender.send(b"\x00" * 4 + b"\x01Z00\x02A0\x1b bX\x04")
    assert sender.minded == ["wake"]
    assert sender.kind() == "blank"


def test_a_sender_that_stops_in_a_frame_is_given_up(sender: Sender) -> None:
    sender.send(WAKE + b"\x02A0\x1b bX")
    sender.now_ns += 2 * 10**9
    sender.send(b"Y\x04")
    assert sender.minded == ["cut"]
    assert sender.sign.errors & 0x04


def test_an_eighth_bit_is_minded_on_a_line_of_seven() -> None:
    sender = Sender(AlphaSign(seven_bit=True))
    sender.say(b"A0\x1b b\xc8")
    assert sender.minded == ["eighth_bit"]


@pytest.mark.parametrize("length", range(1, 24))
def test_a_frame_cut_short_anywhere_does_not_spoil_the_next(sender: Sender, length: int) -> None:
    whole = WAKE + summed(b"A0\x1b bX") + b"\x04"
    sender.send(whole[:length])
    sender.send(whole)
    assert sender.kind() == "priority"


# ---------------------------------------------------------------- what can befall it


def test_a_power_cycle_forgets_and_takes_a_moment(sender: Sender) -> None:
    sender.say(b"A0\x1b bX")
    sender.sign.power_cycle(sender.now_ns)
    sender.say(b"A0\x1b bY")
    assert sender.kind() == "blank"
    sender.now_ns += 4 * 10**9
    sender.say(b"A0\x1b bY")
    assert sender.kind() == "priority"
    sender.sign.power_cycle(sender.now_ns, keeps_memory=True)
    assert sender.kind() == "priority"


def test_without_power_it_neither_hears_nor_answers(sender: Sender) -> None:
    sender.sign.dark = True
    assert sender.say(b"F*") == b""
    sender.sign.dark = False
    sender.sign.silent = True
    assert sender.say(b"F*") == b""


def test_lost_bytes_spoil_the_sum(sender: Sender) -> None:
    sender.sign.drop_every = 12
    sender.send(WAKE + summed(b"A0\x1b bX") + b"\x04")
    assert sender.minded == ["bad_sum"]


# ---------------------------------------------------------------- what is seen of it


def test_half_blocks_show_two_rows_a_line() -> None:
    assert picture.half_blocks((b"\x01\x00\x01", b"\x01\x03\x00", b"\x00\x00\x02")) == "█▄▀\n  ▀"


def test_the_png_has_a_round_led_for_each_dot() -> None:
    from PIL import Image

    image = Image.open(io.BytesIO(picture.png((b"\x01\x00", b"\x02\x03"), dot=16)))
    assert image.size == (2 * 16 + 32, 2 * 16 + 32)
    middle = [image.getpixel((16 + 8 + 16 * x, 16 + 8 + 16 * y)) for y in (0, 1) for x in (0, 1)]
    red, dark, green, amber = (pixel if isinstance(pixel, tuple) else (0, 0, 0) for pixel in middle)
    assert red[0] > 1.5 * red[1]
    assert max(dark) < 60
    assert green[1] > 1.5 * green[0]
    assert amber[0] > amber[1] > 1.5 * amber[2]
    corner = image.getpixel((16, 16))
    assert isinstance(corner, tuple)
    assert max(corner) < 40, "round, so the corner of its square is dark"


@pytest.mark.realtime
def test_a_recorder_keeps_each_page_once_and_each_change(tmp_path: Path) -> None:
    sign = AlphaSign(columns=24, rows=8)
    clock = SystemClock()

    async def main() -> None:
        mount = PtyMount(sign, clock)
        recorder = BoardRecorder(tmp_path / "board", clock, mount)
        lives = [asyncio.create_task(mount.life()), asyncio.create_task(recorder.life())]
        line = os.open(mount.path, os.O_WRONLY | os.O_NOCTTY)
        for command in (b"A0\x1b bX", b"A0\x1b bY", b"A0\x1b bX", b"A0", b"AQ"):
            os.write(line, WAKE + b"\x02" + command + b"\x04")
            await asyncio.sleep(0.05)
        os.close(line)
        for life in lives:
            life.cancel()
        await asyncio.gather(*lives, return_exceptions=True)
        mount.close()

    asyncio.run(main())
    lines = [json.loads(line) for line in (tmp_path / "board" / "board.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["blank", "shown", "shown", "shown", "blank", "blank"]
    assert [line["file"] for line in lines] == ["", "0001.png", "0002.png", "0001.png", "", ""]
    assert [line["priority"] for line in lines] == [False, True, True, True, False, False]
    assert lines[-1]["violations"] == ["unallocated: no file b'Q' of type A"]
    assert sorted(path.name for path in (tmp_path / "board").glob("*.png")) == ["0001.png", "0002.png"]
    assert all(lines[n]["mono_ns"] <= lines[n + 1]["mono_ns"] for n in range(len(lines) - 1))
    assert abs(lines[-1]["wall_ns"] / 1e9 - clock.utc_now().timestamp()) < 5


def test_a_record_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pty, "PICTURES_MAX", 2)
    monkeypatch.setattr(pty, "LINES_MAX", 5)
    sign = AlphaSign(columns=24, rows=8)
    mount = PtyMount(sign, SystemClock())
    recorder = BoardRecorder(tmp_path, SystemClock(), mount)
    sender = Sender(sign)
    for code in b"ABCDEFGH":
        sender.say(b"A0\x1b b" + bytes([code]))
    recorder._write(recorder._unwritten())
    mount.close()
    assert len(list(tmp_path.glob("*.png"))) == 2
    assert len((tmp_path / "board.jsonl").read_text().splitlines()) == 5
