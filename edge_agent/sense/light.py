"""What the status LED says (pure): one glance from the foot of the pole.

steady                    online, silent, all well
two short gaps a cycle    sounding now
slow even blink           no broker
short flash every 2 s     a fault is open: see the alerts
"""

from __future__ import annotations

from enum import StrEnum


class Condition(StrEnum):
    """What the light can say, the worst first."""

    FAULT = "fault"
    OFFLINE = "offline"
    SOUNDING = "sounding"
    WELL = "well"


def condition(*, faults: int, online: bool, sounding: bool) -> Condition:
    """The one thing worth saying."""
    if faults:
        return Condition.FAULT
    if not online:
        return Condition.OFFLINE
    return Condition.SOUNDING if sounding else Condition.WELL


PATTERN: dict[Condition, tuple[tuple[bool, float], ...]] = {
    Condition.WELL: ((True, 2.0),),
    Condition.SOUNDING: ((True, 1.4), (False, 0.15), (True, 0.3), (False, 0.15)),
    Condition.OFFLINE: ((True, 1.0), (False, 1.0)),
    Condition.FAULT: ((True, 0.1), (False, 1.9)),
}
"""(lit, for how many seconds) in turn."""
