"""The supervisor: says what it must, never fails, and is silent where nobody listens."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hal.linux.supervisor import SystemdSupervisor
from hal.ports import Supervisor
from hal.sim.clock import VirtualClock
from hal.sim.loop import NS, Counter
from hal.sim.supervisor import VirtualSupervisor


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """systemd's end of the notify socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        yield listener


@pytest.fixture(params=["virtual", "linux", "nobody"])
def supervisor(request: pytest.FixtureRequest, systemd: socket.socket) -> Iterator[Supervisor]:
    if request.param == "virtual":
        yield VirtualSupervisor(clock=VirtualClock(Counter()))
        return
    watched = {"NOTIFY_SOCKET": str(systemd.getsockname()), "WATCHDOG_USEC": "60000000"}
    real = SystemdSupervisor(watched if request.param == "linux" else {})
    yield real
    real.close()


def test_everything_may_be_said_at_any_time_and_never_fails(supervisor: Supervisor) -> None:
    for _ in range(3):
        supervisor.status("thử\nmột hai")
        supervisor.beat()
        supervisor.ready()
        supervisor.stopping()


def test_the_beat_period_is_half_of_the_watchdogs_or_none(supervisor: Supervisor) -> None:
    assert supervisor.beat_period_s() in {30.0, None}


def test_systemd_hears_each_line(systemd: socket.socket) -> None:
    supervisor = SystemdSupervisor({"NOTIFY_SOCKET": str(systemd.getsockname())})

    supervisor.status("phát thanh\n  bản tin")
    supervisor.ready()
    supervisor.beat()
    supervisor.stopping()

    heard = [systemd.recv(4096).decode() for _ in range(4)]
    assert heard == ["STATUS=phát thanh bản tin", "READY=1", "WATCHDOG=1", "STOPPING=1"]
    supervisor.close()


def test_an_abstract_socket_is_understood() -> None:
    name = f"village-node-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name)
        supervisor = SystemdSupervisor({"NOTIFY_SOCKET": "@" + name})
        supervisor.ready()
        assert listener.recv(64) == b"READY=1"
        supervisor.close()


def test_a_watchdog_meant_for_another_process_is_not_ours() -> None:
    usec = {"WATCHDOG_USEC": "10000000"}

    assert SystemdSupervisor({**usec, "WATCHDOG_PID": str(os.getpid())}).beat_period_s() == 5.0
    assert SystemdSupervisor({**usec, "WATCHDOG_PID": "1"}).beat_period_s() is None
    assert SystemdSupervisor({"WATCHDOG_USEC": "0"}).beat_period_s() is None
    assert SystemdSupervisor({"WATCHDOG_USEC": "soon"}).beat_period_s() is None


def test_a_vanished_systemd_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    supervisor = SystemdSupervisor({"NOTIFY_SOCKET": str(tmp_path / "gone")})

    for _ in range(5):
        supervisor.beat()

    assert len(caplog.records) == 1
    supervisor.close()


def test_a_full_socket_never_blocks(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        supervisor = SystemdSupervisor({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        for _ in range(5_000):
            supervisor.beat()
        supervisor.close()


def test_the_virtual_one_knows_when_systemd_would_have_lost_patience() -> None:
    counter = Counter()
    supervisor = VirtualSupervisor(clock=VirtualClock(counter), watchdog_s=60)
    supervisor.ready()
    for _ in range(10):
        counter.advance(30 * NS)
        supervisor.beat()
    assert not supervisor.would_have_killed()
    assert supervisor.beats == 10

    counter.advance(61 * NS)

    assert supervisor.would_have_killed()


def test_the_virtual_one_keeps_what_was_said_with_its_time() -> None:
    counter = Counter()
    supervisor = VirtualSupervisor(clock=VirtualClock(counter))
    supervisor.status("một")
    counter.advance(NS)
    supervisor.ready()
    supervisor.status("hai")
    supervisor.stopping()

    assert list(supervisor.statuses) == [(10 * NS, "một"), (11 * NS, "hai")]
    assert (supervisor.ready_ns, supervisor.stopping_ns) == (11 * NS, 11 * NS)
