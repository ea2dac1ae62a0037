"""What the technician may set about a notice board."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge_agent import patterns
from edge_agent.board.picture import Colours
from hal.ports import SerialSettings

GLYPH_ROWS = 16
"""Unifont's height; a board has at least so many rows."""

MODEL = r"^([a-z0-9][a-z0-9-]{0,39})?\Z"
ADDRESS = r"^[0-9A-F]{2}([0-9A-F]{2})?\Z"
CONNECTOR = r"^[A-Za-z0-9-]*\Z"
LEVEL = r"^([01][0-9]|2[0-3]):[0-5][0-9] (100|[1-9][0-9]?)\Z"


LARGEST = {"alpha": (255, 31), "adalight": (256, 256)}
"""Columns and rows, where a language has bounds of its own."""
COLOURS = {
    "alpha": (Colours.MONO, Colours.RED_GREEN),
    "jetfile": (Colours.MONO, Colours.RED_GREEN),
    "hanover": (Colours.MONO,),
    "adalight": tuple(Colours),
    "screen": tuple(Colours),
}
HANDING_BACK = ("jetfile", "screen")
"""Boards that show again what a stranger has put on them."""


class BoardSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One board: a sign on a serial line, or a screen. What a model's file says counts where the config says nothing."""

    model: Annotated[
        str,
        Meta(
            pattern=MODEL,
            description='a file of config/boards without .toml, for what is not set here; "" = none',
        ),
    ] = ""
    protocol: Annotated[
        Literal["alpha", "jetfile", "hanover", "adalight", "screen"],
        Meta(
            description="language of the board: alpha, jetfile, hanover, adalight; screen = pixels over HDMI"
        ),
    ] = "alpha"
    device: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=300,
            description="serial port, best a name below /dev/serial/by-id/; socket://HOST:PORT for a gateway",
        ),
    ] = "/dev/serial0"
    baud: Annotated[
        Literal[1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600],
        Meta(description="speed of the serial line, in bits a second"),
    ] = 9600
    data_bits: Annotated[
        Literal[7, 8], Meta(description="data bits; many Alpha signs are set to 7 and even parity")
    ] = 8
    parity: Annotated[Literal["none", "even", "odd"], Meta(description="parity bit")] = "none"
    stop_bits: Annotated[Literal[1, 2], Meta(description="stop bits")] = 1
    rs485: Annotated[
        bool,
        Meta(
            description="the port drives the direction of an RS-485 line by RTS (adapters mostly do it themselves)"
        ),
    ] = False
    sign_type: Annotated[
        str, Meta(pattern=r"^[!-~]\Z", description="alpha: type code in the header; Z = any sign on the line")
    ] = "Z"
    sign_address: Annotated[
        str,
        Meta(
            pattern=ADDRESS,
            description="address of the sign in hex digits: two; jetfile four (group, unit); 00 = every sign",
        ),
    ] = "00"
    answers: Annotated[
        bool, Meta(description="the line runs both ways; false when only the node's TX is wired")
    ] = True
    reads_back: Annotated[
        bool, Meta(description="alpha: the model gives the dots of its pictures back (command J)")
    ] = False
    keeps_in_flash: Annotated[
        bool,
        Meta(
            description="alpha: the model keeps pictures in flash or EEPROM, which wears; see flash_writes_a_day"
        ),
    ] = False
    columns: Annotated[int, Meta(ge=16, le=4096, description="width of the board, in dots")] = 96
    rows: Annotated[
        int, Meta(ge=GLYPH_ROWS, le=4096, description="height of the board, in dots; a line of text takes 16")
    ] = 16
    colours: Annotated[
        Colours, Meta(description="colours of a dot: mono, red_green, rgb (eight), full (a screen's)")
    ] = Colours.MONO
    colour: Annotated[
        Literal["red", "green", "amber", "blue", "magenta", "cyan", "white"],
        Meta(description="colour of the text; of no account on a board of one colour"),
    ] = "red"
    letters: Annotated[
        Literal[0, 16, 24, 32, 48, 64],
        Meta(description="height of a line of text, in dots; 0 = as large as the whole text fits"),
    ] = 0
    lit_percent_max: Annotated[
        int, Meta(ge=10, le=100, description="most dots that may be lit at once, in percent (power supply)")
    ] = 50
    font: Annotated[
        str,
        Meta(min_length=1, max_length=4000, description="GNU Unifont, from Debian's package fonts-unifont"),
    ] = "/usr/share/fonts/opentype/unifont/unifont.otf"
    large_font: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=4000,
            description="font of letters of 24 dots and on screens, from Debian's package fonts-noto-core",
        ),
    ] = "/usr/share/fonts/truetype/noto/NotoSans-Regular.ttf"
    pages_max: Annotated[int, Meta(ge=1, le=32, description="most pages of one notice")] = 12
    page_least_s: Annotated[
        float,
        Meta(ge=1, le=60, description="shortest time a page stands, in seconds; twice that in an emergency"),
    ] = 3.0
    characters_per_s: Annotated[
        float,
        Meta(ge=1, le=30, description="reading speed, in characters a second; half of it in an emergency"),
    ] = 7.0
    idle: Annotated[
        Literal["clock", "dark"],
        Meta(description="what is shown when nothing is due: clock, date and the place's name, or nothing"),
    ] = "clock"
    own_digits: Annotated[
        bool,
        Meta(
            description="the idle clock in the board's own digits (alpha): a few bytes a minute instead of a picture"
        ),
    ] = False
    brightness: Annotated[
        tuple[
            Annotated[str, Meta(pattern=LEVEL, description="a time of day and a percentage, 06:00 80")], ...
        ],
        Meta(max_length=24, description="brightness from a time of day on, in percent; [] = the board's own"),
    ] = ()
    blank_hours: Annotated[
        tuple[Annotated[str, Meta(pattern=patterns.SPAN, description="a span of the day, 22:30-04:30")], ...],
        Meta(max_length=8, description="when the board is dark; emergencies are shown all the same"),
    ] = ()
    full_light_lux: Annotated[
        int,
        Meta(
            ge=0,
            le=200_000,
            description="by this much light the brightness is whole, in the dark a third of it; 0 = no light sensor",
        ),
    ] = 0
    emergency_percent_min: Annotated[
        int, Meta(ge=1, le=100, description="least brightness of an emergency, in percent")
    ] = 60
    requisitioned: Annotated[
        bool,
        Meta(
            description="somebody else's board: nothing is shown on it but in a time that the authorities have signed for"
        ),
    ] = False
    reassert_s: Annotated[
        int,
        Meta(
            ge=10,
            le=86_400,
            description="seconds between checks that the board still shows what it should (power cut, foreign hand)",
        ),
    ] = 900
    flash_writes_a_day: Annotated[
        int,
        Meta(ge=1, le=100_000, description="most pictures a day written to a board that keeps them in flash"),
    ] = 200
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
    surface: Annotated[
        Literal["kmsdrm", "fbdev", "png"],
        Meta(
            description="screen: kmsdrm (needs the package's extra `screen`), fbdev, or png files for a trial"
        ),
    ] = "kmsdrm"
    connector: Annotated[
        str,
        Meta(
            max_length=40,
            pattern=CONNECTOR,
            description='screen: connector, such as HDMI-A-1 (see /sys/class/drm); "" = whichever has a display',
        ),
    ] = ""
    x: Annotated[int, Meta(ge=0, le=8192, description="screen: left edge of the shown part, in pixels")] = 0
    y: Annotated[int, Meta(ge=0, le=8192, description="screen: upper edge of the shown part, in pixels")] = 0
    scale: Annotated[
        int, Meta(ge=1, le=16, description="screen: pixels a dot, each way; 1 for an LED wall")
    ] = 1

    def problems(self) -> Iterator[tuple[str, str, dict[str, object]]]:
        """What this board's language cannot do: key, code, facts."""
        widest, highest = LARGEST.get(self.protocol, (4096, 4096))
        for key, found, most in (("columns", self.columns, widest), ("rows", self.rows, highest)):
            if found > most:
                yield key, "out_of_bounds", {"found": found, "bounds": f"≤ {most} ({self.protocol})"}
        able = COLOURS[self.protocol]
        if self.colours not in able:
            choices = ", ".join(able)
            yield "colours", "bad_choice", {"found": self.colours, "choices": choices, "suggestion": ""}
        if self.requisitioned and self.protocol not in HANDING_BACK:
            able_too = ", ".join(HANDING_BACK)
            yield "requisitioned", "cannot_hand_back", {"found": self.protocol, "valid": able_too}
        if self.keeps_in_flash and self.idle == "clock" and not self.own_digits:
            yield "keeps_in_flash", "needs_other_key", {"other": 'own_digits = true | idle = "dark"'}
        if self.requisitioned and self.protocol != "screen":
            for key in ("brightness", "full_light_lux"):
                if getattr(self, key):
                    yield key, "not_with", {"other": "requisitioned"}

    @property
    def follows_time(self) -> bool:
        """Whether the time of day, or the light, may change what is to be seen, whatever is asked for."""
        told = self.brightness or self.blank_hours or self.full_light_lux or self.requisitioned
        return bool(told) or self.idle == "clock"

    @property
    def line(self) -> SerialSettings:
        """The line's settings as the serial door wants them."""
        return SerialSettings(
            baud=self.baud,
            data_bits=self.data_bits,
            parity=self.parity,
            stop_bits=self.stop_bits,
            rs485=self.rs485,
        )

    @property
    def text_lines(self) -> int:
        """Lines of text of 16 dots that the board has room for."""
        return self.rows // GLYPH_ROWS
