"""The emulated board for a language."""

from __future__ import annotations

from hal.sim.emulator import Emulator

PROTOCOLS = ("alpha", "jetfile", "hanover", "adalight")


def board_of(
    protocol: str, *, columns: int, rows: int, baud: int, address: bytes = b"\x00", seven_bit: bool = False
) -> Emulator:
    """A board that speaks it, at an address (two bytes for a JetFile sign); 0 is every board's."""
    bits = 11 if seven_bit else 10
    match protocol:
        case "alpha":
            from hal.sim.sign import AlphaSign

            own = b"%02X" % (address[-1] or 1)
            return AlphaSign(
                columns=columns, rows=rows, baud=baud, bits_per_byte=bits, seven_bit=seven_bit, address=own
            )
        case "jetfile":
            from hal.sim.jetfile import JetfileSign

            group, unit = address.rjust(2, b"\0")
            return JetfileSign(columns=columns, rows=rows, baud=baud, address=(group or 1, unit or 1))
        case "hanover":
            from hal.sim.hanover import HanoverSign

            return HanoverSign(columns=columns, rows=rows, baud=baud, address=address[-1] & 15 or 1)
        case "adalight":
            from hal.sim.adalight import AdalightMatrix

            return AdalightMatrix(columns=columns, rows=rows, baud=baud)
        case _:
            raise ValueError(f"no emulated board speaks {protocol!r}")
