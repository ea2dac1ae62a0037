"""A serial gateway on TCP (`socket://HOST:PORT`): a real server on loopback, the emulated sign behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from hal.errors import SerialError
from hal.linux.clock import SystemClock
from hal.linux.serial import SerialDevice
from hal.ports import Clock, SerialSettings
from hal.sim.sign import AlphaSign

pytestmark = pytest.mark.realtime

QUESTION = b"\x00\x00\x00\x00\x00\x01Z00\x02F*\x04"
SETTINGS = SerialSettings(baud=9600)


class Gateway:
    """A serial server: one TCP port on loopback, and the sign behind it."""

    def __init__(self, sign: AlphaSign, clock: Clock) -> None:
        self._sign = sign
        self._clock = clock
        self._writer: asyncio.StreamWriter | None = None
        self._server: asyncio.Server | None = None

    async def open(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"socket://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._writer is not None:  # as small gateways do: one at a time
            writer.close()
            return
        self._writer = writer
        while received := await reader.read(4096):
            answer = self._sign.feed(received, self._clock.monotonic_ns())
            if answer:
                writer.write(answer)
        writer.close()
        if self._writer is writer:
            self._writer = None

    def hang_up(self) -> None:
        """Its connection breaks; it is there again at once."""
        assert self._writer is not None
        self._writer.close()
        self._writer = None

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        if self._writer is not None:
            self._writer.close()
        await self._server.wait_closed()


Story = Callable[[SerialDevice, Gateway, AlphaSign], Awaitable[None]]


def tell(story: Story) -> None:
    async def main() -> None:
        clock, sign = SystemClock(), AlphaSign()
        gateway = Gateway(sign, clock)
        port = SerialDevice(await gateway.open(), SETTINGS, clock)
        try:
            await story(port, gateway, sign)
        finally:
            await gateway.close()

    asyncio.run(main())


def test_a_question_is_answered_through_it_and_the_lines_time_is_kept() -> None:
    async def story(port: SerialDevice, _: Gateway, sign: AlphaSign) -> None:
        clock = SystemClock()
        link = await port.open()
        began_ns = clock.monotonic_ns()
        await link.write(QUESTION)
        assert clock.monotonic_ns() - began_ns >= len(QUESTION) * 10 * 1e9 / 9600 * 0.99
        answer = b""
        while not answer.endswith(b"\x04"):
            part = await link.read(timeout_s=2)
            assert part
            answer += part
        assert b"E*@" in answer
        assert not sign.violations
        link.close()

    tell(story)


def test_silence_is_silence_and_a_closed_line_refuses() -> None:
    async def story(port: SerialDevice, *_: object) -> None:
        link = await port.open()
        assert await link.read(timeout_s=0.01) == b""
        link.close()
        link.close()
        with pytest.raises(SerialError):
            await link.write(b"x")

    tell(story)


def test_a_gateway_that_goes_is_an_error_and_can_be_opened_again() -> None:
    async def story(port: SerialDevice, gateway: Gateway, _: AlphaSign) -> None:
        link = await port.open()
        await link.write(QUESTION)
        while await link.read(timeout_s=0.2):
            pass
        gateway.hang_up()
        with pytest.raises(SerialError):
            await link.read(timeout_s=2)
        link.close()
        again = await port.open()
        await again.write(QUESTION)
        assert await again.read(timeout_s=2)
        again.close()

    tell(story)


@pytest.mark.parametrize(
    "address", ["socket://127.0.0.1:1", "socket://127.0.0.1", "socket://127.0.0.1:http", "socket://"]
)
def test_a_gateway_that_is_not_there_is_named_with_a_remedy(address: str) -> None:
    async def main() -> None:
        with pytest.raises(SerialError, match="cannot be reached"):
            await SerialDevice(address, SETTINGS, SystemClock()).open()

    asyncio.run(main())
