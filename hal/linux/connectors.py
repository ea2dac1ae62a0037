"""Display connectors as the kernel tells of them below /sys/class/drm: which card, whether a display hangs on it, and is awake.

Facts: a Raspberry Pi 4 or 5 has two cards, one that only renders and one with the connectors, and which is card0 changes from
boot to boot: a connector is found by its name, never by a card's number. A television that is switched off often reads as
`disconnected`, and some fall asleep minutes after their last picture.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

SYS = Path("/sys")
_NAME = re.compile(r"(card\d+)-(.+)")
READ_MAX = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Connector:
    """One connector of one card."""

    card: str
    name: str
    connected: bool
    awake: bool
    modes: tuple[str, ...] = ()

    @property
    def card_number(self) -> int:
        """0 for card0."""
        return int(self.card.removeprefix("card"))


def every(sys: Path = SYS) -> list[Connector]:
    """All connectors, by name."""
    found = []
    for place in sorted((sys / "class/drm").glob("card*-*")):
        name = _NAME.fullmatch(place.name)
        if name is not None:
            found.append(
                Connector(
                    card=name[1],
                    name=name[2],
                    connected=read(place / "status") == "connected",
                    awake=read(place / "dpms") in {"", "On"},
                    modes=tuple(read(place / "modes").split()),
                )
            )
    return sorted(found, key=lambda one: one.name)


def chosen(name: str, sys: Path = SYS) -> Connector | None:
    """The connector of a name, or, without one, the first that has a display; None: there is none."""
    connectors = every(sys)
    if name:
        return next((one for one in connectors if one.name == name), None)
    return next((one for one in connectors if one.connected), None)


def present(name: str, sys: Path = SYS) -> bool:
    """Whether a display hangs there and is awake; True on a system that does not tell."""
    if not (sys / "class/drm").is_dir() or not every(sys):
        return True
    one = chosen(name, sys)
    return one is not None and one.connected and one.awake


def read(path: Path) -> str:
    """A small file of sysfs; "" when it is not there."""
    try:
        with path.open("rb") as file:
            return file.read(READ_MAX).decode("ascii", "replace").strip()
    except OSError:
        return ""
