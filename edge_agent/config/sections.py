"""The sections of the config file: the rooms' own settings gathered, and those that belong to no room."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from edge_agent import patterns
from edge_agent.board.settings import BoardSettings
from edge_agent.cache.settings import CacheSettings
from edge_agent.clocktrust import ClockSettings
from edge_agent.command.alert_settings import AlertSettings
from edge_agent.command.settings import BrokerSettings, OrderSettings, TrustSettings
from edge_agent.local.settings import LocalSettings
from edge_agent.playout.settings import AmplifierSettings, GovernorSettings, LevelSettings, PlayoutSettings
from edge_agent.report.settings import ReportSettings
from edge_agent.schedule.settings import ScheduleSettings
from edge_agent.sense.settings import SenseSettings
from edge_agent.stream.settings import LiveSettings

NODE_NAME = r"^[a-z0-9-]{3,40}$"

MAIN: Final = "main"
"""The name of the board of [board]."""

Door = Literal["linux", "sim"]


class NodeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who this node is."""

    id: Annotated[
        str,
        Meta(
            pattern=NODE_NAME,
            description="3-40 of a-z 0-9 -; also the MQTT user name and the certificate's CN",
        ),
    ]
    name: Annotated[str, Meta(max_length=100, description="what people call the place")] = ""
    groups: Annotated[
        tuple[Annotated[str, Meta(pattern=NODE_NAME, description="3-40 of a-z 0-9 -")], ...],
        Meta(max_length=32, description="groups whose orders this node also takes"),
    ] = ()


class HardwareSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which driver serves each door: the real one (linux) or the virtual one (sim)."""

    sound: Annotated[Door, Meta(description="loudspeaker: linux = PortAudio, sim = a virtual card")] = "linux"
    speech: Annotated[
        Door, Meta(description="voice that reads alerts: linux = espeak-ng, sim = a hum of the same length")
    ] = "linux"
    gpio: Annotated[
        Door, Meta(description="relays, inputs, LED: linux = GPIO chips, sim = virtual lines")
    ] = "linux"
    board: Annotated[
        Literal["linux", "sim", "none"],
        Meta(
            description="notice board: linux = serial port, sim = an emulated sign on a PTY, none = no board"
        ),
    ] = "linux"
    clock: Annotated[
        Door,
        Meta(
            description="linux = believe the date once the system says it is synchronised, sim = believe it always"
        ),
    ] = "linux"


class SoundSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which card, and which input."""

    device: Annotated[
        str, Meta(max_length=200, description="part of the output device's name; \"\" = the system's default")
    ] = ""
    input: Annotated[
        str,
        Meta(
            max_length=200,
            description='part of the input device\'s name, for `line_in` in a schedule; "" = no input',
        ),
    ] = ""


class StorageSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the node keeps its state."""

    state_dir: Annotated[
        str,
        Meta(
            max_length=4000,
            description='directory of the database, the cache and the last good config; "" = STATE_DIRECTORY '
            "(systemd), else /var/lib/edge-agent",
        ),
    ] = ""


class SimSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Virtual hardware. The virtual board's size is that of [board]."""

    dir: Annotated[
        str,
        Meta(max_length=4000, description='where heard.wav, lines.jsonl and board/ are kept; "" = nowhere'),
    ] = ""
    drift_ppm: Annotated[
        float,
        Meta(ge=-1000, le=1000, description="how much faster than true the virtual card's clock runs, ppm"),
    ] = 0.0


class LogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is logged, on stderr (journald)."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="least level that is logged")
    ] = "info"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole config file; a section is a room's, or one of the above."""

    node: NodeSettings
    broker: BrokerSettings = BrokerSettings()
    hardware: HardwareSettings = HardwareSettings()
    trust: TrustSettings = TrustSettings()
    orders: OrderSettings = OrderSettings()
    alerts: AlertSettings = AlertSettings()
    clock: ClockSettings = ClockSettings()
    sound: SoundSettings = SoundSettings()
    playout: PlayoutSettings = PlayoutSettings()
    governor: GovernorSettings = GovernorSettings()
    amplifier: AmplifierSettings = AmplifierSettings()
    level: LevelSettings = LevelSettings()
    live: LiveSettings = LiveSettings()
    board: BoardSettings = BoardSettings()
    boards: Annotated[
        dict[Annotated[str, Meta(pattern=patterns.BOARD, description="1-20 of a-z 0-9 -")], BoardSettings],
        Meta(max_length=7, description="further boards by name, each with the keys of [board]"),
    ] = {}
    sense: SenseSettings = SenseSettings()
    local: LocalSettings = LocalSettings()
    cache: CacheSettings = CacheSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    report: ReportSettings = ReportSettings()
    storage: StorageSettings = StorageSettings()
    sim: SimSettings = SimSettings()
    log: LogSettings = LogSettings()

    def every_board(self) -> dict[str, BoardSettings]:
        """The boards that this node drives, by name."""
        return {} if self.hardware.board == "none" else {MAIN: self.board, **self.boards}
