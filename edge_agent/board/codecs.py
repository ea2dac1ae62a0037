"""Which codec speaks the language of a board that the config describes, and the panel on it."""

from __future__ import annotations

from edge_agent.board.link import Link
from edge_agent.board.panel import Panel
from edge_agent.board.protocols import Codec
from edge_agent.board.protocols.adalight import AdalightCodec
from edge_agent.board.protocols.alpha import PICTURE_LABELS, AlphaCodec
from edge_agent.board.protocols.hanover import HanoverCodec
from edge_agent.board.protocols.jetfile import JetfileCodec
from edge_agent.board.settings import BoardSettings
from edge_agent.board.wear import Wear
from hal.ports import Clock, SerialPort


def codec_of(settings: BoardSettings) -> Codec:
    """The codec of a board on a line."""
    match settings.protocol:
        case "alpha":
            return AlphaCodec(
                columns=settings.columns,
                rows=settings.rows,
                slots=min(len(PICTURE_LABELS), 2 * settings.pages_max + 2),
                colours=settings.colours,
                address=(settings.sign_type + settings.sign_address).encode("ascii"),
                answers=settings.answers,
                reads_back=settings.reads_back,
                flash=settings.keeps_in_flash,
            )
        case "jetfile":
            return JetfileCodec(
                columns=settings.columns,
                rows=settings.rows,
                colours=settings.colours,
                address=bytes.fromhex(settings.sign_address.rjust(4, "0")),
                answers=settings.answers,
            )
        case "hanover":
            return HanoverCodec(
                columns=settings.columns, rows=settings.rows, address=int(settings.sign_address, 16) & 0xF
            )
        case "adalight":
            return AdalightCodec(columns=settings.columns, rows=settings.rows, colours=settings.colours)
        case "screen":
            raise AssertionError("a screen has no line")


def link_on(serial: SerialPort, settings: BoardSettings, clock: Clock) -> Link:
    """The way to a board on a line."""
    line = settings.line
    bits = 1 + line.data_bits + (line.parity != "none") + line.stop_bits
    return Link(
        serial=serial,
        codec=codec_of(settings),
        reply_timeout_s=settings.reply_timeout_s,
        clock=clock,
        byte_s=bits / line.baud,
    )


def panel_on(serial: SerialPort, settings: BoardSettings, clock: Clock) -> Panel:
    """The panel of a board on a line."""
    link = link_on(serial, settings, clock)
    wear = Wear(clock=clock, most=settings.flash_writes_a_day) if link.caps.storage == "flash" else None
    return Panel(link=link, caps=link.caps, clock=clock, wear=wear)
