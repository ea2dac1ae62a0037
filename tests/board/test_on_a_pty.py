"""The whole way in real time: presenter, pyserial, a pseudo-terminal, the emulated sign."""

from __future__ import annotations

import asyncio

import pytest

from edge_agent.board.protocols import SetUp
from edge_agent.board.protocols.alpha import AlphaCodec
from edge_agent.board.settings import BoardSettings
from edge_agent.model import NS, BoardShow, Issuer, OrderId, OrderState, Precedence
from hal.linux.clock import SystemClock
from hal.linux.serial import SerialDevice
from hal.sim.database import VirtualDatabase
from hal.sim.pty import PtyMount
from hal.sim.sign import AlphaSign
from tests.board.conftest import SCHEMAS, as_dots, presenter_on

SETTINGS = BoardSettings(columns=64, baud=38400, data_bits=7, parity="even", pages_max=4)


def prepared() -> AlphaSign:
    """A sign whose memory was set up long ago, so that nobody waits for its deaf time."""
    sign = AlphaSign(columns=SETTINGS.columns, rows=SETTINGS.rows, baud=SETTINGS.baud, seven_bit=True)
    codec = AlphaCodec(columns=SETTINGS.columns, rows=SETTINGS.rows, slots=2 * SETTINGS.pages_max + 2)
    at_ns = -60 * NS
    for tx in codec.encode(SetUp()):
        sign.feed(tx.payload, at_ns)
        at_ns += 10 * NS
    sign.violations.clear()
    return sign


@pytest.mark.realtime
def test_a_notice_reaches_a_sign_over_a_real_tty() -> None:
    async def main() -> None:
        clock, sign = SystemClock(), prepared()
        mount = PtyMount(sign, clock)
        serial = SerialDevice(mount.path, SETTINGS.line, clock)
        presenter = presenter_on(serial, SETTINGS, clock, VirtualDatabase(SCHEMAS))
        lives = [asyncio.create_task(mount.life()), asyncio.create_task(presenter.life())]
        now_ns = clock.monotonic_ns()
        notice = BoardShow(
            id=OrderId("order-1"),
            issuer=Issuer("xa-vi-huong"),
            precedence=Precedence.EMERGENCY,
            deadline_ns=now_ns + 60 * NS,
            text="Lũ quét!",
            until_ns=now_ns + 60 * NS,
        )
        ticket = presenter.show(notice)
        assert await ticket.granted()
        ticket.begin()
        finished = await ticket.ended()
        (page,) = await presenter.vet(notice)
        for life in lives:
            life.cancel()
        await asyncio.gather(*lives, return_exceptions=True)
        mount.close()
        assert finished.state is OrderState.SUCCESSFUL, finished
        assert finished.asrun.proof == 2
        assert sign.current.kind == "priority"
        assert as_dots(sign.current.dots) == page.picture
        assert not sign.violations

    asyncio.run(main())
