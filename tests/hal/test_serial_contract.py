"""The contract of `hal.ports.SerialPort`, on the virtual line and on pyserial over a real pseudo-terminal.

At the far end of both is the same emulated sign: it answers a question, and is otherwise silent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from hal.errors import SerialError
from hal.linux.clock import SystemClock
from hal.linux.serial import SerialDevice
from hal.ports import Clock, SerialPort, SerialSettings
from hal.sim import loop
from hal.sim.board_line import VirtualSerial
from hal.sim.clock import VirtualClock
from hal.sim.pty import PtyMount
from hal.sim.sign import AlphaSign

QUESTION = b"\x00\x00\x00\x00\x00\x01Z00\x02F*\x04"
SETTINGS = SerialSettings(baud=9600, data_bits=7, parity="even")
BYTE_S = 10 / 9600


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """A port, the clock it lives by, and the means to spoil it."""

    port: SerialPort
    clock: Clock
    sign: AlphaSign
    noise: Callable[[bytes], None]
    """Foreign bytes arrive at the open line."""
    unplug: Callable[[], None]


Story = Callable[[Rig], Awaitable[None]]
Tell = Callable[[Story], None]


def tell_virtual(story: Story) -> None:
    counter = loop.Counter()
    clock = VirtualClock(counter)
    sign = AlphaSign()
    port = VirtualSerial(clock, sign, SETTINGS)

    def unplug() -> None:
        port.missing = True

    async def main() -> None:
        await story(Rig(port=port, clock=clock, sign=sign, noise=port.inject, unplug=unplug))

    loop.run(main(), counter)


@asynccontextmanager
async def mounted(sign: AlphaSign, clock: Clock) -> AsyncIterator[PtyMount]:
    mount = PtyMount(sign, clock)
    life = asyncio.create_task(mount.life(), name="pty")
    try:
        yield mount
    finally:
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)
        mount.close()


def tell_pty(story: Story) -> None:
    async def main() -> None:
        clock, sign = SystemClock(), AlphaSign()
        async with mounted(sign, clock) as mount:
            port = SerialDevice(mount.path, SETTINGS, clock)
            await story(
                Rig(
                    port=port,
                    clock=clock,
                    sign=sign,
                    noise=mount.inject,
                    unplug=mount.close,
                )
            )

    asyncio.run(main())


@pytest.fixture(
    params=[
        pytest.param(tell_virtual, id="virtual"),
        pytest.param(tell_pty, id="pyserial-on-pty", marks=pytest.mark.realtime),
    ]
)
def tell(request: pytest.FixtureRequest) -> Tell:
    told: Tell = request.param
    return told


async def read_all(link_read: Callable[..., Awaitable[bytes]], least: int) -> bytes:
    received = b""
    while len(received) < least:
        part = await link_read(timeout_s=2)
        assert part, f"silence after {received!r}"
        received += part
    return received


def test_a_write_takes_as_long_as_the_line(tell: Tell) -> None:
    async def story(rig: Rig) -> None:
        link = await rig.port.open()
        began_ns = rig.clock.monotonic_ns()
        await link.write(bytes(200))
        assert (rig.clock.monotonic_ns() - began_ns) / 1e9 >= 200 * BYTE_S * 0.999
        link.close()

    tell(story)


def test_what_is_written_arrives_and_the_answer_comes_back(tell: Tell) -> None:
    async def story(rig: Rig) -> None:
        link = await rig.port.open()
        await link.write(QUESTION)
        assert b"\x02E*@\x03" in await read_all(link.read, 34)
        assert rig.sign.frames == 1
        assert not rig.sign.violations
        link.close()

    tell(story)


def test_every_byte_value_passes(tell: Tell) -> None:
    async def story(rig: Rig) -> None:
        link = await rig.port.open()
        await asyncio.sleep(0)
        everything = bytes(range(128))
        rig.noise(everything)
        assert await read_all(link.read, 128) == everything, "no CR became LF, nothing was swallowed"
        link.close()

    tell(story)


def test_a_read_of_silence_is_empty_after_its_time(tell: Tell) -> None:
    async def story(rig: Rig) -> None:
        link = await rig.port.open()
        began_ns = rig.clock.monotonic_ns()
        assert await link.read(timeout_s=0.05) == b""
        assert (rig.clock.monotonic_ns() - began_ns) / 1e9 >= 0.045
        link.close()

    tell(story)


def test_a_read_gives_what_is_there_at_once(tell: Tell) -> None:
    async def story(rig: Rig) -> None:
        link = await rig.port.open()
        rig.noise(b"abc")
        assert await link.read(timeout_s=0) == b"abc"
        link.close()

    tell(story)


def test_stale_input_is_thrown_away_at_open(tell: Tell) -> None:
    async def story(rig: Rig) -> None:
        rig.noise(b"stale")
        link = await rig.port.open()
        assert await link.read(timeout_s=0.05) == b""
        link.close()

    tell(story)


def test_a_line_has_one_owner(tell: Tell) -> None:
    async def story(rig: Rig) -> None:
        link = await rig.port.open()
        with pytest.raises(SerialError):
            await rig.port.open()
        link.close()
        again = await rig.port.open()
        again.close()

    tell(story)


def test_a_cancelled_read_and_write_leave_the_line_usable(tell: Tell) -> None:
    async def story(rig: Rig) -> None:
        link = await rig.port.open()
        for never in (link.read(timeout_s=60), link.write(bytes(5000))):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(never, 0.03)
        link.close()

    tell(story)


def test_a_closed_line_refuses_and_closes_again_quietly(tell: Tell) -> None:
    async def story(rig: Rig) -> None:
        link = await rig.port.open()
        link.close()
        link.close()
        with pytest.raises(SerialError):
            await link.write(b"x")
        with pytest.raises(SerialError):
            await link.read(timeout_s=0)

    tell(story)


def test_a_line_pulled_out_is_an_error_not_silence(tell: Tell) -> None:
    async def story(rig: Rig) -> None:
        link = await rig.port.open()
        rig.unplug()
        with pytest.raises(SerialError):
            await link.read(timeout_s=1)
        link.close()
        with pytest.raises(SerialError):
            await rig.port.open()

    tell(story)


def test_a_missing_device_is_named_with_a_remedy(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(SerialError, match="dialout"):
            await SerialDevice(str(tmp_path / "ttyUSB9"), SETTINGS, SystemClock()).open()

    asyncio.run(main())


def test_a_file_is_no_serial_port(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()

    async def main() -> None:
        with pytest.raises(SerialError):
            await SerialDevice(str(path), SETTINGS, SystemClock()).open()

    asyncio.run(main())


def test_no_descriptor_is_left_open() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))

    async def story(rig: Rig) -> None:
        (await rig.port.open()).close()

    tell_pty(story)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


@pytest.mark.realtime
def test_an_adapter_that_cannot_switch_a_line_says_so_and_is_closed() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))

    async def main() -> None:
        clock, sign = SystemClock(), AlphaSign()
        async with mounted(sign, clock) as mount:
            with pytest.raises(SerialError, match="cannot switch an RS-485 line"):
                await SerialDevice(mount.path, SerialSettings(rs485=True), clock).open()

    asyncio.run(main())
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
