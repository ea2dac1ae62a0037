"""What the technician may set about the notice board."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hal.ports import SerialSettings

GLYPH_ROWS = 16
"""Unifont's height; a board has at least so many rows."""


class BoardSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One LED board on one serial line."""

    protocol: Annotated[
        Literal["alpha"],
        Meta(description="language of the board: alpha = Alpha Sign Communications Protocol"),
    ] = "alpha"
    device: Annotated[
        str,
        Meta(min_length=1, max_length=300, description="serial port, best a name below /dev/serial/by-id/"),
    ] = "/dev/serial0"
    baud: Annotated[
        Literal[1200, 2400, 4800, 9600, 19200, 38400],
        Meta(description="speed of the serial line, in bits a second"),
    ] = 9600
    data_bits: Annotated[
        Literal[7, 8], Meta(description="data bits; many Alpha signs are set to 7 and even parity")
    ] = 8
    parity: Annotated[Literal["none", "even", "odd"], Meta(description="parity bit")] = "none"
    stop_bits: Annotated[Literal[1, 2], Meta(description="stop bits")] = 1
    sign_type: Annotated[
        str, Meta(pattern=r"^[!-~]\Z", description="type code in the header; Z = any sign on the line")
    ] = "Z"
    sign_address: Annotated[
        str,
        Meta(pattern=r"^[0-9A-F]{2}\Z", description="address of the sign, two hex digits; 00 = every sign"),
    ] = "00"
    answers: Annotated[
        bool, Meta(description="the line runs both ways; false when only the node's TX is wired")
    ] = True
    columns: Annotated[int, Meta(ge=16, le=255, description="width of the board, in dots")] = 96
    rows: Annotated[
        int, Meta(ge=GLYPH_ROWS, le=31, description="height of the board, in dots; one line of text takes 16")
    ] = 16
    colour: Annotated[
        Literal["mono", "red", "green", "amber"],
        Meta(description="colour of the text; mono for a board of one colour"),
    ] = "mono"
    lit_percent_max: Annotated[
        int, Meta(ge=10, le=100, description="most dots that may be lit at once, in percent (power supply)")
    ] = 50
    font: Annotated[
        str,
        Meta(min_length=1, max_length=4000, description="GNU Unifont, from Debian's package fonts-unifont"),
    ] = "/usr/share/fonts/opentype/unifont/unifont.otf"
    pages_max: Annotated[int, Meta(ge=1, le=32, description="most pages of one notice")] = 12
    page_least_s: Annotated[
        float,
        Meta(ge=1, le=60, description="shortest time a page stands, in seconds; twice that in an emergency"),
    ] = 3.0
    characters_per_s: Annotated[
        float,
        Meta(ge=1, le=30, description="reading speed, in characters a second; half of it in an emergency"),
    ] = 7.0
    reassert_s: Annotated[
        int,
        Meta(
            ge=10,
            le=86_400,
            description="seconds between checks that the board still shows what it should (power cut, foreign hand)",
        ),
    ] = 900
    give_up_s: Annotated[
        float,
        Meta(
            ge=5,
            le=300,
            description="seconds after which an order fails because the board is missing or silent",
        ),
    ] = 30.0
    reply_timeout_s: Annotated[
        float, Meta(ge=0.2, le=10, description="longest wait for the board's answer, in seconds")
    ] = 1.5

    @property
    def line(self) -> SerialSettings:
        """The line's settings as the serial door wants them."""
        return SerialSettings(
            baud=self.baud, data_bits=self.data_bits, parity=self.parity, stop_bits=self.stop_bits
        )

    @property
    def text_lines(self) -> int:
        """Lines of text that the board has room for."""
        return self.rows // GLYPH_ROWS
