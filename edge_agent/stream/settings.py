"""Settings of live sound: where it comes in, and how long it is waited for."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class LiveSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section [live]."""

    interface: Annotated[
        str,
        Meta(max_length=64, description='address of the network interface that takes live packets; "" = any'),
    ] = ""
    begin_s: Annotated[
        float, Meta(ge=2, le=120, description="how long the first sound of a stream is waited for, seconds")
    ] = 10.0
    silent_s: Annotated[
        float,
        Meta(
            ge=3,
            le=300,
            description="a fetched stream that is connected but silent for so long counts as lost, seconds",
        ),
    ] = 10.0
    trim_ms: Annotated[
        float,
        Meta(
            ge=-500,
            le=500,
            description="this pole later (or earlier) than its group: 1 ms for each 0.34 m, ms",
        ),
    ] = 0.0
    opus_library: Annotated[
        str,
        Meta(
            max_length=300,
            description='path of libopus; "" = the copy that comes with PyAV, else the system\'s',
        ),
    ] = ""
