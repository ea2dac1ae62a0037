"""The way to a board: what the codec says goes out with its pauses, and what comes back is awaited."""

from __future__ import annotations

import asyncio

from edge_agent.board.protocols import Codec, Command, Reply, Tx
from edge_agent.errors import AgentError
from hal.errors import SerialError
from hal.ports import SerialLink, SerialPort

RETRIES = 2
BACKOFF_S = 0.5


class BoardFault(AgentError, OSError):
    """The board is silent, or does not understand; the message is a sentence with a remedy."""


class Link:
    """One board on one serial line; the line is opened when it is first needed and after each fault."""

    def __init__(self, *, serial: SerialPort, codec: Codec, reply_timeout_s: float) -> None:
        self._serial = serial
        self._codec = codec
        self._reply_timeout_s = reply_timeout_s
        self._line: SerialLink | None = None

    async def say(self, command: Command) -> Reply | None:
        """Send a command and return its reply, if one is due.

        A question without an answer is asked again, `RETRIES` times, later each time.

        Raises:
            BoardFault: it never answered.
            SerialError: the line is missing or failed; it is closed and will be opened anew.
        """
        try:
            line = self._line or await self._serial.open()
            self._line = line
            for attempt in range(1 + RETRIES):
                if attempt:
                    await asyncio.sleep(BACKOFF_S * 2**attempt)
                reply, silent = await self._once(line, command)
                if not silent:
                    return reply
        except SerialError:
            self.close()
            raise
        raise BoardFault(
            f"The board does not answer; it was asked {1 + RETRIES} times. Is it switched on, are RX and TX wired the "
            "right way round, and do speed and parity agree? If only TX is wired, set board.answers = false."
        )

    def close(self) -> None:
        """Close the line; the next `say` opens it again."""
        line, self._line = self._line, None
        self._codec.forget()
        if line is not None:
            line.close()

    async def _once(self, line: SerialLink, command: Command) -> tuple[Reply | None, bool]:
        """Send once; (reply, whether a due reply stayed away)."""
        reply: Reply | None = None
        for tx in self._codec.encode(command):
            if tx.expect is not None:
                await line.read(timeout_s=0)  # what came unasked is no answer to this
                self._codec.forget()
            await line.write(tx.payload)
            if tx.expect is not None:
                reply = await self._awaited(line, tx)
                if reply is None:
                    return None, True
            await asyncio.sleep(tx.gap_after_s)
        return reply, False

    async def _awaited(self, line: SerialLink, tx: Tx) -> Reply | None:
        """The expected reply, whatever else comes before it; None when it stays away."""
        assert tx.expect is not None
        try:
            async with asyncio.timeout(self._reply_timeout_s):
                while True:
                    received = await line.read(timeout_s=self._reply_timeout_s)
                    for reply in self._codec.feed(received):
                        if isinstance(reply, tx.expect):
                            return reply
                    await asyncio.sleep(0)  # a line full of noise must not starve the loop
        except TimeoutError:
            return None
