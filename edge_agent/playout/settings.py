"""Settings of the loudspeaker: the channel and its queue, the amplifier's sequence, the level, the house rules."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from edge_agent import patterns
from edge_agent.model import Precedence
from hal.ports import LineSpec

Zone = Annotated[str, Meta(pattern=r"^[a-z0-9_-]{1,32}$", description="Name of a zone.")]


class LineSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One GPIO line as the technician writes it."""

    chip: Annotated[int, Meta(ge=0, le=15, description="Number of the GPIO chip; 0 = /dev/gpiochip0.")] = 0
    offset: Annotated[int, Meta(ge=0, le=511, description="Line number on the chip (on a Pi: BCM number).")]
    active_low: Annotated[bool, Meta(description="True when electrical low means ACTIVE.")] = False

    def spec(self, name: str) -> LineSpec:
        """The same line as the GPIO door wants it."""
        return LineSpec(name=name, chip=self.chip, offset=self.offset, active_low=self.active_low)

    def opposite(self, name: str) -> LineSpec:
        """The same line, ACTIVE when `spec` would be INACTIVE."""
        return LineSpec(name=name, chip=self.chip, offset=self.offset, active_low=not self.active_low)


class PlayoutSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The channel: volume, queue, who goes first, what happens after an interruption."""

    volume: Annotated[
        int, Meta(ge=0, le=100, description="Volume after first start, 0-100 (0.3 dB a step).")
    ] = 70
    volume_max: Annotated[int, Meta(ge=0, le=100, description="No order may be louder than this, 0-100.")] = (
        100
    )
    emergency_volume_least: Annotated[
        int,
        Meta(
            ge=0, le=100, description="An emergency without a volume of its own is at least so loud, 0-100."
        ),
    ] = 60
    queue_requests: Annotated[int, Meta(ge=1, le=1000, description="Most requests that wait at once.")] = 32
    authorities: Annotated[
        tuple[str, ...],
        Meta(description="Issuers whose PRIORITY orders go first when several wait, the commune first."),
    ] = ()
    gap_s: Annotated[float, Meta(ge=0, le=60, description="Silence between two turns, seconds.")] = 0.5
    resume_within_s: Annotated[
        float, Meta(ge=0, le=86400, description="An interrupted turn resumes within this time, seconds.")
    ] = 3600
    resume_rewind_s: Annotated[
        float, Meta(ge=0, le=2, description="How much is said again when a turn resumes, seconds.")
    ] = 0
    begin_within_s: Annotated[
        float, Meta(gt=0, le=60, description="Longest wait for a granted order to be stored, seconds.")
    ] = 10
    open_tries: Annotated[int, Meta(ge=1, le=20, description="Attempts to open the sound device.")] = 3
    open_retry_s: Annotated[
        float, Meta(gt=0, le=30, description="Pause between those attempts, seconds.")
    ] = 1.5
    reopen_within_s: Annotated[
        float, Meta(ge=0, le=300, description="Wait for a vanished sound device in mid-turn, seconds.")
    ] = 15


class AmplifierSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The amplifier's lines and the times that it needs."""

    power: Annotated[
        LineSettings | None, Meta(description="Line that powers the amplifier; none = always on.")
    ] = None
    mute: Annotated[
        LineSettings | None,
        Meta(description="Line of its mute input; active_low = true when low mutes. None = no mute."),
    ] = None
    zones: Annotated[
        dict[Zone, LineSettings], Meta(max_length=64, description="Loudspeaker relays by zone name.")
    ] = {}
    settle_time_s: Annotated[
        float, Meta(ge=0, le=30, description="From power on until it is quiet enough to unmute, seconds.")
    ] = 2.0
    unmute_delay_s: Annotated[
        float, Meta(ge=0, le=5, description="From the last relay switched to the mute's release, seconds.")
    ] = 0.1
    mute_delay_s: Annotated[
        float, Meta(ge=0, le=1, description="From mute until a relay or the power may switch, seconds.")
    ] = 0.05
    lead_in_s: Annotated[
        float, Meta(ge=0, le=5, description="Silence played between unmuting and the programme, seconds.")
    ] = 0.1
    hang_time_s: Annotated[
        float, Meta(ge=0, le=600, description="How long it stays on after a turn, for the next one, seconds.")
    ] = 5.0
    off_on_delay_s: Annotated[
        float, Meta(ge=0, le=60, description="Least time from power off to power on, seconds.")
    ] = 3.0

    @property
    def ready_s(self) -> float:
        """From the request to the first frame of a programme, at the most, seconds."""
        return self.off_on_delay_s + self.settle_time_s + self.unmute_delay_s + self.lead_in_s

    def lines(self) -> list[LineSpec]:
        """Every output line, in the order in which they go INACTIVE when all must be silent."""
        lines = [] if self.mute is None else [self.mute.opposite("amplifier_unmute")]
        if self.power is not None:
            lines.append(self.power.spec("amplifier_power"))
        return lines + [line.spec(f"zone_{name}") for name, line in self.zones.items()]


class LevelSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How loud programmes are made before the volume is applied."""

    target_lufs: Annotated[
        float, Meta(ge=-40, le=-10, description="Loudness of every programme, LUFS.")
    ] = -17.0
    ceiling_dbtp: Annotated[
        float, Meta(ge=-20, le=0, description="No peak is higher than this, dBTP.")
    ] = -1.5
    gain_db_max: Annotated[
        float, Meta(ge=0, le=40, description="Most that a programme is raised or lowered, dB.")
    ] = 20.0
    silence_lufs: Annotated[
        float,
        Meta(ge=-70, le=-30, description="Quieter than this counts as silence and is left alone, LUFS."),
    ] = -50.0
    measure_s: Annotated[
        float,
        Meta(ge=5, le=3600, description="How much of a programme is measured, from its start, seconds."),
    ] = 120.0

    def gain_db(self, lufs: float | None) -> float:
        """The static gain that brings `lufs` to the target, within bounds; 0 for silence (None)."""
        if lufs is None or lufs < self.silence_lufs:
            return 0.0
        return max(-self.gain_db_max, min(self.gain_db_max, self.target_lufs - lufs))


_Hours = Annotated[
    str,
    Meta(
        pattern=patterns.SPAN,
        description="From and to, Vietnam's time: 21:30-05:00.",
    ),
]
_Turn = Annotated[float, Meta(ge=5, le=86400)]
_Minutes = Annotated[int, Meta(ge=1, le=1440)]
_Times = Annotated[int, Meta(ge=1, le=1000)]
_Level = Annotated[int, Meta(ge=0, le=100)]


class GovernorSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The house rules, which no order and no schedule can bypass; an emergency has ceilings of its own."""

    quiet_hours: Annotated[
        tuple[_Hours, ...],
        Meta(max_length=8, description="Only emergencies sound in these hours; [] = none."),
    ] = ("21:30-05:00",)
    turn_max_s: Annotated[_Turn, Meta(description="Longest turn, seconds; then it is cut.")] = 1800
    minutes_a_day: Annotated[_Minutes, Meta(description="Most that may sound in a day, minutes.")] = 240
    repeats_a_day: Annotated[_Times, Meta(description="How often one recording may begin in a day.")] = 12
    volume_max: Annotated[_Level, Meta(description="No order may be louder than this, 0-100.")] = 100
    gap_s: Annotated[float, Meta(ge=0, le=3600, description="Least silence between two turns, seconds.")] = 0
    emergency_turn_max_s: Annotated[_Turn, Meta(description="Longest turn of an emergency, seconds.")] = 1800
    emergency_minutes_a_day: Annotated[
        _Minutes, Meta(description="Most that emergencies may sound in a day, minutes.")
    ] = 480
    emergency_repeats_a_day: Annotated[
        _Times, Meta(description="How often one recording may begin in a day as an emergency.")
    ] = 200
    emergency_volume_max: Annotated[
        _Level, Meta(description="No emergency may be louder than this, 0-100.")
    ] = 100

    def on_a_bench(self, said: Collection[str]) -> GovernorSettings:
        """The rules of a node with virtual relays, which wakes nobody: only those that the config names (`said`)."""
        loose: dict[str, Any] = {"quiet_hours": ()}
        for name, most in (("turn_max_s", 86_400), ("minutes_a_day", 1440), ("repeats_a_day", 1000)):
            emergency = f"emergency_{name}"
            loose[emergency] = most
            loose[name] = min(most, getattr(self, emergency)) if emergency in said else most
        return msgspec.structs.replace(
            self, **{name: value for name, value in loose.items() if name not in said}
        )

    def ceilings(self, precedence: Precedence) -> Ceilings:
        """What holds for a class."""
        if precedence is Precedence.EMERGENCY:
            return Ceilings(
                turn_s=self.emergency_turn_max_s,
                day_s=self.emergency_minutes_a_day * 60,
                repeats=self.emergency_repeats_a_day,
                volume=self.emergency_volume_max,
            )
        return Ceilings(
            turn_s=self.turn_max_s,
            day_s=self.minutes_a_day * 60,
            repeats=self.repeats_a_day,
            volume=self.volume_max,
        )


class Ceilings(msgspec.Struct, frozen=True, kw_only=True):
    """The house rules for one class."""

    turn_s: float
    day_s: int
    repeats: int
    volume: int
