"""Settings of the cellar, as they stand in the config file."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from edge_agent import patterns

MIB = 1 << 20
HOST = r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z"


class CacheSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much is kept, how much is left free, and how stubbornly a file is fetched."""

    quota_mib: Annotated[
        int, Meta(ge=16, le=1 << 20, description="most that the cached files may take together, MiB")
    ] = 2048
    reserve_mib: Annotated[
        int, Meta(ge=16, le=1 << 20, description="disk space that the cache always leaves free, MiB")
    ] = 256
    asset_max_mib: Annotated[
        int, Meta(ge=1, le=1 << 20, description="largest single file that is fetched, MiB")
    ] = 1024
    downloads_max: Annotated[
        int, Meta(ge=1, le=8, description="ordinary downloads at once; urgent ones have as many places again")
    ] = 2
    queue_max: Annotated[
        int, Meta(ge=1, le=1024, description="files that may be under way or waiting to be fetched")
    ] = 64
    attempts: Annotated[
        int, Meta(ge=1, le=50, description="attempts in a row that may bring nothing before a fetch fails")
    ] = 5
    backoff_first_s: Annotated[
        float,
        Meta(ge=0.1, le=60, description="longest wait before the second attempt; it doubles, at random"),
    ] = 1.0
    backoff_max_s: Annotated[
        float, Meta(ge=1, le=3600, description="longest wait between attempts, Retry-After included")
    ] = 60.0
    fetch_timeout_s: Annotated[
        float, Meta(ge=10, le=7 * 86400, description="longest that one file may take to fetch, s")
    ] = 3600.0

    feed_hosts: Annotated[
        tuple[Annotated[str, Meta(pattern=HOST, description="a host name, such as xa.vn")], ...],
        Meta(
            max_length=16,
            description="hosts whose RSS and Atom feeds the boards may show headlines of; none: none",
        ),
    ] = ()
    feed_minutes: Annotated[int, Meta(ge=5, le=1440, description="minutes between two looks at a feed")] = 30

    prefetch_hours: Annotated[
        str,
        Meta(
            pattern=patterns.SPAN,
            description="when files are fetched ahead that are not needed today, Vietnam's time",
        ),
    ] = "00:30-05:00"
    prefetch_mib_a_day: Annotated[
        int,
        Meta(
            ge=1, le=1 << 20, description="most that is fetched ahead in a day, MiB; orders are not counted"
        ),
    ] = 1024
    prefetch_attempts_a_day: Annotated[
        int, Meta(ge=1, le=100, description="fetches of one file that may fail in a day")
    ] = 3
    verify_days: Annotated[
        int, Meta(ge=1, le=365, description="days in which every file that is kept is hashed once more")
    ] = 7
    verify_bytes_per_s: Annotated[
        int, Meta(ge=65536, le=1 << 30, description="pace of that, bytes per second")
    ] = 1 << 20

    @property
    def quota_bytes(self) -> int:
        """The quota in bytes."""
        return self.quota_mib * MIB

    @property
    def reserve_bytes(self) -> int:
        """The reserve in bytes."""
        return self.reserve_mib * MIB

    @property
    def asset_max_bytes(self) -> int:
        """The largest file in bytes; one larger than the quota would never fit."""
        return min(self.asset_max_mib, self.quota_mib) * MIB
