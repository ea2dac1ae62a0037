"""The doors of wires: GPIO lines, and serial lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class LineSpec:
    """One GPIO line. `offset` on `chip` (0 = /dev/gpiochip0); ACTIVE is electrical low if `active_low`."""

    name: str
    chip: int
    offset: int
    active_low: bool = False
    pull: str = "none"
    """Inputs only: "up", "down" or "none"."""


class OutputLine(Protocol):
    """A line that we drive. Logical ACTIVE/INACTIVE; polarity is the driver's business."""

    name: str

    def set(self, *, active: bool) -> None:
        """Drive the line. Never blocks. Raises LineError."""

    def active(self) -> bool:
        """What was last driven."""


class InputLine(Protocol):
    """A line that we read."""

    name: str

    def active(self) -> bool:
        """The level now, logical. Raises LineError."""

    async def wait_change(self) -> bool:
        """Wait for the next edge and return the new logical level. Not debounced; edges that
        come while nobody waits collapse into one. Raises LineError."""


class Lines(Protocol):
    """The GPIO chips. Each line has one owner; a second request raises LineError."""

    def output(self, spec: LineSpec) -> OutputLine:
        """Request a line as output, INACTIVE from the first instant (no blip). Raises LineError."""

    def input(self, spec: LineSpec) -> InputLine:
        """Request a line as input. Raises LineError."""

    def close(self) -> None:
        """Drive every output INACTIVE and release all lines. Idempotent, never raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialSettings:
    """How the line is set; `parity` is "none", "even" or "odd"."""

    baud: int = 9600
    data_bits: int = 8
    parity: str = "none"
    stop_bits: int = 1
    rs485: bool = False
    """RTS drives the direction of an RS-485 transceiver."""


class SerialLink(Protocol):
    """An open serial line."""

    async def write(self, payload: bytes) -> None:
        """Write all bytes; returns no sooner than the line needs to carry them (10 or 11 bits a
        byte at the baud rate), because a UART's buffer, and a PTY, would hide it. Raises SerialError."""

    async def read(self, *, timeout_s: float) -> bytes:
        """Whatever has come, at least one byte, at most 4096; b"" after `timeout_s`. Raises SerialError."""

    def close(self) -> None:
        """Idempotent, never raises."""


class SerialPort(Protocol):
    """A serial line of configured path and settings."""

    async def open(self) -> SerialLink:
        """Open it and throw away stale input. Raises SerialError when it is missing or busy."""
