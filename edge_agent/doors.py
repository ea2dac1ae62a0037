"""Opens the doors that a config asks for, each real or virtual on its own, and closes them in reverse.

This and the command line are the only places that know which driver serves a door.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_agent import __version__
from edge_agent.board.settings import BoardSettings
from edge_agent.config import Settings
from edge_agent.config.sections import MAIN
from hal.ports import (
    Ambient,
    Broker,
    Clock,
    ControlDoor,
    Hardware,
    LineInput,
    Lines,
    Screen,
    SerialPort,
    SoundCard,
    Speech,
)

if TYPE_CHECKING:
    from hal.sim.record import Recorder

log = logging.getLogger(__name__)

DATABASE = "node.sqlite3"


@asynccontextmanager
async def open_doors(settings: Settings, *, schemas: Sequence[str]) -> AsyncIterator[Hardware]:
    """The hardware that `settings` describe, open until the context ends.

    Raises DatabaseError or DiskError when the state directory cannot be used; every other door
    opens later, when a room needs it.
    """
    from hal.linux.clock import SystemClock
    from hal.linux.database import open_database
    from hal.linux.datagram import UdpDatagrams
    from hal.linux.disk import DirectoryDisk
    from hal.linux.supervisor import SystemdSupervisor
    from hal.linux.web import UrllibWeb
    from hal.linux.webcast import HttpWebcasts

    async with AsyncExitStack() as stack:
        clock = SystemClock(settings.clock.trust_file, always_synced=settings.hardware.clock == "sim")
        state = Path(settings.storage.state_dir)
        database = await open_database(state / DATABASE, schemas)  # first: it refuses a second agent
        stack.push_async_callback(database.close)
        disk = DirectoryDisk(state)
        supervisor = SystemdSupervisor()
        stack.callback(supervisor.close)
        web = UrllibWeb(f"village-node/{__version__}", slots=2 * settings.cache.downloads_max)
        stack.callback(web.close)
        recorder = _recorder(settings, clock)
        if recorder is not None:
            stack.callback(recorder.close)
        lines = _lines(settings, clock, recorder)
        stack.callback(lines.close)
        yield Hardware(
            clock=clock,
            sound=_sound(settings, clock, recorder),
            speech=_speech(settings),
            lines=lines,
            broker=broker_door(settings),
            web=web,
            datagrams=UdpDatagrams(clock),
            webcasts=HttpWebcasts(f"village-node/{__version__}"),
            disk=disk,
            database=database,
            supervisor=supervisor,
            control=_control(settings),
            serials=await _serials(settings, clock, stack),
            screens=_screens(settings, clock),
            ambient=_ambient(settings),
            line_in=_line_in(settings, clock),
            facts={
                "sound": settings.hardware.sound,
                "speech": settings.hardware.speech,
                "gpio": settings.hardware.gpio,
                "board": settings.hardware.board,
                "clock": settings.hardware.clock,
                **({"line_in": settings.hardware.sound} if settings.sound.input else {}),
            },
        )


def _recorder(settings: Settings, clock: Clock) -> Recorder | None:
    """Who keeps what virtual hardware did, when somebody asked for it."""
    if not settings.sim.dir or "sim" not in (settings.hardware.sound, settings.hardware.gpio):
        return None
    from hal.sim.record import Recorder

    return Recorder(Path(settings.sim.dir), clock)


def _sound(settings: Settings, clock: Clock, recorder: Recorder | None) -> SoundCard:
    if settings.hardware.sound == "linux":
        from hal.linux.sound import PortAudioCard

        return PortAudioCard(settings.sound.device or None)
    from hal.sim.heard import Heard
    from hal.sim.sound import VirtualCard

    return VirtualCard(clock, recorder or Heard(), settings.sim.drift_ppm)


def _line_in(settings: Settings, clock: Clock) -> LineInput | None:
    if not settings.sound.input:
        return None
    if settings.hardware.sound == "linux":
        from hal.linux.line_in import PortAudioInput

        return PortAudioInput(settings.sound.input)
    from hal.sim.line_in import VirtualLineIn

    return VirtualLineIn(clock, name=settings.sound.input)


def _speech(settings: Settings) -> Speech:
    if settings.hardware.speech == "linux":
        from hal.linux.speech import EspeakSpeech

        return EspeakSpeech(voices=settings.alerts.voices, words_per_minute=settings.alerts.words_per_minute)
    from hal.sim.speech import VirtualSpeech

    return VirtualSpeech()


def _lines(settings: Settings, clock: Clock, recorder: Recorder | None) -> Lines:
    if settings.hardware.gpio == "linux":
        from hal.linux.gpio import GpiozeroLines

        return GpiozeroLines()
    from hal.sim.gpio import VirtualLines

    return VirtualLines(clock, watches=() if recorder is None else (recorder,))


async def _serials(settings: Settings, clock: Clock, stack: AsyncExitStack) -> dict[str, SerialPort]:
    from hal.linux.serial import SerialDevice

    serials: dict[str, SerialPort] = {}
    for name, board in settings.every_board().items():
        if board.protocol == "screen":
            continue
        path, line = board.device, board.line
        if settings.hardware.board == "sim":
            path, line = (
                await _emulated(name, board, settings.sim.dir, clock, stack),
                replace(line, rs485=False),
            )
        serials[name] = SerialDevice(path, line, clock)
    return serials


def _screens(settings: Settings, clock: Clock) -> dict[str, Screen]:
    return {
        name: _screen(name, board, settings, clock)
        for name, board in settings.every_board().items()
        if board.protocol == "screen"
    }


def _screen(name: str, board: BoardSettings, settings: Settings, clock: Clock) -> Screen:
    if settings.hardware.board == "sim" or board.surface == "png":
        from hal.sim.screen import PngScreen

        directory = Path(settings.sim.dir or settings.storage.state_dir, f"screen-{name}")
        width, height = board.x + board.columns * board.scale, board.y + board.rows * board.scale
        return PngScreen(directory, clock, width=width, height=height)
    if board.surface == "fbdev":
        from hal.linux.framebuffer import FramebufferScreen

        device = board.device if board.device.startswith("/dev/fb") else "/dev/fb0"
        return FramebufferScreen(device, connector=board.connector)
    from hal.linux.kmsdrm import KmsScreen

    return KmsScreen(board.connector)


def _ambient(settings: Settings) -> Ambient | None:
    if settings.hardware.board != "linux":
        return None
    from hal.linux.ambient import SysfsAmbient

    return SysfsAmbient()


async def _emulated(
    name: str, board: BoardSettings, directory: str, clock: Clock, stack: AsyncExitStack
) -> str:
    """A board in this process, on a PTY; returns its path."""
    from hal.sim.boards import board_of
    from hal.sim.pty import BoardRecorder, PtyMount

    sign = board_of(
        board.protocol,
        columns=board.columns,
        rows=board.rows,
        baud=board.baud,
        address=bytes.fromhex(board.sign_address),
    )
    mount = PtyMount(sign, clock)
    stack.callback(mount.close)
    await stack.enter_async_context(_alive(mount.life(), f"virtual board {name}"))
    if directory:
        kept = "board" if name == MAIN else f"board-{name}"
        recorder = BoardRecorder(Path(directory, kept), clock, mount)
        await stack.enter_async_context(_alive(recorder.life(), f"recorder of board {name}"))
    return mount.path


@asynccontextmanager
async def _alive(life: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """Something virtual that lives as long as its door is open."""
    task = asyncio.create_task(life, name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


def _control(settings: Settings) -> ControlDoor:
    from hal.linux.control import SocketDoor

    real_lines = settings.hardware.gpio == "linux"
    return SocketDoor(settings.local.path(real_lines=real_lines, state_dir=settings.storage.state_dir))


def broker_door(settings: Settings) -> Broker:
    """The way to the server that these settings name; nothing is connected yet."""
    from hal.linux.broker import MqttBroker

    broker = settings.broker
    return MqttBroker(
        broker.url,
        username=broker.username,
        password_file=broker.password_file,
        ca_file=broker.ca_file,
        cert_file=broker.cert_file,
        key_file=broker.key_file,
    )
