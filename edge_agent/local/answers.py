"""What the technician looks up at the box: the next turns, the cellar, the as-run log, the black box; and a stick's content.

Answers come a page at a time, because one answer is one line of at most 128 KiB.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final, Protocol

from edge_agent import kept
from edge_agent.cache import assets
from edge_agent.cache.steward import Steward
from edge_agent.cache.store import Store
from edge_agent.clocktrust import ClockTrust, Quality, moment
from edge_agent.desired import Stick
from edge_agent.errors import Refused
from edge_agent.local.requests import (
    AssetNote,
    AssetsAnswer,
    AssetsRequest,
    BootNote,
    CollectAnswer,
    CollectRequest,
    EntriesAnswer,
    EntriesRequest,
    EventsAnswer,
    EventsRequest,
    ImportAnswer,
    ImportRequest,
    LookedUp,
    LookUp,
    NextAnswer,
    NextRequest,
    VerifyAnswer,
    VerifyRequest,
)
from edge_agent.model import Digest, ReasonCode
from edge_agent.report import asrun, blackbox
from edge_agent.report.asrun import rfc3339
from edge_agent.report.blackbox import BlackBox
from edge_agent.report.status import Turn
from hal.errors import DatabaseError, DiskError
from hal.ports import Clock, Database

_PAGE_BYTES: Final = 96 * 1024
_RUNS_SHOWN: Final = 500


class Turns(Protocol):
    """What this room asks of `schedule.scheduler`."""

    def ahead(self, span: timedelta, limit: int) -> tuple[Turn, ...]:
        """The turns of the next time, at most so many."""

    @property
    def believes(self) -> bool:
        """Whether the time is believed well enough for a turn to begin."""


class Answers:
    """Asks the rooms, and puts it into words."""

    def __init__(
        self,
        *,
        clock: Clock,
        trust: ClockTrust,
        database: Database,
        scheduler: Turns,
        store: Store,
        steward: Steward,
        stick: Stick,
        box: BlackBox,
        node: str,
    ) -> None:
        self._clock = clock
        self._trust = trust
        self._database = database
        self._scheduler = scheduler
        self._store = store
        self._steward = steward
        self._stick = stick
        self._box = box
        self._node = node

    async def look_up(self, asked: LookUp) -> LookedUp:
        """Raises Refused."""
        try:
            return await self._looked_up(asked)
        except (DatabaseError, DiskError) as error:
            raise Refused(ReasonCode.HARDWARE_FAULT, f"The node's storage failed: {error}") from error

    async def _looked_up(self, asked: LookUp) -> LookedUp:  # noqa: PLR0911 - one case a request
        match asked:
            case NextRequest():
                return self._next(asked)
            case AssetsRequest():
                return await self._assets(asked)
            case VerifyRequest():
                return VerifyAnswer(fault=await self._store.verify(Digest(asked.media)))
            case CollectRequest():
                count, size = await self._store.collect()
                return CollectAnswer(removed=count, bytes=size)
            case ImportRequest():
                return ImportAnswer(files=await self._stick.take())
            case EntriesRequest():
                return await self._entries(asked)
            case EventsRequest():
                await self._box.write_out()
                rows = await self._database.run(
                    lambda connection: blackbox.read(connection, after=asked.after, limit=asked.limit)
                )
                return EventsAnswer(events=rows)

    def _next(self, asked: NextRequest) -> NextAnswer:
        sight = self._trust.look()
        known = sight.quality is not Quality.UNKNOWN
        turns = self._scheduler.ahead(timedelta(days=asked.days), asked.limit)
        return NextAnswer(
            clock=sight.quality.value, wall=rfc3339(sight.now) if known else None, turns=turns,
            waits=bool(turns) and not self._scheduler.believes,
        )  # fmt: skip

    async def _assets(self, asked: AssetsRequest) -> AssetsAnswer:
        wanted = self._steward.wanted()
        rows = {row.asset.digest: row for row in await self._store.listing()}
        names = sorted({*rows, *wanted})
        page = [name for name in names if name > asked.after][: asked.limit]
        used = self._store.in_use()
        return AssetsAnswer(
            assets=[_note(name, rows.get(name), wanted=name in wanted, kept=name in used) for name in page],
            total=len(names),
            missing=sum(
                name not in rows or rows[name].quarantined is not None for name in wanted
            ),
            surplus_mib=self._steward.surplus_mib,
        )  # fmt: skip

    async def _entries(self, asked: EntriesRequest) -> EntriesAnswer:
        now_ms, boot = self._clock.monotonic_ns() // 1_000_000, self._clock.boot_id()
        found, runs = await self._database.run(
            lambda connection: (
                asrun.entries(connection, after=asked.after, limit=asked.limit), kept.runs(connection)
            )
        )  # fmt: skip
        page: list[asrun.AsRunEntry] = []
        size = 0
        for entry in found:
            size += 400 + len(str(entry.reason or "")) + len(str(entry.live or ""))
            if page and size > _PAGE_BYTES // 2:
                break
            page.append(entry)
        return EntriesAnswer(
            node=self._node,
            entries=page,
            boots=[
                _boot(run, now_ms if run.boot == boot and run is runs[-1] else run.last_ms)
                for run in runs[-_RUNS_SHOWN:]
            ],
        )


def _note(name: Digest, row: assets.Row | None, *, wanted: bool, kept: bool) -> AssetNote:
    held = row is not None and row.quarantined is None
    return AssetNote(
        media=name, held=held, size=row.asset.size if row is not None and held else None, wanted=wanted,
        kept=kept, quarantined=None if row is None else row.quarantined,
    )  # fmt: skip


def _boot(run: kept.Run, last_ms: int) -> BootNote:
    if run.offset_ms is None:
        return BootNote(boot=run.boot, offset_ms=None, first=None, last=None)
    first, last = (moment((run.offset_ms + ms) * 1_000_000) for ms in (run.began_ms, last_ms))
    return BootNote(boot=run.boot, offset_ms=run.offset_ms, first=rfc3339(first), last=rfc3339(last))
