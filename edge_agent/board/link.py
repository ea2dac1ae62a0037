"""The way to a board: what the codec says goes out with its pauses, and what comes back is awaited."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from edge_agent.board.protocols import Codec, Command, Nak, Reply, Tx
from edge_agent.errors import AgentError
from hal.errors import SerialError
from hal.ports import Clock, SerialLink, SerialPort

RETRIES = 2
BACKOFF_S = 0.5
NS = 1_000_000_000


class BoardFault(AgentError, OSError):
    """The board is silent, or does not understand; the message is a sentence with a remedy."""


class Refusal(BoardFault):
    """The board has refused what it was sent, each time.

    Attributes:
        lost: what was addressed is not in its memory any more.
    """

    def __init__(self, text: str, *, lost: bool) -> None:
        super().__init__(text)
        self.lost = lost


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What went over the line since it was made."""

    said: int = 0
    """Commands."""
    sent_bytes: int = 0
    refusals: int = 0
    """Times that the board refused something."""
    silences: int = 0
    """Times that an answer did not come."""


class Link:
    """One board on one serial line; the line is opened when it is first needed and after each fault."""

    def __init__(
        self, *, serial: SerialPort, codec: Codec, reply_timeout_s: float, clock: Clock, byte_s: float = 0.0
    ) -> None:
        """`byte_s`: how long the line needs for a byte."""
        self._serial = serial
        self._codec = codec
        self._reply_timeout_s = reply_timeout_s
        self._byte_s = byte_s
        self._clock = clock
        self._line: SerialLink | None = None
        self._quiet_until_ns = 0
        """The board wants silence until then, whoever was cancelled meanwhile."""
        self.counts = Counts()
        self.caps = codec.caps

    async def say(self, command: Command) -> Reply | None:
        """Send a command and return its reply, if one is due.

        What is not answered, or refused, is said again, `RETRIES` times, later each time.

        Raises:
            BoardFault: it never answered; Refusal: it refused, each time.
            SerialError: the line is missing or failed; it is closed and will be opened anew.
        """
        self.counts = replace(self.counts, said=self.counts.said + 1)
        reply: Reply | None = None
        try:
            line = self._line or await self._serial.open()
            self._line = line
            for attempt in range(1 + RETRIES):
                if attempt:
                    await asyncio.sleep(BACKOFF_S * 2**attempt)
                reply, silent = await self._once(line, command)
                if silent:
                    self.counts = replace(self.counts, silences=self.counts.silences + 1)
                elif isinstance(reply, Nak):
                    self.counts = replace(self.counts, refusals=self.counts.refusals + 1)
                else:
                    return reply
                if isinstance(reply, Nak) and reply.lost:
                    break
        except SerialError:
            self.close()
            raise
        if isinstance(reply, Nak):
            text = f"The board refuses what it is sent ({reply.why}). Check its address and model in the config, and the cable."
            raise Refusal(text, lost=reply.lost)
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
            await self._quiet()
            if tx.expect is not None:
                await line.read(timeout_s=0)  # what came unasked is no answer to this
                self._codec.forget()
            try:
                await line.write(tx.payload)
            finally:
                self._quiet_until_ns = self._clock.monotonic_ns() + round(tx.gap_after_s * NS)
                self.counts = replace(self.counts, sent_bytes=self.counts.sent_bytes + len(tx.payload))
            if tx.expect is not None:
                reply = await self._awaited(line, tx)
                if reply is None:
                    return None, True
                if isinstance(reply, Nak):
                    return reply, False
        await self._quiet()
        return reply, False

    async def _quiet(self) -> None:
        """Let the silence pass that the board wants."""
        left_ns = self._quiet_until_ns - self._clock.monotonic_ns()
        if left_ns > 0:
            await asyncio.sleep(left_ns / NS)

    async def _awaited(self, line: SerialLink, tx: Tx) -> Reply | None:
        """The expected reply, or a refusal, whatever else comes before it; None when it stays away."""
        assert tx.expect is not None
        try:
            async with asyncio.timeout(self._reply_timeout_s + tx.reply_bytes * self._byte_s):
                while True:
                    received = await line.read(timeout_s=self._reply_timeout_s)
                    for reply in self._codec.feed(received):
                        if isinstance(reply, tx.expect | Nak):
                            return reply
                    await asyncio.sleep(0)  # a line full of noise must not starve the loop
        except TimeoutError:
            return None
