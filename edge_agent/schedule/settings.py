"""Settings of the schedule, as they stand in the config file."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class ScheduleSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section [schedule]."""

    estimated_plays: Annotated[
        bool,
        Meta(
            description="scheduled turns also sound when the time is only estimated (after a power cut, without a network)"
        ),
    ] = False
    missed_days: Annotated[
        int, Meta(ge=1, le=35, description="how far back missed turns are reported after a long outage, days")
    ] = 35
