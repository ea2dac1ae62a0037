"""A serial line through pyserial (opened lazily), or a gateway's TCP port, read and written on the event loop.

Facts about serial ports on Linux: a write returns when the kernel's buffer has the bytes, long
before the wire has carried them, so the line's time is computed and waited for; a USB adapter
that is pulled out reads as end of file or EIO; opening takes up to some 100 ms on USB, so it
runs on a thread; `exclusive` (flock) keeps a second program from mixing its bytes with ours; a
PTY has neither parity nor 7 bits, and glibc says EINVAL to who asks for them, so it is opened
8N1 and only its time is computed as configured.

Facts about gateways (`socket://HOST:PORT`, a serial port behind a small TCP server): how their line is set is their own
business, its time is computed here all the same; one that has lost its power is found by TCP keepalive after half a
minute of silence, or when what was sent is not acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import termios
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hal.errors import SerialError
from hal.ports import Clock, SerialSettings

if TYPE_CHECKING:
    import serial

SECOND = 1_000_000_000
GATEWAY = "socket://"
CONNECT_S = 10.0
KEEPALIVE = (
    (socket.TCP_KEEPIDLE, 10),
    (socket.TCP_KEEPINTVL, 5),
    (socket.TCP_KEEPCNT, 4),
    (socket.TCP_USER_TIMEOUT, 20_000),
)
READ_MAX_BYTES = 4096
PARITY = {"none": "N", "even": "E", "odd": "O"}


class SerialDevice:
    """The port at `path`."""

    def __init__(self, path: str, settings: SerialSettings, clock: Clock) -> None:
        self._path = path
        self._settings = settings
        self._clock = clock

    async def open(self) -> DeviceLink:
        if self._path.startswith(GATEWAY):
            return DeviceLink(await _connected(self._path), self._path, self._settings, self._clock)
        opening = asyncio.ensure_future(asyncio.to_thread(self._open))
        try:
            port = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_late)
            raise
        return DeviceLink(port, self._path, self._settings, self._clock)

    def _open(self) -> serial.Serial:
        import serial

        line = self._settings
        if str(Path(self._path).resolve()).startswith("/dev/pts/"):
            line = SerialSettings(baud=line.baud, rs485=line.rs485)
        try:
            port = serial.Serial(
                self._path,
                baudrate=line.baud,
                bytesize=line.data_bits,
                parity=PARITY[line.parity],
                stopbits=line.stop_bits,
                timeout=0,
                write_timeout=0,
                exclusive=True,
            )
        except (serial.SerialException, termios.error, OSError, ValueError) as error:
            raise SerialError(
                f"The serial port {self._path} cannot be opened ({error}). Is the cable plugged in, is another program "
                "using it, and may this user open it (group dialout)?"
            ) from error
        if line.rs485:
            _drive_direction(port, self._path)
        try:
            port.reset_input_buffer()
        except (termios.error, OSError) as error:
            port.close()
            raise SerialError(
                f"The serial port {self._path} failed while it was opened ({error})."
            ) from error
        return port


class DeviceLink:
    """An open line. Its descriptor does not block."""

    def __init__(
        self, port: serial.Serial | socket.socket, path: str, settings: SerialSettings, clock: Clock
    ) -> None:
        self._port: Any = port
        self._fd: int = port.fileno()
        os.set_blocking(self._fd, False)
        if not path.startswith(GATEWAY):
            _empty_is_no_end(self._fd)
        self._path = path
        self._clock = clock
        bits = 1 + settings.data_bits + (settings.parity != "none") + settings.stop_bits
        self._byte_ns = bits * SECOND // settings.baud
        self._free_ns = 0
        """When the wire will have carried everything written so far."""

    async def write(self, payload: bytes) -> None:
        rest = memoryview(payload)
        while rest:
            self._check()
            try:
                written = os.write(self._fd, rest)
            except BlockingIOError:
                await self._ready(to_write=True)
                continue
            except OSError as error:
                raise self._lost(error) from error
            self._free_ns = max(self._free_ns, self._clock.monotonic_ns()) + written * self._byte_ns
            rest = rest[written:]
        while (left_ns := self._free_ns - self._clock.monotonic_ns()) > 0:  # noqa: ASYNC110 - a wire tells nobody
            await asyncio.sleep(left_ns / SECOND)

    async def read(self, *, timeout_s: float) -> bytes:
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    self._check()
                    try:
                        received = os.read(self._fd, READ_MAX_BYTES)
                    except BlockingIOError:
                        await self._ready(to_write=False)
                        continue
                    except OSError as error:
                        raise self._lost(error) from error
                    if not received:
                        raise self._lost("it reads as ended")
                    return received
        except TimeoutError:
            return b""

    def close(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            with contextlib.suppress(OSError):
                port.close()

    async def _ready(self, *, to_write: bool) -> None:
        """Wait until the descriptor can be read, or written."""
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        add, remove = (
            (loop.add_writer, loop.remove_writer) if to_write else (loop.add_reader, loop.remove_reader)
        )
        add(self._fd, ready.set)
        try:
            await ready.wait()
        finally:
            remove(self._fd)

    def _check(self) -> None:
        if self._port is None:
            raise SerialError(f"The serial port {self._path} is closed.")

    def _lost(self, why: object) -> SerialError:
        return SerialError(f"The serial port {self._path} has failed ({why}). Is its cable still plugged in?")


async def _connected(path: str) -> socket.socket:
    """A connection to a gateway. Raises SerialError."""
    host, _, port = path.removeprefix(GATEWAY).rpartition(":")
    door: socket.socket | None = None
    try:
        async with asyncio.timeout(CONNECT_S):
            loop = asyncio.get_running_loop()
            found = await loop.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
            family, kind, protocol, _, address = found[0]
            door = socket.socket(family, kind, protocol)
            door.setblocking(False)
            await loop.sock_connect(door, address)
    except (OSError, ValueError, TimeoutError) as error:
        if door is not None:
            door.close()
        raise SerialError(
            f"The gateway {path} cannot be reached ({error or 'it does not answer'}). Has it power, is it on the network, and "
            "is no other program connected to it?"
        ) from error
    except asyncio.CancelledError:
        if door is not None:
            door.close()
        raise
    door.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_NODELAY, 1), *KEEPALIVE):
        door.setsockopt(socket.IPPROTO_TCP, option, value)
    return door


def _drive_direction(port: serial.Serial, path: str) -> None:
    """Let the kernel switch an RS-485 transceiver by RTS. Raises SerialError when the port cannot."""
    from serial import rs485

    try:
        port.rs485_mode = rs485.RS485Settings(rts_level_for_tx=True, rts_level_for_rx=False)
    except (OSError, ValueError, NotImplementedError) as error:
        port.close()
        raise SerialError(
            f"The serial port {path} cannot switch an RS-485 line ({error}). Most adapters do it themselves: set "
            "board.rs485 = false; or take another adapter."
        ) from error


def _empty_is_no_end(fd: int) -> None:
    """Pyserial sets VMIN 0, where a read of nothing looks like the end of the file; with VMIN 1 it is EAGAIN."""
    attributes = termios.tcgetattr(fd)
    attributes[6][termios.VMIN] = 1
    termios.tcsetattr(fd, termios.TCSANOW, attributes)


def _close_late(opening: asyncio.Future[serial.Serial]) -> None:
    """Nobody waits for this port any more: close it when it has opened after all."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
