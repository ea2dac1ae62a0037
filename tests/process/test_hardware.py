"""Hardware that is missing, breaks, or is somebody else's: each door real or virtual on its own."""

from __future__ import annotations

import os
import select
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hal.sim.sign import AlphaSign
from tests.hal.pulse import PulseDaemon, missing
from tests.playout.media import tone, wav
from tests.process.conftest import OutsideMaker
from tests.process.node import pause, silent

pytestmark = pytest.mark.realtime


NOISE = b"\xff\x00\x01\x02garbage\x04" * 3


class Board(threading.Thread):
    """A sign at the far end of a PTY, which shares its wire with something that talks into every answer."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._ours, self._theirs = os.openpty()
        tty.setraw(self._theirs)
        os.set_blocking(self._ours, False)
        self.path = os.ttyname(self._theirs)
        self.sign = AlphaSign(columns=96, rows=16)
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.is_set():
            readable, _, _ = select.select([self._ours], [], [], 0.05)
            if readable:
                self._say(NOISE)
                received = os.read(self._ours, 4096)
                self._say(self.sign.feed(received, time.clock_gettime_ns(time.CLOCK_BOOTTIME)))

    def stop(self) -> None:
        self._over.set()
        self.join()
        os.close(self._ours)
        os.close(self._theirs)

    def _say(self, answer: bytes) -> None:
        if answer:
            os.write(self._ours, answer)


@pytest.fixture
def board() -> Iterator[Board]:
    board = Board()
    board.start()
    yield board
    board.stop()


def test_foreign_bytes_on_the_boards_line_do_no_harm(board: Board, make_outside: OutsideMaker) -> None:
    outside = make_outside("--set", "hardware.board=linux", "--set", f"board.device={board.path}")
    outside.begin()
    server = outside.server
    notice = server.order("board_show", {"text": "Rác trên dây"})
    emoji = server.order("board_show", {"text": "Vui 😀"})
    assert "U+1F600" in server.state(emoji, "rejected")["reason"]["text"]
    assert server.state(notice)["state"] == "successful", "what was refused took nobody's place"
    assert board.sign.shown[-1].lit


def test_without_a_sound_device_an_order_fails_with_a_remedy(
    make_outside: OutsideMaker, tmp_path: Path
) -> None:
    nowhere = {"PULSE_SERVER": f"unix:{tmp_path}/nobody", "HOME": str(tmp_path)}
    outside = make_outside(
        *("--set", "hardware.sound=linux", "--set", "sound.device=loa-khong-co"),
        *("--set", "playout.open_retry_s=0.1"),
        env=os.environ | nowhere,
    )
    outside.begin()
    server = outside.server
    state = server.state(server.order("play", outside.put("a.wav", wav(tone(0.5)))))
    assert (state["state"], state["reason"]["code"]) == ("failed", "hardware_fault")
    assert "loa-khong-co" in state["reason"]["text"]
    outside.node.end()
    assert silent(outside.node.lines())


def test_a_sound_server_killed_in_mid_turn_ends_it_with_a_reason_and_a_silent_amplifier(
    make_outside: OutsideMaker,
) -> None:
    """The sound is real (PulseAudio), lines and board are virtual."""
    if (why := missing()) is not None:
        pytest.skip(why)
    with PulseDaemon() as daemon:
        outside = make_outside(
            *("--set", "hardware.sound=linux", "--set", "sound.device=village"),
            *("--set", "playout.reopen_within_s=0", "--set", "playout.open_retry_s=0.1"),
            env=daemon.environment(),
        )
        outside.begin()
        server = outside.server
        order = server.order("play", outside.put("b.wav", wav(tone(30))))
        with daemon.record() as recording:
            server.state(order, "executing")
            pause(3)  # a null sink takes two seconds ahead
            assert np.max(np.abs(recording.stop())) > 0.02, "it was heard"
        daemon.kill()
        state = server.state(order)
        assert (state["state"], state["reason"]["code"]) == ("failed", "hardware_fault")
        entry = server.until(
            lambda: [e for e in server.entries().values() if e["id"] == order], what="its entry"
        )[0]
        assert entry["outcome"] == "PARTIAL"
        outside.node.wait(lambda: silent(outside.node.lines()))
        assert server.state(server.order("ping"))["state"] == "successful"


def test_a_node_without_a_board_says_so(make_outside: OutsideMaker) -> None:
    outside = make_outside("--set", "hardware.board=none")
    outside.begin()
    state = outside.server.state(outside.server.order("board_show", {"text": "Chào"}))
    assert state["reason"]["code"] == "unsupported"
