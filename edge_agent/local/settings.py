"""Settings of the local control socket, as they stand in the config file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

RUNTIME: Final = Path("/run/edge-agent/control.sock")
"""Where the socket is on a real node: systemd makes the directory, for the group edge-agent only."""


class LocalSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the people at the box come in."""

    socket: Annotated[
        str,
        Meta(
            max_length=4000,
            description='Unix socket of stop, release and status; "" = /run/edge-agent/control.sock, '
            'with hardware.gpio = "sim" control.sock in the state directory',
        ),
    ] = ""

    def path(self, *, real_lines: bool, state_dir: str) -> Path:
        """The socket's path, for the daemon and for whoever calls it."""
        if self.socket:
            return Path(self.socket)
        return RUNTIME if real_lines else Path(state_dir, "control.sock")
