"""The shape of every door, each method with its contract in prose; a file for each family of doors.

Units are in the names. "Never blocks" means it returns within a scheduler tick and is
safe on the event loop; every `async` method may be cancelled at any await and leaves
its object usable unless it says otherwise. Time on every door is CLOCK_BOOTTIME (`*_ns`, an
int) except where it says wall time. A port with more than eight methods would be two ports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hal.ports.ambient import Ambient
from hal.ports.box import ControlCall, ControlDesk, ControlDoor, Peer, Supervisor
from hal.ports.hardware import Hardware
from hal.ports.lines import InputLine, Lines, LineSpec, OutputLine, SerialLink, SerialPort, SerialSettings
from hal.ports.network import (
    Broker,
    BrokerSession,
    Connect,
    Datagram,
    Datagrams,
    DatagramSocket,
    Delivery,
    Download,
    Message,
    Web,
    Webcast,
    Webcasts,
)
from hal.ports.screen import Screen, Surface
from hal.ports.sound import Capture, LineInput, SoundCard, SoundStatus, SoundStream, Speech
from hal.ports.storage import Database, Disk, StagedFile
from hal.ports.time import Clock

if TYPE_CHECKING:
    from hal.ports.sound import Frames as Frames

__all__ = [
    "Ambient",
    "Broker",
    "BrokerSession",
    "Capture",
    "Clock",
    "Connect",
    "ControlCall",
    "ControlDesk",
    "ControlDoor",
    "Database",
    "Datagram",
    "DatagramSocket",
    "Datagrams",
    "Delivery",
    "Disk",
    "Download",
    "Hardware",
    "InputLine",
    "LineInput",
    "LineSpec",
    "Lines",
    "Message",
    "OutputLine",
    "Peer",
    "Screen",
    "SerialLink",
    "SerialPort",
    "SerialSettings",
    "SoundCard",
    "SoundStatus",
    "SoundStream",
    "Speech",
    "StagedFile",
    "Supervisor",
    "Surface",
    "Web",
    "Webcast",
    "Webcasts",
]
