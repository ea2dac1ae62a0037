"""The studio's tool, in virtual time: what leaves, when, to whom; and what it says when it cannot."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_agent.cli import carry_out
from edge_agent.cli.sending import FORGET_S, LISTENERS_MAX, Input, Sender
from edge_agent.clocktrust import wall_ns
from edge_agent.command.audible import KEY_PATTERN
from edge_agent.stream import rtcp, rtp
from edge_agent.stream.packetiser import Packetiser, Sending
from edge_agent.stream.reception import Reception
from edge_agent.stream.srtp import Srtp
from hal.sim.surroundings import Surroundings
from tests.playout.media import speech_like
from tests.stream.listening import settings

if TYPE_CHECKING:
    from hal.ports import Datagram, DatagramSocket

from hal.sim.datagram import VirtualDatagrams

STUDIO, NODE = ("10.0.0.200", 7000), ("10.0.0.2", 5004)
RATE_HZ = 48_000


def spoken(seconds: float, *, gap_s: float = 0.0) -> Input:
    """An input in pieces of 70 ms; after half of it nothing comes for `gap_s`."""
    whole = speech_like(seconds, seed=3)
    pieces = [whole[at : at + 3_360] for at in range(0, whole.size, 3_360)]

    async def frames() -> np.ndarray | None:
        if gap_s and len(pieces) == round(seconds / 0.14):
            await asyncio.sleep(gap_s)
        return pieces.pop(0) if pieces else None

    return frames


class Stage:
    """A studio, a node's ear, and time."""

    def __init__(self) -> None:
        self.around = Surroundings(seed=1)
        self.clock = self.around.outside
        self.came: list[Datagram] = []

    def play(self, story: Callable[[DatagramSocket, DatagramSocket], object]) -> None:
        async def whole() -> None:
            studio = await VirtualDatagrams(self.clock, self.around.udp, STUDIO[0]).open(
                host=STUDIO[0], port=7000
            )
            node = await VirtualDatagrams(self.clock, self.around.udp, NODE[0]).open(
                host=NODE[0], port=5004, queue_packets=100_000
            )
            await story(studio, node)  # type: ignore[misc]
            await asyncio.sleep(1)
            self.came += node.take()

        async def finish() -> None: ...

        noted: list[str] = []
        self.around.run(whole(), finish=finish, noted=noted, limit_s=10_000)
        assert not noted
        self.around.close()

    def sender(self, socket: DatagramSocket, **more: object) -> Sender:
        packetiser = Packetiser(Sending(ssrc=7))
        return Sender(socket=socket, clock=self.clock, packetiser=packetiser, **more)  # type: ignore[arg-type]


def test_sound_leaves_at_its_pace_with_copies_reports_and_goodbyes() -> None:
    stage = Stage()
    began: list[int] = []

    async def story(studio: DatagramSocket, _node: DatagramSocket) -> None:
        began.append(wall_ns(stage.clock.utc_now()))
        await stage.sender(studio, to=(NODE,)).send(spoken(14.0))

    stage.play(story)
    packets = [d for d in stage.came if not rtcp.is_rtcp(d.payload)]
    reports = [d for d in stage.came if rtcp.is_rtcp(d.payload)]
    assert len(packets) == 700
    apart = np.diff([d.arrival_ns for d in packets]) / 1e6
    assert apart.min() > 19.9
    assert apart.max() < 20.1
    assert {rtp.parse(d.payload).payload_type for d in packets} == {97}
    assert len(reports) == 10 + 3, "each second at first, then every five; three goodbyes"
    for datagram in reports:
        report = rtcp.parse(datagram.payload)[0]
        assert isinstance(report, rtcp.SenderReport)
        taken_ns = began[0] + report.timestamp * 1_000_000_000 // RATE_HZ
        assert abs(rtcp.wall_ns(report.ntp) - taken_ns) < 10_000
    reception = Reception(settings())
    for datagram in stage.came:
        reception.put(datagram.payload, datagram.arrival_ns)
    assert reception.ended


