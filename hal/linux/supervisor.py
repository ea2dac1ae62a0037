"""systemd's side of the unit: readiness, watchdog and status over $NOTIFY_SOCKET (sd_notify(3)).

Facts: the protocol is one datagram of `NAME=value` lines to an AF_UNIX socket; a leading `@`
means the abstract namespace. WATCHDOG_USEC counts only for the process named by WATCHDOG_PID.
Without NOTIFY_SOCKET nobody watches us and everything here does nothing.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping

log = logging.getLogger(__name__)


class SystemdSupervisor:
    """`hal.ports.Supervisor` on systemd, or on nobody."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        self._period_s = _beat_period_s(environ)
        self._failing = False
        self._socket: socket.socket | None = None
        address = environ.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            return
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)

    def ready(self) -> None:
        """READY=1."""
        self._notify("READY=1")

    def beat(self) -> None:
        """WATCHDOG=1."""
        self._notify("WATCHDOG=1")

    def status(self, text: str) -> None:
        """STATUS=, on one line."""
        self._notify("STATUS=" + " ".join(text.split()))

    def stopping(self) -> None:
        """STOPPING=1."""
        self._notify("STOPPING=1")

    def beat_period_s(self) -> float | None:
        """Half of WatchdogSec=."""
        return self._period_s

    def close(self) -> None:
        """Give the socket back; what comes later is not sent. Idempotent."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _notify(self, line: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(line.encode(), self._address)
        except OSError as error:
            if not self._failing:
                log.warning("systemd does not hear us. error=%s", error)
            self._failing = True
        else:
            if self._failing:
                log.info("systemd hears us again.")
            self._failing = False


def _beat_period_s(environ: Mapping[str, str]) -> float | None:
    usec, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if pid and pid != str(os.getpid()):
        return None
    return int(usec) / 2e6 if usec.isdecimal() and int(usec) > 0 else None
