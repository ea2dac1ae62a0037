"""Settings of what is told to the server, as they stand in the config file."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class ReportSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often, how fast, and how much is kept while nobody listens."""

    health_period_s: Annotated[
        float, Meta(ge=10, le=86400, description="time between two health messages, s")
    ] = 300.0
    data_mib_a_month: Annotated[
        int,
        Meta(
            ge=0,
            le=1 << 20,
            description="data for a month, MiB; beyond it nothing is fetched ahead and an alert stands; 0 = no limit",
        ),
    ] = 0
    outbox_max_entries: Annotated[
        int,
        Meta(ge=100, le=200_000, description="messages kept for the server; beyond it the oldest reports go"),
    ] = 20_000
    batch_max_bytes: Annotated[
        int, Meta(ge=4096, le=61_440, description="as-run entries are put together up to this size, bytes")
    ] = 32_768
    bytes_per_s: Annotated[
        int, Meta(ge=256, le=10_000_000, description="pace at which the outbox is emptied, bytes per second")
    ] = 16_384
    burst_bytes: Annotated[
        int, Meta(ge=1024, le=10_000_000, description="bytes that may go out at once after a rest")
    ] = 65_536
    puback_timeout_s: Annotated[
        float,
        Meta(ge=5, le=600, description="a broker that has not acknowledged within this is taken for lost, s"),
    ] = 60.0
    resend_after_s: Annotated[
        float,
        Meta(
            ge=10,
            le=86400,
            description="least time between two re-sendings of what the server left unacknowledged",
        ),
    ] = 600.0
    sends_max: Annotated[
        int,
        Meta(
            ge=1, le=100, description="deliveries to the broker after which a message is no longer sent again"
        ),
    ] = 3
    refusal_first_s: Annotated[
        float, Meta(ge=1, le=3600, description="wait on a topic after the broker's first refusal, doubling")
    ] = 5.0
    refusal_max_s: Annotated[
        float, Meta(ge=1, le=86400, description="longest wait on a topic that the broker refuses")
    ] = 300.0