def test_an_input_that_stops_is_gone_on_with_when_it_comes_back() -> None:
    stage = Stage()

    async def story(studio: DatagramSocket, _node: DatagramSocket) -> None:
        await stage.sender(studio, to=(NODE,)).send(spoken(7.0, gap_s=4.0))

    stage.play(story)
    packets = [d for d in stage.came if not rtcp.is_rtcp(d.payload)]
    apart = np.diff([d.arrival_ns for d in packets]) / 1e6
    assert len(packets) == 350
    assert np.sum(apart > 1_000) == 1
    assert np.sum(apart < 15) == 0, "nothing is hurried after it"


def test_who_has_spoken_is_sent_to_until_it_falls_silent() -> None:
    stage = Stage()
    listeners: list[int] = []

    async def story(studio: DatagramSocket, node: DatagramSocket) -> None:
        sender = stage.sender(studio)
        sending = asyncio.create_task(sender.send(spoken(FORGET_S + 20)))
        await asyncio.sleep(5)
        node.send(b"here I am", STUDIO)
        crowd = VirtualDatagrams(stage.clock, stage.around.udp, "10.0.0.3")
        sockets = [await crowd.open(host="10.0.0.3", port=0) for _ in range(LISTENERS_MAX + 10)]
        await asyncio.sleep(1)
        for socket in sockets:
            socket.send(b"and I", STUDIO)
        await asyncio.sleep(1)
        listeners.append(sender.told.listeners)
        await sending
        listeners.append(sender.told.listeners)

    stage.play(story)
    assert listeners == [LISTENERS_MAX, 0]
    seconds = (stage.came[-1].arrival_ns - stage.came[0].arrival_ns) / 1e9
    assert FORGET_S - 1 < seconds < FORGET_S + 1.5


def test_an_encrypted_stream_and_what_its_receiver_says() -> None:
    stage, key = Stage(), bytes(range(30))
    told: list[int] = []

    async def story(studio: DatagramSocket, node: DatagramSocket) -> None:
        sender = stage.sender(studio, to=(NODE,), srtp=Srtp(key))
        reception = Reception(settings(), srtp=Srtp(key))
        sending = asyncio.create_task(sender.send(spoken(6.0)))
        await asyncio.sleep(3)
        for datagram in node.take():
            assert reception.put(datagram.payload, datagram.arrival_ns)
        node.send(reception.receiver_report(99, stage.clock.monotonic_ns()), STUDIO)
        await sending
        told.extend(block.highest_sequence for block in sender.told.reports.values())

    stage.play(story)
    assert told
    assert 140 < told[0] % 65_536 < 160


def test_a_new_key_is_for_its_owner_and_never_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "khoa.txt"
    assert carry_out(["send", "--new-key", str(file)]) == 0
    text = file.read_text().strip()
    assert re.fullmatch(KEY_PATTERN, text)
    assert file.stat().st_mode & 0o077 == 0
    assert text not in capsys.readouterr().out
    assert carry_out(["send", "--new-key", str(file)]) == 2
    assert file.read_text().strip() == text


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["a.mp3"], 2, "--to"),
        (["--to", "127.0.0.1:5004"], 2, "--mic"),
        (["a.mp3", "--to", "127.0.0.1"], 2, "HOST:PORT"),
        (["a.mp3", "--to", "127.0.0.1:5004", "--listen", "7000"], 2, "--listen"),
        (["no-such-file.mp3", "--to", "127.0.0.1:5004"], 3, "No such file"),
        (["a.mp3", "--to", "127.0.0.1:5004", "--key-file", "no-such-key"], 2, "no-such-key"),
        (["a.mp3", "--to", "no-such-name.invalid:5004"], 3, "no-such-name.invalid"),
    ],
)
def test_what_cannot_be_sent_is_said(
    words: list[str],
    code: int,
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EDGE_AGENT_LANG", "en")
    assert carry_out(["send", *words]) == code
    assert says in capsys.readouterr().err


def test_a_file_that_is_no_sound_is_said_to_be_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.mp3").write_text("this is no sound\n" * 100)
    assert carry_out(["send", str(tmp_path / "a.mp3"), "--to", "127.0.0.1:5004", "--lang", "en"]) == 3
    assert "not audio" in capsys.readouterr().err
