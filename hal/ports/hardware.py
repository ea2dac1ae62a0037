"""The bundle of all doors that an agent is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hal.ports.ambient import Ambient
from hal.ports.box import ControlDoor, Supervisor
from hal.ports.lines import Lines, SerialPort
from hal.ports.network import Broker, Datagrams, Web, Webcasts
from hal.ports.screen import Screen
from hal.ports.sound import LineInput, SoundCard, Speech
from hal.ports.storage import Database, Disk
from hal.ports.time import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """The bundle of open doors that an agent is given."""

    clock: Clock
    sound: SoundCard
    speech: Speech
    lines: Lines
    broker: Broker
    web: Web
    datagrams: Datagrams
    webcasts: Webcasts
    disk: Disk
    database: Database
    supervisor: Supervisor
    control: ControlDoor
    serials: Mapping[str, SerialPort] = field(default_factory=dict)
    """The lines of the boards that hang on one, by the board's name."""
    screens: Mapping[str, Screen] = field(default_factory=dict)
    """The boards that are screens, by name."""
    ambient: Ambient | None = None
    """None: the box feels neither light nor warmth."""
    line_in: LineInput | None = None
    """None: this node has no input."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Free text for the birth certificate: which driver serves each door, versions."""
